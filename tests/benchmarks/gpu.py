"""A parent step on a GPU, on any Keras backend, beside PyTorch's and beside the chip's own rate.

    KERAS_BACKEND=jax python -m tests.benchmarks.gpu --yardstick torch_osvos.py [--json FILE]

Forward and backward of the whole network with deep supervision, bfloat16, as `fit` runs it: no block
is held. It needs Keras with JAX or PyTorch (or TensorFlow), and PyTorch for the yardstick; where they
live in different environments, `--torch-python` names the other. Ours and the yardstick's are
processes of their own, one after the other on the same GPU. The ceiling is a large matrix product in
bfloat16.
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path

from tests.benchmarks.commands import last_json
from tests.benchmarks.step import forward_flops

MINDSPORE = 0.695  # seconds per step of batch 12 on a V100, from the MindSpore model zoo's README
WARM_UP = 3  # steps before the clock starts: tracing and compiling


def main() -> None:
    args = _parse()
    if args.ours:
        print(json.dumps(_measure(args)))
        return
    result = last_json([sys.executable, "-m", "tests.benchmarks.gpu", "--ours", *_sizes(args)])
    result["share_of_ceiling"] = result["flops"] / result["step_seconds"] / result["ceiling"]
    result["mindspore_v100_seconds"] = MINDSPORE
    if args.yardstick:
        torch = last_json([args.torch_python, args.yardstick, "parent", *_sizes(args)])
        result["torch_seconds"] = torch["median_seconds"]
        result["ratio"] = result["step_seconds"] / torch["median_seconds"]
    print(json.dumps(result, indent=2))
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--yardstick", type=Path, help="torch_osvos.py; without it ours alone is measured")
    parser.add_argument("--torch-python", default=sys.executable, help="a Python that has torch and NumPy")
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=854)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--ours", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _sizes(args: argparse.Namespace) -> list[str]:
    return [f"--{name}={getattr(args, name)}" for name in ("height", "width", "batch", "runs")]


def _measure(args: argparse.Namespace) -> dict:
    """This project, in this process."""
    import keras

    from osvos_keras.losses import BalancedCrossEntropy
    from osvos_keras.model import build_osvos

    model = build_osvos(policy="mixed_bfloat16")
    losses = {name: BalancedCrossEntropy() for name in model.output}
    model.compile(keras.optimizers.Adam(1e-4), losses, jit_compile=keras.config.backend() != "torch")
    model.fit(_same_batch(args, losses, WARM_UP), verbose=0)
    start = time.perf_counter()
    model.fit(_same_batch(args, losses, args.runs), verbose=0)  # ends with reading the losses: all is done
    return {
        "backend": keras.config.backend(),
        "step_seconds": (time.perf_counter() - start) / args.runs,
        "flops": 3 * args.batch * forward_flops(args.height, args.width),  # backward costs two forwards
        "ceiling": _matrix_product_rate(),
    }


def _same_batch(args: argparse.Namespace, names, steps: int):
    """The same random frames and annotations so many times, as a data set for `fit`."""
    import keras
    import numpy as np

    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (args.batch, args.height, args.width, 3), np.uint8)
    annotations = (random.random((args.batch, args.height, args.width, 1)) > 0.8).astype(np.uint8)

    class SameBatch(keras.utils.PyDataset):
        def __len__(self):
            return steps

        def __getitem__(self, index):
            return frames, dict.fromkeys(names, annotations)

    return SameBatch()


def _matrix_product_rate(size: int = 8192, products: int = 20) -> float:
    """Operations per second of square matrix products in bfloat16."""
    import keras
    from keras import ops

    factor = ops.cast(keras.random.normal((size, size)) / math.sqrt(size), "bfloat16")

    def multiply(times: int) -> float:
        start, product = time.perf_counter(), factor
        for _ in range(times):
            product = ops.matmul(factor, product)
        ops.convert_to_numpy(ops.cast(product[0, 0], "float32"))  # waits for all of them
        return time.perf_counter() - start

    multiply(1)
    return 2 * size**3 * products / multiply(products)


if __name__ == "__main__":
    main()
