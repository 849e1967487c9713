"""What the device supports: precision, XLA, several GPUs."""

import math
from functools import cache
from pathlib import Path

import keras
import tensorflow as tf

from osvos_keras.config import POLICIES
from osvos_keras.errors import ConfigError


def gpus() -> list:
    """The GPUs that TensorFlow sees."""
    return tf.config.list_physical_devices("GPU")


def choose_policy(policy: str = "auto") -> str:
    """`policy`, with `"auto"` decided by the device.

    `"mixed_bfloat16"` where bfloat16 arithmetic is native (GPUs from compute capability 8.0;
    CPUs with AVX512-BF16 or AMX), else `"float32"`.

    Raises:
        ConfigError: it is none of `POLICIES`.
    """
    if policy not in POLICIES:
        raise ConfigError(f"the policy is {policy!r}; choose from {', '.join(POLICIES)}.")
    if policy != "auto":
        return policy
    return "mixed_bfloat16" if _has_bfloat16() else "float32"


def _has_bfloat16() -> bool:
    if gpus():
        details = (tf.config.experimental.get_device_details(gpu) for gpu in gpus())
        return all(detail.get("compute_capability", (0, 0)) >= (8, 0) for detail in details)
    cpuinfo = Path("/proc/cpuinfo")  # Linux; elsewhere float32 is right, if not always fastest
    flags = cpuinfo.read_text() if cpuinfo.is_file() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


def use_xla() -> bool:
    """Whether inference compiles with XLA: on a GPU; with TensorFlow on a CPU it was measured to be slower.

    JAX has no other compiler: without it every operation would run by itself.
    """
    return keras.config.backend() == "jax" or bool(gpus())


def choose_steps_per_execution(chunk: int) -> int:
    """How many steps Keras runs per call: a divisor of `chunk`, so that every chunk ends with a call.

    On a GPU a step is so short that what Keras does between two calls counts; callbacks are then
    called every five steps. On a CPU it is lost in the step. (JAX: not tried.) In the scope of a strategy
    for several GPUs it is one step: with more, Keras's `fit` fails.
    """
    possible = keras.config.backend() == "tensorflow" and not tf.distribute.has_strategy()
    return math.gcd(chunk, 5) if gpus() and possible else 1


def check_batch(batch: int, devices: int) -> None:
    """Check that the batch can be split evenly over the devices; otherwise their rows would not count alike.

    Raises:
        ConfigError: they cannot.
    """
    if batch % devices:
        raise ConfigError(
            f"the batch is {batch}, and {devices} devices cannot share it evenly. Choose a multiple of "
            f"{devices}, such as batch = {math.ceil(batch / devices) * devices} (--batch), or show fewer "
            "devices (CUDA_VISIBLE_DEVICES=0 shows one GPU)."
        )


def choose_strategy() -> tf.distribute.Strategy:
    """`MirroredStrategy` over several GPUs of TensorFlow, else the default strategy."""
    several = keras.config.backend() == "tensorflow" and len(gpus()) > 1
    return _mirror() if several else tf.distribute.get_strategy()


@cache  # a second one in a process numbers its sums as the first did, and TensorFlow mixes them up
def _mirror() -> tf.distribute.Strategy:
    return tf.distribute.MirroredStrategy()
