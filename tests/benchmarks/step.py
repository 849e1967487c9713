"""How long an inference and a training step take, beside PyTorch's and beside the machine's ceiling.

    python -m tests.benchmarks.step --torch-python PYTHON --yardstick torch_osvos.py [--json FILE]

Every measurement is a process of its own, so that its peak memory is its own, and ours and the
yardstick's take turns, so that other programs disturb both alike. Without `--torch-python` only
this project is measured. `online` and `parent` are the default preset's steps, which hold four and two
of VGG16's blocks; an online step sees a window of the frame, or the whole at the window's lines.
`online_whole` sees all lines; `online_all` and `parent_all` train all five blocks, too, as the yardstick
does. The ceiling is a large matrix product at the same precision. Nothing here fails on a slow result.
"""

import argparse
import json
import math
import resource
import statistics
import sys
import time
import timeit
from itertools import pairwise
from pathlib import Path

from tests.benchmarks.commands import last_json

MODES = ("inference", "online", "online_whole", "online_all", "parent", "parent_all")
WHOLE = ("inference", "online_all", "parent_all")  # whose arithmetic is known: every layer takes part


def main() -> None:
    args = _parse()
    if args.ours:
        print(json.dumps(_measure(args)))
        return
    medians = {}
    for mode in MODES:
        for policy in ("auto", "float32"):
            medians[f"{mode}_{policy}"] = _run_ours(mode, policy, args)
        if args.torch_python and mode == _yardstick_of(mode):
            medians[f"{mode}_torch"] = _run([args.torch_python, args.yardstick, mode, *_sizes(args)])
    result = {**_ratios(medians), **_shares(medians), "medians": medians}
    for name, value in result.items():
        if name != "medians":
            print(f"{name:32} {value:.3f}")
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch-python", help="a Python that has torch, NumPy and OpenCV")
    parser.add_argument("--yardstick", type=Path, default=Path("../shared/bench/torch_osvos.py"))
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=854)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--ours", choices=MODES, help=argparse.SUPPRESS)
    parser.add_argument("--policy", default="auto", help=argparse.SUPPRESS)
    return parser.parse_args()


def _sizes(args: argparse.Namespace) -> list[str]:
    return [f"--height={args.height}", f"--width={args.width}", f"--runs={args.runs}"]


def _run_ours(mode: str, policy: str, args: argparse.Namespace) -> dict:
    module = [sys.executable, "-m", "tests.benchmarks.step", "--ours", mode, "--policy", policy]
    return _run([*module, *_sizes(args)])


def _run(command: list) -> dict:
    result = last_json(command)
    print(f"{' '.join(map(str, command[1:7])):88} {result['median_seconds']:.3f} s", flush=True)
    return result


def _yardstick_of(mode: str) -> str:
    """The yardstick's mode that one of ours is measured against."""
    return mode.partition("_")[0]


def _ratios(medians: dict) -> dict:
    """Our time and memory over the yardstick's, under the policy that the device gets by itself."""
    if "online_torch" not in medians:
        return {}
    ratios = {
        f"{mode}_ratio": medians[f"{mode}_auto"]["median_seconds"]
        / medians[f"{_yardstick_of(mode)}_torch"]["median_seconds"]
        for mode in MODES
    }
    memory = {
        f"memory{mode.removeprefix('online')}_ratio": medians[f"{mode}_auto"]["peak_gigabytes"]
        / medians[f"{_yardstick_of(mode)}_torch"]["peak_gigabytes"]
        for mode in ("online", "online_all")
    }
    return {**ratios, **memory}


def _shares(medians: dict) -> dict:
    """The arithmetic rate reached, as a share of the matrix product's at the same precision."""
    return {
        f"{mode}_{policy}_of_ceiling": found["flops"] / found["median_seconds"] / found["ceiling"]
        for mode in WHOLE
        for policy in ("auto", "float32")
        if (found := medians[f"{mode}_{policy}"])
    }


