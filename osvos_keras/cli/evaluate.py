"""The command `osvos evaluate`: its arguments, checked before anything heavy is imported."""

import argparse
from pathlib import Path

from osvos_keras.cli.arguments import add_davis_arguments, draw_to_files, read_number
from osvos_keras.errors import ConfigError
from osvos_keras.io.paths import find_input, resolve_output


def add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `osvos evaluate`, which `run_evaluate` takes parsed."""
    parser.add_argument("masks", help="folder of masks: MASKS/<sequence>/00000.png")
    add_davis_arguments(parser)
    parser.add_argument("--sequences", default="val", help="a split, or names a,b,c (default: %(default)s)")
    parser.add_argument("--workers", metavar="N", help="threads (default: one per CPU core)")
    parser.add_argument(
        "--out",
        help="folder for tables and pictures (default: MASKS/../evaluation if MASKS is called masks, else "
        "the folder of its name in there)",
    )
    parser.add_argument(
        "--allow-missing", action="store_true", help="score a missing mask as empty, and say how many"
    )
    parser.add_argument("--no-pictures", action="store_true", help="write the tables only")
    parser.add_argument(
        "--no-stability",
        action="store_true",
        help="leave out T, which takes longer than J and F",
    )
    parser.add_argument(
        "--pooled",
        action="store_true",
        help="add pooled IoU and Dice, the two numbers of the MindSpore implementation (not J and F)",
    )
    parser.add_argument(
        "--compare", nargs="+", default=[], metavar="MASKS", help="more folders, set side by side"
    )


def run_evaluate(args: argparse.Namespace) -> None:
    """Score a folder of masks as the DAVIS 2016 benchmark does.

    Raises:
        DataError, ConfigError, FolderError: as `report_scores`.
    """
    workers = read_number(args, "workers", 1)
    if not args.sequences.strip(" ,"):
        raise ConfigError("--sequences names no sequence. Name a split or sequences, as in `dog,camel`.")
    masks, *others = map(find_input, (args.masks, *args.compare))
    out = resolve_output(args.out) if args.out is not None else default_output(masks)

    from osvos_keras.davis import Davis
    from osvos_keras.report.command import report_scores

    davis = Davis(args.davis, args.resolution)
    if not args.no_pictures:
        draw_to_files()
    options = {
        "workers": workers,
        "allow_missing": args.allow_missing,
        "stability": not args.no_stability,
        "pooled": args.pooled,
        "pictures": not args.no_pictures,
    }
    report_scores([masks, *others], davis, args.sequences, out, **options)


def default_output(masks: Path) -> Path:
    """Where results go, so that two methods whose folders lie beside each other keep theirs apart.

    `runs/<run>/masks` → `runs/<run>/evaluation`; `results/stm` → `results/evaluation/stm`.
    """
    folder = masks.parent / "evaluation"
    return folder if masks.name == "masks" else folder / masks.name
