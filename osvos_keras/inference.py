"""From a trained network to masks: a sequence in batches, PNGs in DAVIS result layout."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import cv2
import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from osvos_keras.davis import Davis, image_size, read_annotation, read_frame, write_mask
from osvos_keras.device import use_xla
from osvos_keras.errors import DataError
from osvos_keras.files import find_path, make_folder
from osvos_keras.metrics import region_similarity
from osvos_keras.model import keep_outputs
from osvos_keras.pipeline import frame_dataset, resize_to_height

THRESHOLD = 0.5  # of the probability


def predict_logits(model: keras.Model, frame: np.ndarray, height: int = 0) -> dict[str, np.ndarray]:
    """All outputs of the network for one frame.

    Args:
        model: the network.
        frame: (H, W, 3) uint8 RGB.
        height: lines to resize the frame to; 0 leaves it as it is.

    Returns:
        `side2` … `side5` and `fused`, each (H, W) float32, at the resized frame's size.
    """
    resized = resize_to_height(tf.constant(frame), height, "bilinear")
    return {name: np.asarray(logits)[0, ..., 0] for name, logits in model(resized[None]).items()}


@lru_cache(maxsize=2)  # Keras traces a graph for every model object; two, to compare two networks
def fused_only(model: keras.Model) -> keras.Model:
    """The same network, computing the fused output alone, compiled for this device."""
    fused = keep_outputs(model, ("fused",))
    fused.compile(jit_compile=use_xla())
    return fused


def predict_sequence(
    model: keras.Model, frames: Sequence[Path], height: int = 0, batch: int = 4, progress: bool = True
) -> Iterator[tuple[Path, np.ndarray]]:
    """The probability of the object in every frame of a sequence, in order.

    Only the fused output is computed, and only one batch is in memory at a time.

    Args:
        model: the network.
        frames: paths of the frames, all of one size.
        height: lines at which the network sees them; 0 leaves them as they are.
        batch: frames at a time.
        progress: whether to show a bar.

    Yields:
        the frame's path, and its probabilities (H, W) float32 at the frame's own size.

    Raises:
        DataError: a frame is missing, unreadable or truncated.
    """
    fused = fused_only(model)
    with tqdm(
        desc=f"masks {frames[0].parent.name}", total=len(frames), unit="frame", disable=not progress
    ) as bar:
        remaining = iter(frames)
        for images in _readable(frame_dataset(frames, height, batch), frames):
            for logits in fused.predict_on_batch(images)["fused"][..., 0]:
                path = next(remaining)
                size = image_size(path)[::-1]
                logits = cv2.resize(np.asarray(logits, np.float32), size, interpolation=cv2.INTER_LINEAR)
                yield path, np.asarray(keras.ops.sigmoid(logits))
                bar.update()


def _readable(batches: tf.data.Dataset, frames: Sequence[Path]) -> Iterator[tf.Tensor]:
    """The batches; where one cannot be read, the error names the file, as TensorFlow's does not."""
    try:
        yield from batches
    except tf.errors.InvalidArgumentError as error:
        for path in frames:
            read_frame(path)
        raise DataError(
            f"{frames[0].parent}: frames of different sizes cannot share a batch ({error.message}). "
            "Use batch=1."
        ) from error


def sample_similarity(model: keras.Model, davis: Davis, sequence: str, height: int, every: int) -> float:
    """The mean J over every `every`-th frame of a sequence at full size, the first and the last left out.

    A quick look at a network in training; the benchmark's own number is `evaluation.evaluate`'s.
    """
    frames, annotations = (paths(sequence)[1:-1][::every] for paths in (davis.frames, davis.annotations))
    found = predict_sequence(model, frames, height, progress=False)
    pairs = zip(found, annotations, strict=True)
    return float(np.mean([region_similarity(p > THRESHOLD, read_annotation(path)) for (_, p), path in pairs]))


def segment_sequence(
    model: keras.Model, davis: Davis, sequence: str, folder: str | Path, height: int = 0, **options
) -> Path:
    """Write the masks of a sequence: `folder/<sequence>/00000.png`, 0 and 255, the frames' own size.

    Args:
        model: the network, trained online for this sequence.
        davis: the data set.
        sequence: its name.
        folder: the folder of masks; the sequence gets one of its own in it.
        height: lines at which the network sees the frames; 0 leaves them as they are.
        **options: `batch` and `progress`, as in `predict_sequence`.

    Returns:
        The sequence's folder of masks.
    """
    masks = make_folder(find_path(folder) / sequence)
    with ThreadPoolExecutor(max_workers=1) as writer:  # while the network computes the next batch
        written = [
            writer.submit(write_mask, masks / f"{path.stem}.png", probability > THRESHOLD)
            for path, probability in predict_sequence(model, davis.frames(sequence), height, **options)
        ]
        for one in written:
            one.result()
    return masks