def _measure(args: argparse.Namespace) -> dict:
    """One mode of this project, in this process."""
    from osvos_keras.device import choose_policy

    policy = choose_policy(args.policy)
    seconds = _time_inference(policy, args) if args.ours == "inference" else _time_steps(policy, args)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    passes = 1 if args.ours == "inference" else 3  # backward costs about two forwards
    return {
        "policy": policy,
        "median_seconds": statistics.median(seconds[1:]),
        "min_seconds": min(seconds[1:]),
        "peak_gigabytes": peak,
        "flops": passes * forward_flops(args.height, args.width),
        "ceiling": _matrix_product_rate("bfloat16" if policy == "mixed_bfloat16" else "float32"),
    }


def _random_pair(args: argparse.Namespace):
    import numpy as np

    random = np.random.default_rng(0)
    frame = random.integers(0, 256, (args.height, args.width, 3), np.uint8)
    return frame, random.random((args.height, args.width)) > 0.8


def _time_inference(policy: str, args: argparse.Namespace) -> list[float]:
    from osvos_keras.looks import fused_only
    from osvos_keras.model import build_osvos

    network = fused_only(build_osvos(policy=policy))
    frame = _random_pair(args)[0][None]
    return timeit.repeat(lambda: network(frame).numpy(), number=1, repeat=args.runs + 1)


def _time_steps(policy: str, args: argparse.Namespace) -> list[float]:
    """Steps as `fit` runs them, with the pipeline's transforms."""
    import keras

    from osvos_keras.compilation import compile_for_training, freeze_blocks
    from osvos_keras.config import get_config
    from osvos_keras.model import build_osvos
    from osvos_keras.pipeline import online_dataset

    ticks = []

    def tick(*_, **__) -> None:
        ticks.append(time.perf_counter())

    phase, _, variant = args.ours.partition("_")
    changes = {"height": 0, "steps": args.runs + 1, "learning_rate": 5e-6}
    if args.ours != "online":  # then as the yardstick: whole frames, and every output or the fused alone
        frozen = 0 if variant == "all" else get_config(phase).frozen_blocks
        changes |= {"window": 0, "side_weight": float(phase == "parent"), "frozen_blocks": frozen}
    config = get_config("online", **changes)

    network = build_osvos(policy=policy)
    freeze_blocks(network, config.frozen_blocks)
    trained = compile_for_training(network, config, config.steps)
    clock = keras.callbacks.LambdaCallback(on_train_begin=tick, on_train_batch_end=tick)
    trained.fit(online_dataset(*_random_pair(args), config), callbacks=[clock], shuffle=False, verbose=0)
    return [after - before for before, after in pairwise(ticks)]


def forward_flops(height: int, width: int) -> float:
    """Two operations a multiplication, over every convolution of the network."""
    import keras

    from osvos_keras.conventions import OURS
    from osvos_keras.model import SIDES, build_osvos

    strides = {f"block{index + 1}": 2**index for index in range(5)}
    strides.update({side: factor for side, (_, factor) in SIDES.items()})
    pixels = OURS.pad(height) * OURS.pad(width)
    total = 0.0
    for layer in build_osvos(weights=None).layers:
        if isinstance(layer, keras.layers.Conv2D):
            total += 2 * pixels / strides[layer.name.split("_")[0]] ** 2 * math.prod(layer.kernel.shape)
    return total


def _matrix_product_rate(dtype: str, size: int = 2048) -> float:
    """Operations per second of a square matrix product. (Without oneDNN, TensorFlow's rate falls at 4096.)"""
    import tensorflow as tf

    a = tf.cast(tf.random.normal((size, size)), dtype)
    seconds = timeit.repeat(lambda: tf.matmul(a, a).numpy(), number=1, repeat=4)
    return 2 * size**3 / statistics.median(seconds[1:])


if __name__ == "__main__":
    main()
