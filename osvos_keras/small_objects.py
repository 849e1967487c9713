"""Whether the network can see an object at all: online training must not learn from an empty annotation."""

import math
import warnings

import numpy as np
import tensorflow as tf

from osvos_keras.errors import MaskError, MaskWarning
from osvos_keras.pipeline import resize_to_height

# Pixels of the object, at the network's lines. Of three sequences of DAVIS seen at 12 to 108 lines, J was
# 0.00 to 0.53 with fewer than the least, and 0.51 to 0.84 with more than enough.
LEAST, ENOUGH = 64, 256


def check_visible(annotations: np.ndarray, height: int, name: str) -> None:
    """See that enough of an object is left at the lines at which the network sees its annotated frames.

    Args:
        annotations: (N, H, W) bool; the one that shows most of the object counts.
        height: lines, 0 for the frames' own.
        name: of the sequence.

    Raises:
        MaskError: no pixel of it is left.

    Warns:
        MaskWarning: fewer than `LEAST` are.
    """
    seen = max(_count_at(annotation, height) for annotation in annotations)
    if seen >= LEAST:
        return
    lines = f"{height} lines" if height else "the frame's own size"
    advice = _advise(annotations.sum(axis=(1, 2)).max(), annotations.shape[1])
    if not seen:
        raise MaskError(f"{name}: the object is so small that it vanishes at {lines}. {advice}")
    warnings.warn(
        f"{name}: the object covers {seen} of the pixels at {lines}; with fewer than {LEAST} its masks are "
        f"poor or empty. {advice}",
        MaskWarning,
        stacklevel=3,
    )


def _count_at(annotation: np.ndarray, height: int) -> int:
    pixels = tf.constant(annotation[..., None].astype(np.uint8))
    return int(np.count_nonzero(resize_to_height(pixels, height, "nearest")))


def _advise(pixels: int, own: int) -> str:
    """What to do about an object of so many pixels in frames of `own` lines."""
    enough = math.ceil(own * math.sqrt(ENOUGH / pixels)) if pixels else own + 1
    if enough <= own:
        return f"HEIGHT = {enough} (--height {enough}) would do."
    if pixels >= LEAST:
        return f"HEIGHT = 0 (--height 0), the frame's own {own} lines, shows all of its {pixels} pixels."
    return (
        f"At the frame's own {own} lines it covers {pixels}: cut the frames to a window around the object "
        "and enlarge them, or film from nearer."
    )
