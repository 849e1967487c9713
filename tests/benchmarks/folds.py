"""Recipes judged by cross-validation over all training sequences of DAVIS: parent, online training, masks.

    python -m tests.benchmarks.folds --davis ROOT --to FOLDER             # train, and keep logits
    python -m tests.benchmarks.folds --davis ROOT --to FOLDER --score     # the tables

The training sequences are dealt into three folds. For each fold a parent is trained on the other two, and
each online recipe trains from it on the first frame of every sequence in the fold. So every sequence is
judged by networks whose parent has not seen it. At a few steps the logits of some frames are kept, at all
sizes that the second look can use; scoring makes masks of them in several ways, without the network.

Every file is written once, and what is there is not made again: stop the command, or start it several
times at once to share the work. The validation sequences are not read.
"""

import argparse
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from multiprocessing import Pool
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

import cv2
import keras
import numpy as np
import pandas as pd
from scipy.stats import bootstrap

from osvos_keras.callbacks import AtSteps
from osvos_keras.config import InferenceConfig, get_config
from osvos_keras.davis import Davis
from osvos_keras.errors import FolderError
from osvos_keras.inference import look
from osvos_keras.io.files import lock_folder, write_atomically
from osvos_keras.io.images import read_frame
from osvos_keras.io.masks import read_annotation
from osvos_keras.metrics import contour_accuracy, region_similarity
from osvos_keras.pipeline import resize_to_height
from osvos_keras.refinement import reconcile, snap_contour
from osvos_keras.training import WEIGHTS_FILE, train_online, train_parent

FOLDS = 3
STRIDE = {0: 10, 10: 10, 30: 10, 100: 3}  # at each step every so many frames are looked at
LOOKS = (1.0, 0.75, 0.5, 0.35, 0.25)  # the second look's scales after the first

