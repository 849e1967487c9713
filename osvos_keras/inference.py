"""From a trained network to masks: a sequence in batches, PNGs in DAVIS result layout."""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from weakref import WeakKeyDictionary

import cv2
import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from osvos_keras.config import InferenceConfig
from osvos_keras.davis import Davis
from osvos_keras.device import use_xla
from osvos_keras.errors import MaskWarning
from osvos_keras.io.files import clear_temporaries, make_folder
from osvos_keras.io.images import image_size, read_frame
from osvos_keras.io.masks import read_annotation, write_mask
from osvos_keras.io.paths import resolve_output
from osvos_keras.metrics import region_similarity
from osvos_keras.model import keep_outputs
from osvos_keras.pipeline import (
    frame_dataset,
    naming_files,
    resize_to_height,
    resized_size,
    scaled_heights,
)
from osvos_keras.refinement import drop_unclear, snap_contour

THRESHOLD = 0.5  # of the probability
# Of objects that grow; chosen on training sequences: docs/experiments.md
SECOND_LOOKS = {1.25: 0.75, 1.6: 0.5, 2.4: 0.35, 3.4: 0.25}  # growth, at least: scale of the second look
SHRINKING = 0.9  # what is left of an object's length, at the least, from one frame to the next
_FUSED: WeakKeyDictionary[keras.Model, keras.Model] = WeakKeyDictionary()  # Keras traces a graph for each


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
    resized = resize_to_height(tf.constant(frame), height, "bilinear")[None]
    return {name: _to_numpy(logits)[0, ..., 0] for name, logits in model(resized.numpy()).items()}


def own_settings(model: keras.Model) -> InferenceConfig:
    """How a network looks at frames: as it was trained, or at their own size if that is not known."""
    return getattr(model, "inference", InferenceConfig())


def fused_only(model: keras.Model) -> keras.Model:
    """The same network, computing the fused output alone, compiled for this device; kept while it lives."""
    if model not in _FUSED:
        _FUSED[model] = keep_outputs(model, ("fused",))
        _FUSED[model].compile(jit_compile=use_xla())
    return _FUSED[model]


def predict_sequence(
    model: keras.Model,
    frames: Sequence[Path],
    height: int | None = None,
    batch: int = 4,
    progress: bool = True,
    learned_share: float | None = None,
    scales: int | None = None,
    snap: bool = False,
) -> Iterator[tuple[Path, np.ndarray]]:
    """The probability of the object in every frame of a sequence, in order.

    Only the fused output is computed, and only one batch is in memory at a time.

    Online training sees the object at the size of its first frame. Where it has grown much larger since,
    the network knows its parts no longer; so it looks again at a smaller copy of that frame, in which the
    object is nearly as large as it was learned. The logits of the first look count as the learned area to
    the present one. How large the object is, this frame and the one before tell.

    What only resembles the object is left out, and the contour can be snapped: see `refinement`.

    Args:
        model: the network.
        frames: paths of the frames; those of different sizes are seen one at a time.
        height: lines at which the network sees them; 0 leaves them as they are, None takes those that the
            network was trained at.
        batch: frames at a time.
        progress: whether to show a bar.
        learned_share: the share of the frame, 0 to 1, that the object covers where it was learned; None, for
            a network that has not learned one, looks once at every frame and takes what it finds.
        scales: sizes at which it sees a frame, each half of the one before; None takes those that the
            network was trained at. The logits are their mean.
        snap: whether to snap the contour.

    Yields:
        the frame's path, and its probabilities (H, W) float32 at the frame's own size.

    Raises:
        DataError: a frame is missing, unreadable or truncated, or would be enlarged beyond reason.

    Warns:
        MaskWarning: the object that was learned is in none of the masks.
    """
    own = own_settings(model)
    height = own.height if height is None else height
    look = partial(_look, fused_only(model), scales=own.scales if scales is None else scales)
    if len({resized_size(path, height) for path in frames}) > 1:
        batch = 1
    name = frames[0].parent.name
    with tqdm(desc=f"masks {name}", total=len(frames), unit="frame", disable=not progress) as bar:
        remaining, growth, found = iter(frames), 1.0, False
        for images in _read(frame_dataset(frames, height, batch)):
            for image, logits in zip(images, look(images), strict=True):
                path = next(remaining)
                if learned_share:
                    logits = drop_unclear(logits)
                    logits, growth = _look_again(look, image, logits, learned_share, growth)
                probability = _to_numpy(keras.ops.sigmoid(_resize(logits, image_size(path))))
                probability = snap_contour(read_frame(path), probability) if snap else probability
                found = found or (probability > THRESHOLD).any()
                yield path, probability
                bar.update()
    if learned_share and not found:
        warnings.warn(
            f"{name}: all masks are empty: the network finds the object in none of the {len(frames)} frames. "
            "Train for more steps, or at more lines (HEIGHT) if the object is small.",
            MaskWarning,
            stacklevel=2,
        )


