"""Time to quality: J of later frames against seconds of online training, for several settings.

    python -m tests.benchmarks.quality --davis ROOT --to FOLDER [--settings frozen0,frozen4]
    python -m tests.benchmarks.quality --davis ROOT --to FOLDER --weights parent.weights.h5 --sequences a,b

Tuning belongs to training data: the sequences are every fifth of the training list, or those that a
parent has not seen, never any of the validation list. Each setting trains on the first frame of each
sequence; at a few moments the clock stops, and every fifth later frame is predicted and scored at full
size. Rows are appended to `FOLDER/quality.csv` as they come, and what is there already is not run
again; `FOLDER/quality.png` shows the curves.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import pandas as pd

from osvos_keras.callbacks import AtSteps
from osvos_keras.config import get_config
from osvos_keras.davis import Davis
from osvos_keras.inference import sample_similarity
from osvos_keras.io.files import make_folder, write_atomically
from osvos_keras.training import train_online

MOMENTS = (0, 10, 25, 50, 75, 100, 150, 200, 300)  # steps at which the clock stops
SETTINGS = {  # each is a change to the default preset, which holds four blocks
    "frozen0": {"frozen_blocks": 0},
    "frozen1": {"frozen_blocks": 1},
    "frozen2": {"frozen_blocks": 2},
    "frozen3": {"frozen_blocks": 3},
    "frozen4": {},
    "branches alone 3e-4": {"frozen_blocks": 5, "learning_rate": 3e-4},
    "rate 3e-5": {"learning_rate": 3e-5},
    "rate 5e-5": {"learning_rate": 5e-5},
    "rate 2e-4": {"learning_rate": 2e-4},
    "cosine": {"decay": "cosine"},
    "fused alone": {"side_weight": 0.0},
    "the paper's balance": {"balance": 1.0},
    "two held, 3e-5": {"frozen_blocks": 2, "learning_rate": 3e-5},
    "320 lines": {"height": 320},
    "480 lines": {"height": 480},
    "480 and 240 lines": {"height": 480, "scales": 2},
    "float32": {"policy": "float32"},  # where the device would choose bfloat16
}


def examine(davis: Davis, sequence: str, steps: int, weights: str, changes: dict) -> list[dict]:
    """At every moment J over some later frames, and the seconds that training took so far."""
    policy = changes.get("policy", "auto")
    changes = {name: value for name, value in changes.items() if name != "policy"}
    config = get_config("online", steps=steps, **changes)
    rows, learned = [], davis.first(sequence)[1].mean()

    def look(model: keras.Model, step: int, seconds: float) -> None:
        area = learned if step else 0  # a start alone has not seen the object
        j = sample_similarity(model, davis, sequence, learned_area=area, every=5)
        rows.append({"step": step, "seconds": seconds, "J": j})

    with TemporaryDirectory() as folder:
        options = {"weights": weights, "policy": policy, "progress": False, "chunk": steps}
        train_online(davis, sequence, config, folder, callbacks=[AtSteps(MOMENTS, look)], **options)
    keras.backend.clear_session()
    return rows


def plot(table: pd.DataFrame, path: Path) -> None:
    """Mean J over the sequences against mean seconds, a line a setting."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="seconds of training", ylabel="mean J", xscale="log")
    for setting, rows in table.groupby("setting", sort=False):
        mean = rows.groupby("step")[["seconds", "J"]].mean()
        axes.plot(mean["seconds"], mean["J"], marker="o", label=setting)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--davis", type=Path, required=True)
    parser.add_argument("--to", type=Path, required=True, help="folder for the table and the picture")
    parser.add_argument("--settings", default=",".join(SETTINGS), help="comma-separated (default: all)")
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--sequences", help="comma-separated (default: every fifth for training)")
    parser.add_argument("--steps", type=int, default=100)
    args = parser.parse_args()
    davis, path = Davis(args.davis), make_folder(args.to) / "quality.csv"
    rows = pd.read_csv(path).to_dict("records") if path.is_file() else []
    sequences = davis.select(args.sequences) if args.sequences else davis.sequences("train")[2::5]
    for sequence in sequences:
        for setting in args.settings.split(","):
            key = {"setting": setting, "sequence": sequence, "weights": args.weights, "steps": args.steps}
            if any(key.items() <= row.items() for row in rows):
                continue
            found = examine(davis, sequence, args.steps, args.weights, SETTINGS[setting])
            rows += [{**key, **row} for row in found]
            table = pd.DataFrame(rows)
            with write_atomically(path) as temporary:
                table.to_csv(temporary, index=False)
            print(sequence, setting, *(f"{row['step']}: {row['J']:.3f}" for row in found), flush=True)
            plot(table, args.to / "quality.png")
    print(table.pivot_table(index="setting", columns="step", values=["J", "seconds"]).round(3).to_string())


if __name__ == "__main__":
    main()
