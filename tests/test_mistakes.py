"""What is wrong with a mask is told by its connected parts, and the worst frames are found."""

import numpy as np
import pandas as pd
import pytest

from osvos_keras.evaluation.folder import Pair
from osvos_keras.evaluation.mistakes import describe_mistakes, find_mistakes, read_described, worst_frames
from osvos_keras.evaluation.objects import Reader
from osvos_keras.io.masks import write_indexed


def region(*boxes):
    found = np.zeros((40, 60), bool)
    for top, left, height, width in boxes:
        found[top : top + height, left : left + width] = True
    return found


OBJECT = (10, 10, 10, 10)  # 100 pixels

CASES = {
    "right": (region(OBJECT), "nothing larger than 1% is wrong"),
    "nothing": (region(), "missed 100%"),
    "half": (region((10, 10, 10, 5)), "missed 50%"),
    "two halves": (region((10, 13, 10, 4)), "missed 60% in 2 parts"),
    "beyond": (region((10, 10, 10, 14)), "spilled 40%"),
    "elsewhere": (region(OBJECT, (30, 30, 5, 4)), "other object 20%"),
    "two elsewhere": (region(OBJECT, (30, 30, 5, 4), (0, 50, 5, 2)), "other object 30% in 2 parts"),
    "large elsewhere": (region(OBJECT, (25, 25, 10, 25)), "other object 2.5 times its size"),
    "all at once": (
        region((10, 10, 10, 5), (10, 5, 10, 5), (30, 30, 5, 4)),
        "missed 50%, spilled 50%, other object 20%",
    ),
    "a speck": (region(OBJECT, (0, 0, 1, 1)), "other object 1%"),
}


@pytest.mark.parametrize(("mask", "words"), CASES.values(), ids=CASES)
def test_mistakes_are_named_with_their_share_of_the_object(mask, words):
    assert describe_mistakes(mask, region(OBJECT)) == words


def test_a_mask_where_there_is_no_object_is_another_object():
    assert describe_mistakes(region((0, 0, 24, 10)), region()) == (
        "no object in this frame: other object 10% of the frame"
    )
    assert find_mistakes(region(), region()) == []


def test_an_object_that_is_taken_for_another_is_a_mistake(tmp_path):
    objects = region(OBJECT) + np.uint8(2) * region((30, 30, 5, 5))
    write_indexed(tmp_path / "annotation.png", objects)
    write_indexed(tmp_path / "mask.png", np.where(objects == 2, np.uint8(1), objects))
    pair = Pair("00000", tmp_path / "annotation.png", tmp_path / "mask.png")
    mask, annotation, words = read_described(pair, Reader(2))
    np.testing.assert_array_equal(mask, annotation)
    assert words == "wrong number 20%"


def test_the_worst_frames_are_not_neighbours():
    j = [0.9] * 20
    j[3], j[4], j[12], j[19] = 0.1, 0.2, 0.3, 0.4
    table = pd.DataFrame({"sequence": "ant", "frame": [f"{i:05d}" for i in range(20)], "J": j, "F": 0.5})
    other = table.assign(sequence="bee", J=0.35)
    found = worst_frames(pd.concat([table, other], ignore_index=True), 4)
    assert list(found["frame"]) == ["00003", "00012", "00000", "00006"]
    assert list(found["sequence"]) == ["ant", "ant", "bee", "bee"]
    assert list(found["J"]) == [0.1, 0.3, 0.35, 0.35]


def test_a_short_sequence_gives_as_many_as_there_are():
    table = pd.DataFrame({"sequence": "ant", "frame": ["1", "2"], "J": [0.5, 0.4], "F": 0.5})
    assert list(worst_frames(table)["frame"]) == ["2"]
