"""The drawing of the first mask, without a user interface: the effect of each tool, and undo.

`marking.tool` is the user interface in a notebook.
"""

from collections import deque
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from osvos_keras.marking.marks import (
    box_mask,
    box_region,
    check_mask,
    object_palette,
    polygon_mask,
    write_correction,
    write_objects,
)

UNDO_STEPS = 30  # each one keeps two bytes per pixel
VEIL_ALPHA = 110  # opacity of a drawn object, 0 to 255


class MaskDrawing:
    """Objects drawn on one frame; the last 30 changes can be undone.

    Points are (x, y) in pixels of the frame; (0, 0) is the centre of the pixel at the top left.
    Objects are numbered from 1; later paint covers earlier paint.

    Args:
        frame: (H, W, 3) uint8 RGB.
        objects: the objects to start with, (H, W) uint8; None: an empty map.
    """

    def __init__(self, frame: np.ndarray, objects: np.ndarray | None = None):
        self.frame = frame
        self.objects = np.zeros(self.size, np.uint8) if objects is None else objects.copy()
        self._strokes = np.zeros(self.size, np.int8)  # 1 brushed, -1 erased: hints for `cut`
        self._past = deque(maxlen=UNDO_STEPS)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the frame."""
        return self.frame.shape[:2]

    def polygon(self, points: Sequence[Sequence[float]], number: int) -> None:
        """Fill a polygon. Raises MaskError for fewer than three corners."""
        self._paint(polygon_mask(points, self.size), number, stroke=0)

    def brush(self, points: Sequence[Sequence[float]], width: int, number: int) -> None:
        """Paint along a line, `width` pixels wide; a single point gives a disc."""
        self._paint(line_mask(points, width, self.size), number, stroke=1)

    def erase(self, points: Sequence[Sequence[float]], width: int) -> None:
        """Paint background along a line, `width` pixels wide, over any object."""
        self._paint(line_mask(points, width, self.size), 0, stroke=-1)

    def cut(self, box: Sequence[float], number: int) -> None:
        """Let GrabCut find the object in a rough box (x0, y0, x1, y1); nothing changes outside the box.

        Brushed pixels stay object. Erased pixels and pixels of other objects do not become part of it.

        Raises:
            MaskError: the box cannot be used (see `box_mask`).
        """
        others = (self.objects != 0) & (self.objects != number)
        inside = box_region(box, self.size)
        found = box_mask(self.frame, box, np.where(others, np.int8(-1), self._strokes))
        self._remember()
        self.objects[inside & ~others] = 0
        self.objects[inside & found] = number

    def clear(self) -> None:
        """Make everything background, and delete the strokes."""
        self._paint(np.ones(self.size, bool), 0, stroke=0)

    def undo(self) -> bool:
        """Undo the last change; False if there is none."""
        if not self._past:
            return False
        self.objects, self._strokes = self._past.pop()
        return True

    def save(self, path: str | Path, count: int | None = None) -> None:
        """Write the objects as a PNG.

        Args:
            path: of the PNG.
            count: the number of objects that are marked in other frames, if this is a correction.

        Raises:
            MaskError: no object is drawn, the objects cover the whole frame, or their numbers have a gap. In
                a correction objects may be absent, but none may be new.
            FolderError: the file cannot be written.
        """
        if count is not None:
            write_correction(path, self.objects, count)
            return
        check_mask(self.objects, path)
        write_objects(path, self.objects)

    def veil(self) -> np.ndarray:
        """The objects as a translucent picture with opaque outlines, (H, W, 4) uint8 RGBA."""
        drawn = self.objects > 0
        inner = cv2.erode(self.objects, np.ones((3, 3), np.uint8)) == self.objects
        alpha = np.where(inner, VEIL_ALPHA, 255) * drawn
        colours = object_palette(int(self.objects.max()))[self.objects]
        return np.dstack([colours, alpha.astype(np.uint8)])

    def _paint(self, region: np.ndarray, number: int, stroke: int) -> None:
        self._remember()
        self.objects[region] = number
        self._strokes[region] = stroke

    def _remember(self) -> None:
        self._past.append((self.objects.copy(), self._strokes.copy()))


def line_mask(points: Sequence[Sequence[float]], width: float, size: Sequence[int]) -> np.ndarray:
    """A line through points (x, y) with round ends, (H, W) bool: all pixels nearer to it than `width` / 2."""
    thin = np.ones(tuple(size), np.uint8)
    corners = np.round(points).astype(np.int32)
    cv2.polylines(thin, [np.concatenate([corners[:1], corners])], False, 0)
    distance = cv2.distanceTransform(thin, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return distance < width / 2
