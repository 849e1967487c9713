"""Recipes judged by cross-validation over all training sequences of DAVIS: parent, online training, masks.

    python -m tests.benchmarks.folds --davis ROOT --to FOLDER             # train and score
    python -m tests.benchmarks.folds --davis ROOT --to FOLDER --score     # the tables

The training sequences are dealt into three folds. For each fold a parent is trained on the other two, and
each online recipe trains from it on the first frame of every sequence in the fold. So every sequence is
judged by networks whose parent has not seen it. The networks are kept, to judge other masks by.

Every file is written once, and what is there is not made again: stop the command, or start it several
times at once to share the work. The validation sequences are not read.
"""

import argparse
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

import keras
import numpy as np
import pandas as pd

from data.make_parent import stages
from osvos_keras.callbacks import AtSteps
from osvos_keras.config import InferenceConfig, get_config
from osvos_keras.davis import Davis
from osvos_keras.errors import FolderError
from osvos_keras.inference import predict_sequence
from osvos_keras.io.files import lock_folder, write_atomically
from osvos_keras.io.masks import read_annotation
from osvos_keras.metrics import contour_accuracy, region_similarity
from osvos_keras.trained import WEIGHTS_FILE
from osvos_keras.training import train_online, train_parent
from osvos_keras.weights import save_weights
from tests.benchmarks.intervals import interval

FOLDS = 3
MOMENTS = (10, 30, 100)  # online steps
EVERY = 9  # frames, of which one is scored

PARENTS = {"branches first": [*stages(0.24, 1.4).values()]}  # in stages
ONLINE = {
    "default": get_config("online"),
    "thorough": get_config("online", "thorough"),
    "240 lines": get_config("online", height=240),
    "whole frames": get_config("online", window=0),
}
MASKS = {  # of which the first is made at every moment, and the others at the last
    "default": {},
    "no second look": {"second_looks": ()},
    "not snapped": {"snap": False},
}


@dataclass(frozen=True)
class Folds:
    """The data, and where the results go."""

    davis: Davis
    folder: Path

    def fold(self, sequence: str) -> int:
        """The fold that holds a sequence out."""
        return self.davis.sequences("train").index(sequence) % FOLDS

    def parent(self, name: str, fold: int) -> Path:
        """The weights of the parent that has not seen the sequences of `fold`, trained if need be."""
        sequences = [one for one in self.davis.sequences("train") if self.fold(one) != fold]
        weights: str | Path = "imagenet"
        for stage, config in enumerate(PARENTS[name]):
            folder = self.folder / name / f"parent{fold}" / f"stage{stage}"
            if not (folder / WEIGHTS_FILE).is_file():
                train_parent(self.davis, sequences, config, folder, weights=weights, chunk=25)
                keras.backend.clear_session()
            weights = folder / WEIGHTS_FILE
        return weights

    def table(self, parent: str, online: str, sequence: str) -> Path:
        """The file with the scores of a sequence."""
        return self.folder / parent / online / f"{sequence}.csv"


def train(folds: Folds, parent: str, online: str, sequence: str) -> None:
    """Train online on a sequence from the parent that has not seen it; write the scores, and the network."""
    config, weights, rows = ONLINE[online], folds.parent(parent, folds.fold(sequence)), []
    seconds, since = 0.0, process_time()

    def score(model: keras.Model, step: int, _) -> None:
        nonlocal seconds, since
        seconds += process_time() - since
        for name, changes in MASKS.items():
            if name == "default" or step == max(MOMENTS):
                j, f = judge(folds.davis, sequence, model, replace(config.inference, **changes))
                rows.append({"step": step, "masks": name, "J": j, "F": f, "CPU seconds": seconds})
        since = process_time()

    looks = [] if config.self_training else [AtSteps(MOMENTS, score)]
    with TemporaryDirectory() as folder:
        options = {"weights": weights, "progress": False, "chunk": config.steps, "callbacks": looks}
        model = train_online(folds.davis, sequence, config, folder, **options)
    if config.self_training:
        score(model, max(MOMENTS), 0)
    path = folds.table(parent, online, sequence)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_weights(model, path.with_suffix(".weights.h5"))
    with write_atomically(path) as temporary:
        pd.DataFrame(rows).assign(sequence=sequence).to_csv(temporary, index=False)
    keras.backend.clear_session()


