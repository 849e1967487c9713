"""Several objects in one sequence: a network each, merged per pixel, in DAVIS 2017's files.

A map of objects is (H, W) uint8: 0 is background, 1…N are the objects.
"""

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from osvos_keras.davis import Davis
from osvos_keras.inference import THRESHOLD, predict_sequence
from osvos_keras.io.files import clear_temporaries, make_folder
from osvos_keras.io.masks import write_indexed
from osvos_keras.io.paths import resolve_output


def merge_probabilities(probabilities: Sequence[np.ndarray]) -> np.ndarray:
    """One map from the probabilities of each object, (H, W) float32 each.

    A pixel belongs to the object of the largest probability, if that is above one half.
    """
    stacked = np.stack(probabilities)  # (N, H, W)
    return np.where(stacked.max(axis=0) > THRESHOLD, stacked.argmax(axis=0) + 1, 0).astype(np.uint8)


def segment_objects(
    models: Sequence[keras.Model],
    davis: Davis,
    sequence: str,
    folder: str | Path,
    height: int | None = None,
    progress: bool = True,
    *,
    learned_shares: Sequence[float],
    snap: bool = True,
    **options,
) -> Path:
    """As `segment_sequence`, for several objects: a network and a learned share for each, in their order.

    The masks are written by `write_indexed`. One batch of frames is in memory at a time.
    """
    masks, frames = make_folder(resolve_output(folder) / sequence), davis.frames(sequence)
    clear_temporaries(masks)
    predictions = [
        predict_sequence(model, frames, height, progress=False, learned_share=share, snap=snap, **options)
        for model, share in zip(models, learned_shares, strict=True)
    ]
    bar = tqdm(frames, f"masks {sequence}", unit="frame", disable=not progress)
    for path, *found in zip(bar, *predictions, strict=True):
        objects = merge_probabilities([probability for _, probability in found])
        write_indexed(masks / f"{path.stem}.png", objects)
    return masks
