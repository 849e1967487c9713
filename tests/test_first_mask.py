"""The first mask: what is read from files of every kind, and what points and boxes draw."""

import numpy as np
import pytest
from PIL import Image

from osvos_keras.errors import DataError, MaskError
from osvos_keras.io.masks import davis_palette
from osvos_keras.marking.marks import (
    box_mask,
    check_mask,
    object_palette,
    polygon_mask,
    read_objects,
    write_objects,
)

ONE = np.array([[0, 0, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]], np.uint8)
THREE = np.array([[0, 1, 1, 0], [2, 0, 0, 3], [2, 2, 0, 3]], np.uint8)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "first.png"


def paint(path, objects, colours, mode="RGB"):
    """Save `objects` with a colour for each number."""
    Image.fromarray(np.array(colours, np.uint8)[objects]).convert(mode).save(path)


@pytest.mark.parametrize("value", [1, 255, 90])
def test_one_grey_value_is_one_object(path, value):
    Image.fromarray(ONE * np.uint8(value)).save(path)
    np.testing.assert_array_equal(read_objects(path, (3, 4)), ONE)
    assert read_objects(path, (3, 4)).dtype == np.uint8


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_one_painted_colour_is_one_object(path, mode):
    paint(path, ONE, [(0, 0, 0), (255, 0, 0)], mode)
    np.testing.assert_array_equal(read_objects(path, (3, 4)), ONE)


@pytest.mark.parametrize("objects", [np.zeros_like(ONE), ONE, np.ones_like(ONE), THREE])
def test_written_objects_are_read_back(tmp_path, objects):
    write_objects(tmp_path / "new" / "first.png", objects)
    np.testing.assert_array_equal(read_objects(tmp_path / "new" / "first.png", (3, 4)), objects)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["first.png"]


def test_one_object_is_written_in_the_layout_of_davis_and_several_in_colours(path):
    write_objects(path, ONE)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), ONE * 255)
    write_objects(path, THREE)
    assert Image.open(path).mode == "P"
    np.testing.assert_array_equal(np.asarray(Image.open(path).convert("RGB")), davis_palette()[THREE])


def test_ten_objects_have_colours_beside_black():
    palette = object_palette(10)
    assert palette.shape == (11, 3)
    assert not palette[0].any() and palette[1:].any(axis=1).all()


@pytest.mark.parametrize("colours", [[0, 1, 2, 4], [0, 80, 160, 255]])
def test_numbers_with_a_gap_and_soft_edges_are_refused(path, colours):
    Image.fromarray(np.array(colours, np.uint8)[THREE]).save(path)
    with pytest.raises(MaskError, match=r"first\.png: holds 3 values or colours .* hard brush"):
        read_objects(path, (3, 4))


def test_several_painted_colours_are_refused(path):
    paint(path, THREE, [(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)])
    with pytest.raises(MaskError, match="holds 3 values or colours"):
        read_objects(path, (3, 4))


def test_a_ramp_of_all_grey_levels_is_no_255_objects(path):
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(path)
    with pytest.raises(MaskError, match="holds 255 values or colours"):
        read_objects(path, (16, 16))


def test_another_size_names_both(path):
    Image.fromarray(ONE).save(path)
    with pytest.raises(MaskError, match=r"first\.png: 4×3 pixels, but its frame has 6×5"):
        read_objects(path, (5, 6))


def test_missing_truncated_and_half_transparent_files(path):
    with pytest.raises(DataError, match=r"first\.png: no such file"):
        read_objects(path, (3, 4))
    paint(path, ONE, [(0, 0, 0, 0), (0, 0, 0, 255)], "RGBA")
    with pytest.raises(DataError, match=r"first\.png: partly transparent"):
        read_objects(path, (3, 4))
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataError, match=r"first\.png"):
        read_objects(path, (3, 4))


@pytest.mark.parametrize(("mask", "found"), [(ONE * 0, "is empty"), (THREE + 1, "covers the whole frame")])
def test_empty_and_full_masks_are_refused(mask, found):
    with pytest.raises(MaskError, match=rf"cat\.png: the mask {found}"):
        check_mask(mask, "cat.png")
    check_mask(ONE, "cat.png")


def test_a_polygon_is_filled_with_its_outline():
    expected = np.array(
        [
            [0, 0, 0, 0, 0, 0],
            [0, 1, 1, 1, 1, 0],
            [0, 1, 1, 1, 0, 0],
            [0, 1, 1, 0, 0, 0],
            [0, 1, 0, 0, 0, 0],
        ],
        bool,
    )
    mask = polygon_mask([(1, 1), (4, 1), (1, 4)], (5, 6))
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, expected)
    np.testing.assert_array_equal(polygon_mask([(0.6, 1.4), (4.2, 0.8), (1.2, 3.7)], (5, 6)), expected)


