"""The paper's ablation (section 4, table 2): what the parent and online training give, J against seconds.

<folder>/<start>/<sequence>.json       a row a number of steps, once that training has finished
<folder>/<start>_<steps>/<sequence>/   its masks, in DAVIS result layout
"""

import dataclasses
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
from osvos_keras.device import choose_policy
from osvos_keras.errors import ConfigError
from osvos_keras.evaluation.folder import plan_sequence
from osvos_keras.evaluation.mistakes import read_regions
from osvos_keras.evaluation.objects import Reader
from osvos_keras.inference import own_settings, segment_sequence
from osvos_keras.io.files import list_files, lock_folder, sha256
from osvos_keras.io.literals import check_range, check_type
from osvos_keras.io.paths import check_name, resolve_output
from osvos_keras.io.records import read_record, write_record
from osvos_keras.metrics import region_similarity
from osvos_keras.training import train_online
from osvos_keras.weights import find_weights

COLUMNS = {"steps", "train_seconds", "mask_seconds", "J"}  # of a row


def run_ablation(
    davis: Davis,
    sequences: Sequence[str],
    starts: Mapping[str, str | Path],
    config: OnlineConfig,
    moments: Sequence[int],
    folder: str | Path,
    *,
    every: int = 1,
    progress: bool = True,
) -> pd.DataFrame:
    """Train online from several starts, and score the masks after several numbers of steps.

    A training that has finished with the same settings before is read from `folder` instead.

    Args:
        davis: the data set.
        sequences: what to train on and score.
        starts: the name of each start and its weights: "imagenet", "parent" or a file.
        config: the settings; its own number of steps does not count.
        moments: numbers of online steps, 0 for none: the start alone.
        folder: where masks and rows go.
        every: 1 makes and scores the mask of every frame, 2 of every other one.
        progress: whether to show a bar.

    Returns:
        A row for each start, sequence and moment: `start`, `sequence`, `steps`; `train_seconds`,
        from the start of `fit`; `mask_seconds`, for predicting and writing the masks; `J`, their mean
        without the first and the last frame, and so the official one if `every` is 1.

    Raises:
        ConfigError: no moment, or a negative one; `every` below 1; or a start whose name is no folder's.
        DataError, WeightsError, FolderError, TrainingError: as `train_online` and `segment_sequence`.
    """
    moments = sorted({check_type("a moment", moment, (int,)) for moment in moments})
    if not moments or moments[0] < 0:
        raise ConfigError(f"moments are {moments}; name numbers of steps, as in 0, 10, 30.")
    every = check_type("every", every, (int,))
    check_range("every", every, 1, 2**31 - 1)
    for start in starts:
        check_name(start, "the name of a start")
    config = dataclasses.replace(config, self_training=False)  # its steps would be counted twice
    trainings = [(start, sequence) for start in starts for sequence in sequences]
    digests = {start: sha256(find_weights(weights)) for start, weights in starts.items()}
    inputs = {name: sha256(*davis.frames(name), *davis.annotations(name)) for name in sequences}
    ablation, rows = _Ablation(davis, config, moments, every), []
    with lock_folder(folder) as folder:
        for start, sequence in tqdm(trainings, "ablation", unit="training", disable=not progress):
            made_with = {
                "weights_sha256": digests[start],
                "inputs_sha256": inputs[sequence],
                "policy": choose_policy(),
                "config": dataclasses.asdict(config),
                "moments": moments,
                "every": every,
            }
            path = folder / start / f"{sequence}.json"
            found = _read_rows(path, made_with)
            if not found:
                found = ablation.examine(sequence, starts[start], folder / start)
                write_record(path, made_with, rows=found)
            rows += [{"start": start, "sequence": sequence, **row} for row in found]
    return pd.DataFrame(rows)


def read_ablation(folder: str | Path) -> pd.DataFrame:
    """The rows of every training that has finished in a folder, as `run_ablation` returns them."""
    starts = sorted(path for path in resolve_output(folder).glob("*") if path.is_dir())
    paths = [path for start in starts for path in list_files(start, ".json")]
    return pd.DataFrame([
        {"start": path.parent.name, "sequence": path.stem, **row}
        for path in paths
        for row in _read_rows(path)
    ])  # fmt: skip


def _read_rows(path: Path, made_with: dict | None = None) -> list[dict]:
    """The rows of a finished training; none where it must be made (anew)."""
    rows = (read_record(path, made_with) or {}).get("rows")
    complete = isinstance(rows, list) and all(isinstance(row, dict) and row.keys() >= COLUMNS for row in rows)
    return rows if complete else []


@dataclasses.dataclass(frozen=True)
class _Ablation:
    """What is the same for every start and sequence; the arguments of `run_ablation`."""

    davis: Davis
    config: OnlineConfig
    moments: Sequence[int]
    every: int

    def examine(self, sequence: str, weights: str | Path, start: Path) -> list[dict]:
        """Train one sequence: once for all moments if a shorter training is the beginning of a longer one."""
        rows = []

        def look(model: keras.Model, step: int, seconds: float) -> None:
            masks = start.with_name(f"{start.name}_{step}")
            # Random branches have no contour, and GrabCut would search the whole frame for it.
            snap = step > 0 or weights != "imagenet"
            scored = self._score(model, sequence, masks, step > 0, snap)
            rows.append({"steps": step, "train_seconds": seconds, **scored})

        for group in [self.moments] if self._is_steady() else [[moment] for moment in self.moments]:
            settings = dataclasses.replace(self.config, steps=max(*group, 1))
            with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                chunk, looks = math.gcd(*group) or 1, [AtSteps(group, look)]
                options = {"weights": weights, "chunk": chunk, "callbacks": looks, "progress": False}
                train_online(self.davis, sequence, settings, folder, **options)
            keras.backend.clear_session()
        return rows

    def _is_steady(self) -> bool:
        """Whether no step depends on how many are to come, and every moment ends an update."""
        updates = not any(moment % self.config.accumulate for moment in self.moments)
        return updates and self.config.decay == "none" and self.config.side_end is None

    def _score(self, model: keras.Model, sequence: str, masks: Path, learned: bool, snap: bool) -> dict:
        """Write the masks of the first frame and of every `every`-th one to score; their seconds and J."""
        frames = self.davis.frames(sequence)
        frames = [frames[0], *frames[1 : -1 : self.every]]
        settings = dataclasses.replace(own_settings(model), snap=snap)
        if self.every > 1:  # the mask before is of a frame long before
            settings = dataclasses.replace(settings, reach=0)
        area = None if learned else 0  # a start alone has not seen the object
        began = time.perf_counter()
        segment_sequence(model, self.davis, sequence, masks, settings, area, progress=False, frames=frames)
        seconds, names = time.perf_counter() - began, {path.stem for path in frames}
        plan = plan_sequence(masks, self.davis, sequence, allow_missing=True)
        made = [read_regions(pair, Reader(None)) for pair in plan if pair.frame in names]
        return {"mask_seconds": seconds, "J": float(np.mean([region_similarity(*both) for both in made]))}
