"""After the network: two looks become one, contours snap to the picture's edges, far parts are left out."""

import cv2
import numpy as np

COLOURS = 5  # clusters that GrabCut makes of object and background each
UNSURE = np.float32(1e-3)  # the logit of a pixel of the object about which nothing else is known
NEAR, BLUR = 15, 5  # pixels: sides of the squares of `_calm`


def reconcile(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The logits of two looks at one frame: the second look decides, and is only as sure as the first one.

    Args:
        first: (H, W) float32.
        second: (H, W) float32.

    Returns:
        (H, W) float32 with the signs of `second`. Where both looks agree they have the size of the less sure
        one. Where they do not, they are next to 0, so that `snap_contour` decides there by the colours.
    """
    sure = np.where(first * second > 0, np.minimum(abs(first), abs(second)), UNSURE)
    return np.copysign(sure, second)


def keep_near(logits: np.ndarray, before: np.ndarray | None, reach: float) -> np.ndarray:
    """Leave out the parts of a mask that are far from the mask of the frame before: look-alikes elsewhere.

    A part is near if any of it is at most `reach` times the object's length away, which is the root of its
    area. If the near ones cover less than half of the mask before, all stay: the object was hidden, or has
    jumped.

    Args:
        logits: (H, W) float32 of the object.
        before: the last mask (H, W) that was not empty, bool; None in the first frame.
        reach: 0 leaves nothing out.

    Returns:
        (H, W) float32: the logits, 0 where a part is left out.
    """
    if not reach or before is None or before.shape != logits.shape:
        return logits
    mask = logits > 0
    count, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    if count <= 2:  # the background is one
        return logits
    area = np.count_nonzero(before)
    away = cv2.distanceTransform((~before).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    near = np.isin(parts, parts[mask & (away <= reach * np.sqrt(area))])
    lost = np.count_nonzero(near) < area / 2
    return logits if lost else np.where(mask & ~near, np.float32(0), logits)


def snap_contour(frame: np.ndarray, logits: np.ndarray, band: float) -> np.ndarray:
    """Move the contour to an edge of the picture, where the network is not sure.

    The paper snaps to contours that a second network detects. Here it is GrabCut: it learns the colours of
    object and background from this frame's own mask.

    Args:
        frame: (H, W, 3) uint8 RGB.
        logits: (H, W) float32 of the object.
        band: pixels whose logit lies between −`band` and `band` may move.

    Returns:
        (H, W) float32: the logits, moved to the other side of 0 where GrabCut decides so.
    """
    labels = np.full(logits.shape, cv2.GC_BGD, np.uint8)
    labels[logits > -band] = cv2.GC_PR_BGD
    labels[logits > 0] = cv2.GC_PR_FGD
    labels[logits > band] = cv2.GC_FGD
    if min(np.count_nonzero(labels == sure) for sure in (cv2.GC_BGD, cv2.GC_FGD)) < COLOURS:
        return logits  # no colours to learn
    inside = grab_cut(_calm(frame, abs(logits) <= band), labels, iterations=1)
    least = np.finfo(np.float32).tiny
    return np.where(inside, np.maximum(logits, least), np.minimum(logits, np.float32(0)))


def _calm(frame: np.ndarray, movable: np.ndarray) -> np.ndarray:
    """The frame (H, W, 3), blurred where no pixel may move.

    GrabCut compares each edge with the mean contrast of the whole picture. In a picture full of strong edges
    it cuts off thin parts, such as legs; with less contrast elsewhere it keeps them.
    """
    near = cv2.dilate(movable.astype(np.uint8), np.ones((NEAR, NEAR)))
    return np.where(near[..., None], frame, cv2.blur(frame, (BLUR, BLUR)))


def grab_cut(frame: np.ndarray, labels: np.ndarray, iterations: int) -> np.ndarray:
    """The object that OpenCV's GrabCut (Rother et al., 2004) cuts out, (H, W) bool.

    The same input gives the same object.

    Args:
        frame: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 of `cv2.GC_BGD`, `GC_PR_BGD`, `GC_PR_FGD` and `GC_FGD`; it is written over.
        iterations: rounds of learning colours and cutting.
    """
    cv2.setRNGSeed(0)  # the first clusters are drawn at random, from numbers of this thread
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(frame, labels, None, *models, iterations, cv2.GC_INIT_WITH_MASK)
    return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
