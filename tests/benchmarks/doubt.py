"""Which sign that needs no annotation finds the worst masks, to be corrected.

    python -m tests.benchmarks.doubt --davis ROOT --to FOLDER --sequences val

Of each sequence the default preset's masks are made and scored. Each sign ranks the frames. The table says
how well (Spearman's rank correlation with (J + F) / 2), which fraction of the frames is worse than the one
that the sign names first, and how far below the mean that one is. Networks that are in the folder are not
trained again.
"""

import argparse
from pathlib import Path

import cv2
import keras
import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from osvos_keras import Davis, get_config, train_online
from osvos_keras.inference import predict_sequence
from osvos_keras.io.masks import read_annotation
from osvos_keras.metrics import contour_accuracy, region_similarity
from osvos_keras.self_training import expected_similarity

UNSURE = 2  # pixels whose logit is nearer to zero


def measure(davis: Davis, sequence: str, folder: Path) -> pd.DataFrame:
    """Of each frame that DAVIS scores: `score`, and the signs, lower for a mask in doubt."""
    config, options = get_config("online"), {"progress": False}
    network = train_online(davis, sequence, config, folder / sequence, weights="parent", **options)
    annotations = [read_annotation(path) for path in davis.annotations(sequence)]
    predicted = predict_sequence(
        network, davis.frames(sequence), learned_area=annotations[0].mean(), **options
    )
    rows, before = [], annotations[0]
    for index, ((_, logits), annotation) in enumerate(zip(predicted, annotations, strict=True)):
        mask = logits > 0
        score = (region_similarity(mask, annotation) + contour_accuracy(mask, annotation)) / 2
        rows.append({"score": score, **signs_of(logits, before), "its place": -index})
        before = mask
    keras.backend.clear_session()
    return pd.DataFrame(rows[1:-1])


def signs_of(logits: np.ndarray, before: np.ndarray) -> dict[str, float]:
    """The signs of one frame, from its logits (H, W) and the mask (H, W) of the frame before."""
    mask = logits > 0
    count, _, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    largest = statistics[1:, cv2.CC_STAT_AREA].max() if count > 1 else 0
    pixels = max(np.count_nonzero(mask), 1)
    return {
        "expected J": expected_similarity(logits),
        "unsure pixels": -np.count_nonzero(abs(logits) < UNSURE) / pixels,
        "parts": largest / pixels,
        "J with the mask before": region_similarity(mask, before),
    }


def judge(frames: pd.DataFrame) -> pd.DataFrame:
    """A row for each sign: rank correlation, fraction of worse frames, score less the mean."""
    score, rows = frames["score"], {}
    for sign in frames.columns.drop("score"):
        named = score[frames[sign].idxmin()]
        correlation = spearmanr(frames[sign], score).statistic
        rows[sign] = correlation, (score < named).mean(), named - score.mean()
    rows["the worst"] = 1, 0, score.min() - score.mean()
    return pd.DataFrame(rows, index=["rank correlation", "worse frames", "below the mean"]).T


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--davis", default="data/sample", help="(default: %(default)s)")
    parser.add_argument("--sequences", default="val", help="a split or names (default: %(default)s)")
    parser.add_argument("--to", type=Path, required=True, help="folder of networks")
    args = parser.parse_args()
    davis, tables = Davis(args.davis), {}
    for sequence in davis.select(args.sequences):
        tables[sequence] = judge(measure(davis, sequence, args.to))
        print(f"\n{sequence}\n{tables[sequence].round(3).to_string()}", flush=True)
    mean = pd.concat(tables, names=["sequence", "sign"]).groupby("sign", sort=False).mean()
    print(f"\nMeans over {len(tables)} sequences\n{mean.round(3).to_string()}")


if __name__ == "__main__":
    main()
