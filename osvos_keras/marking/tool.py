"""Draw the first mask with the mouse, in a notebook.

    MaskTool(frame, "runs/mine/first_mask.png")

Import this in an interactive notebook only; elsewhere use `marking.marks`, which reads a file or a box.
It uses ipycanvas, which gives mouse positions in pixels of the frame at any display size and draws in
layers, so that all the code here is Python. (ipympl redraws a whole figure at every move; anywidget needs
its own JavaScript.)
"""

import html
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from ipycanvas import MultiCanvas, hold_canvas
from ipywidgets import HTML, BoundedIntText, Button, HBox, IntSlider, Layout, ToggleButtons, VBox
from matplotlib.colors import to_hex

from osvos_keras.errors import OsvosError
from osvos_keras.io.paths import resolve_output
from osvos_keras.marking.drawing import MaskDrawing
from osvos_keras.marking.marks import MAX_OBJECTS, object_palette, read_objects

TOOLS = {
    "Polygon": "Click the corners of the object one by one, and the first one again to close it.",
    "Brush": "Drag over the object to paint it.",
    "Eraser": "Drag over what is not the object.",
    "Box": "Drag a box around the object, with some margin: GrabCut searches for it inside. Then brush or "
    "erase where it is wrong, and drag the box again: GrabCut uses your strokes as hints.",
}
LEAST_WIDTH = 640  # pixels; a smaller frame is enlarged to this width, so that its pixels are easy to hit
SNAP = 0.01  # of the frame's width: a click this near to the first corner closes the polygon
Points = Sequence[tuple[float, float]]


