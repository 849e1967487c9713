"""Options that several commands share: the data set, the run's folder, the settings of a training."""

import argparse
from collections.abc import Sequence

from osvos_keras.config import PRESETS, OnlineConfig, ParentConfig, get_config, setting_types
from osvos_keras.io.literals import check_range, check_type, read_literal

MEANINGS = {
    "height": "lines that the network sees; 0: the frame's own",
    "steps": "training steps",
    "epochs": "passes over the training frames",
    "batch": "frames per step",
    "seed": "seed of all random numbers",
}


def add_davis_arguments(command: argparse.ArgumentParser, default: str | None = "data/sample") -> None:
    """Add `--davis`, which must be given if it has no default, and `--resolution`."""
    text = "data set in DAVIS layout" + (" (default: %(default)s)" if default else "")
    command.add_argument("--davis", default=default, required=not default, metavar="ROOT", help=text)
    command.add_argument(
        "--resolution",
        default="480p",
        metavar="NAME",
        help="folder of its frames, below JPEGImages (default: %(default)s)",
    )


def add_run_dir_argument(command: argparse.ArgumentParser) -> None:
    """Add `--run-dir`."""
    command.add_argument("--run-dir", default="runs/course", help="where results go (default: %(default)s)")


def add_config_arguments(command: argparse.ArgumentParser, numbers: Sequence[str], weights: str) -> None:
    """Add `--weights` with its default, `--preset`, an option per name in `numbers`, and `--settings`."""
    command.add_argument(
        "--weights",
        default=weights,
        help="starting weights: imagenet, parent or a file (default: %(default)s)",
    )
    command.add_argument("--preset", default="default", help=f"{', '.join(PRESETS)} (default: %(default)s)")
    for name in numbers:
        command.add_argument(f"--{name}", metavar="N", help=f"{MEANINGS[name]} (default: the preset's)")
    command.add_argument(
        "--settings",
        action="append",
        default=[],
        metavar="'NAME=VALUE …'",
        help="other settings that replace the preset's, such as 'learning_rate=3e-5 balance=1'",
    )


def read_config(args: argparse.Namespace, phase: str, numbers: Sequence[str]) -> ParentConfig | OnlineConfig:
    """The settings of a phase (`"parent"` or `"online"`), from the options.

    Raises:
        ConfigError: as `get_config`.
    """
    types = setting_types(ParentConfig if phase == "parent" else OnlineConfig)
    given = {name: read_literal(getattr(args, name), types[name]) for name in numbers}
    settings = " ".join(args.settings)
    return get_config(phase, args.preset, settings, **given)


def draw_to_files() -> None:
    """Let Matplotlib draw without windows: for them Windows chooses Tk, which not every Python there has."""
    import matplotlib

    matplotlib.use("agg")


def read_number(
    args: argparse.Namespace, name: str, least: float, most: float = 2**31 - 1, kind: type = int
) -> float | None:
    """The number that an option gives; None if the option was left out.

    Raises:
        ConfigError: the value is not a number, or out of range.
    """
    value = getattr(args, name)
    if value is not None:
        value = check_type(f"--{name}", read_literal(value, (kind,)), (kind,))
        check_range(f"--{name}", value, least, most)
    return value
