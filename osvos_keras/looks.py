"""How a network looks at frames: at a glance, then near the object, and again if it has grown."""

import math
from collections.abc import Callable
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

MARGIN = 24  # pixels: so far from what a glance takes for the object, a frame is looked at closely
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


def glance(model: keras.Model, images: np.ndarray, settings: InferenceConfig) -> np.ndarray:
    """Logits (B, h, w) float32 of images (B, H, W, 3) uint8, seen as copies of a window's lines.

    Images of no more lines are seen as they are. So is every image with XLA, which would compile the network
    for each size of what is looked at closely.
    """
    large = 0 < settings.window < images.shape[1] and not use_xla()
    return _fuse(model, resize_images(images, settings.window) if large else images)


def look(model: keras.Model, image: np.ndarray, glanced: np.ndarray, scale: float = 1) -> np.ndarray:
    """Logits (H, W) float32 of an image (H, W, 3) uint8, seen at `scale` of its size after a glance at it.

    What is larger than the glance's copy is looked at near the object alone.
    """
    size = image.shape[:2]
    lines = max(round(scale * size[0]), 1)
    if lines == len(glanced):
        return resize_logits(glanced, size)
    seen = image if lines == size[0] else resize_images(image, lines)
    smaller = lines < len(glanced)
    logits = _fuse(model, seen[None])[0] if smaller else _look_closely(model, seen, glanced)
    return resize_logits(logits, size)


def _look_closely(model: keras.Model, image: np.ndarray, glanced: np.ndarray) -> np.ndarray:
    """Logits (H, W) of an image (H, W, 3); far from the object, those of the glance (h, w)."""
    logits = resize_logits(glanced, image.shape[:2])
    near = _near(logits > 0)
    left, top, width, height = cv2.boundingRect(near.astype(np.uint8))
    # The network's pools begin at multiples of 16: so they do in the whole image.
    window = slice(top // 16 * 16, top + height), slice(left // 16 * 16, left + width)
    logits[window] = np.where(near[window], _fuse(model, image[window][None])[0], logits[window])
    return logits


def _near(mask: np.ndarray) -> np.ndarray:
    """The pixels (H, W) bool at most `MARGIN` away from a mask; all of them if it is empty."""
    if not mask.any():
        return ~mask
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= MARGIN


def _fuse(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return np.asarray(fused_only(model)(images))[..., 0]


def look_again(
    see: Callable[[float], np.ndarray],
    logits: np.ndarray,
    settings: InferenceConfig,
    learned_area: float,
    before: float,
) -> tuple[np.ndarray, float]:
    """The logits with a second look, if the object has grown, and its growth.

    Args:
        see: the logits of the same image at a scale.
        logits: those at scale 1.
        settings: when to look again, and at which scale.
        learned_area: of the object where it was learned, as a fraction of the frame.
        before: the growth a frame earlier.
    """
    growth = max(_growth(logits, learned_area), settings.shrinking * before)
    reached = [pair for pair in settings.second_looks if growth >= pair[0]]
    if reached:
        logits = reconcile(logits, see(max(reached)[1]))
    return logits, _growth(logits, learned_area)


def _growth(logits: np.ndarray, learned_area: float) -> float:
    """How many times as long the object is as where it was learned."""
    return math.sqrt((logits > 0).mean() / learned_area)


def resize_logits(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Logits (h, w) float32, resized bilinearly to `size`, (H, W)."""
    return cv2.resize(logits, size[::-1], interpolation=cv2.INTER_LINEAR)


def resize_images(images: np.ndarray, height: int) -> np.ndarray:
    """Images (…, H, W, 3) uint8, resized to so many lines as the pipeline does; 0 leaves them as they are."""
    return np.asarray(resize_to_height(images, height, "bilinear"))
