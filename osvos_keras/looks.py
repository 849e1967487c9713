"""How a network looks at frames: at a glance, then near the object, and again if it has grown."""

import math
from collections.abc import Callable, Iterator
from weakref import WeakKeyDictionary

import cv2
import keras
import numpy as np
import tensorflow as tf

from osvos_keras.config import InferenceConfig
from osvos_keras.device import use_xla
from osvos_keras.model import keep_outputs
from osvos_keras.pipeline import resize_to_height
from osvos_keras.refinement import reconcile

MARGIN = 48  # pixels: so far from what a glance takes for the object, a frame is looked at closely
_FUSED: WeakKeyDictionary[keras.Model, Callable] = WeakKeyDictionary()


def fused_only(model: keras.Model) -> Callable:
    """The same network, computing the fused output alone, compiled for this device; kept while it lives.

    It takes images (B, H, W, 3) uint8 and returns logits (B, H, W, 1) float32. TensorFlow traces it once for
    images of every size; Keras's `predict` would trace it for two sizes of a batch and of an image each.
    """
    if model not in _FUSED:
        fused = keep_outputs(model, ("fused",))
        if keras.config.backend() == "tensorflow":
            images = tf.TensorSpec(fused.input.shape, tf.uint8)
            run = tf.function(fused, [images], autograph=False, jit_compile=use_xla())
        else:
            fused.compile(jit_compile=use_xla())
            run = fused.predict_on_batch
        _FUSED[model] = lambda images: run(images)["fused"]
    return _FUSED[model]


def look(model: keras.Model, images: np.ndarray, settings: InferenceConfig, scale: float = 1) -> np.ndarray:
    """Logits (B, H, W) float32 of images (B, H, W, 3) uint8, seen at `scale` of their size.

    Large ones are seen in two steps: at a glance, and then near the object.
    """
    size = images.shape[1:3]
    lines = max(round(scale * size[0]), 1)
    seen = images if lines == size[0] else resize_images(images, lines)
    glanced = 0 < settings.window < lines and not use_xla()
    logits = _glance_first(model, seen, settings.window) if glanced else _fuse(model, seen)
    return np.stack([resize_logits(one, size) for one in logits])


def _glance_first(model: keras.Model, images: np.ndarray, lines: int) -> Iterator[np.ndarray]:
    """Logits (H, W) of each image; far from the object, those of a copy of so many lines."""
    for image, glance in zip(images, _fuse(model, resize_images(images, lines)), strict=True):
        logits = resize_logits(glance, image.shape[:2])
        near = _near(logits > 0)
        left, top, width, height = cv2.boundingRect(near.astype(np.uint8))
        # The network's pools begin at multiples of 16: so they do in the whole image.
        window = slice(top // 16 * 16, top + height), slice(left // 16 * 16, left + width)
        logits[window] = np.where(near[window], _fuse(model, image[window][None])[0], logits[window])
        yield logits


def _near(mask: np.ndarray) -> np.ndarray:
    """The pixels (H, W) bool at most `MARGIN` away from a mask; all of them if it is empty."""
    if not mask.any():
        return ~mask
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= MARGIN


def _fuse(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return np.asarray(fused_only(model)(images))[..., 0]


def look_again(
    model: keras.Model,
    image: np.ndarray,
    logits: np.ndarray,
    settings: InferenceConfig,
    learned_area: float,
    before: float,
) -> tuple[np.ndarray, float]:
    """The logits with a second look, if the object has grown, and its growth; `before`: a frame earlier."""
    growth = max(_growth(logits, learned_area), settings.shrinking * before)
    scale = next((scale for least, scale in reversed(settings.second_looks) if growth >= least), None)
    if scale is not None:
        logits = reconcile(logits, look(model, image[None], settings, scale)[0])
    return logits, _growth(logits, learned_area)


def _growth(logits: np.ndarray, learned_area: float) -> float:
    """How many times as long the object is as where it was learned."""
    return math.sqrt((logits > 0).mean() / learned_area)


def resize_logits(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(logits, size[::-1], interpolation=cv2.INTER_LINEAR)


def resize_images(images: np.ndarray, height: int) -> np.ndarray:
    return np.asarray(resize_to_height(images, height, "bilinear"))
