"""How good a mask is: region similarity J, contour accuracy F, and their statistics over a sequence.

All functions take NumPy arrays; none reads a file or knows a data set. The definitions are those
of DAVIS 2016 (Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object
Segmentation", CVPR 2016, section 5), to the last digit those of its public toolkit. Temporal
stability T is in `evaluation.stability`.
"""

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np

RECALL_THRESHOLD = 0.5
DECAY_BINS = 4


def region_similarity(mask: np.ndarray, annotation: np.ndarray) -> float:
    """J: intersection over union of the two regions, in [0, 1]; 1 where both are empty.

    Args:
        mask, annotation: (H, W) bool.

    Raises:
        ValueError: not two bool arrays of one shape (H, W).
    """
    _check_pair(mask, annotation)
    union = np.count_nonzero(mask | annotation)
    return np.count_nonzero(mask & annotation) / union if union else 1.0


def contour_accuracy(mask: np.ndarray, annotation: np.ndarray, tolerance: float = 0.008) -> float:
    """F: how well the two outlines lie on each other, in [0, 1]; 1 where neither has an outline.

    The harmonic mean of precision (the fraction of the mask's outline that has the annotation's
    within reach) and recall (the reverse). Reach is `tolerance` times the frame's diagonal,
    rounded up: 8 pixels at 854×480. A mask that covers the whole frame has no outline.

    Args:
        mask, annotation: (H, W) bool.
        tolerance: a fraction of the diagonal, at least 0 and below 1.

    Raises:
        ValueError: not two bool arrays of one shape (H, W), or a tolerance outside [0, 1).
    """
    _check_pair(mask, annotation)
    if not 0 <= tolerance < 1:
        raise ValueError(f"tolerance is a fraction of the frame's diagonal, in [0, 1), not {tolerance}.")
    reach = int(np.ceil(tolerance * np.hypot(*mask.shape)))
    window = _window_around(mask | annotation)
    mask_outline, annotation_outline = outline(mask[window]), outline(annotation[window])
    if not mask_outline.any() or not annotation_outline.any():
        return float(mask_outline.any() == annotation_outline.any())
    precision = _fraction_within_reach(mask_outline, annotation_outline, reach)
    recall = _fraction_within_reach(annotation_outline, mask_outline, reach)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def mean_recall_decay(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean, recall and decay of the J or F of a sequence's frames.

    Recall is the fraction of frames above 0.5. Decay is the loss over time: the mean of the
    first of four bins less that of the last. Neighbouring bins share a frame and their borders
    round half up, as in the toolkit (which holds borders in 8 bits, so that its decay is wrong
    beyond 255 frames; here they are whole numbers of any size).

    Args:
        values: one number per frame, in the order of the frames; the first and the last frame of
            the sequence are already dropped.

    Raises:
        ValueError: there is no value, or it is not one row of numbers.
    """
    values = np.asarray(values, float)
    if values.ndim != 1 or not values.size:
        raise ValueError(f"values must be one number per frame, at least one, not of shape {values.shape}.")
    borders = np.floor(np.linspace(0, len(values) - 1, DECAY_BINS + 1) + 0.5).astype(int)
    first, last = values[: borders[1] + 1], values[borders[-2] :]
    return (
        float(values.mean()),
        float((values > RECALL_THRESHOLD).mean()),
        float(first.mean() - last.mean()),
    )


def count_pixels(mask: np.ndarray, annotation: np.ndarray) -> tuple[int, int]:
    """Pixels in both, and pixels of the mask plus pixels of the annotation, (H, W) bool each."""
    return np.count_nonzero(mask & annotation), np.count_nonzero(mask) + np.count_nonzero(annotation)


def iou_of_pixels(both: int, total: int) -> float:
    """Intersection over union of all pixels of all frames, from sums of `count_pixels`: not J.

    J averages a ratio over frames; this is the ratio of two sums, so frames where the object is large weigh
    more. It is the first number of the MindSpore implementation of OSVOS, which counts the first frame (whose
    annotation was given) and the last frame too.
    """
    return both / (total - both) if total else 1.0


def dice_of_pixels(both: int, total: int) -> float:
    """The Dice coefficient of all pixels of all frames, from sums of `count_pixels`: not F.

    It compares regions, not outlines. With the intersection over union I it is always 2 I / (1 + I), so it
    adds no information. It is the second number of the MindSpore implementation.
    """
    return 2 * both / total if total else 1.0


def _check_pair(mask: np.ndarray, annotation: np.ndarray) -> None:
    for name, array in (("mask", mask), ("annotation", annotation)):
        if not isinstance(array, np.ndarray) or array.dtype != np.bool_ or array.ndim != 2:
            kind, found = type(array).__name__, np.asarray(array)
            raise ValueError(f"{name} must be a bool array (H, W), not {kind} {found.dtype} {found.shape}.")
    if mask.shape != annotation.shape:
        raise ValueError(
            f"mask {mask.shape} and annotation {annotation.shape} differ in shape (H, W); "
            "compare them at the frame's own size."
        )


def _window_around(region: np.ndarray) -> tuple[slice, slice]:
    """The part of the frame that can hold outlines: the region's bounding box and one pixel more."""
    left, top, width, height = cv2.boundingRect(region.view(np.uint8))
    return slice(max(top - 1, 0), top + height + 1), slice(max(left - 1, 0), left + width + 1)


def outline(region: np.ndarray) -> np.ndarray:
    """(H, W) uint8, 1 where a pixel differs from its right, lower or lower right neighbour.

    The greatest less the least of each 2×2 square; OpenCV leaves out neighbours beyond the frame.
    """
    square = np.ones((2, 2), np.uint8)
    return cv2.morphologyEx(region.astype(np.uint8), cv2.MORPH_GRADIENT, square, anchor=(0, 0))


def _fraction_within_reach(outline: np.ndarray, other: np.ndarray, reach: int) -> float:
    reached = cv2.dilate(other, disk(reach))
    return np.count_nonzero(outline & reached) / np.count_nonzero(outline)


@cache
def disk(radius: int) -> np.ndarray:
    """(2 radius + 1, 2 radius + 1) uint8, 1 within `radius` of the centre."""
    row, column = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return (row**2 + column**2 <= radius**2).astype(np.uint8)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """The probabilities of logits; masks are made of the logits themselves."""
    return 0.5 * (1 + np.tanh(logits / 2))  # without overflow
