"""The mask tool without a page: what mouse and buttons do. In a real browser: `test_mask_tool_browser`."""

import numpy as np
import pytest

from osvos_keras.errors import MaskError
from osvos_keras.marking.drawing import line_mask
from osvos_keras.marking.marks import read_objects, write_objects
from osvos_keras.marking.tool import MaskTool

SIZE = 48, 64
CORNERS = [(10, 10), (30, 10), (30, 20), (10, 20)]
RECTANGLE = np.zeros(SIZE, np.uint8)
RECTANGLE[10:21, 10:31] = 1


@pytest.fixture
def path(tmp_path):
    return tmp_path / "first.png"


@pytest.fixture
def tool(path):
    frame = np.random.default_rng(0).integers(0, 40, (*SIZE, 3))
    frame[RECTANGLE == 1] += 200
    return MaskTool(frame.astype(np.uint8), path)


def mouse(tool, event, point):
    """What ipycanvas sends for a place in the middle of a pixel."""
    x, y = point
    tool.canvas._handle_custom_msg({"event": f"mouse_{event}", "x": x + 0.5, "y": y + 0.5}, [])


def click(tool, *points):
    for point in points:
        mouse(tool, "down", point)
        mouse(tool, "up", point)


def drag(tool, *points):
    mouse(tool, "down", points[0])
    for point in points[1:]:
        mouse(tool, "move", point)
    mouse(tool, "up", points[-1])


def test_a_polygon_is_closed_by_its_first_corner(tool):
    click(tool, *CORNERS)
    assert not tool.drawing.objects.any()
    click(tool, CORNERS[0])
    np.testing.assert_array_equal(tool.drawing.objects, RECTANGLE)
    assert "object 1 covers 7.5% of the frame; not saved yet" in tool.status.value


@pytest.mark.parametrize("finish", ["save", "tool"])
def test_an_open_polygon_is_closed_before_saving_and_by_another_tool(tool, finish):
    click(tool, *CORNERS)
    if finish == "save":
        tool.save.click()
    else:
        tool.tool.value = "Brush"
    np.testing.assert_array_equal(tool.drawing.objects, RECTANGLE)


def test_two_corners_are_dropped_with_the_tool(tool):
    click(tool, *CORNERS[:2])
    tool.tool.value = "Brush"
    assert not tool.drawing.objects.any()
    assert "Drag over the object" in tool.hint.value


@pytest.mark.parametrize("before", ["Brush", "Eraser", "Box"])
def test_another_tool_alone_changes_nothing(tool, before):
    tool.tool.value = before
    tool.tool.value = "Polygon"
    tool.undo.click()
    assert "Nothing to undo" in tool.status.value


def test_undo_takes_back_corners_first_and_then_changes(tool):
    click(tool, *CORNERS, CORNERS[0])
    click(tool, (40, 40), (50, 40))
    tool.undo.click()
    tool.undo.click()
    np.testing.assert_array_equal(tool.drawing.objects, RECTANGLE)
    tool.undo.click()
    assert not tool.drawing.objects.any()
    tool.undo.click()
    assert "Nothing to undo" in tool.status.value


def test_brush_and_eraser_follow_the_mouse_while_it_is_down(tool):
    tool.tool.value, tool.number.value, tool.width.value = "Brush", 2, 5
    mouse(tool, "move", (60, 40))
    drag(tool, (5, 5), (20, 5), (20, 30))
    expected = 2 * line_mask([(5, 5), (20, 5), (20, 30)], 5, SIZE).astype(np.uint8)
    np.testing.assert_array_equal(tool.drawing.objects, expected)
    tool.tool.value = "Eraser"
    drag(tool, (20, 0), (20, 40))
    expected[line_mask([(20, 0), (20, 40)], 5, SIZE)] = 0
    np.testing.assert_array_equal(tool.drawing.objects, expected)


def test_a_stroke_ends_where_the_mouse_leaves(tool):
    tool.tool.value, tool.width.value = "Brush", 1
    mouse(tool, "down", (50, 5))
    mouse(tool, "out", (63, 5))
    mouse(tool, "move", (20, 40))
    np.testing.assert_array_equal(tool.drawing.objects, line_mask([(50, 5), (63, 5)], 1, SIZE))


@pytest.mark.parametrize("ends", [((4, 4), (40, 30)), ((40, 4), (4, 30)), ((40, 30), (4, 4))])
def test_a_box_is_dragged_from_any_corner(tool, ends):
    tool.tool.value = "Box"
    drag(tool, *ends)
    np.testing.assert_array_equal(tool.drawing.objects, RECTANGLE)


def test_a_box_over_everything_is_refused_on_the_status_line(tool):
    tool.tool.value = "Box"
    drag(tool, (0, 0), (63, 47))
    assert "covers the whole frame" in tool.status.value
    tool.undo.click()
    assert "Nothing to undo" in tool.status.value


def test_saving_and_opening_again(tool, path):
    click(tool, *CORNERS, CORNERS[0])
    assert not path.exists()
    tool.save.click()
    np.testing.assert_array_equal(read_objects(path, SIZE), RECTANGLE)
    again = MaskTool(tool.drawing.frame, path)
    assert "Opened" in again.status.value and "7.5%" in again.status.value
    np.testing.assert_array_equal(again.drawing.objects, RECTANGLE)


def test_what_cannot_be_saved_is_said(tool, path):
    tool.save.click()
    assert "first.png: the mask is empty" in tool.status.value
    path.mkdir()
    click(tool, *CORNERS, CORNERS[0])
    tool.save.click()
    assert "Saved" not in tool.status.value and "first.png" in tool.status.value


def test_a_file_of_another_frame_is_not_opened(tool, path):
    write_objects(path, np.eye(5, dtype=np.uint8))
    with pytest.raises(MaskError, match="5×5 pixels, but its frame has 64×48"):
        MaskTool(tool.drawing.frame, path)


def test_a_new_page_gets_frame_and_mask_again(tool, monkeypatch):
    click(tool, *CORNERS, CORNERS[0])
    sent = []
    monkeypatch.setattr(type(tool.canvas[0]), "put_image_data", lambda _, image: sent.append(image))
    tool.canvas._handle_custom_msg({"event": "client_ready"}, [])
    frame, veil = sent
    np.testing.assert_array_equal(frame[..., :3], tool.drawing.frame)
    assert (frame[..., 3] == 255).all()
    np.testing.assert_array_equal(veil[..., 3] > 0, RECTANGLE > 0)
