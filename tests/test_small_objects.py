"""Objects that are small at the lines at which the network sees them."""

import warnings

import numpy as np
import pytest

from osvos_keras.config import OnlineConfig
from osvos_keras.errors import MaskError, MaskWarning
from osvos_keras.io.masks import write_mask
from osvos_keras.small_objects import ENOUGH, LEAST, check_visible
from osvos_keras.training import train_online


def square(side: int, height: int = 1080, width: int = 1920) -> np.ndarray:
    """One annotation (1, H, W) bool with a square object."""
    annotation = np.zeros((1, height, width), bool)
    annotation[:, 498 : 498 + side, 903 : 903 + side] = True
    return annotation


def test_object_that_vanishes_is_an_error_and_names_a_way():
    """3 × 3 pixels in 1920 × 1080 are nothing at 240 lines, and too few at their own size too."""
    message = r"cow: .* vanishes at 240 lines\. At the frame's own 1080 lines it covers 9: cut"
    with pytest.raises(MaskError, match=message):
        check_visible(square(3), 240, "cow")


def test_object_of_which_little_is_left_is_a_warning_with_the_height_that_would_do():
    message = r"cow: the object covers \d+ .* at 240 lines; .* HEIGHT = (\d+)"
    with pytest.warns(MaskWarning, match=message) as caught:
        check_visible(square(20), 240, "cow")
    advised = int(str(caught[0].message).split("HEIGHT = ")[1].split()[0])
    assert advised == np.ceil(1080 * np.sqrt(ENOUGH) / 20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_visible(square(20), advised + 10, "cow")
        check_visible(square(20), 0, "cow")


def test_object_that_only_its_own_size_shows_is_advised_that():
    with pytest.warns(
        MaskWarning, match="HEIGHT = 0 .* the frame's own 1080 lines, shows all of its 100 pixels"
    ):
        check_visible(square(10), 240, "cow")
    assert LEAST < 100 < ENOUGH


def test_of_several_annotated_frames_the_one_that_shows_most_counts():
    """In a corrected frame the object may be hidden."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_visible(np.concatenate([square(100), square(0), square(3)]), 240, "cow")


def test_training_checks_before_it_begins(tiny, tmp_path):
    dot = np.zeros((45, 61), bool)
    dot[21, 31] = True
    write_mask(tiny.annotations("cow")[0], dot)
    with pytest.raises(MaskError, match="cow: the object is so small that it vanishes at 10 lines"):
        train_online(tiny, "cow", OnlineConfig(height=10), tmp_path / "run")
    assert not (tmp_path / "run").exists()
