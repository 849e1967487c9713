"""The commands of `osvos data`: check, list and download a data set in DAVIS layout."""

import argparse
from contextlib import suppress

from osvos_keras.cli.arguments import add_davis_arguments


def add_verify_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `osvos data verify`."""
    add_davis_arguments(command)
    command.add_argument(
        "--sequences", help="a split or comma-separated names (default: every folder of frames)"
    )


def run_verify(args: argparse.Namespace) -> int:
    """Read every file and report the faulty ones.

    Returns the exit status: 1 if a file is wrong, else 0.
    """
    from tqdm import tqdm

    from osvos_keras.dataset.verification import verify
    from osvos_keras.davis import Davis
    from osvos_keras.errors import OsvosError

    davis = Davis(args.davis, args.resolution)
    sequences = davis.all_sequences() if args.sequences is None else davis.select(args.sequences)
    frames = errors = notes = 0
    for sequence in tqdm(sequences, desc="verify", unit="sequence"):
        with suppress(OsvosError):  # `verify` reports it
            frames += len(davis.frames(sequence))
        for problem in verify(davis, sequence):
            tqdm.write(str(problem))
            errors += not problem.harmless
            notes += problem.harmless
    print(
        f"{len(sequences)} sequences, {frames} frames, {errors} errors"
        + (f", {notes} notes" if notes else "")
    )
    return 1 if errors else 0


def add_lists_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `osvos data lists`."""
    add_davis_arguments(command, default=None)  # the bundled sample's lists are not for writing
    command.add_argument(
        "--val", required=True, metavar="A,B,…", help="sequences for validation; all others are for training"
    )


def run_lists(args: argparse.Namespace) -> None:
    """Write train.txt and val.txt from the folders."""
    from osvos_keras.dataset.lists import write_lists
    from osvos_keras.davis import Davis

    for path, kept in write_lists(Davis(args.davis, args.resolution), args.val).items():
        print(f"{path} (the old list is kept as {kept.name})" if kept else path)


def add_download_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `osvos data download`."""
    command.add_argument("--to", default="data", help="folder for the data set (default: %(default)s)")
    command.add_argument("--url", help="address of the archive (default: the official one)")
    command.add_argument("--sha256", help="expected checksum of the archive (default: not checked)")


def run_download(args: argparse.Namespace) -> None:
    """Fetch and unpack DAVIS 2016 (about 1.9 GB)."""
    from osvos_keras.dataset.download import DAVIS_2016_URL, download_davis
    from osvos_keras.io.paths import resolve_output

    davis = download_davis(resolve_output(args.to), args.url or DAVIS_2016_URL, args.sha256)
    print(
        f"{davis.root}: {len(davis.all_sequences())} sequences. "
        f"Check them with `osvos data verify --davis {davis.root}`."
    )
