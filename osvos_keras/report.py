"""What `osvos evaluate` does: score folders of masks, print the tables, write them and the pictures."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from osvos_keras.davis import Davis
from osvos_keras.evaluation import Scores, compare, evaluate
from osvos_keras.files import find_path, make_folder, write_atomically
from osvos_keras.plots import best_median_worst, gallery, save_figure
from osvos_keras.score_plots import attribute_bars, compare_bars, score_bars, score_over_time


def add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `osvos evaluate`, which `run_evaluate` takes parsed."""
    parser.add_argument("masks", type=Path, help="folder of masks: MASKS/<sequence>/00000.png")
    parser.add_argument("--davis", type=Path, required=True, metavar="ROOT", help="data set in DAVIS layout")
    parser.add_argument(
        "--resolution", default="480p", help="folder below JPEGImages and Annotations (default: 480p)"
    )
    parser.add_argument("--sequences", default="val", help="a split, or names a,b,c (default: val)")
    parser.add_argument("--workers", type=int, metavar="N", help="threads (default: one a CPU core)")
    parser.add_argument(
        "--out", type=Path, help="folder for tables and pictures (default: MASKS/../evaluation)"
    )
    parser.add_argument(
        "--allow-missing", action="store_true", help="score a missing mask as empty, and say how many"
    )
    parser.add_argument(
        "--compare", type=Path, nargs="+", default=[], metavar="MASKS", help="more folders, set side by side"
    )


def run_evaluate(args: argparse.Namespace) -> dict[str, Scores]:
    """Evaluate `args.masks`, and `args.compare` beside it; the scores by the name of the method.

    The first folder's tables and pictures go into `out`, those of each other into `out/<method>`.

    Raises:
        DataError, ValueError, OSError: as `evaluate`, `compare` and `Scores.save`.
    """
    davis = Davis(args.davis, args.resolution)
    folders = [find_path(folder) for folder in (args.masks, *args.compare)]
    out = make_folder(args.out or folders[0].parent / "evaluation")
    scores = {}
    for name, folder in _by_method(folders).items():
        print(f"\n{name}: {folder}")
        scores[name] = evaluate(
            folder, davis, args.sequences, workers=args.workers, allow_missing=args.allow_missing
        )
        _print_scores(scores[name])
    for name, one in scores.items():
        _write_report(one, davis, out if one.arguments["masks"] == str(folders[0]) else out / name)
    if len(scores) > 1:
        _write_comparison(scores, out)
    print(f"\nTables and pictures: {out}")
    return scores


def _by_method(folders: list[Path]) -> dict[str, Path]:
    """A name for each folder: its own, its parent's where it is just `masks`, its path where names clash."""
    names = [folder.parent.name if folder.name == "masks" else folder.name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder.relative_to(folder.anchor)).replace("/", "_") for folder in folders]
    return dict(zip(names, folders, strict=True))


def _print_scores(scores: Scores) -> None:
    overall = scores.overall.assign(sequence="overall")
    print(_as_text(pd.concat([scores.per_sequence, overall])))
    if not scores.attributes.empty:
        print("\nMeans over the sequences with an attribute, without it, and the difference:")
        print(_as_text(scores.attributes))
    if scores.missing:
        print(f"\n{_missing_text(scores.missing)}")


def _missing_text(missing: Sequence[str]) -> str:
    named = ", ".join(missing[:5]) + (" …" if len(missing) > 5 else "")
    return (
        f"{len(missing)} missing {'mask was' if len(missing) == 1 else 'masks were'} scored as empty: {named}"
    )


def _as_text(table: pd.DataFrame, index: bool = False) -> str:
    return table.to_string(index=index, float_format="{:.3f}".format)


def _write_report(scores: Scores, davis: Davis, out: Path) -> None:
    scores.save(out)
    masks, names = scores.arguments["masks"], scores.arguments["sequences"]
    gallery(davis, masks, names, scores, out=out / "gallery.png")
    best_median_worst(davis, masks, scores, out=out / "best_median_worst.png")
    save_figure(score_bars(scores), out / "sequences.png")
    if not scores.attributes.empty:
        save_figure(attribute_bars(scores), out / "attributes.png")
    for name in names:
        save_figure(score_over_time(scores.per_frame, name, davis, masks), out / "over_time" / f"{name}.png")


def _write_comparison(scores: Mapping[str, Scores], out: Path) -> None:
    table = compare(scores)
    print("\nSide by side:")
    print(_as_text(table, index=True))
    print(
        _as_text(pd.concat({name: one.overall.iloc[0] for name, one in scores.items()}, axis=1).T, index=True)
    )
    with write_atomically(out / "comparison.csv") as temporary:
        table.set_axis([f"{measure} {method}" for measure, method in table.columns], axis=1).to_csv(temporary)
    for measure in ("J_mean", "F_mean"):
        save_figure(compare_bars(scores, measure), out / f"comparison_{measure}.png")
