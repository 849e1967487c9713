"""Draw or correct a mask with the mouse, in a notebook.

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
from osvos_keras.marking.marks import MAX_OBJECTS, object_palette, read_correction, read_objects
from osvos_keras.marking.view import View

TOOLS = {
    "Polygon": "Click the corners of the object one by one, and the first one again to close it.",
    "Brush": "Drag over the object to paint it.",
    "Eraser": "Drag over what is not the object.",
    "Box": "Drag a box around the object, with some margin: GrabCut searches for it inside. Then brush or "
    "erase where it is wrong, and drag the box again: GrabCut uses your strokes as hints.",
}
KEYS = (
    "Scroll, or press + and −, to zoom at the mouse; 0 shows the whole frame; the arrow keys move the view; "
    "Ctrl+Z undoes. Click into the frame first."
)
ARROWS = {"ArrowLeft": (-1, 0), "ArrowRight": (1, 0), "ArrowUp": (0, -1), "ArrowDown": (0, 1)}
NOTCH = 80  # pixels to scroll for a step of the zoom; a notch of a mouse wheel is about 100
ZOOM = 1.5  # per step
LEAST_WIDTH = 640  # pixels; a smaller frame is enlarged to this width, so that its pixels are easy to hit
SNAP = 0.01  # of the shown width: a click this near to the first corner closes the polygon


class MaskTool(VBox):
    """A frame to draw on, with polygon, brush, eraser, GrabCut in a box, zoom, undo and save.

    Args:
        frame: (H, W, 3) uint8 RGB.
        path: the PNG to save to; a relative path starts from the working folder. If the file exists, its
            objects are loaded.
        count: the number of objects that are marked in other frames, if the mask is to correct this one. In
            a correction objects may be absent, but none may be new.

    Raises:
        DataError, MaskError: `path` exists, but is not a mask for this frame.
    """

    def __init__(self, frame: np.ndarray, path: str | Path, count: int | None = None):
        self.path, self.count = resolve_output(path), count
        read = read_objects if count is None else partial(read_correction, count=count)
        known = read(self.path, frame.shape[:2]) if self.path.exists() else None
        self.drawing = MaskDrawing(frame, known)
        self.view = View(self.drawing.size)
        self._points = []  # points of the unfinished polygon, line or box
        self._mouse = (0.0, 0.0)  # its last place on the canvas
        self._scrolled = 0.0  # pixels since the last step of the zoom
        self._make_controls(frame.shape[1])
        self._make_canvas(*frame.shape[:2])
        rows = [self.tool, self.number, self.colour], [self.undo, self.clear, self.save, self.width]
        toolbar = VBox([HBox(row) for row in rows])
        super().__init__([toolbar, self.hint, self.canvas, HTML(KEYS), self.status])
        self._say("New mask." if known is None else f"Opened {self.path}: {self._describe()}.")

    def _make_controls(self, width: int) -> None:
        self.tool = ToggleButtons(options=list(TOOLS), style={"button_width": "88px"})
        self.tool.observe(self._change_tool, "value")
        self.number = BoundedIntText(
            1, min=1, max=self.count or MAX_OBJECTS, description="Object", layout={"width": "150px"}
        )
        self.number.observe(self._show_colour, "value")
        self.colour = HTML()
        self._show_colour()
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

    def _make_canvas(self, height: int, width: int) -> None:
        shown = Layout(width=f"min(100%, {max(width, LEAST_WIDTH)}px)", height="auto")
        self.canvas = MultiCanvas(3, width=width, height=height, layout=shown)
        self._picture, self._veil, self._sketch = (self.canvas[layer] for layer in range(3))
        self.canvas.on_mouse_down(self._press)
        self.canvas.on_mouse_move(self._move)
        self.canvas.on_mouse_up(self._release)
        self.canvas.on_mouse_out(self._release)
        self.canvas.on_mouse_wheel(self._scroll)
        self.canvas.on_key_down(self._type)
        self.canvas.on_client_ready(self._draw_all)  # a page starts blank, also when it is opened again

    def _press(self, x: float, y: float) -> None:
        first, point = self._points[:1], self._locate(x, y)
        if self.tool.value != "Polygon":
            self._points = [point]
        elif len(self._points) > 2 and math.dist(*first, point) < self._snap:
            self._finish("Polygon")
        else:
            self._points.append(point)
            self._draw_sketch(self._points)

    def _move(self, x: float, y: float) -> None:
        point = self._locate(x, y)
        if not self._points:
            return
        if self.tool.value in ("Brush", "Eraser"):
            self._points.append(point)
            self._draw_sketch(self._points)
        else:  # a line or a box that follows the mouse
            self._draw_sketch([*self._points, point])

    def _release(self, x: float, y: float) -> None:
        if self._points and self.tool.value != "Polygon":
            self._points.append(self._locate(x, y))
            self._finish(self.tool.value)

    def _locate(self, x: float, y: float) -> tuple[float, float]:
        """The place of the mouse on the canvas as a point of the frame; `_zoom` needs the place too."""
        self._mouse = x, y
        return self.view.to_frame(x, y)

    @property
    def _snap(self) -> float:
        """The distance, in pixels of the frame, at which a click closes the polygon."""
        return SNAP * self.canvas.width / self.view.scale

    def _scroll(self, _: float, down: float) -> None:
        self._scrolled += down
        if abs(self._scrolled) >= NOTCH:
            steps = int(self._scrolled / NOTCH)
            self._scrolled -= steps * NOTCH
            self._zoom(-steps)

    def _zoom(self, steps: int) -> None:
        self.view.zoom(ZOOM**steps, *self._mouse)
        self._draw_all()

    def _type(self, key: str, shift: bool, ctrl: bool, meta: bool) -> None:
        if key.lower() == "z" and (ctrl or meta):
            self._undo()
        elif ctrl or meta:
            return
        elif key in ("+", "="):
            self._zoom(1)
        elif key in ("-", "_"):
            self._zoom(-1)
        elif key == "0":
            self.view = View(self.drawing.size)
            self._draw_all()
        elif key in ARROWS:
            self.view.move(*ARROWS[key])
            self._draw_all()

    def _show_colour(self, _: dict | None = None) -> None:
        """Show the colour of the object that is drawn now, beside its number."""
        self.colour.value = f'<span style="color: {self._colour_of(self.number.value)}">⬤</span>'

    @staticmethod
    def _colour_of(number: int) -> str:
        return to_hex(object_palette(number)[number] / 255)

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
        elif tool == "Box" and np.ptp(points, axis=0).all():  # a click alone is no box
            self._say("Searching for the object in the box …")
            (x0, y0), (x1, y1) = np.min(points, axis=0), np.max(points, axis=0)
            self._change(self.drawing.cut, (x0, y0, x1 + 1, y1 + 1), self.number.value)
        else:
            self._draw_sketch([])

    def _change(self, action: Callable, *arguments) -> None:
        self._points = []
        if self._try(action, *arguments):
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
        if self._try(self.drawing.save, self.path, self.count):
            self._say(f"Saved {self.path}: {self._describe()}.")

    def _try(self, action: Callable, *arguments) -> bool:
        """Call `action`; return whether it succeeded. If not, the status line says why."""
        try:
            action(*arguments)
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
        with hold_canvas():
            for layer in (self._picture, self._veil, self._sketch):
                layer.set_transform(*self.view.transform)
                layer.image_smoothing_enabled = False
            self._picture.put_image_data(*self.view.crop(np.dstack([self.drawing.frame, opaque])))
            self._draw()

    def _draw(self) -> None:
        with hold_canvas():
            self._veil.clear()
            self._veil.put_image_data(*self.view.crop(self.drawing.veil()))
        self._draw_sketch(self._points)

    def _draw_sketch(self, points: Sequence[tuple[float, float]]) -> None:
        """Draw the unfinished polygon, line or box."""
        with hold_canvas():
            self._sketch.clear()
            if not points:
                return
            points = np.array(points) + 0.5
            if self.tool.value == "Polygon":
                self._outline(points)
                self._sketch.stroke_circle(*points[0], self._snap)
            elif self.tool.value == "Box":
                (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
                self._outline(np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]))
            else:
                self._trace(points)

    def _outline(self, points: np.ndarray) -> None:
        """A white line on a wider black line, visible on every frame."""
        unit = max(self.canvas.width / LEAST_WIDTH, 0.5) / self.view.scale
        for width, colour in ((3 * unit, "black"), (1.5 * unit, "white")):
            self._sketch.line_width, self._sketch.stroke_style = width, colour
            self._sketch.stroke_lines(points)

    def _trace(self, points: np.ndarray) -> None:
        """The path of the brush or eraser, in its full width."""
        number = self.number.value if self.tool.value == "Brush" else 0
        self._sketch.line_cap = self._sketch.line_join = "round"
        self._sketch.line_width = self.width.value
        self._sketch.stroke_style = f"{self._colour_of(number)}A0"
        self._sketch.stroke_lines(np.concatenate([points[:1], points]))