class MaskTool(VBox):
    """A frame to draw on, with polygon, brush, eraser, GrabCut in a box, undo and save.

    Args:
        frame: (H, W, 3) uint8 RGB.
        path: the PNG to save to; a relative path starts from the working folder. If the file exists, its
            objects are loaded.

    Raises:
        DataError, MaskError: `path` exists, but is not a mask for this frame.
    """

    def __init__(self, frame: np.ndarray, path: str | Path):
        self.path = resolve_output(path)
        known = read_objects(self.path, frame.shape[:2]) if self.path.exists() else None
        self.drawing = MaskDrawing(frame, known)
        self._points = []  # points of the unfinished polygon, line or box
        self._make_controls(frame.shape[1])
        self._make_canvas(*frame.shape[:2])
        super().__init__([self._toolbar(), self.hint, self.canvas, self.status])
        self._say("New mask." if known is None else f"Opened {self.path}: {self._describe()}.")

    def _make_controls(self, width: int) -> None:
        self.tool = ToggleButtons(options=list(TOOLS), style={"button_width": "88px"})
        self.tool.observe(self._change_tool, "value")
        self.number = BoundedIntText(
            1, min=1, max=MAX_OBJECTS, description="Object", layout={"width": "150px"}
        )
        self.width = IntSlider(width // 40, min=1, max=max(width // 8, 8), description="Brush width")
        self.undo = self._button("Undo", "undo", self._undo)
        self.clear = self._button("Clear", "trash", lambda: self._change(self.drawing.clear))
        self.save = self._button("Save", "save", self._save, button_style="primary")
        self.hint, self.status = HTML(TOOLS["Polygon"]), HTML()

    @staticmethod
    def _button(text: str, icon: str, action: Callable[[], None], **style) -> Button:
        button = Button(description=text, icon=icon, layout={"width": "88px"}, **style)
        button.on_click(lambda _: action())
        return button

    def _toolbar(self) -> VBox:
        return VBox([HBox([self.tool, self.number]), HBox([self.undo, self.clear, self.save, self.width])])

    def _make_canvas(self, height: int, width: int) -> None:
        shown = Layout(width=f"min(100%, {max(width, LEAST_WIDTH)}px)", height="auto")
        self.canvas = MultiCanvas(3, width=width, height=height, layout=shown)
        self._picture, self._veil, self._sketch = (self.canvas[layer] for layer in range(3))
        self.canvas.on_mouse_down(self._press)
        self.canvas.on_mouse_move(self._move)
        self.canvas.on_mouse_up(self._release)
        self.canvas.on_mouse_out(self._release)
        self.canvas.on_client_ready(self._draw_all)  # a page starts blank, also when it is opened again

    def _press(self, x: float, y: float) -> None:
        first, point = self._points[:1], _in_pixels(x, y)
        if self.tool.value != "Polygon":
            self._points = [point]
        elif len(self._points) > 2 and math.dist(*first, point) < SNAP * self.canvas.width:
            self._finish("Polygon")
        else:
            self._points.append(point)
            self._draw_sketch(self._points)

    def _move(self, x: float, y: float) -> None:
        if not self._points:
            return
        point = _in_pixels(x, y)
        if self.tool.value in ("Brush", "Eraser"):
            self._points.append(point)
            self._draw_sketch(self._points)
        else:  # a line or a box that follows the mouse
            self._draw_sketch([*self._points, point])

    def _release(self, x: float, y: float) -> None:
        if self._points and self.tool.value != "Polygon":
            self._points.append(_in_pixels(x, y))
            self._finish(self.tool.value)

    def _finish(self, tool: str) -> None:
        """Apply the sketch made with `tool` to the drawing."""
        points, self._points = self._points, []
        if not points:
            return
        if tool == "Polygon" and len(points) > 2:
            self._change(self.drawing.polygon, points, self.number.value)
        elif tool == "Brush":
            self._change(self.drawing.brush, points, self.width.value, self.number.value)
        elif tool == "Eraser":
            self._change(self.drawing.erase, points, self.width.value)
        elif tool == "Box":
            self._say("Searching for the object in the box …")
            (x0, y0), (x1, y1) = np.min(points, axis=0), np.max(points, axis=0)
            self._change(self.drawing.cut, (x0, y0, x1 + 1, y1 + 1), self.number.value)
        else:
            self._draw_sketch([])

    def _change(self, action: Callable, *arguments) -> None:
        self._points = []
        if self._try(partial(action, *arguments)):
            self._say(f"Now {self._describe()}; not saved yet.")
        self._draw()

    def _undo(self) -> None:
        if self._points:
            self._points.pop()
            self._draw_sketch(self._points)
        elif self.drawing.undo():
            self._say(f"Now {self._describe()}; not saved yet.")
            self._draw()
        else:
            self._say("Nothing to undo.")

    def _save(self) -> None:
        self._finish("Polygon")  # closes an unfinished polygon
        if self._try(partial(self.drawing.save, self.path)):
            self._say(f"Saved {self.path}: {self._describe()}.")

    def _try(self, action: Callable[[], None]) -> bool:
        """Run `action`; return whether it succeeded. If not, the status line says why."""
        try:
            action()
        except (OsvosError, OSError) as error:
            self._say(str(error), "#B00020")
            return False
        return True

    def _change_tool(self, change: dict) -> None:
        self._finish(change["old"])
        self.hint.value = TOOLS[change["new"]]

    def _say(self, text: str, colour: str = "inherit") -> None:
        self.status.value = f'<span style="color: {colour}">{html.escape(text)}</span>'

    def _describe(self) -> str:
        sizes = np.bincount(self.drawing.objects.ravel(), minlength=2)[1:] / self.drawing.objects.size
        return ", ".join(f"object {n} covers {size:.1%} of the frame" for n, size in enumerate(sizes, 1))

    def _draw_all(self) -> None:
        opaque = np.full((*self.drawing.size, 1), 255, np.uint8)  # ipycanvas sends RGBA as PNG, RGB as JPEG
        self._picture.put_image_data(np.dstack([self.drawing.frame, opaque]))
        self._draw()

    def _draw(self) -> None:
        with hold_canvas():
            self._veil.clear()
            self._veil.put_image_data(self.drawing.veil())
        self._draw_sketch(self._points)

    def _draw_sketch(self, points: Points) -> None:
        """Draw the unfinished polygon, line or box."""
        with hold_canvas():
            self._sketch.clear()
            if not points:
                return
            points = np.array(points) + 0.5
            if self.tool.value == "Polygon":
                self._outline(points)
                self._sketch.stroke_circle(*points[0], SNAP * self.canvas.width)
            elif self.tool.value == "Box":
                (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
                self._outline(np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]))
            else:
                self._trace(points)

    def _outline(self, points: np.ndarray) -> None:
        """A white line on a wider black line, visible on every frame."""
        unit = max(self.canvas.width / LEAST_WIDTH, 0.5)
        for width, colour in ((3 * unit, "black"), (1.5 * unit, "white")):
            self._sketch.line_width, self._sketch.stroke_style = width, colour
            self._sketch.stroke_lines(points)

    def _trace(self, points: np.ndarray) -> None:
        """The path of the brush or eraser, in its full width."""
        number = self.number.value if self.tool.value == "Brush" else 0
        self._sketch.line_cap = self._sketch.line_join = "round"
        self._sketch.line_width = self.width.value
        self._sketch.stroke_style = f"{to_hex(object_palette(number)[number] / 255)}A0"
        self._sketch.stroke_lines(np.concatenate([points[:1], points]))


def _in_pixels(x: float, y: float) -> tuple[float, float]:
    """A canvas position in a mask's coordinates: the origin moves from a pixel's corner to its centre."""
    return x - 0.5, y - 0.5