def judge(davis: Davis, sequence: str, model: keras.Model, settings: InferenceConfig) -> np.ndarray:
    """Mean J and F of every ninth frame, without the first and the last frame, as DAVIS scores."""
    frames = davis.frames(sequence)[1:-1:EVERY]
    annotations = davis.annotations(sequence)[1:-1:EVERY]
    # Frames so far apart say nothing about what is near the mask before.
    settings = replace(settings, shrinking=settings.shrinking**EVERY, reach=0)
    learned = davis.first(sequence)[1].mean()
    scores = []
    found = predict_sequence(model, frames, settings, learned, progress=False)
    for (_, logits), path in zip(found, annotations, strict=True):
        mask, annotation = logits > 0, read_annotation(path)
        scores.append((region_similarity(mask, annotation), contour_accuracy(mask, annotation)))
    return np.mean(scores, axis=0)


def compare(table: pd.DataFrame, reference: tuple[str, str, str]) -> pd.DataFrame:
    """For each recipe at the last step the means, and the interval of its gain in J&F over the reference."""
    last = table[table["step"] == max(MOMENTS)].assign(both=lambda rows: (rows["J"] + rows["F"]) / 2)
    both = last.pivot_table(index="sequence", columns=["parent", "online", "masks"], values="both")
    rows = []
    for recipe in both:
        gain = (both[recipe] - both[reference]).dropna().to_numpy()
        own = last[(last[["parent", "online", "masks"]] == recipe).all(axis=1)]
        row = dict(zip(("parent", "online", "masks"), recipe, strict=True), sequences=len(gain))
        row |= {name: own[name].mean() for name in ("J", "F", "both", "CPU seconds")}
        if gain.any():
            row["gain"], (row["from"], row["to"]) = gain.mean(), interval(gain)
        rows.append(row)
    return pd.DataFrame(rows).sort_values("both")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--davis", required=True, help="DAVIS 2016")
    parser.add_argument("--to", type=Path, required=True, help="folder of networks and tables")
    parser.add_argument("--parents", default="branches first", help="comma-separated (default: %(default)s)")
    parser.add_argument(
        "--online", default=",".join(ONLINE), help=f"comma-separated, of: {', '.join(ONLINE)} (default: all)"
    )
    parser.add_argument("--folds", default="0,1,2", help="comma-separated (default: all)")
    parser.add_argument("--score", action="store_true", help="print the tables of what is there")
    args = parser.parse_args()
    folds = Folds(Davis(args.davis), args.to)
    if args.score:
        print_scores(folds)
        return
    chosen = [int(fold) for fold in args.folds.split(",")]
    sequences = [name for fold in chosen for name in folds.davis.sequences("train")[fold::FOLDS]]
    for job in product(args.parents.split(","), args.online.split(","), sequences):
        try:
            with lock_folder(folds.folder / job[0], name=f".{job[1]} {job[2]}"):
                if not folds.table(*job).is_file():
                    train(folds, *job)
                    print(*job, flush=True)
        except FolderError as error:
            print(*job, f"is left for another time: {error}", flush=True)


def print_scores(folds: Folds) -> None:
    paths = sorted(folds.folder.glob("*/*/*.csv"))
    if not paths:
        raise FolderError(f"{folds.folder}: no tables. Run the command without --score first.")
    table = pd.concat(
        pd.read_csv(path).assign(parent=path.parts[-3], online=path.parts[-2]) for path in paths
    )
    steps = table.groupby(["parent", "online", "masks", "step"])[["J", "F", "CPU seconds"]].mean()
    print(steps.round(3).to_string())
    print(compare(table, ("branches first", "default", "default")).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
