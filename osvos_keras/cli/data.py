"""The commands of `osvos data`: check, list and download a data set in DAVIS layout.

Imports stand inside the functions, so that `osvos --help` starts at once.
"""

import argparse
from contextlib import suppress


def run_verify(args: argparse.Namespace) -> int:
    """`osvos data verify`; the command's exit status: 1 if a file is wrong."""
    from tqdm import tqdm

    from osvos_keras.dataset.verification import verify
    from osvos_keras.davis import Davis
    from osvos_keras.errors import OsvosError

    davis = Davis(args.davis, args.resolution)
    sequences = davis.all_sequences() if args.sequences is None else davis.select(args.sequences)
    frames = errors = notes = 0
    for sequence in tqdm(sequences, desc="verify", unit="sequence"):
        with suppress(OsvosError):  # which `verify` reports
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


def run_lists(args: argparse.Namespace) -> int:
    """`osvos data lists`; the command's exit status."""
    from osvos_keras.dataset.verification import write_lists
    from osvos_keras.davis import Davis

    for path, kept in write_lists(Davis(args.davis, args.resolution), args.val).items():
        print(f"{path} (the list that was there is kept as {kept.name})" if kept else path)
    return 0


def run_download(args: argparse.Namespace) -> int:
    """`osvos data download`; the command's exit status."""
    from osvos_keras.dataset.download import DAVIS_2016_URL, download_davis
    from osvos_keras.io.paths import resolve_output

    davis = download_davis(resolve_output(args.to), args.url or DAVIS_2016_URL, args.sha256)
    print(
        f"{davis.root}: {len(davis.all_sequences())} sequences. "
        f"Check them with `osvos data verify --davis {davis.root}`."
    )
    return 0
