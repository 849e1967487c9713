"""A quick look at a network in training: J of some frames, without masks on disk."""

import dataclasses

import keras
import numpy as np

from osvos_keras.config import InferenceConfig
from osvos_keras.davis import Davis
from osvos_keras.inference import own_settings, predict_sequence
from osvos_keras.io.masks import read_annotation
from osvos_keras.metrics import region_similarity


def sample_similarity(
    model: keras.Model,
    davis: Davis,
    sequence: str,
    settings: InferenceConfig | None = None,
    learned_area: float = 0,
    every: int = 1,
) -> float:
    """The mean J over every `every`-th frame of a sequence at full size, the first and the last left out.

    A quick look at a network in training; the benchmark's own number is `evaluation.evaluate`'s.

    Args:
        model, settings, learned_area: as for `predict_sequence`; without settings contours are not snapped.
        davis: the data set.
        sequence: its name.
        every: 1 takes every frame, 2 every other one.
    """
    settings = settings or dataclasses.replace(own_settings(model), snap=False)
    frames, annotations = (paths(sequence)[1:-1][::every] for paths in (davis.frames, davis.annotations))
    found = predict_sequence(model, frames, settings, learned_area, progress=False)
    pairs = zip(found, annotations, strict=True)
    return float(
        np.mean([region_similarity(logits > 0, read_annotation(path)) for (_, logits), path in pairs])
    )
