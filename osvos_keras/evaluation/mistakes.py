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
        kind: "missed" (of the object), "spilled" (beyond it, from a part that touches it) or "other object"
            (parts of the mask that do not touch it).
    """

    kind: str
    fraction: float
    parts: int

    def __str__(self):
        size = f"{self.fraction:.0%}" if self.fraction <= 1 else f"{self.fraction:.1f} times its size"
        return f"{self.kind} {size}" + (f" in {self.parts} parts" if self.parts > 1 else "")


def find_mistakes(mask: np.ndarray, annotation: np.ndarray) -> list[Mistake]:
    """The mistakes of a mask, the largest first; fractions of the frame if there is no object in it.

    Args:
        mask, annotation: (H, W) bool.
    """
    whole = np.count_nonzero(annotation) or annotation.size
    left, top, width, height = cv2.boundingRect((mask | annotation).view(np.uint8))
    window = slice(top, top + height), slice(left, left + width)
    mask, annotation = mask[window], annotation[window]
    if not mask.size:
        return []
    count, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    touching = np.zeros(count, bool)
    touching[np.unique(parts[mask & annotation])] = True
    on_object = touching[parts]
    regions = {
        "missed": annotation & ~mask,
        "spilled": mask & ~annotation & on_object,
        "other object": mask & ~on_object,
    }
    found = [_measure(kind, region, whole) for kind, region in regions.items()]
    return sorted(filter(None, found), key=lambda mistake: -mistake.fraction)


def _measure(kind: str, region: np.ndarray, whole: int) -> Mistake | None:
    fraction = np.count_nonzero(region) / whole
    if fraction < WORTH_NAMING:
        return None
    _, _, statistics, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=8)
    areas = statistics[1:, cv2.CC_STAT_AREA]
    return Mistake(kind, fraction, max(int((areas >= WORTH_NAMING * whole).sum()), 1))


def describe_mistakes(mask: np.ndarray, annotation: np.ndarray) -> str:
    """The mistakes in words, as in `missed 40%, other object 12% in 2 parts`."""
    words = ", ".join(map(str, find_mistakes(mask, annotation))) or "nothing larger than 1% is wrong"
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
    annotation = reader.annotation(pair.annotation)
    both = [found for _, found in reader.split(reader.mask_like(pair.mask, annotation), annotation)]
    return tuple(np.logical_or.reduce(regions) for regions in zip(*both, strict=True))
