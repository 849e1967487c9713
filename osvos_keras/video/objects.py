"""The objects of a sequence: a network each; several are merged per pixel, in DAVIS 2017's files.

A map of objects is (H, W) uint8: 0 is background, 1…N are the objects.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from osvos_keras.davis import Davis
from osvos_keras.inference import AHEAD, Observer, predict_sequence
from osvos_keras.io.files import clear_temporaries, make_folder
from osvos_keras.io.masks import write_map
from osvos_keras.io.paths import resolve_output
from osvos_keras.threads import in_order, worker_threads


def merge_logits(logits: Sequence[np.ndarray]) -> np.ndarray:
    """One map (H, W) uint8 from the logits of each object, (H, W) float32 each.

    A pixel belongs to the object of the largest logit, and to the background if that is not above 0.
    """
    background = np.zeros_like(logits[0])
    return np.argmax([background, *logits], axis=0).astype(np.uint8)


def segment_objects(
    models: Sequence[keras.Model],
    davis: Davis,
    sequence: str,
    folder: str | Path,
    learned_areas: Sequence[float],
    given: Sequence[Mapping[Path, np.ndarray]],
    progress: bool,
    observe: Observer,
) -> Path:
    """As `segment_sequence`, for one object or several, with a network, a learned area and given masks each.

    The masks are written by `write_map`. A few frames are in memory at a time.
    """
    masks, frames = make_folder(resolve_output(folder) / sequence), davis.frames(sequence)
    clear_temporaries(masks)
    predictions = [
        predict_sequence(model, frames, learned_area=area, progress=False, given=correct)
        for model, area, correct in zip(models, learned_areas, given, strict=True)
    ]

    def write(found: Sequence[tuple[Path, np.ndarray]]) -> None:
        path = found[0][0]
        for _, logits in found:
            observe(path, logits)
        objects = merge_logits([logits for _, logits in found])
        write_map(masks / f"{path.stem}.png", objects, several=len(models) > 1)

    with worker_threads() as pool:
        written = in_order(pool, write, zip(*predictions, strict=True), AHEAD)
        for _ in tqdm(written, f"masks {sequence}", len(frames), unit="frame", disable=not progress):
            pass
    return masks
