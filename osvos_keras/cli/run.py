"""The command `osvos run`: runs one notebook headless, once or once per sequence."""

import argparse

from osvos_keras.cli.arguments import read_number
from osvos_keras.errors import ConfigError
from osvos_keras.io.literals import parse_pairs

RETRIES = 2
EXAMPLE = "-p ONLINE_STEPS=50"


def add_run_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `osvos run`."""
    command.add_argument("notebook", help="a path, or a name such as 04_online_training")
    command.add_argument(
        "--out",
        help="the executed notebook (default: in notebooks/ of the run folder, named after the notebook)",
    )
    command.add_argument(
        "--brief",
        action="store_true",
        help="leave out the cells that only teach (tag: lesson), as --each-sequence does",
    )
    add_parameters(command)
    _add_each_sequence(command)


def add_parameters(command: argparse.ArgumentParser) -> None:
    """Add `-p NAME=VALUE`, which `osvos course` has too."""
    command.add_argument(
        "-p",
        "--set",
        dest="parameters",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set a parameter of the notebook; may be repeated",
    )


def _add_each_sequence(command: argparse.ArgumentParser) -> None:
    many = command.add_argument_group(
        "many sequences",
        "One job per sequence. After a stop, run the same command again to go on: finished jobs are skipped.",
    )
    many.add_argument("--each-sequence", metavar="val|A,B,…", help="a split, or comma-separated names")
    many.add_argument(
        "--workers",
        metavar="N",
        help="jobs at a time (default: one per GPU; without a GPU, as many as cores and memory allow)",
    )
    many.add_argument(
        "--scheduler", metavar="tcp://HOST:PORT", help="a Dask scheduler to run on instead of this machine"
    )
    for option, text in (
        ("ca-file", "for a tls:// scheduler, the CA certificate that signed the cluster's certificates"),
        ("cert", "the certificate of this client"),
        ("key", "the certificate's key, unless it is in the same file"),
    ):
        many.add_argument(f"--tls-{option}", metavar="FILE.pem", help=text)
    many.add_argument(
        "--retries",
        metavar="N",
        help=f"new attempts after a failure (default: {RETRIES})",
    )


def run_notebook_command(args: argparse.Namespace) -> int:
    """Run one notebook headless with checked parameters, once or once per sequence.

    Returns the exit status: 1 if a sequence failed, else 0.

    Raises:
        OsvosError: an argument is wrong, or the run of a single notebook failed.
    """
    from osvos_keras.batch.notebooks import run_alone

    parameters = parse_pairs(args.parameters, EXAMPLE)
    if args.each_sequence is not None:
        return _run_each_sequence(args, parameters)
    for option in ("workers", "scheduler", "tls_ca_file", "tls_cert", "tls_key", "retries"):
        if getattr(args, option) is not None:
            raise ConfigError(
                f"--{option.replace('_', '-')} belongs to --each-sequence: name a split or sequences with it."
            )
    print(run_alone(args.notebook, parameters, args.out, lesson=not args.brief))
    return 0


def _run_each_sequence(args: argparse.Namespace, parameters: dict[str, str]) -> int:
    from osvos_keras.batch.cluster import read_certificates
    from osvos_keras.batch.each_sequence import FAILED, run_each_sequence

    if args.out is not None:
        raise ConfigError(
            "--out names one notebook; leave it out. With --each-sequence, they go to notebooks/ in RUN_DIR."
        )
    if not args.each_sequence.strip(", "):
        raise ConfigError("--each-sequence is empty (an unset variable?). Name a split or sequences.")
    table = run_each_sequence(
        args.notebook,
        args.each_sequence,
        parameters,
        scheduler=args.scheduler,
        workers=read_number(args, "workers", 1),
        retries=RETRIES if args.retries is None else read_number(args, "retries", 0),
        security=read_certificates(args.scheduler, args.tls_ca_file, args.tls_cert, args.tls_key),
    )
    return 1 if (table["state"] == FAILED).any() else 0