PARENTS = {  # in stages
    "branches first": (
        get_config("parent", epochs=0.24, frozen_blocks=5, learning_rate=1e-3, side_end=None),
        get_config("parent", epochs=1.4, learning_rate=3e-5),
    ),
    "plain": (get_config("parent", epochs=1.4, learning_rate=1e-4, frozen_blocks=0, balance=1.0),),
}
EVERY = {"frozen_blocks": 0, "learning_rate": 3e-5, "side_weight": 0.0}
ONLINE = {
    "default": get_config("online"),
    "every block": get_config("online", **EVERY, balance=1.0),
    "every block, half the balance": get_config("online", **EVERY),
}
SEEN = InferenceConfig(get_config("online").height)
MASKS = {
    "default": SEEN,
    "as found": replace(SEEN, second_looks=(), snap=False),
    "no second look": replace(SEEN, second_looks=()),
    "not snapped": replace(SEEN, snap=False),
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
            if not (folder / "done").is_file():
                train_parent(self.davis, sequences, config, folder, weights=weights, chunk=25)
                keras.backend.clear_session()
                (folder / "done").touch()
            weights = folder / WEIGHTS_FILE
        return weights

    def logits(self, parent: str, online: str, sequence: str) -> Path:
        """The file with the logits of a sequence."""
        return self.folder / parent / online / f"{sequence}.npz"


def train(folds: Folds, parent: str, online: str, sequence: str) -> None:
    """Train online on a sequence from the parent that has not seen it, and write logits of later frames."""
    config, weights = ONLINE[online], folds.parent(parent, folds.fold(sequence))
    kept, seconds, since = {}, {}, process_time()

    def keep(model: keras.Model, step: int, _) -> None:
        nonlocal since
        seconds[str(step)] = process_time() - since
        for number, path in chosen_frames(folds.davis, sequence, step):
            image = np.asarray(resize_to_height(read_frame(path), config.height, "bilinear"))
            looks = [look(model, image[None], config.inference, scale)[0] for scale in LOOKS]
            kept[f"{step}/{number}"] = np.stack(looks).astype(np.float16)
        since = process_time() - seconds[str(step)]

    with TemporaryDirectory() as folder:
        options = {"weights": weights, "progress": False, "chunk": config.steps}
        train_online(folds.davis, sequence, config, folder, callbacks=[AtSteps(STRIDE, keep)], **options)
    with write_atomically(folds.logits(parent, online, sequence)) as temporary:
        np.savez(temporary, seconds=[seconds[str(step)] for step in STRIDE], **kept)
    keras.backend.clear_session()


def chosen_frames(davis: Davis, sequence: str, step: int) -> list[tuple[int, Path]]:
    """Number and path of the frames that are looked at: neither the first nor the last, as DAVIS scores."""
    return list(enumerate(davis.frames(sequence)))[1 : -1 : STRIDE[step]]


def see_again(looks: np.ndarray, settings: InferenceConfig, learned: float, before: float, stride: int):
    """The logits (h, w) of one frame as `inference` makes them, and how many times as long the object is.

    Args:
        looks: (len(LOOKS), h, w) float32.
        settings: which steps to take.
        learned: the fraction of the first frame that the object covers.
        before: how many times as long it was in the frame seen before this one, `stride` frames ago.
    """
    logits = looks[0]
    growth = max(grown(logits, learned), settings.shrinking**stride * before)
    scale = next((scale for least, scale in reversed(settings.second_looks) if growth >= least), None)
    if scale is not None:
        logits = reconcile(logits, looks[LOOKS.index(scale)])
    return logits, grown(logits, learned)


def grown(logits: np.ndarray, learned: float) -> float:
    return float(np.sqrt((logits > 0).mean() / learned))


def score(folds: Folds, parent: str, online: str, sequence: str) -> pd.DataFrame:
    """J and F of a sequence: a row for each step and way to make masks."""
    path = folds.logits(parent, online, sequence)
    table = path.with_suffix(".csv")
    if table.is_file() and set(MASKS) <= set((found := pd.read_csv(table))["masks"]):
        return found
    kept, learned = np.load(path), folds.davis.first(sequence)[1].mean()
    rows = []
    for (step, stride), seconds in zip(STRIDE.items(), kept["seconds"], strict=True):
        for name, settings in MASKS.items() if step else [("as found", MASKS["as found"])]:
            growth, scores = 1.0, []
            for number, frame in chosen_frames(folds.davis, sequence, step):
                looks = kept[f"{step}/{number}"].astype(np.float32)
                logits, growth = see_again(looks, settings, learned, growth, stride)
                scores.append(judge(folds.davis, sequence, number, frame, logits, settings))
            j, f = np.mean(scores, axis=0)
            rows.append({"step": step, "masks": name, "J": j, "F": f, "CPU seconds": seconds})
    found = pd.DataFrame(rows)
    found.insert(0, "sequence", sequence)
    with write_atomically(table) as temporary:
        found.to_csv(temporary, index=False)
    return found


def judge(davis: Davis, sequence: str, number: int, path: Path, logits: np.ndarray, settings) -> tuple:
    """J and F of one frame at its own size."""
    frame, annotation = read_frame(path), read_annotation(davis.annotations(sequence)[number])
    logits = cv2.resize(logits, annotation.shape[::-1], interpolation=cv2.INTER_LINEAR)
    mask = (snap_contour(frame, logits, settings.snap_band) if settings.snap else logits) > 0
    return region_similarity(mask, annotation), contour_accuracy(mask, annotation)


def compare(table: pd.DataFrame, reference: tuple[str, str, str]) -> pd.DataFrame:
    """For each recipe at the last step the means, and the interval of its gain in J&F over the reference."""
    last = table[table["step"] == max(STRIDE)].assign(both=lambda rows: (rows["J"] + rows["F"]) / 2)
    both = last.pivot_table(index="sequence", columns=["parent", "online", "masks"], values="both")
    rows = []
    for recipe in both:
        gain = (both[recipe] - both[reference]).dropna().to_numpy()
        own = last[(last[["parent", "online", "masks"]] == recipe).all(axis=1)]
        row = dict(zip(("parent", "online", "masks"), recipe, strict=True), sequences=len(gain))
        row |= {name: own[name].mean() for name in ("J", "F", "both", "CPU seconds")}
        if gain.any():
            found = bootstrap((gain,), np.mean, random_state=0).confidence_interval
            row |= {"gain": gain.mean(), "from": found.low, "to": found.high}
        rows.append(row)
    return pd.DataFrame(rows).sort_values("both")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--davis", required=True, help="DAVIS 2016")
    parser.add_argument("--to", type=Path, required=True, help="folder of networks, logits and tables")
    parser.add_argument("--parents", default="branches first", help="comma-separated")
    parser.add_argument("--online", default=";".join(ONLINE), help="separated by semicolons (default: all)")
    parser.add_argument("--folds", default="0,1,2", help="comma-separated (default: all)")
    parser.add_argument("--score", action="store_true", help="score what is there")
    args = parser.parse_args()
    folds = Folds(Davis(args.davis), args.to)
    parents, online = args.parents.split(","), args.online.split(";")
    if args.score:
        print_scores(folds)
        return
    chosen = [int(fold) for fold in args.folds.split(",")]
    sequences = [name for fold in chosen for name in folds.davis.sequences("train")[fold::FOLDS]]
    for job in product(parents, online, sequences):
        try:
            with lock_folder(folds.folder / job[0], name=f".fold{folds.fold(job[2])}"):
                if not folds.logits(*job).is_file():
                    train(folds, *job)
                    print(*job, flush=True)
        except FolderError as error:
            print(*job, f"is left for another time: {error}", flush=True)


def print_scores(folds: Folds) -> None:
    jobs = [(*path.parts[-3:-1], path.stem) for path in sorted(folds.folder.glob("*/*/*.npz"))]
    with Pool() as pool:
        tables = pool.starmap(partial(score, folds), jobs)
    table = pd.concat(one.assign(parent=job[0], online=job[1]) for job, one in zip(jobs, tables, strict=True))
    with write_atomically(folds.folder / "scores.csv") as temporary:
        table.to_csv(temporary, index=False)
    steps = table.groupby(["parent", "online", "masks", "step"])[["J", "F", "CPU seconds"]].mean()
    print(steps.round(3).to_string())
    print(compare(table, ("branches first", "default", "default")).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
