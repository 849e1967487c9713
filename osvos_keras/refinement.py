"""After the network: what is nowhere clear leaves the mask, and the contour snaps to the picture's edges."""

import cv2
import numpy as np

# Chosen on training sequences: docs/experiments.md
CLEAR_LOGIT, CLEAR_SHARE = 4.0, 0.05  # a probability of 0.98, in so large a share of a part's pixels
SURE = 1 / (1 + np.exp(-2.0))  # from this probability on, or its complement down, nothing is moved
COLOURS = 5  # clusters that GrabCut makes of object and background each


def drop_unclear(logits: np.ndarray) -> np.ndarray:
    """Leave out of a mask what only resembles the object.

    A network that was trained online is sure of its object, in most of its pixels. Connected pixels of
    which not even a twentieth is clear are something else, or the edge of it.

    Args:
        logits: (H, W) float32.

    Returns:
        The logits, with 0, undecided, in such parts.
    """
    _, parts = cv2.connectedComponents((logits > 0).astype(np.uint8))
    clear = np.bincount(parts.ravel(), (logits >= CLEAR_LOGIT).ravel())
    unclear = clear < CLEAR_SHARE * np.bincount(parts.ravel())
    unclear[0] = False  # the background
    return np.where(unclear[parts], np.float32(0), logits)


def snap_contour(frame: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Move the contour to an edge of the picture, where the network is not sure.

    The paper snaps to contours that a second network detects. Here it is OpenCV's GrabCut:
    it learns the colours of object and background from this frame's own mask.

    Args:
        frame: (H, W, 3) uint8 RGB.
        probability: (H, W) float32 of the object.

    Returns:
        (H, W) float32: the probabilities, moved to the other side of one half where GrabCut decides so.
    """
    labels = np.full(probability.shape, cv2.GC_BGD, np.uint8)
    labels[probability > 1 - SURE] = cv2.GC_PR_BGD
    labels[probability > 0.5] = cv2.GC_PR_FGD
    labels[probability > SURE] = cv2.GC_FGD
    if min(np.count_nonzero(labels == sure) for sure in (cv2.GC_BGD, cv2.GC_FGD)) < COLOURS:
        return probability  # no colours to learn
    cv2.setRNGSeed(0)  # the first clusters are drawn at random
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(frame, labels, None, *models, 1, cv2.GC_INIT_WITH_MASK)
    inside = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    above = np.nextafter(np.float32(0.5), np.float32(1))
    return np.where(inside, np.maximum(probability, above), np.minimum(probability, np.float32(0.5)))
