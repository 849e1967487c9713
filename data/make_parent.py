"""Train the parent network that is bundled: data/weights/osvos_parent_fp16.weights.h5.

    python data/make_parent.py --davis data/DAVIS --run-dir runs/parent

In two stages, each a `train_parent` that goes on where it was stopped:

1. the side branches and the fusion alone, fast, while VGG16 stays as ImageNet left it: branches that start
   at random might spoil its features;
2. from there VGG16's last three blocks too, slowly.

With `--hold-out` both stages leave five of DAVIS's 30 training sequences out, measure J on them
(`held_out.csv`) and write the network into the run folder: on these five the settings of both phases were
chosen. The validation sequences are not read. `--epochs A,B` shortens both stages, for a rehearsal.
"""

import argparse
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from osvos_keras.callbacks import AtSteps
from osvos_keras.config import ParentConfig, get_config
from osvos_keras.davis import Davis
from osvos_keras.io.files import sha256, write_atomically
from osvos_keras.io.paths import resolve_output
from osvos_keras.similarity import sample_similarity
from osvos_keras.training import WEIGHTS_FILE, train_parent
from osvos_keras.weights import BUNDLED, FILES, save_weights

EVERY = 250  # steps between two looks at the sequences held out
CHUNK = 50  # steps between backups


def held_out(davis: Davis) -> list[str]:
    """Every sixth training sequence, from the second: on DAVIS 2016 bmx-bumps, dog-agility,
    horsejump-low, motorbike and stroller."""
    return davis.sequences("train")[1::6]


def look_at_held_out(davis: Davis, path: Path) -> AtSteps:
    """Every so many steps a row of J: every eighth frame of each sequence held out, and their mean."""

    def look(model: keras.Model, step: int, seconds: float) -> None:
        scores = {name: sample_similarity(model, davis, name, every=8) for name in held_out(davis)}
        rows = pd.read_csv(path).to_dict("records") if path.is_file() else []
        kept = [old for old in rows if old["step"] < step]  # a resumed training looks again
        row = {"step": step, **scores, "mean": np.mean(list(scores.values()))}
        with write_atomically(path) as temporary:
            pd.DataFrame([*kept, row]).to_csv(temporary, index=False)

    return AtSteps(range(EVERY, sys.maxsize, EVERY), look)


def stages(epochs: tuple[float, float]) -> tuple[ParentConfig, ParentConfig]:
    """The settings of both stages."""
    branches = get_config("parent", epochs=epochs[0], frozen_blocks=5, learning_rate=1e-3, side_end=None)
    whole = get_config("parent", epochs=epochs[1], learning_rate=3e-5)
    return branches, whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--davis", required=True, help="DAVIS 2016")
    parser.add_argument("--run-dir", default="runs/parent", help="where the trainings go")
    parser.add_argument("--to", help="the file to write (default: the bundled one; a held-out run: its own)")
    parser.add_argument("--epochs", default="0.24,2.1", help="of the stages (default: %(default)s)")
    parser.add_argument("--hold-out", action="store_true", help="leave five sequences out, and look at them")
    args = parser.parse_args()
    davis, run = Davis(args.davis), resolve_output(args.run_dir)
    branches, whole = stages(tuple(map(float, args.epochs.split(","))))

    to = Path(args.to or (run if args.hold_out else BUNDLED) / FILES["parent"])
    left_out = held_out(davis) if args.hold_out else []
    sequences = [name for name in davis.sequences("train") if name not in left_out]
    looks = [look_at_held_out(davis, run / "held_out.csv")] if args.hold_out else []
    train_parent(davis, sequences, branches, run / "branches", chunk=CHUNK)
    start = run / "branches" / WEIGHTS_FILE
    model = train_parent(davis, sequences, whole, run / "whole", weights=start, chunk=CHUNK, callbacks=looks)
    save_weights(model, to, half=True)
    print(f"{to}\nsha256 {sha256(to)}")


if __name__ == "__main__":
    main()
