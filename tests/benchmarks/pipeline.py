"""Frames a second that the input pipeline makes, with flip, rotation and scale, beside PyTorch's loader.

    python -m tests.benchmarks.pipeline --davis ROOT --torch-python PYTHON --yardstick torch_osvos.py

Both read 400 training frames of 480 × 854 from disk on the same cores, one after the other.
Nothing here fails on a slow result.
"""

import argparse
import json
import subprocess
import time
from pathlib import Path

from osvos_keras.config import ParentConfig
from osvos_keras.davis import Davis
from osvos_keras.pipeline import parent_dataset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--davis", type=Path, required=True)
    parser.add_argument("--torch-python", help="a Python that has torch, NumPy and OpenCV")
    parser.add_argument("--yardstick", type=Path, default=Path("../shared/bench/torch_osvos.py"))
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    result = {"ours": _our_rate(Davis(args.davis), args.frames)}
    if args.torch_python:
        command = [args.torch_python, str(args.yardstick), "loader", "--davis", str(args.davis)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        result["torch"] = json.loads(done.stdout.splitlines()[-1])["frames_per_second"]
        result["pipeline_ratio"] = result["ours"] / result["torch"]
    print(json.dumps(result, indent=2))
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


def _our_rate(davis: Davis, frames: int, warm_up: int = 20) -> float:
    """Frames a second, batch 1, full size, after a few to fill the pipeline."""
    config = ParentConfig(height=0, batch=1, epochs=1)
    dataset = parent_dataset(davis, davis.sequences("train"), config).take(frames)
    for count, _ in enumerate(dataset, start=1):
        if count == warm_up:
            start = time.perf_counter()
    return (count - warm_up) / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
