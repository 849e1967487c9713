"""The command `osvos parent`: the parent network trained outside a notebook, on one machine or several.

Imports stand inside the functions, since Keras's backend must be chosen before Keras is imported.
"""

import argparse
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec

from osvos_keras.cli.arguments import add_config_arguments, read_config, read_number
from osvos_keras.config import POLICIES
from osvos_keras.errors import ConfigError, OsvosError
from osvos_keras.roll_call import check_place

LONGEST_WAIT = 7 * 86_400  # seconds
NUMBERS = ("height", "epochs", "batch", "seed")  # settings that may differ from the preset's


def add_parent_arguments(command: argparse.ArgumentParser) -> None:
    """The options of `osvos parent`, beside `--davis` and `--run-dir`, which it shares with others."""
    command.add_argument(
        "--sequences", default="train", help="a split or comma-separated names (default: %(default)s)"
    )
    add_config_arguments(command, NUMBERS, weights="imagenet")
    command.add_argument(
        "--policy", default="auto", choices=POLICIES, help="precision (default: the device's best)"
    )
    command.add_argument(
        "--chunk", default=25, metavar="N", help="steps between backups (default: %(default)s)"
    )
    _add_machines(command)


def _add_machines(command: argparse.ArgumentParser) -> None:
    several = command.add_argument_group(
        "several machines",
        "Start the same command on every machine, --process alone differing. The batch is divided over all "
        "their devices. After a stop, start all of them again: training goes on from the last backup.",
    )
    several.add_argument(
        "--coordinator", metavar="HOST:PORT", help="the machine of process 0 and a free port there"
    )
    several.add_argument("--processes", metavar="N", help="how many machines there are")
    several.add_argument("--process", metavar="I", help="which one this is, from 0")
    several.add_argument(
        "--wait",
        default=300,
        metavar="SECONDS",
        help="for the other machines at the start (default: %(default)s)",
    )


def run_parent(args: argparse.Namespace) -> int:
    """Train; the command's exit status.

    Raises:
        OsvosError: whatever is wrong; in a process of a team, it ends here with a message.
    """
    from osvos_keras.backend import check_backend
    from osvos_keras.davis import Davis
    from osvos_keras.io.files import lock_folder
    from osvos_keras.io.paths import resolve_output
    from osvos_keras.weights import find_conventions

    chunk = read_number(args, "chunk", 1)
    config = read_config(args, "parent", NUMBERS)
    machines = _read_machines(args)
    folder = resolve_output(args.run_dir) / "parent"
    davis = Davis(args.davis, args.resolution)
    sequences = davis.select(args.sequences)
    find_conventions(args.weights)  # raises where there are no such weights
    check_backend()
    team = _join(*machines)

    from osvos_keras.training import WEIGHTS_FILE, train_parent

    options = {"weights": args.weights, "policy": args.policy, "chunk": chunk, "team": team}
    with _leave_at_once(team), lock_folder(args.run_dir) if team.leads else nullcontext():
        train_parent(davis, sequences, config, folder, **options)
    if team.leads:
        print(folder / WEIGHTS_FILE)
    return 0


@contextmanager
def _leave_at_once(team) -> Iterator[None]:
    """End a process of a team that failed: a usual exit waits for the others, who wait for this one."""
    try:
        yield
    except BaseException as error:
        if team.count == 1:
            raise
        if isinstance(error, OsvosError):
            print(f"osvos: error: {error}", file=sys.stderr, flush=True)
        else:
            traceback.print_exception(error)
        os._exit(1)


def _read_machines(args: argparse.Namespace) -> tuple[str | None, int | None, int | None, float]:
    """Coordinator, number of processes, which one this is, and how long to wait for the others."""
    count, index = read_number(args, "processes", 1), read_number(args, "process", 0)
    machines, wait = (args.coordinator, count, index), read_number(args, "wait", 1, LONGEST_WAIT, float)
    if machines != (None, None, None):
        if None in machines:
            raise ConfigError("--coordinator, --processes and --process belong together: give all three.")
        check_place(*machines)
        if find_spec("jax") is None:
            raise ConfigError(
                "several machines need JAX, which is not installed: pip install 'osvos-keras[jax]' (or "
                "'jax[cuda12]', where there are NVIDIA GPUs)."
            )
    return *machines, wait


def _join(coordinator: str | None, count: int | None, index: int | None, wait: float):
    """The team of several machines; sets Keras's backend, so nothing may import keras before."""
    if coordinator is None:
        from osvos_keras.multihost import ALONE

        return ALONE
    os.environ["KERAS_BACKEND"] = "jax"
    from osvos_keras.multihost import join

    print(f"process {index}: waiting for all {count} at {coordinator}", flush=True)
    team = join(coordinator, count, index, wait)
    if not team.leads:
        print(f"process {team.index}: training; process 0 shows how far it is", flush=True)
    return team
