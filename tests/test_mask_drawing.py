"""What the tools of the mask drawing change, and undo."""

import numpy as np
import pytest

from osvos_keras.errors import MaskError
from osvos_keras.marking.drawing import UNDO_STEPS, MaskDrawing, line_mask
from osvos_keras.marking.marks import object_palette, read_objects

SIZE = 9, 12


@pytest.fixture
def drawing():
    return MaskDrawing(np.zeros((*SIZE, 3), np.uint8))


def filled(rows, columns, number=1):
    objects = np.zeros(SIZE, np.uint8)
    objects[rows, columns] = number
    return objects


def square(x, y, side):
    return [(x, y), (x + side, y), (x + side, y + side), (x, y + side)]


def test_a_line_is_as_wide_as_told_and_ends_round():
    np.testing.assert_array_equal(line_mask([(2, 4), (9, 4)], 1, SIZE), filled(4, slice(2, 10)) > 0)
    thick = line_mask([(4, 4), (7, 4)], 5, SIZE)
    expected = filled(slice(2, 7), slice(2, 10)) > 0
    expected[[2, 2, 6, 6], [2, 9, 2, 9]] = False
    np.testing.assert_array_equal(thick, expected)


def test_a_click_of_the_brush_is_a_disc():
    expected = np.zeros(SIZE, bool)
    expected[3:6, 4:7] = True
    np.testing.assert_array_equal(line_mask([(5, 4)], 3, SIZE), expected)
    expected[2:7, 5] = expected[4, 3:8] = True
    np.testing.assert_array_equal(line_mask([(5, 4)], 4.2, SIZE), expected)


def test_later_paint_covers_earlier_and_the_eraser_takes_all(drawing):
    drawing.polygon(square(1, 1, 4), 1)
    drawing.brush([(3, 2), (9, 2)], 1, number=2)
    drawing.erase([(5, 0), (5, 8)], 1)
    expected = filled(slice(1, 6), slice(1, 6))
    expected[2, 3:10] = 2
    expected[:, 5] = 0
    np.testing.assert_array_equal(drawing.objects, expected)


def test_undo_goes_back_step_by_step(drawing):
    states = [drawing.objects]
    for change in (
        lambda: drawing.polygon(square(1, 1, 4), 1),
        lambda: drawing.brush([(8, 8)], 3, 2),
        lambda: drawing.erase([(1, 1)], 3),
        drawing.clear,
    ):
        before = drawing.objects.copy()
        change()
        assert not np.array_equal(drawing.objects, before)
        states.append(drawing.objects.copy())
    for state in reversed(states[:-1]):
        assert drawing.undo()
        np.testing.assert_array_equal(drawing.objects, state)
    assert not drawing.undo()


def test_undo_remembers_so_many_steps(drawing):
    for _ in range(UNDO_STEPS + 5):
        drawing.brush([(1, 1)], 1, 1)
    assert [drawing.undo() for _ in range(UNDO_STEPS + 1)] == [True] * UNDO_STEPS + [False]


def test_a_polygon_without_area_changes_nothing(drawing):
    with pytest.raises(MaskError, match="at least three corners"):
        drawing.polygon([(1, 1), (2, 2)], 1)
    assert not drawing.undo()


def test_what_is_opened_stays_as_it_was(drawing):
    known = filled(slice(2, 4), slice(2, 4))
    later = MaskDrawing(drawing.frame, known)
    later.clear()
    np.testing.assert_array_equal(known, filled(slice(2, 4), slice(2, 4)))
    later.undo()
    np.testing.assert_array_equal(later.objects, known)


def test_saved_objects_are_read_back(drawing, tmp_path):
    drawing.polygon(square(1, 1, 3), 1)
    drawing.polygon(square(6, 3, 3), 2)
    drawing.save(tmp_path / "first.png")
    np.testing.assert_array_equal(read_objects(tmp_path / "first.png", SIZE), drawing.objects)


def test_an_empty_a_full_and_a_gappy_drawing_are_not_saved(drawing, tmp_path):
    path = tmp_path / "first.png"
    with pytest.raises(MaskError, match=r"first\.png: the mask is empty"):
        drawing.save(path)
    drawing.brush([(6, 4)], 3, number=2)
    with pytest.raises(MaskError, match="number them 1, 2, 3"):
        drawing.save(path)
    drawing.brush([(6, 4)], 40, number=1)
    with pytest.raises(MaskError, match="covers the whole frame"):
        drawing.save(path)
    assert not path.exists()


def test_the_veil_is_clear_beside_objects_and_opaque_on_their_outlines(drawing):
    drawing.polygon(square(2, 2, 4), 1)
    drawing.brush([(9, 7)], 1, 2)
    veil = drawing.veil()
    assert not veil[drawing.objects == 0][:, 3].any()
    outline = filled(slice(2, 7), slice(2, 7)) ^ filled(slice(3, 6), slice(3, 6))
    outline[7, 9] = 1
    np.testing.assert_array_equal(veil[..., 3] == 255, outline == 1)
    np.testing.assert_array_equal(veil[4, 4, :3], object_palette(2)[1])
    np.testing.assert_array_equal(veil[7, 9, :3], object_palette(2)[2])


@pytest.fixture
def scene():
    """A drawing on two bright squares and a red one, in a dark frame, all textured; and where they are."""
    frame = np.random.default_rng(0).integers(0, 40, (48, 96, 3))
    left, right, red = np.zeros((3, 48, 96), bool)
    left[12:30, 14:34], right[12:30, 62:82], red[16:24, 20:28] = True, True, True
    frame[left | right] += 200
    frame[red] = (200, 0, 0)
    return MaskDrawing(frame.astype(np.uint8)), left, right, red


def test_cutting_finds_the_object_and_leaves_the_rest(scene):
    drawing, left, right, _ = scene
    drawing.brush([(90, 40)], 5, number=1)
    drawing.brush([(5, 40)], 5, number=2)
    before = drawing.objects.copy()
    drawing.cut((8, 6, 42, 38), 1)
    np.testing.assert_array_equal(drawing.objects, np.where(left, 1, before))
    drawing.cut((56, 6, 88, 36), 2)
    np.testing.assert_array_equal(drawing.objects, np.where(right, 2, np.where(left, 1, before)))


def test_what_was_erased_and_other_objects_stay_out(scene):
    drawing, left, _, red = scene
    drawing.erase([(23, 19), (24, 20)], 4)
    drawing.cut((8, 6, 42, 38), 1)
    np.testing.assert_array_equal(drawing.objects == 1, left & ~red)
    drawing.undo()
    drawing.undo()
    drawing.polygon([(14, 12), (20, 12), (20, 29), (14, 29)], 2)
    drawing.cut((8, 6, 42, 38), 1)
    assert (drawing.objects[12:30, 14:21] == 2).all()


def test_a_box_that_cannot_be_cut_changes_nothing(scene):
    drawing, *_ = scene
    with pytest.raises(MaskError, match="covers the whole frame"):
        drawing.cut((0, 0, 96, 48), 1)
    assert not drawing.undo()
