"""Pictures of a segmented clip: an overlay video, a GIF for slides, a contact sheet, the objects alone."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from osvos_keras.io.images import read_frame
from osvos_keras.io.masks import read_indexed
from osvos_keras.io.paths import resolve_output
from osvos_keras.marking.marks import object_palette
from osvos_keras.plots.figures import new_figure, save_figure
from osvos_keras.plots.frames import show_frame, shrink
from osvos_keras.video.clip import Clip
from osvos_keras.video.codec import write_gif, write_webm
from osvos_keras.video.outputs import write_once

VEIL = 0.5  # opacity of an object's colour
GIF_WIDTH, GIF_RATE, GIF_FRAMES = 480, 12, 150  # at most: pixels, frames per second, frames
SHEET_WIDTH = 480  # pixels per picture of the contact sheet
RIM = 16  # pixels around an object that keep their colours, unseen: the codec blends colours of neighbours


def draw_objects(frame: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """A frame with each object tinted and outlined in its colour.

    Args:
        frame: (H, W, 3) uint8 RGB.
        objects: (H, W) uint8, 0 background, 1…N.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    colours = object_palette(int(objects.max()))
    drawn = cv2.addWeighted(frame, 1 - VEIL, colours[objects], VEIL, 0)
    drawn[objects == 0] = frame[objects == 0]
    thickness = max(1, frame.shape[0] // 240)
    for number in range(1, len(colours)):
        outlines, _ = cv2.findContours(
            (objects == number).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE
        )
        cv2.drawContours(drawn, outlines, -1, colours[number].tolist(), thickness)
    return drawn


def read_overlays(clip: Clip, masks: Path, indices: Sequence[int], width: int = 0) -> Iterator[np.ndarray]:
    """Frames of a clip with their masks drawn, one at a time; `width`: most pixels of width, 0: no limit."""
    frames = clip.frames
    for index in indices:
        path = frames[index]
        drawn = draw_objects(read_frame(path), read_indexed(masks / f"{path.stem}.png"))
        yield shrink(drawn, width) if width else drawn


def overlay_files(out: str | Path) -> list[Path]:
    """The paths of the overlay video `out`, and of the GIF and the contact sheet beside it."""
    out = resolve_output(out)
    beside = out.with_suffix(".gif"), out.with_name(f"{out.stem}_sheet.png")
    return [out, *map(resolve_output, beside)]


def write_overlays(clip: Clip, masks: Path, out: str | Path, progress: bool = True) -> list[Path]:
    """Write the overlay video `out` (WebM), and beside it the GIF and the contact sheet (PNG).

    The video has the clip's size and times. The GIF has at most 480 pixels of width and 12 frames per second.
    They are written by `write_once`: what an earlier call wrote from the same masks stays, any other file is
    renamed, with a VideoWarning. The three paths are returned.
    """
    files = overlay_files(out)
    write_once(clip, masks, "overlays", files, partial(_write, clip, masks, progress))
    return files


def _write(clip: Clip, masks: Path, progress: bool, webm: Path, gif: Path, sheet: Path) -> None:
    every = tqdm(range(len(clip.frames)), f"video {clip.name}", unit="frame", disable=not progress)
    write_webm(webm, read_overlays(clip, masks, every), clip.times)
    some = pick_frames(clip.times)
    times = [clip.times[index] for index in some] + [clip.times[-1]]
    write_gif(gif, read_overlays(clip, masks, some, GIF_WIDTH), times)
    save_figure(contact_sheet(clip, masks), sheet)


def pick_frames(times: Sequence[float]) -> list[int]:
    """The indices of the frames that a GIF shows: at most `GIF_RATE` a second, about `GIF_FRAMES` in all."""
    gap = max(1 / GIF_RATE, times[-1] / GIF_FRAMES)
    slots = [int(time / gap + 1e-6) for time in times[:-1]]
    return [0, *(index for index, (before, now) in enumerate(pairwise(slots), start=1) if now > before)]


def contact_sheet(clip: Clip, masks: Path, count: int = 8, columns: int = 4) -> Figure:
    """A figure of evenly spaced frames with their masks, including the first and the last frame."""
    frames = clip.frames
    indices = np.unique(np.linspace(0, len(frames) - 1, count).round().astype(int))
    pictures = list(read_overlays(clip, masks, indices, SHEET_WIDTH))
    height, width = pictures[0].shape[:2]
    rows = -(-len(indices) // columns)
    figure = new_figure(10, rows * (10 / columns * height / width + 0.3))
    for place, (index, picture) in enumerate(zip(indices, pictures, strict=True), start=1):
        ax = figure.add_subplot(rows, columns, place)
        show_frame(picture, ax, f"{frames[index].stem}, {clip.times[index]:.1f} s")
        ax.title.set_size(8)
    return figure


def cut_out(frame: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """A frame that is transparent, and black, outside its objects.

    The pixels next to an object keep their colours, so that its edge does not turn dark.

    Args:
        frame: (H, W, 3) uint8 RGB.
        objects: (H, W) uint8, 0 background, 1…N.

    Returns:
        (H, W, 4) uint8 RGBA; the opacity is 0 or 255, the colours are not multiplied by it.
    """
    opacity = np.where(objects > 0, np.uint8(255), np.uint8(0))
    near = cv2.dilate(opacity, np.ones((2 * RIM + 1, 2 * RIM + 1), np.uint8))
    return np.dstack([cv2.bitwise_and(frame, frame, mask=near), opacity])


def write_cutout(clip: Clip, masks: Path, out: str | Path, progress: bool = True) -> Path:
    """Write a video of the objects alone: VP9 in WebM with opacity, at the clip's size and times.

    It is written by `write_once`; its path is returned.
    """

    def write(path: Path) -> None:
        bar = tqdm(clip.frames, f"cut-out {clip.name}", unit="frame", disable=not progress)
        cutouts = (cut_out(read_frame(one), read_indexed(masks / f"{one.stem}.png")) for one in bar)
        write_webm(path, cutouts, clip.times)

    out = resolve_output(out)
    write_once(clip, masks, "cutout", [out], write)
    return out