def _read(batches: tf.data.Dataset) -> Iterator[np.ndarray]:
    with naming_files():
        yield from batches.as_numpy_iterator()


def _look(fused: keras.Model, images: np.ndarray, scales: int, scale: float = 1) -> np.ndarray:
    """Logits (B, H, W) float32 of images (B, H, W, 3) seen at `scale` of their size, and at its halves."""
    size = images.shape[1:3]
    found = []
    for lines in scaled_heights(scale * size[0], scales):
        seen = images if lines == size[0] else resize_to_height(images, lines, "bilinear").numpy()
        logits = _to_numpy(fused.predict_on_batch(seen)["fused"])[..., 0]
        found.append([_resize(one, size) for one in logits])
    return np.mean(found, axis=0)


def _to_numpy(logits) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(logits), np.float32)


def _resize(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(logits, size[::-1], interpolation=cv2.INTER_LINEAR)


def _look_again(
    look: Callable[..., np.ndarray], image: np.ndarray, logits: np.ndarray, learned: float, before: float
) -> tuple[np.ndarray, float]:
    """The logits with a second look, if the object has grown, and its growth; `before`: a frame earlier."""
    growth = max(_growth(logits, learned), SHRINKING * before)
    scale = next((scale for least, scale in reversed(SECOND_LOOKS.items()) if growth >= least), None)
    if scale is not None:
        second = look(image[None], scale=scale)[0]
        logits = second + (logits - second) / growth**2
    return logits, _growth(logits, learned)


def _growth(logits: np.ndarray, learned_share: float) -> float:
    """How many times as long the object is as where it was learned."""
    return math.sqrt((logits > 0).mean() / learned_share)


def sample_similarity(
    model: keras.Model, davis: Davis, sequence: str, height: int | None = None, every: int = 1, **options
) -> float:
    """The mean J over every `every`-th frame of a sequence at full size, the first and the last left out.

    A quick look at a network in training, without snapping unless asked for; the benchmark's own number is
    `evaluation.evaluate`'s. `options` are those of `predict_sequence`.
    """
    frames, annotations = (paths(sequence)[1:-1][::every] for paths in (davis.frames, davis.annotations))
    found = predict_sequence(model, frames, height, progress=False, **options)
    pairs = zip(found, annotations, strict=True)
    return float(np.mean([region_similarity(p > THRESHOLD, read_annotation(path)) for (_, p), path in pairs]))


def segment_sequence(
    model: keras.Model, davis: Davis, sequence: str, folder: str | Path, height: int | None = None, **options
) -> Path:
    """Write the masks of a sequence: `folder/<sequence>/00000.png`, 0 and 255, the frames' own size.

    Args:
        model: the network, trained online for this sequence.
        davis: the data set.
        sequence: its name.
        folder: the folder of masks; the sequence gets one of its own in it.
        height: lines at which the network sees the frames; 0 leaves them as they are, None takes those that
            the network was trained at.
        **options: `batch`, `progress`, `learned_share`, `scales` and `snap`, as in `predict_sequence`; the
            share is the first annotation's unless another is given, and contours are snapped.

    Returns:
        The sequence's folder of masks.

    Raises:
        DataError: a frame or the first annotation is missing or unreadable.
        FolderError: a mask cannot be written.

    Warns:
        MaskWarning: all masks are empty.
    """
    options = {"learned_share": davis.first(sequence)[1].mean(), "snap": True, **options}
    masks = make_folder(resolve_output(folder) / sequence)
    clear_temporaries(masks)
    with ThreadPoolExecutor(max_workers=1) as writer:  # while the network computes the next batch
        written = [
            writer.submit(write_mask, masks / f"{path.stem}.png", probability > THRESHOLD)
            for path, probability in predict_sequence(model, davis.frames(sequence), height, **options)
        ]
        for one in written:
            one.result()
    return masks
