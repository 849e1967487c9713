"""tf.data: frames and annotations from disk to batches, uint8 until the network takes them.

Every training sample is a function of (seed, step) alone: no shuffle buffer, no generator, so a
data set can start at any step and give what an uninterrupted one gives from there on.
"""

import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import tensorflow as tf

from osvos_keras.augment import augment
from osvos_keras.config import OnlineConfig, ParentConfig
from osvos_keras.davis import Davis
from osvos_keras.errors import DataError
from osvos_keras.io.images import image_size, read_frame
from osvos_keras.io.masks import read_annotation
from osvos_keras.losses import side_weight
from osvos_keras.model import SIDES

LARGEST = 1 << 24  # pixels of an enlarged frame, at most; about twice those of 4K
MEMORY_FRACTION = 0.25  # of the free memory that decoded training frames may take
as_it_is = tf.autograph.experimental.do_not_convert  # no function here has a branch on a tensor's value


def resize_to_height(image: tf.Tensor, height: int, method: str) -> tf.Tensor:
    """An image (H, W, C) uint8, or a batch of them, at `height` lines, aspect kept; 0 leaves it as it is."""
    if not height:
        return image
    shape = tf.cast(tf.shape(image)[-3:], tf.float32)
    width = tf.maximum(tf.cast(tf.round(shape[1] * height / shape[0]), tf.int32), 1)
    resized = tf.image.resize(image, (height, width), method, antialias=method == "bilinear")
    return tf.cast(tf.round(resized), image.dtype)


def resized_size(path: str | Path, height: int, own: tuple[int, int] | None = None) -> tuple[int, int]:
    """Lines and columns of an image file at `height` lines; its own are read from its header if not given.

    Raises:
        DataError: the file is missing or no image, or would be enlarged beyond `LARGEST` pixels.
    """
    own = own or image_size(path)
    size = (height, max(round(own[1] * height / own[0]), 1)) if height else own
    if size[0] > own[0] and size[0] * size[1] > LARGEST:
        raise DataError(
            f"{path}: {own[1]}×{own[0]} pixels, which {height} lines would enlarge to {size[1]}×{size[0]}. "
            f"Use HEIGHT = 0 (--height 0), the frame's own size, or at most {own[0]}."
        )
    return size


def load_frame(path: tf.Tensor, height: int = 0) -> tf.Tensor:
    """An image file as (H, W, 3) uint8 RGB, at `height` lines. Errors: see `naming_files`."""
    return resize_to_height(_read(read_frame, path, 3), height, "bilinear")


def load_annotation(path: tf.Tensor, height: int = 0) -> tf.Tensor:
    """An annotation's file as (H, W, 1) uint8 of 0 and 1, at `height` lines. Errors: see `naming_files`."""
    return resize_to_height(_read(_annotation_channel, path, 1), height, "nearest")


def _annotation_channel(path: str) -> np.ndarray:
    return read_annotation(path).astype(np.uint8)[..., None]


def _read(read: Callable[[str], np.ndarray], path: tf.Tensor, channels: int) -> tf.Tensor:
    """What a reader gives for a file, in tf.data: one reader of images serves everything."""

    @as_it_is  # else TensorFlow would rewrite the reader, and Pillow with it
    def run(name):
        try:
            return read(os.fsdecode(np.asarray(name).item()))
        except DataError as error:  # TensorFlow drops a message that is no UTF-8
            raise DataError(str(error).encode(errors="backslashreplace").decode()) from None

    return tf.ensure_shape(tf.numpy_function(run, [path], tf.uint8, stateful=False), (None, None, channels))


@contextmanager
def naming_files() -> Iterator[None]:
    """Wrap what reads a data set's elements: a file that cannot be read raises its own DataError here.

    Out of tf.data comes an InvalidArgumentError, whose text holds ours somewhere in the middle.
    """
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        found = re.search(r"\bDataError: (.+?)\nTraceback", error.message, re.DOTALL)
        if not found:
            raise
        raise DataError(found[1]) from error


