"""Which masks of a clip are most in doubt, so that a person knows where to look and what to correct."""

from pathlib import Path

import numpy as np
import pandas as pd

from osvos_keras.evaluation.mistakes import worst_frames
from osvos_keras.io.records import read_record
from osvos_keras.plots.frames import sigmoid
from osvos_keras.video.clip import Clip


def expected_similarity(logits: np.ndarray) -> float:
    """The J that a network expects of its own mask, from 0 to 1; 0 for an empty mask.

    Each pixel belongs to the object with its probability p. So the mask and the object are expected to share
    the sum of p over the mask's pixels, and to cover the mask's pixels and the sum of p over all others.

    Args:
        logits: (H, W) float32 of the object; the mask is where they are above 0.
    """
    probability, mask = sigmoid(logits), logits > 0
    either = np.count_nonzero(mask) + probability[~mask].sum()
    return float(probability[mask].sum() / either) if either else 0.0


def least_sure(clip: Clip, masks: Path, count: int = 3) -> list[str]:
    """The names of the frames in whose masks the networks expect the lowest J, the lowest first.

    Frames that the networks have learned from are left out, and so are neighbours of a named one.

    Args:
        clip: the clip.
        masks: the folder of its masks, as `segment_clip` returns it.
        count: how many frames to name, at most.
    """
    record = read_record(masks.with_name(f"{masks.name}.json")) or {"made_with": {}}
    learned = {key for kind in ("marked", "corrected") for key in _table(record["made_with"].get(kind))}
    names = [path.stem for path in clip.frames]
    j = pd.to_numeric(pd.Series(_table(record.get("expected"))), errors="coerce").reindex(names).fillna(1)
    j[[str(index) in learned for index in range(len(names))]] = 1
    table = pd.DataFrame({"sequence": clip.name, "frame": names, "J": j.to_numpy()})
    return worst_frames(table, count).query("J < 1")["frame"].tolist()


def _table(found: object) -> dict:
    """What a record holds under a key, if it is what was written there."""
    return found if isinstance(found, dict) else {}
