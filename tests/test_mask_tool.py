"""The mask tool without a page: what mouse and buttons do. In a real browser: `test_mask_tool_browser`."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from osvos_keras.errors import MaskError
from osvos_keras.marking.drawing import line_mask
from osvos_keras.marking.marks import object_palette, read_correction, read_objects, write_objects
from osvos_keras.marking.tool import MaskTool
from osvos_keras.marking.view import MOST

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


def test_a_click_without_dragging_is_no_box(tool):
    tool.tool.value = "Box"
    drag(tool, (30, 20), (30, 20))
    tool.undo.click()
    assert "Nothing to undo" in tool.status.value


def press_key(tool, key, ctrl=False, meta=False):
    """What ipycanvas sends for a key, while the canvas has the focus."""
    keys = {"shift_key": False, "ctrl_key": ctrl, "meta_key": meta}
    tool.canvas._canvases[-1]._handle_custom_msg({"event": "key_down", "key": key, **keys}, [])


def scroll(tool, down):
    tool.canvas._canvases[-1]._handle_custom_msg({"event": "mouse_wheel", "x": 0, "y": down}, [])


@pytest.mark.parametrize("held", [{"ctrl": True}, {"meta": True}])
def test_ctrl_z_undoes_as_the_button_does_and_z_alone_does_not(tool, held):
    click(tool, *CORNERS, CORNERS[0])
    click(tool, (40, 40))
    press_key(tool, "z")
    assert tool._points
    press_key(tool, "z", **held)
    assert not tool._points
    np.testing.assert_array_equal(tool.drawing.objects, RECTANGLE)
    press_key(tool, "z", **held)
    assert not tool.drawing.objects.any()
    press_key(tool, "z", **held)
    assert "Nothing to undo" in tool.status.value


@pytest.mark.parametrize(
    "zoom_in",
    [lambda tool: press_key(tool, "+"), lambda tool: press_key(tool, "="), lambda tool: scroll(tool, -100)],
)
def test_zoom_keeps_what_is_at_the_mouse_there(tool, zoom_in):
    mouse(tool, "move", (31.5, 15.5))  # canvas (32, 16)
    zoom_in(tool)
    assert tool.view.scale == 1.5
    np.testing.assert_allclose(tool.view.corner, (32 - 32 / 1.5, 16 - 16 / 1.5))
    mouse(tool, "down", (31.5, 15.5))
    np.testing.assert_allclose(tool._points, [(31.5, 15.5)])


def test_zoomed_clicks_are_points_of_the_frame(tool):
    """At scale 2.25 with the window's corner at (0, 0), a click at (2.25 (x + 0.5)) means x."""
    mouse(tool, "move", (-0.5, -0.5))
    press_key(tool, "+")
    press_key(tool, "+")
    assert tool.view.scale == 2.25
    click(tool, *((2.25 * (x + 0.5) - 0.5, 2.25 * (y + 0.5) - 0.5) for x, y in [*CORNERS, CORNERS[0]]))
    np.testing.assert_array_equal(tool.drawing.objects, RECTANGLE)


def test_scrolling_back_and_0_show_the_whole_frame_and_a_little_scrolling_nothing(tool):
    mouse(tool, "move", (60, 40))
    scroll(tool, -30)
    assert tool.view.scale == 1
    scroll(tool, -60)
    assert tool.view.scale == 1.5
    scroll(tool, 500)
    assert (tool.view.scale, *tool.view.corner) == (1, 0, 0)
    for _ in range(20):
        press_key(tool, "+")
    assert tool.view.scale == MOST
    press_key(tool, "-")
    assert tool.view.scale == pytest.approx(MOST / 1.5)
    press_key(tool, "0")
    assert (tool.view.scale, *tool.view.corner) == (1, 0, 0)


def test_arrow_keys_move_the_view_within_the_frame(tool):
    press_key(tool, "+")  # at the upper left corner: the mouse was not there yet
    for key, corner in (
        ("ArrowRight", (64 / 6, 0)),
        ("ArrowDown", (64 / 6, 48 / 6)),
        ("ArrowRight", (64 / 3, 48 / 6)),
        ("ArrowRight", (64 / 3, 48 / 6)),  # the frame's end
        ("ArrowLeft", (64 / 6, 48 / 6)),
        ("ArrowUp", (64 / 6, 0)),
        ("ArrowUp", (64 / 6, 0)),
    ):
        press_key(tool, key)
        np.testing.assert_allclose(tool.view.corner, corner)


def test_a_zoomed_view_sends_its_window_alone_with_its_transform(tool, monkeypatch):
    sent = []
    monkeypatch.setattr(type(tool.canvas[0]), "put_image_data", lambda _, *image: sent.append(image))
    monkeypatch.setattr(type(tool.canvas[0]), "set_transform", lambda _, *numbers: sent.append(numbers))
    tool.view.scale, tool.view.corner = 4.0, np.array([10.5, 20.0])
    tool._draw_all()
    *transforms, (picture, *place), (veil, *_) = sent
    assert transforms == [(4.0, 0, 0, 4.0, -42.0, -80.0)] * 3
    assert place == [10, 20] and picture.shape == (12, 17, 4) and veil.shape == (12, 17, 4)
    np.testing.assert_array_equal(picture[..., :3], tool.drawing.frame[20:32, 10:27])


def test_each_object_has_a_colour_that_stands_beside_its_number(tool):
    shown = {}
    for number in (1, 2, 3):
        tool.number.value = number
        colour = to_hex(object_palette(number)[number] / 255)
        assert colour in tool.colour.value
        shown[colour] = number
        click(tool, (5 * number, 40), (5 * number + 3, 40), (5 * number, 43), (5 * number, 40))
    assert len(shown) == 3
    veil, objects = tool.drawing.veil(), tool.drawing.objects
    assert {to_hex(veil[objects == number][0, :3] / 255) for number in (1, 2, 3)} == {*shown}


def test_saving_and_opening_again(tool, path):
    click(tool, *CORNERS, CORNERS[0])
    assert not path.exists()
    tool.save.click()
    np.testing.assert_array_equal(read_objects(path, SIZE), RECTANGLE)
    again = MaskTool(tool.drawing.frame, path)
    assert "Opened" in again.status.value and "7.5%" in again.status.value
    np.testing.assert_array_equal(again.drawing.objects, RECTANGLE)


def test_objects_may_be_absent_from_a_correction(tool, path):
    second = MaskTool(tool.drawing.frame, path, count=2)
    assert second.number.max == 2
    second.save.click()
    np.testing.assert_array_equal(read_correction(path, SIZE, 2), 0)
    second.number.value = 2
    click(second, *CORNERS, CORNERS[0])
    second.save.click()
    assert "Saved" in second.status.value
    again = MaskTool(tool.drawing.frame, path, count=2)
    np.testing.assert_array_equal(again.drawing.objects, 2 * RECTANGLE)
    with pytest.raises(MaskError, match="holds object 2, but 1 are marked"):
        again.drawing.save(path, count=1)
    np.testing.assert_array_equal(read_correction(path, SIZE, 2), 2 * RECTANGLE)


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
    monkeypatch.setattr(type(tool.canvas[0]), "put_image_data", lambda _, image, *__: sent.append(image))
    tool.canvas._handle_custom_msg({"event": "client_ready"}, [])
    frame, veil = sent
    np.testing.assert_array_equal(frame[..., :3], tool.drawing.frame)
    assert (frame[..., 3] == 255).all()
    np.testing.assert_array_equal(veil[..., 3] > 0, RECTANGLE > 0)