def parent_dataset(
    davis: Davis,
    sequences: Sequence[str],
    config: ParentConfig,
    start: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> tf.data.Dataset:
    """Batches for training the parent, from step `start` to the last.

    Each epoch goes once through every frame of `sequences`, in an order of its own. Of several
    processes that train together, each makes its own rows of every batch.

    Args:
        davis: the data set.
        sequences: the training sequences.
        config: height, epochs, batch, seed, side weight.
        start: the first step.
        rank: the number of this process, from 0.
        world_size: how many processes train together; it must divide the batch.

    Returns:
        Elements as `supervise` makes them.

    Raises:
        DataError: a sequence is unknown or lacks annotations.
    """
    frames = [path for name in sequences for path in davis.frames(name)]
    annotations = [path for name in sequences for path in davis.annotations(name)]
    count, read_pair = len(frames), _pair_reader(frames, annotations, config.height)

    def load(sample):
        order = tf.stack([config.seed, sample // count])  # an epoch's
        index = tf.random.experimental.index_shuffle(sample % count, order, count - 1)
        return augment(*read_pair(index), tf.stack([config.seed, sample]))

    return _training_dataset(load, config, config.count_steps(count), start, rank, world_size)


def _pair_reader(frames: Sequence[Path], annotations: Sequence[Path], height: int):
    """A function from an index to that frame and annotation, from memory if all of them fit there."""
    paths = [[os.fsencode(path) for path in column] for column in (frames, annotations)]

    def decode(index):
        frame, annotation = (tf.gather(column, index) for column in paths)
        return load_frame(frame, height), load_annotation(annotation, height)

    sizes = {resized_size(path, height) for path in frames}
    if len(sizes) != 1 or not _fits(4 * len(frames) * math.prod(*sizes)):  # of three channels and one
        return decode
    indices = tf.data.Dataset.range(len(frames))
    with naming_files():
        decoded = next(iter(indices.map(as_it_is(decode), tf.data.AUTOTUNE).batch(len(frames))))
    return lambda index: tuple(tf.gather(column, index) for column in decoded)


def _fits(needed: int) -> bool:
    """Whether so many bytes of decoded frames may be kept in memory."""
    from distributed.system import MEMORY_LIMIT  # of a container too, which psutil does not know

    return needed <= MEMORY_FRACTION * min(psutil.virtual_memory().available, MEMORY_LIMIT)


def online_dataset(frames, annotations, config: OnlineConfig, start: int = 0) -> tf.data.Dataset:
    """Batches for online training: the annotated frames in turn, transformed anew at every step.

    Frames of more lines than `config.window` are seen in two ways in turn: a window that shows some of the
    object, and the whole frame, made as small as a window.

    Args:
        frames: the first frame (H, W, 3) uint8 RGB, or several annotated ones (N, H, W, 3).
        annotations: (H, W) or (N, H, W) bool.
        config: height, window, steps, batch, seed, side weight.
        start: the first step.

    Returns:
        Elements as `supervise` makes them.
    """
    height, width = np.shape(annotations)[-2:]
    frames = np.reshape(frames, (-1, height, width, 3))
    annotations = np.reshape(annotations, (-1, height, width, 1)).astype(np.uint8)
    lines = config.height or height
    views = [
        (resize_to_height(frames, one, "bilinear"), resize_to_height(annotations, one, "nearest"))
        for one in ([lines, config.window] if 0 < config.window < lines else [lines])
    ]
    window = tuple(views[-1][1].shape[1:3])

    def see(view, turn, seed):
        return augment(*(tf.gather(one, turn) for one in view), seed, window)

    def load(sample):
        step, row = sample // config.batch, sample % config.batch
        turn = (step // len(views) * config.batch + row) % len(frames)  # every frame in every way
        ways = [partial(see, view, turn, tf.stack([config.seed, sample])) for view in views]
        return tf.switch_case(tf.cast(step % len(views), tf.int32), ways)

    return _training_dataset(load, config, config.steps, start)


def _training_dataset(
    load, config: ParentConfig | OnlineConfig, steps: int, start: int, rank: int = 0, world_size: int = 1
) -> tf.data.Dataset:
    """Steps `start` to `steps`: this rank's rows of each batch, as `supervise` makes them."""
    rows = config.batch // world_size
    own = tf.data.Dataset.range(start * rows, steps * rows)
    samples = own.map(as_it_is(lambda i: i // rows * config.batch + rank * rows + i % rows))

    def supervised(frames, annotations, sample):
        progress = tf.cast(sample[0] // config.batch, tf.float32) / steps
        weight = side_weight(progress, config.side_weight, config.side_end)
        return supervise(frames, annotations, weight, deep=config.side_weight > 0)

    return (
        samples.map(as_it_is(lambda sample: (*load(sample), sample)), tf.data.AUTOTUNE)
        .batch(rows)
        .map(as_it_is(supervised), tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )


def supervise(frames, annotations, weight, deep: bool) -> tuple[tf.Tensor, dict, dict]:
    """What `fit` takes: frames, and for every trained output the annotation and its weight.

    The weight of the side outputs travels with the data, since it is a function of the step:
    nothing to remember, nothing to restore.
    """
    ones = tf.ones(tf.shape(frames)[:1])
    weights = {"fused": ones} | dict.fromkeys(SIDES if deep else (), weight * ones)
    return frames, dict.fromkeys(weights, annotations), weights
