"""The settings of a training as options of a command: `osvos parent` and `osvos segment` share them."""

import argparse
from collections.abc import Sequence

from osvos_keras.config import PRESETS, OnlineConfig, ParentConfig, get_config


def add_config_arguments(command: argparse.ArgumentParser, numbers: Sequence[str], weights: str) -> None:
    """`--weights` with its default, `--preset`, and an option for each setting that may differ from it."""
    command.add_argument(
        "--weights",
        default=weights,
        help="what to start from: imagenet, parent or a file (default: %(default)s)",
    )
    command.add_argument("--preset", default="default", help=f"{', '.join(PRESETS)} (default: %(default)s)")
    for name in numbers:
        command.add_argument(f"--{name}", type=int, metavar="N", help="instead of the preset's own")


def read_config(args: argparse.Namespace, phase: str, numbers: Sequence[str]) -> ParentConfig | OnlineConfig:
    """The settings of a phase that the options ask for.

    Raises:
        ConfigError: as `get_config`.
    """
    given = {name: getattr(args, name) for name in numbers}
    return get_config(phase, args.preset, **{name: n for name, n in given.items() if n is not None})
