"""The command `osvos parent`: the parent network trained outside a notebook, on one machine or several.

Imports stand inside the functions, since Keras's backend must be chosen before Keras is imported.
"""

import argparse
import os
import signal
from contextlib import nullcontext

from osvos_keras.cli.arguments import (
    add_config_arguments,
    add_davis_arguments,
    add_run_dir_argument,
    read_config,
    read_number,
)
from osvos_keras.config import POLICIES
from osvos_keras.errors import ConfigError

LONGEST_WAIT = 7 * 86_400  # seconds
WAITING = (
    "rank {rank} of {world_size} waits up to {wait} s for the others at {address}. JAX ends this process if "
    "one does not come. Rank 0 will show the progress."
)
NUMBERS = ("height", "epochs", "batch", "seed")  # settings that may differ from the preset's


def add_parent_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `osvos parent`."""
    add_davis_arguments(command)
    add_run_dir_argument(command)
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
        "Start the same command on every machine; only --process differs. The batch is divided over all "
        "their devices. After a stop, start all of them again: training goes on from the last backup.",
    )
    for name, metavar, text in (
        ("coordinator", "HOST:PORT", "the machine of process 0 and a free port there"),
        ("processes", "N", "how many machines there are"),
        ("process", "I", "which one this is, from 0"),
    ):
        several.add_argument(f"--{name}", metavar=metavar, help=text)
    text = "for the other machines at the start (default: %(default)s)"
    several.add_argument("--wait", default=300, metavar="SECONDS", help=text)


def run_parent(args: argparse.Namespace) -> None:
    """Train the parent network outside a notebook, on one machine or several.

    Raises:
        OsvosError: whatever is wrong.
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
    if machines:
        os.environ["KERAS_BACKEND"] = "jax"
    check_backend()

    from osvos_keras.multihost import Processes, join
    from osvos_keras.trained import WEIGHTS_FILE
    from osvos_keras.training import train_parent

    if machines:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # end at once, and let the others see it
        print(WAITING.format(**machines), flush=True)
    processes = join(**machines) if machines else Processes()
    options = {"weights": args.weights, "policy": args.policy, "chunk": chunk, "processes": processes}
    with lock_folder(args.run_dir) if processes.is_first else nullcontext():
        train_parent(davis, sequences, config, folder, **options)
    if processes.is_first:
        print(folder / WEIGHTS_FILE)


def _read_machines(args: argparse.Namespace) -> dict | None:
    """What `multihost.join` takes; None for one machine."""
    wait = read_number(args, "wait", 1, LONGEST_WAIT)
    given = [args.coordinator, args.processes, args.process]
    if given == [None] * 3:
        return None
    if None in given:
        raise ConfigError("--coordinator, --processes and --process belong together: give all three.")
    host, _, port = args.coordinator.rpartition(":")
    if not (host and port.isdecimal() and len(port) < 6 and 0 < int(port) < 65536):
        raise ConfigError(
            f"--coordinator is {args.coordinator!r}; it must be HOST:PORT, the machine of process 0 and a "
            "free port there, such as node1:8476."
        )
    count = read_number(args, "processes", 1)
    rank = read_number(args, "process", 0, count - 1)
    return {"address": args.coordinator, "world_size": count, "rank": rank, "wait": wait}
