"""Train the parent network that is bundled: data/weights/osvos_parent_fp16.weights.h5.

    python data/make_parent.py --davis data/DAVIS --run-dir runs/parent

In two stages, each a `train_parent` that goes on where it was stopped:

1. the side branches and the fusion alone, fast, while VGG16 stays as ImageNet left it: branches that start
   at random might spoil its features;
2. from there VGG16's last three blocks too, slowly.

The validation sequences are not read. `--epochs A,B` shortens the stages, for a rehearsal; give `--to` too,
or the bundled parent is replaced.
`tests/benchmarks/folds.py` trains the parents of its folds by the same stages.
"""

import argparse
from pathlib import Path

from osvos_keras.config import ParentConfig, get_config
from osvos_keras.davis import Davis
from osvos_keras.io.files import sha256
from osvos_keras.io.paths import resolve_output
from osvos_keras.trained import WEIGHTS_FILE
from osvos_keras.training import train_parent
from osvos_keras.weights import BUNDLED, FILES, save_weights

CHUNK = 50  # steps between backups


def stages(branches: float, whole: float) -> dict[str, ParentConfig]:
    """The settings of each stage, of so many epochs."""
    fast = {"frozen_blocks": 5, "learning_rate": 1e-3, "side_end": None}
    return {
        "branches": get_config("parent", epochs=branches, **fast),
        "whole": get_config("parent", epochs=whole, learning_rate=3e-5),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--davis", required=True, help="DAVIS 2016")
    parser.add_argument("--run-dir", default="runs/parent", help="where the trainings go")
    parser.add_argument("--to", type=Path, default=BUNDLED / FILES["parent"], help="default: the bundled one")
    parser.add_argument("--epochs", default="0.24,2.1", help="of the stages (default: %(default)s)")
    args = parser.parse_args()
    davis, weights = Davis(args.davis), "imagenet"
    for name, config in stages(*map(float, args.epochs.split(","))).items():
        folder, sequences = resolve_output(args.run_dir) / name, davis.sequences("train")
        model = train_parent(davis, sequences, config, folder, weights=weights, chunk=CHUNK)
        weights = folder / WEIGHTS_FILE
    save_weights(model, args.to, half=True)
    print(f"{args.to}\nsha256 {sha256(args.to)}")


if __name__ == "__main__":
    main()
