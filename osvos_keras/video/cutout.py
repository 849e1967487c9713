"""The objects of a clip alone: a video with a transparent background."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from osvos_keras.io.images import read_frame
from osvos_keras.io.masks import read_indexed
from osvos_keras.io.paths import resolve_output
from osvos_keras.video.clip import Clip
from osvos_keras.video.codec import write_webm
from osvos_keras.video.outputs import write_once

RIM = 16  # pixels around an object that keep their colours, unseen: the codec blends colours of neighbours


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

    A file that an earlier call wrote from the same masks stays as it is. Any other existing file is renamed.

    Returns:
        The path.

    Warns:
        VideoWarning: an existing file was renamed.
    """

    def write(path: Path) -> None:
        bar = tqdm(clip.frames, f"cut-out {clip.name}", unit="frame", disable=not progress)
        write_webm(path, _read_cutouts(bar, masks), clip.times)

    out = resolve_output(out)
    write_once(clip, masks, "cutout", [out], write)
    return out


def _read_cutouts(frames: Sequence[Path], masks: Path) -> Iterator[np.ndarray]:
    for path in frames:
        yield cut_out(read_frame(path), read_indexed(masks / f"{path.stem}.png"))
