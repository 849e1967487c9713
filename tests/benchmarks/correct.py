"""What a corrected frame is worth, if the network goes on from what the first frame taught, or starts anew.

    python -m tests.benchmarks.correct --davis ROOT --to FOLDER --sequences val

The worst mask of each sequence is corrected by its annotation, as a person would: the worst of the frames
that show at least half of the object's median area. Then J and F are means over every eighth frame, without
the corrected one. Trainings that are in the folder are not done again.
"""

import argparse
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from osvos_keras import Davis, get_config, segment_sequence, train_online
from osvos_keras.inference import predict_sequence
from osvos_keras.io.images import read_frame
from osvos_keras.io.masks import read_annotation
from osvos_keras.metrics import contour_accuracy, region_similarity
from osvos_keras.trained import WEIGHTS_FILE
from tests.benchmarks.intervals import interval

FIRST, EVERY = 4, 8  # the first frame that is scored, and from one to the next


def measure(davis: Davis, sequence: str, folder: Path) -> list[dict]:
    """J and F before the correction and after it, both ways."""
    annotations = np.stack([read_annotation(path) for path in davis.annotations(sequence)])
    config, options = get_config("online"), {"progress": False}
    network = train_online(davis, sequence, config, folder / "online", weights="parent", **options)
    segment_sequence(network, davis, sequence, folder / "masks", **options)
    worst = find_worst(folder / "masks" / sequence, annotations)
    pairs = [(read_frame(davis.frames(sequence)[index]), annotations[index]) for index in (0, worst)]
    starts = {"going on": folder / "online" / WEIGHTS_FILE, "anew": "parent"}
    networks = {"before": network} | {
        name: train_online(davis, sequence, config, folder / name, pairs=pairs, weights=start, **options)
        for name, start in starts.items()
    }
    rows = []
    for name, network in networks.items():
        learned = annotations[[0] if name == "before" else [0, worst]].mean(axis=(1, 2)).max()
        scores = [
            judge(network, davis.frames(sequence)[index], annotations[index], learned)
            for index in range(FIRST, len(annotations), EVERY)
            if index != worst
        ]
        j, f = np.mean(scores, axis=0)
        rows.append({"sequence": sequence, "corrected": worst, "network": name, "J": j, "F": f})
    keras.backend.clear_session()
    return rows


def find_worst(masks: Path, annotations: np.ndarray) -> int:
    """The index of the frame with the least J, of those that show the object well."""
    areas = annotations.mean(axis=(1, 2))
    pairs = zip(sorted(masks.iterdir()), annotations, strict=True)
    j = np.array([region_similarity(read_annotation(path), annotation) for path, annotation in pairs])
    j[areas < np.median(areas) / 2] = np.inf
    return 1 + int(j[1:].argmin())


def judge(network: keras.Model, frame: Path, annotation: np.ndarray, learned: float) -> tuple[float, float]:
    ((_, logits),) = predict_sequence(network, [frame], learned_area=learned, progress=False)
    return region_similarity(logits > 0, annotation), contour_accuracy(logits > 0, annotation)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--davis", default="data/sample", help="(default: %(default)s)")
    parser.add_argument("--sequences", default="val", help="a split or names (default: %(default)s)")
    parser.add_argument("--to", type=Path, required=True, help="folder of networks and masks")
    args = parser.parse_args()
    davis, rows = Davis(args.davis), []
    for sequence in davis.select(args.sequences):
        rows += measure(davis, sequence, args.to / sequence)
        print(pd.DataFrame(rows[-3:]).round(3).to_string(index=False, header=len(rows) == 3), flush=True)
    table = pd.DataFrame(rows)
    print(table.groupby("network")[["J", "F"]].mean().round(3).to_string())
    both = table.assign(both=(table["J"] + table["F"]) / 2).pivot(
        index="sequence", columns="network", values="both"
    )
    for name in ("anew", "before"):
        gain = (both["going on"] - both[name]).to_numpy()
        low, high = interval(gain)
        print(f"(J + F) / 2, going on against {name}: {gain.mean():.3f} ({low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
