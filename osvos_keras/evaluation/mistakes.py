"""What is wrong with a mask, by connected parts, and which frames are the worst: pictures to act on."""

from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd

from osvos_keras.evaluation.folder import Pair
from osvos_keras.evaluation.objects import Reader
from osvos_keras.evaluation.tables import mean_over_objects

WORTH_NAMING = 0.01  # of the object: smaller mistakes are left out
NEAR = 5  # frames: a neighbour of a worse frame shows the same mistake


@dataclass(frozen=True)
class Mistake:
    """One kind of mistake: pixels as a fraction of the object, in how many connected parts.

    Attributes:
        kind: "missed" (of the object), "spilled" (beyond it, from a part that touches it), "other object"
            (parts of the mask that do not touch it) or "wrong number" (one of several taken for another).
    """

    kind: str
    fraction: float
    parts: int

    def __str__(self):
        size = f"{self.fraction:.0%}" if self.fraction <= 1 else f"{self.fraction:.1f} times its size"
        return f"{self.kind} {size}" + (f" in {self.parts} parts" if self.parts > 1 else "")


def find_mistakes(
    mask: np.ndarray, annotation: np.ndarray, exchanged: np.ndarray | None = None
) -> list[Mistake]:
    """The mistakes of a mask, the largest first; fractions of the frame if there is no object in it.

    Args:
        mask, annotation: (H, W) bool, of several objects all together.
        exchanged: (H, W) bool, where the mask takes one of several objects for another.
    """
    whole = np.count_nonzero(annotation) or annotation.size
    left, top, width, height = cv2.boundingRect((mask | annotation).view(np.uint8))
    window = slice(top, top + height), slice(left, left + width)
    mask, annotation = mask[window], annotation[window]
    if not mask.size:
        return []
    _, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    on_object = np.isin(parts, parts[mask & annotation])
    regions = {
        "missed": annotation & ~mask,
        "spilled": mask & ~annotation & on_object,
        "other object": mask & ~on_object,
    }
    if exchanged is not None:
        regions["wrong number"] = exchanged[window]
    found = [_measure(kind, region, whole) for kind, region in regions.items()]
    return sorted(filter(None, found), key=lambda mistake: -mistake.fraction)


def _measure(kind: str, region: np.ndarray, whole: int) -> Mistake | None:
    fraction = np.count_nonzero(region) / whole
    if fraction < WORTH_NAMING:
        return None
    _, _, statistics, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=8)
    areas = statistics[1:, cv2.CC_STAT_AREA]
    return Mistake(kind, fraction, max(int((areas >= WORTH_NAMING * whole).sum()), 1))


def describe_mistakes(mask: np.ndarray, annotation: np.ndarray, exchanged: np.ndarray | None = None) -> str:
    """As `find_mistakes`, in words: `missed 40%, other object 12% in 2 parts`."""
    found = find_mistakes(mask, annotation, exchanged)
    words = ", ".join(map(str, found)) or "nothing larger than 1% is wrong"
    return words if annotation.any() else f"no object in this frame: {words} of the frame"


def worst_frames(per_frame: pd.DataFrame, count: int = 5) -> pd.DataFrame:
    """The rows of the frames with the lowest J, means over objects; next to a worse one none is taken."""
    frames = mean_over_objects(per_frame)
    frames = frames.assign(position=frames.groupby("sequence", sort=False).cumcount())
    chosen: list[int] = []
    for row in frames.sort_values("J", kind="stable").itertuples():
        others = frames.loc[chosen]
        others = others[others["sequence"] == row.sequence]["position"]
        if (others - row.position).abs().gt(NEAR).all():
            chosen.append(row.Index)
        if len(chosen) == count:
            break
    return frames.loc[chosen].drop(columns="position").reset_index(drop=True)


def read_regions(pair: Pair, reader: Reader) -> tuple[np.ndarray, np.ndarray]:
    """Mask and annotation of a pair, (H, W) bool each; of several objects all together, without void."""
    return _together(_read_objects(pair, reader))


def read_described(pair: Pair, reader: Reader) -> tuple[np.ndarray, np.ndarray, str]:
    """As `read_regions`, and the mistakes in words."""
    objects = _read_objects(pair, reader)
    mask, annotation = _together(objects)
    right = np.logical_or.reduce([np.logical_and(*both) for both in objects])
    return mask, annotation, describe_mistakes(mask, annotation, mask & annotation & ~right)


def _read_objects(pair: Pair, reader: Reader) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mask and annotation of each object, (H, W) bool each, without void."""
    annotation = reader.annotation(pair.annotation)
    return [both for _, both in reader.split(reader.mask_like(pair.mask, annotation), annotation)]


def _together(objects: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.logical_or.reduce(regions) for regions in zip(*objects, strict=True))
