"""The paper's ablation (section 4, table 2): what the parent and online training give, J against seconds.

<folder>/<start>/<sequence>.json       a row a number of steps, once that training has finished
<folder>/<start>_<steps>/<sequence>/   its masks, in DAVIS result layout
"""

import dataclasses
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import numpy as np
import pandas as pd
from tqdm import tqdm

from osvos_keras.callbacks import AtSteps
from osvos_keras.config import OnlineConfig
from osvos_keras.davis import Davis
from osvos_keras.errors import ConfigError
from osvos_keras.files import lock_folder, resolve_output, sha256, write_json
from osvos_keras.inference import segment_sequence
from osvos_keras.mask_folder import plan_sequence
from osvos_keras.metrics import region_similarity
from osvos_keras.training import train_online
from osvos_keras.weights import find_weights


def run_ablation(
    davis: Davis,
    sequences: Sequence[str],
    starts: Mapping[str, str | Path],
    config: OnlineConfig,
    moments: Sequence[int],
    folder: str | Path,
    *,
    progress: bool = True,
) -> pd.DataFrame:
    """Train online from several starts, and score every frame after several numbers of steps.

    A training that has finished with the same settings before is read from `folder` instead.

    Args:
        davis: the data set.
        sequences: what to train on and score.
        starts: the name of each start and its weights, as in `build_osvos`.
        config: the settings; its own number of steps does not count.
        moments: numbers of online steps, 0 for none: the start alone.
        folder: where masks and rows go.
        progress: whether to show a bar.

    Returns:
        A row for each start, sequence and moment: `start`, `sequence`, `steps`; `train_seconds`,
        from the start of `fit`; `mask_seconds`, for predicting and writing every frame; `J`, the
        sequence's official mean (first and last frame left out).

    Raises:
        ConfigError: no moment, or a negative one.
        DataError, WeightsError, FolderError, TrainingError: as `train_online` and `segment_sequence`.
    """
    moments = sorted(set(moments))
    if not moments or moments[0] < 0:
        raise ConfigError(f"moments are {moments}; name numbers of steps, as in 0, 10, 30.")
    trainings = [(start, sequence) for start in starts for sequence in sequences]
    digests = {start: sha256(find_weights(weights)) for start, weights in starts.items()}
    rows = []
    with lock_folder(folder) as folder:
        for start, sequence in tqdm(trainings, "ablation", unit="training", disable=not progress):
            made_with = {
                "weights_sha256": digests[start],
                "config": dataclasses.asdict(config),
                "moments": moments,
            }
            path = folder / start / f"{sequence}.json"
            found = _read(path, made_with)
            if not found:
                found = _examine(davis, sequence, starts[start], config, moments, folder / start)
                write_json(path, {"made_with": made_with, "rows": found})
            rows += [{"start": start, "sequence": sequence, **row} for row in found]
    return pd.DataFrame(rows)


def read_ablation(folder: str | Path) -> pd.DataFrame:
    """The rows of every training that has finished in a folder, as `run_ablation` returns them."""
    records = {path: json.loads(path.read_text()) for path in sorted(resolve_output(folder).glob("*/*.json"))}
    return pd.DataFrame([
        {"start": path.parent.name, "sequence": path.stem, **row}
        for path, record in records.items()
        for row in record["rows"]
    ])  # fmt: skip


def _read(path: Path, made_with: dict) -> list[dict]:
    """The rows of a finished training, or none where it must be made (anew)."""
    try:
        record = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return []
    return record["rows"] if record.get("made_with") == made_with else []


def _examine(
    davis: Davis, sequence: str, weights, config: OnlineConfig, moments: Sequence[int], start: Path
) -> list[dict]:
    """Train one sequence; with a steady rate once for all moments, else once for each."""
    steady = config.decay == "none" and config.side_end is None
    rows = []

    def look(model: keras.Model, step: int, seconds: float) -> None:
        masks = start.with_name(f"{start.name}_{step}")
        options = {"height": config.height, "scales": config.scales}
        if not step:
            options["learned_share"] = None  # a start alone has not seen the object
        scored = _write_and_score(model, davis, sequence, masks, **options)
        rows.append({"steps": step, "train_seconds": seconds, **scored})

    for group in [moments] if steady else [[moment] for moment in moments]:
        settings = dataclasses.replace(config, steps=max(*group, 1))
        with TemporaryDirectory() as folder:
            options = {"chunk": math.gcd(*group) or 1, "progress": False, "callbacks": [AtSteps(group, look)]}
            train_online(davis, sequence, settings, folder, weights=weights, **options)
        keras.backend.clear_session()
    return rows


def _write_and_score(model: keras.Model, davis: Davis, sequence: str, masks: Path, **options) -> dict:
    """The masks of all frames, the seconds that they took, and their J."""
    began = time.perf_counter()
    segment_sequence(model, davis, sequence, masks, progress=False, **options)
    seconds = time.perf_counter() - began
    pairs = (pair.read() for pair in plan_sequence(masks, davis, sequence))
    return {"mask_seconds": seconds, "J": float(np.mean([region_similarity(*pair) for pair in pairs]))}
