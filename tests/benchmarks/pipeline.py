"""Frames per second that the input pipeline makes, with flip, rotation and scale, beside PyTorch's loader.

    python -m tests.benchmarks.pipeline --davis ROOT --torch-python PYTHON --yardstick torch_osvos.py

Both read 400 training frames of 480 × 854 from disk on the same cores, in turns, each twice. Ours
decodes them once and then keeps them; the rate without that, as in a first epoch or where memory is
short, is printed too, and so is a copy's, the ceiling for bytes. Nothing here fails on a slow result.
"""

import argparse
import json
import statistics
import time
import timeit
from pathlib import Path

import numpy as np

from osvos_keras import pipeline
from osvos_keras.config import ParentConfig
from osvos_keras.davis import Davis
from tests.benchmarks.commands import last_json

SEQUENCES = 6  # of the training list: some 400 frames
WARM_UP = 20  # frames that fill the pipeline


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--davis", type=Path, required=True)
    parser.add_argument("--torch-python", help="a Python that has torch, NumPy and OpenCV")
    parser.add_argument("--yardstick", type=Path, default=Path("../shared/bench/torch_osvos.py"))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rates = {"decoded_once": [], "decoded_anew": [], "torch": []}
    for _ in range(2):
        rates["decoded_once"].append(_our_rate(Davis(args.davis)))
        rates["decoded_anew"].append(_our_rate(Davis(args.davis), memory_fraction=0.0))
        if args.torch_python:
            rates["torch"].append(_torch_rate(args))
    result = {name: statistics.mean(found) for name, found in rates.items() if found}
    if args.torch_python:
        result["pipeline_ratio"] = result["decoded_once"] / result["torch"]
        result["decoded_anew_ratio"] = result["decoded_anew"] / result["torch"]
    result["copy_of_a_sample"] = _copy_rate()
    for name, value in result.items():
        print(f"{name:32} {value:.1f}")
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


def _our_rate(davis: Davis, memory_fraction: float = pipeline.MEMORY_FRACTION) -> float:
    """Frames per second, batch 1, full size."""
    kept, pipeline.MEMORY_FRACTION = pipeline.MEMORY_FRACTION, memory_fraction
    config = ParentConfig(height=0, batch=1, epochs=1)
    dataset = pipeline.parent_dataset(davis, davis.sequences("train")[:SEQUENCES], config)
    pipeline.MEMORY_FRACTION = kept
    for count, _ in enumerate(dataset, start=1):
        if count == WARM_UP:
            start = time.perf_counter()
    return (count - WARM_UP) / (time.perf_counter() - start)


def _torch_rate(args: argparse.Namespace) -> float:
    command = [args.torch_python, args.yardstick, "loader", "--davis", args.davis]
    return last_json(command)["frames_per_second"]


def _copy_rate() -> float:
    """Copies per second of a frame and its annotation: no pipeline can be faster on one core."""
    count = 2000
    return count / timeit.timeit(np.ones((480, 854, 4), np.uint8).copy, number=count)


if __name__ == "__main__":
    main()
