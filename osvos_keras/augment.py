"""Random flip, rotation, scale and window, the same for a frame and its annotation.

All randomness is stateless: a seed (two integers) decides the transform, so a resumed run sees the same
samples as an uninterrupted one.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np
import tensorflow as tf

FLIP = 0.5  # probability
ROTATION = 30.0  # degrees, either way
SCALE = (0.75, 1.25)


def random_transform(seed, height, width) -> tf.Tensor:
    """A random similarity about the centre.

    Args:
        seed: (2,) int, decides the transform.
        height: the image's height in pixels.
        width: its width in pixels.

    Returns:
        (2, 3) float32: the matrix from output pixels (x, y, 1) to input pixels (x, y).
    """
    flip, rotation, scale = tf.unstack(tf.random.stateless_uniform((3,), seed))
    mirror = tf.where(flip < FLIP, -1.0, 1.0)
    angle = (2 * rotation - 1) * math.radians(ROTATION)
    scale = SCALE[0] + scale * (SCALE[1] - SCALE[0])
    a, b = tf.cos(angle) / scale, tf.sin(angle) / scale
    x, y = (tf.cast(width, tf.float32) - 1) / 2, (tf.cast(height, tf.float32) - 1) / 2
    # output → centred → rotated and scaled → mirrored → input
    a0, a1 = mirror * a, -mirror * b
    b0, b1 = b, a
    return tf.stack([[a0, a1, x - a0 * x - a1 * y], [b0, b1, y - b0 * x - b1 * y]])


def move_to_window(transform: tf.Tensor, annotation: tf.Tensor, window: tuple[int, int], seed) -> tf.Tensor:
    """The transform whose output begins at the first corner of a random window that shows some of the object.

    Of an object that the transform has moved out of the frame nothing can be shown.

    Args:
        transform: (2, 3) float32, as `random_transform` makes it, of the whole image.
        annotation: (H, W, 1) uint8 of 0 and 1, before the transform; of an empty one any pixel will do.
        window: its lines and columns.
        seed: (2,) int, decides which pixel of the object is in the window, and where there.

    Returns:
        (2, 3) float32. The window lies within the output of `transform`.
    """
    seed = tf.random.experimental.stateless_fold_in(seed, 1)  # other numbers than those of the transform
    which, *place = tf.unstack(tf.random.stateless_uniform((3,), seed))
    matrix, origin = transform[:, :2], transform[:, 2:]
    shown = annotation[..., 0] >= tf.reduce_max(annotation)
    pixels = tf.cast(tf.where(shown), tf.float32)[:, ::-1]
    count = tf.shape(pixels)[0]
    index = tf.cast(which * tf.cast(count, tf.float32), tf.int32)  # float32 may round up to the count
    pixel = tf.linalg.solve(matrix, pixels[tf.minimum(index, count - 1), :, None] - origin)
    size = tf.constant(window[::-1], tf.float32)[:, None]
    room = tf.cast(tf.reverse(tf.shape(annotation)[:2], [0]), tf.float32)[:, None] - size
    corner = tf.clip_by_value(tf.round(pixel - tf.stack(place)[:, None] * size), 0.0, room)
    return tf.concat([matrix, origin + matrix @ corner], axis=1)


def warp(
    image: np.ndarray, transform: np.ndarray, interpolation: int, size: Sequence[int] | None = None
) -> np.ndarray:
    """Warp an image (H, W, C) by one transform; the image is reflected beyond its border.

    OpenCV's, which takes a quarter of the time of TensorFlow's `ImageProjectiveTransformV3` and
    holds Python's lock for none of it.

    Args:
        image: (H, W, C) uint8.
        transform: (2, 3) float32 from output pixels (x, y, 1) to input pixels (x, y).
        interpolation: OpenCV's number of it.
        size: lines and columns of the output; None: the image's.

    Returns:
        (lines, columns, C) uint8.
    """
    lines, columns = image.shape[:2] if size is None else map(int, size)
    warped = cv2.warpAffine(
        image,
        transform,
        (columns, lines),
        flags=interpolation | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
    return warped.reshape(lines, columns, -1)  # OpenCV drops a single channel


def _warp_both(frame: np.ndarray, annotation: np.ndarray, transform: np.ndarray, size: np.ndarray):
    return tuple(
        warp(image, transform, interpolation, size)
        for image, interpolation in ((frame, cv2.INTER_LINEAR), (annotation, cv2.INTER_NEAREST))
    )


def augment(
    frame: tf.Tensor, annotation: tf.Tensor, seed, window: tuple[int, int] | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """One random transform for both.

    Args:
        frame: (H, W, 3) uint8.
        annotation: (H, W, 1) uint8 of 0 and 1; stays so, by nearest neighbour.
        seed: (2,) int.
        window: lines and columns of the window around some of the object that is cut out; None: the whole.

    Returns:
        frame and annotation, of the window's size or of their own, dtypes as before.
    """
    shape = tf.shape(annotation)
    transform = random_transform(seed, shape[0], shape[1])
    if window:
        transform = move_to_window(transform, annotation, window, seed)
    warped = tf.numpy_function(
        _warp_both, (frame, annotation, transform, window or shape[:2]), (tf.uint8, tf.uint8), stateful=False
    )
    size = window or annotation.shape[:2]
    return tf.ensure_shape(warped[0], (*size, 3)), tf.ensure_shape(warped[1], (*size, 1))
