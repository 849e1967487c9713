"""From a trained network to masks: a sequence in batches, PNGs in DAVIS result layout.

A frame's way: it is read and resized (a thread), the network looks at it (`looks`), and its logits are
resized to the frame's own size and snapped (a thread); then parts far from the mask before are left out. A
pixel belongs to the object where its logit is above 0, that is, its probability above one half.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from osvos_keras.config import InferenceConfig
from osvos_keras.davis import Davis
from osvos_keras.errors import MaskWarning
from osvos_keras.io.files import clear_temporaries, make_folder
from osvos_keras.io.images import read_frame
from osvos_keras.io.masks import write_mask
from osvos_keras.io.paths import resolve_output
from osvos_keras.looks import glance, look, look_again, resize_images, resize_logits
from osvos_keras.pipeline import resized_size
from osvos_keras.refinement import keep_near, snap_contour
from osvos_keras.threads import in_order, worker_threads

Observer = Callable[[Path, np.ndarray], object]
AHEAD = 8  # frames that are read before, or snapped and written after, the network's own
CERTAIN = np.float32(100)  # the logit of a pixel that a person decided: its probability is 1


class _Frame(NamedTuple):
    path: Path
    frame: np.ndarray  # (H, W, 3) uint8, its own size
    image: np.ndarray  # (h, w, 3) uint8, as the network sees it


def predict_logits(model: keras.Model, frame: np.ndarray, height: int | None = None) -> dict[str, np.ndarray]:
    """All outputs of the network for one frame.

    Args:
        model: the network.
        frame: (H, W, 3) uint8 RGB.
        height: lines to resize the frame to; 0 leaves it as it is, None takes the model's own.

    Returns:
        `side2` … `side5` and `fused`, each (H, W) float32, at the resized frame's size.
    """
    height = own_settings(model).height if height is None else height
    outputs = model(resize_images(frame, height)[None])
    return {name: keras.ops.convert_to_numpy(logits)[0, ..., 0] for name, logits in outputs.items()}


def own_settings(model: keras.Model) -> InferenceConfig:
    """How a network looks at frames: as it was trained, or at their own size if that is not known."""
    return getattr(model, "inference", InferenceConfig())


def predict_sequence(
    model: keras.Model,
    frames: Sequence[Path],
    settings: InferenceConfig | None = None,
    learned_area: float = 0,
    progress: bool = True,
    given: Mapping[Path, np.ndarray] = MappingProxyType({}),
) -> Iterator[tuple[Path, np.ndarray]]:
    """The logits of the object in every frame of a sequence, in order.

    Only the fused output is computed, and only a few frames are in memory at a time.

    Frames of more lines than `settings.window` are seen in two steps: a glance at a small copy tells where
    the object is, and only near there the network looks at the frame itself. (With XLA, which would compile
    the network for every size of that window, it looks at the whole.)

    Online training sees the object at the size of its first frame. Where it has grown much larger since,
    the network knows its parts no longer; so it looks again at a smaller copy of that frame, in which the
    object is nearly as large as it was learned. The second look decides what belongs to the object, and
    where the first one differs, colours decide as along the contour. The object's size is estimated from
    this frame and the one before.

    The contour is snapped to edges of the picture, and parts far from the mask before are left out, as
    look-alikes elsewhere are: see `refinement`.

    Args:
        model: the network.
        frames: paths of the frames; a batch holds frames of one size.
        settings: how to look at them; None takes the model's own. To change one setting:
            `dataclasses.replace(model.inference, snap=False)`.
        learned_area: the area of the object where it was learned, as a fraction of the frame, 0 to 1.
            With 0, for a network that has not learned an object, it looks once at every frame.
        progress: whether to show a bar.
        given: correct masks (H, W) bool of some frames, by path: these frames have them as they are, and the
            next ones are compared with them.

    Yields:
        the frame's path, and its logits (H, W) float32 at the frame's own size.

    Raises:
        DataError: a frame is missing, unreadable or truncated, or would be enlarged beyond reason.

    Warns:
        MaskWarning: the object that was learned is in none of the masks.
    """
    settings, before = settings or own_settings(model), None
    name, read = frames[0].parent.name, partial(_read, height=settings.height)
    bar = tqdm(desc=f"masks {name}", total=len(frames), unit="frame", disable=not progress)
    with bar, worker_threads() as pool:
        seen = _see(model, in_order(pool, read, frames, AHEAD), settings, learned_area)
        for path, logits in in_order(pool, partial(_finish, settings=settings), seen, AHEAD):
            logits = keep_near(logits, before, settings.reach if learned_area else 0)
            if path in given:
                logits = np.where(given[path], CERTAIN, -CERTAIN)
            before = logits > 0 if (logits > 0).any() else before
            yield path, logits
            bar.update()
    if learned_area and before is None:
        warnings.warn(
            f"{name}: all masks are empty: the network finds the object in none of the {len(frames)} frames. "
            "Train for more steps, or at more lines (HEIGHT) if the object is small.",
            MaskWarning,
            stacklevel=2,
        )


def _read(path: Path, height: int) -> _Frame:
    frame = read_frame(path)
    resized_size(path, height, frame.shape[:2])
    with tf.device("CPU"):
        return _Frame(path, frame, resize_images(frame, height))


def _batches(frames: Iterable[_Frame], size: int) -> Iterator[list[_Frame]]:
    """Neighbours of one size, at most `size` of them at a time."""
    for _, alike in groupby(frames, lambda frame: frame.image.shape):
        while batch := list(islice(alike, size)):
            yield batch


def _see(
    model: keras.Model, frames: Iterable[_Frame], settings: InferenceConfig, learned_area: float
) -> Iterator[tuple[_Frame, np.ndarray]]:
    """Each frame with its logits, at the size that the network sees."""
    growth = 1.0
    for batch in _batches(frames, settings.batch):
        images = np.stack([frame.image for frame in batch])
        for frame, glanced in zip(batch, glance(model, images, settings), strict=True):
            see = partial(look, model, frame.image, glanced)
            logits = see()
            if learned_area:
                logits, growth = look_again(see, logits, settings, learned_area, growth)
            yield frame, logits


def _finish(seen: tuple[_Frame, np.ndarray], settings: InferenceConfig) -> tuple[Path, np.ndarray]:
    (path, frame, _), logits = seen
    logits = resize_logits(logits, frame.shape[:2])
    return path, snap_contour(frame, logits, settings.snap_band) if settings.snap else logits


def segment_sequence(
    model: keras.Model,
    davis: Davis,
    sequence: str,
    folder: str | Path,
    settings: InferenceConfig | None = None,
    learned_area: float | None = None,
    progress: bool = True,
    frames: Sequence[Path] | None = None,
    observe: Observer = lambda path, logits: None,
) -> Path:
    """Write the masks of a sequence: `folder/<sequence>/00000.png`, 0 and 255, the frames' own size.

    Args:
        model: the network, trained online for this sequence.
        davis: the data set.
        sequence: its name.
        folder: the folder of masks; the sequence gets one of its own in it.
        settings, learned_area, progress: as for `predict_sequence`; no learned area is that of the first
            annotation.
        frames: some of the sequence's frames; None takes all.
        observe: called with the path and the logits (H, W) of every frame, in several threads.

    Returns:
        The sequence's folder of masks.

    Raises:
        DataError: a frame or the first annotation is missing or unreadable.
        FolderError: a mask cannot be written.

    Warns:
        MaskWarning: all masks are empty.
    """
    learned_area = davis.first(sequence)[1].mean() if learned_area is None else learned_area
    masks = make_folder(resolve_output(folder) / sequence)
    clear_temporaries(masks)

    def write(found: tuple[Path, np.ndarray]) -> None:
        path, logits = found
        observe(path, logits)
        write_mask(masks / f"{path.stem}.png", logits > 0)

    with worker_threads() as pool:
        frames = frames or davis.frames(sequence)
        found = predict_sequence(model, frames, settings, learned_area, progress)
        for _ in in_order(pool, write, found, AHEAD):
            pass
    return masks
