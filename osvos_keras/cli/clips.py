"""What the commands for clips share: the run's folder, names of files, and lines for the person."""

import argparse
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from osvos_keras.errors import ConfigError, VideoWarning
from osvos_keras.io.paths import join_command, resolve_output

RUNS = "runs/segment"  # the folder for the run folders of clips


def find_run_dir(args: argparse.Namespace) -> Path:
    """The folder that `--run-dir` names, or the clip's own in `RUNS`."""
    from osvos_keras.video.clip import find_clip_folder

    return find_clip_folder(args.clip, RUNS) if args.run_dir is None else resolve_output(args.run_dir)


def command_line(name: str, args: argparse.Namespace, *options: str) -> str:
    """Another command for the same clip and run folder, as a person types it."""
    clip = f"./{args.clip}" if args.clip.startswith("-") else args.clip
    place = [f"--run-dir={args.run_dir}"] if args.run_dir else []
    return join_command(["osvos", name, clip, *options, *place])


def find_output(args: argparse.Namespace, option: str, suffix: str) -> Path | None:
    """The file that an option names; None if the option was left out.

    Raises:
        ConfigError: the name has another suffix, or is not valid.
    """
    given = getattr(args, option)
    if given is None:
        return None
    path = resolve_output(given)
    if path.suffix != suffix:
        raise ConfigError(f"--{option} is {given}; it must end in {suffix}, the format of the file.")
    return path


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Show each warning of this project in one line, without the place in the code."""
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def show(message, category, *place):
            say(message) if category.__module__ == VideoWarning.__module__ else shown(
                message, category, *place
            )

        warnings.showwarning = show
        yield


def say(text: object) -> None:
    """Print a line for the person to stderr; stdout is for the paths alone."""
    tqdm.write(f"osvos: {text}", file=sys.stderr)
