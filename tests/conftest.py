"""Fixtures: a tiny data set made on the spot, and the reference data where it is present."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported by any test

import numpy as np
import pytest
from PIL import Image

from osvos_keras.dataset.verification import write_lists
from osvos_keras.davis import Davis
from osvos_keras.io.masks import read_annotation, write_mask
from osvos_keras.io.paths import PROJECT

SHARED = PROJECT.parent / "shared"
FRAMES = 4


def write_sequence(root: Path, name: str, size=(45, 61), frames: int = FRAMES, seed: int = 0) -> None:
    """A bright disk on a dark textured ground, moving to the right: frames and annotations."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(seed).integers(0, 60, (height, width, 3))
    for index in range(frames):
        disk = (y - height / 2) ** 2 + (x - width / 3 - 2 * index) ** 2 < (height / 4) ** 2
        frame = np.where(disk[..., None], 250 - noise // 2, noise).astype(np.uint8)
        path = root / "JPEGImages" / "480p" / name / f"{index:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(frame).save(path, quality=95)
        write_mask(root / "Annotations" / "480p" / name / f"{index:05d}.png", disk)


def stop_at(step: int):
    """A callback that interrupts a training after so many steps, as Ctrl-C does."""
    from osvos_keras.callbacks import AtSteps  # imports Keras, which many tests do without

    def interrupt(*_):
        raise KeyboardInterrupt

    return AtSteps({step}, interrupt)


@pytest.fixture
def tiny(tmp_path) -> Davis:
    """Two training sequences and one for validation, four frames each, odd sizes, with lists."""
    root = tmp_path / "tiny"
    for seed, name in enumerate(("ant", "bee", "cow")):
        write_sequence(root, name, seed=seed)
    davis = Davis(root)
    write_lists(davis, ["cow"])
    return davis


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data, outside the project."""
    if not (SHARED / "davis-2016").is_dir():
        pytest.skip(f"needs the reference data in {SHARED}, which is not part of the project")
    return SHARED


@pytest.fixture(scope="session")
def shared_davis(shared) -> Davis:
    return Davis(shared / "davis-2016")


@pytest.fixture
def davis(tmp_path) -> Davis:
    """Three sequences of 5, 7 and 12 frames, the last two in `val`."""
    root = tmp_path / "davis"
    for seed, (name, frames) in enumerate({"ant": 5, "bee": 7, "cow": 12}.items()):
        write_sequence(root, name, frames=frames, seed=seed)
    davis = Davis(root)
    write_lists(davis, ["bee", "cow"])
    return davis


@pytest.fixture
def masks(davis, tmp_path) -> Path:
    """Masks of every sequence of `davis` that drift off the object, one pixel every second frame."""
    folder = tmp_path / "method"
    for name in davis.all_sequences():
        for index, path in enumerate(davis.annotations(name)):
            write_mask(folder / name / path.name, np.roll(read_annotation(path), index // 2, 1))
    return folder
