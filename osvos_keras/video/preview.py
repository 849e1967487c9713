"""The picture of what a person marked, drawn before anything trains.

<run>/marked/00020.png     a frame with a mark, as `osvos segment` draws it
<run>/marked.json          the files that `osvos mark` and `osvos segment` wrote, and their checksums
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from osvos_keras.io.images import read_frame
from osvos_keras.io.kept import checksums, keep_others
from osvos_keras.io.masks import write_png
from osvos_keras.io.records import dict_in, read_record, write_record
from osvos_keras.video.clip import Clip
from osvos_keras.video.outputs import PREVIEWS
from osvos_keras.video.overlay import draw_objects

NUMBER_LINES = 400  # of a frame in which an object's number has OpenCV's own size


def draw_marks(frame: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """A frame with each object tinted and outlined in its colour, and its number, if that is not 1 alone.

    Args:
        frame: (H, W, 3) uint8 RGB.
        objects: (H, W) uint8, 0 background, 1…N.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    drawn = draw_objects(frame, objects)
    for number in np.unique(objects[objects > 0]) if objects.max() > 1 else ():
        _write_number(drawn, objects == number, str(number))
    return drawn


def _write_number(drawn: np.ndarray, region: np.ndarray, text: str) -> None:
    """Write a text in white on black, its middle in the widest place of a region (H, W) bool."""
    depth = cv2.distanceTransform(np.pad(region, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    scale = max(len(drawn) / NUMBER_LINES, 0.5)
    font = {"fontFace": cv2.FONT_HERSHEY_SIMPLEX, "fontScale": scale, "thickness": max(1, round(2 * scale))}
    (width, height), _ = cv2.getTextSize(text, **font)
    ink = np.zeros(region.shape, np.uint8)
    cv2.putText(ink, text, (int(column - width / 2), int(row + height / 2)), color=255, **font)
    edge = np.ones((2 * font["thickness"] + 1,) * 2, np.uint8)
    drawn[cv2.dilate(ink, edge) > 127] = 0
    drawn[ink > 127] = 255


def write_preview(path: Path, frame: np.ndarray, objects: np.ndarray) -> None:
    """Write `draw_marks` of a frame as a PNG of the frame's size, atomically."""
    write_png(path, Image.fromarray(draw_marks(frame, objects)))


def write_previews(clip: Clip, marked: Mapping[int, np.ndarray], run_dir: Path) -> list[Path]:
    """Write the preview of each marked frame to the run's folder; return their paths, in order.

    Args:
        clip: the clip.
        marked: maps of objects (H, W) uint8 by the index of their frame.
        run_dir: the run's folder.

    Warns:
        VideoWarning: an existing file that no run of this clip wrote was renamed.
    """
    frames = clip.frames
    paths = {run_dir / PREVIEWS / f"{frames[index].stem}.png": index for index in marked}
    with replacing(run_dir, paths):
        for path, index in paths.items():
            write_preview(path, read_frame(frames[index]), marked[index])
    return list(paths)


@contextmanager
def replacing(run_dir: Path, paths: Iterable[Path]) -> Iterator[None]:
    """Write these files in its block: those of an earlier run are replaced, any other file is renamed.

    Warns:
        VideoWarning: a file was renamed.
    """
    done = run_dir / f"{PREVIEWS}.json"
    written, paths = dict_in(read_record(done), "files"), list(paths)
    keep_others(paths, written)
    yield
    write_record(done, {}, files={**written, **checksums(paths)})
