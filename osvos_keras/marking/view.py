"""The part of a frame that the mask tool shows: all of it, or a window of it, enlarged."""

import numpy as np

MOST = 16  # canvas pixels per pixel of the frame, and side, at the strongest zoom
STEP = 0.25  # of the window's side that one arrow key moves it


class View:
    """A window of a frame, shown on a canvas of the frame's own size.

    Points of the frame are (x, y) with (0, 0) at the centre of the upper left pixel; those of the canvas
    have it at that pixel's corner.

    Args:
        size: (H, W) of the frame.

    Attributes:
        scale: canvas pixels per pixel of the frame, 1 to `MOST`.
        corner: (x, y) of the window's upper left corner, in pixels from the frame's.
    """

    def __init__(self, size: tuple[int, int]):
        self._sides = np.array(size[::-1])
        self.scale, self.corner = 1.0, np.zeros(2)

    def to_frame(self, x: float, y: float) -> tuple[float, float]:
        """A point of the canvas as a point of the frame."""
        x, y = np.array([x, y]) / self.scale + self.corner - 0.5
        return float(x), float(y)

    @property
    def transform(self) -> tuple[float, ...]:
        """The canvas transform that puts the frame's pixels in their places, as `set_transform` takes it."""
        x, y = -self.corner * self.scale
        return self.scale, 0, 0, self.scale, float(x), float(y)

    def zoom(self, factor: float, x: float, y: float) -> None:
        """Enlarge by a factor; what is at a point of the canvas stays there, unless the frame ends."""
        place = np.array([x, y])
        kept = self.corner + place / self.scale
        self.scale = float(np.clip(self.scale * factor, 1, MOST))
        self._put(kept - place / self.scale)

    def move(self, right: float, down: float) -> None:
        """Move the window by `STEP` of its sides, as often as told; it stays in the frame."""
        self._put(self.corner + STEP * np.array([right, down]) * self._sides / self.scale)

    def crop(self, image: np.ndarray) -> tuple[np.ndarray, int, int]:
        """The pixels of an image (H, W, …) that the window shows, and where (x, y) they begin."""
        x, y = np.floor(self.corner).astype(int)
        right, bottom = np.ceil(self.corner + self._sides / self.scale).astype(int)
        return image[y:bottom, x:right], int(x), int(y)

    def _put(self, corner: np.ndarray) -> None:
        self.corner = np.clip(corner, 0, self._sides - self._sides / self.scale)