def test_a_polygon_is_cut_off_at_the_frame():
    expected = np.zeros((5, 6), bool)
    expected[2:, :3] = True
    np.testing.assert_array_equal(polygon_mask([(-9, 2), (2, 2), (2, 30), (-9, 30)], (5, 6)), expected)


@pytest.mark.parametrize(
    "points",
    [[], [(1, 1), (2, 2)], [(1, 2, 3)] * 3, [(1, 1), (2,), (3, 3)], [(1, 1), (4, float("nan")), (1, 4)]],
)
def test_a_polygon_needs_three_corners(points):
    with pytest.raises(MaskError, match="at least three corners"):
        polygon_mask(points, (5, 6))


@pytest.mark.timeout(20)
@pytest.mark.parametrize("far", [2**15, 2**31 - 1, 2**31, 2**33, 1e12])
def test_a_polygon_far_beyond_the_frame_is_cut_off_rightly(far):
    """Two sides of a half plane; its border runs through the frame, at 45 degrees and level."""
    rows, columns = np.indices((50, 60))
    np.testing.assert_array_equal(polygon_mask([(0, 0), (far, 0), (far, far)], (50, 60)), columns >= rows)
    mask = polygon_mask([(-far, 20), (far, 20), (far, far), (-far, far)], (50, 60))
    np.testing.assert_array_equal(mask, rows >= 20)


@pytest.mark.parametrize("far", [1e13, 1e300, float("inf"), -float("inf")])
def test_numbers_that_are_surely_no_pixels_are_refused(far):
    with pytest.raises(MaskError, match="at least three corners"):
        polygon_mask([(0, 0), (far, 0), (5, 5)], (50, 60))
    with pytest.raises(MaskError, match="upper left and lower right"):
        box_mask(np.zeros((50, 60, 3), np.uint8), (0, 0, 20, far))


@pytest.fixture
def scene():
    """A textured bright square in a textured dark frame, (H, W, 3) uint8, and its mask."""
    noise = np.random.default_rng(0).integers(0, 40, (48, 64, 3))
    square = np.zeros((48, 64), bool)
    square[12:30, 20:44] = True
    return np.where(square[..., None], 200 + noise, noise).astype(np.uint8), square


def test_a_rough_box_finds_the_object_and_always_the_same(scene):
    frame, square = scene
    np.testing.assert_array_equal(box_mask(frame, (12, 6, 52, 38)), square)
    np.testing.assert_array_equal(box_mask(frame, (12, 6, 52, 38)), box_mask(frame, (12, 6, 52, 38)))


def test_the_box_may_leave_the_frame(scene):
    frame, square = scene
    np.testing.assert_array_equal(box_mask(frame, (-20, 6.4, 52, 100)), square)


def test_strokes_add_to_the_object_and_take_away(scene):
    frame, square = scene
    flag, hole = np.zeros((2, *square.shape), bool)
    flag[2:5, 50:60], hole[16:24, 26:36] = True, True  # one beyond the box, one in the object
    frame[flag], frame[hole] = (200, 0, 0), (0, 0, 200)
    strokes = flag.astype(np.int8) - hole
    np.testing.assert_array_equal(box_mask(frame, (12, 6, 52, 38), strokes), (square | flag) & ~hole)


@pytest.mark.parametrize(
    ("box", "found"),
    [((70, 6, 90, 20), "holds no pixel of it"), ((0, 0, 64, 48), "the mask covers the whole frame")],
)
def test_a_box_needs_pixels_inside_and_outside(scene, box, found):
    with pytest.raises(MaskError, match=rf"box .* in a frame of 64×48 pixels: {found}"):
        box_mask(scene[0], box)


@pytest.mark.parametrize("box", [(1, 2, 3), (30, 6, 12, 20), (12, 20, 30, 6), (1, 2, 3, float("nan"))])
def test_a_box_is_two_corners(scene, box):
    with pytest.raises(MaskError, match="upper left and lower right corner"):
        box_mask(scene[0], box)


def test_numbers_of_objects_are_written_without_a_gap(path):
    with pytest.raises(MaskError, match=r"first\.png: objects 2, 3 are marked; number them 1, 2, 3"):
        write_objects(path, THREE * (THREE != 1))
    assert not path.exists()
