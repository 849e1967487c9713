"""What `osvos evaluate` does: score folders of masks, print the tables, write them and the pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from osvos_keras.davis import Davis
from osvos_keras.evaluation import Scores, compare, evaluate, require_own_folder
from osvos_keras.figures import save_figure
from osvos_keras.files import find_input, make_folder, write_atomically
from osvos_keras.mask_folder import require_folder
from osvos_keras.plots import best_median_worst, gallery
from osvos_keras.score_plots import attribute_bars, compare_bars, score_bars, score_over_time


def report_scores(
    folders: Sequence[str | Path], davis: Davis, sequences: str, out: str | Path, **options
) -> dict[str, Scores]:
    """Score each folder of masks; print the tables and write them with pictures into `out`.

    The first folder's files go into `out` itself, those of each other into `out/<method>`, and
    the comparison of several beside the first's.

    Args:
        folders: of masks, one for each method.
        davis, sequences, options: as for `evaluate`.

    Returns:
        the scores by the name of the method.

    Raises:
        DataError, ConfigError, FolderError: as `evaluate` and `Scores.save`.
    """
    folders = list(dict.fromkeys(map(find_input, folders)))
    for folder in folders:
        require_folder(folder)
    methods = _by_method(folders)
    out = make_folder(out)
    places = {name: out / name if index else out for index, name in enumerate(methods)}
    for name, folder in methods.items():
        require_own_folder(places[name], folder)
    scores = {}
    for name, folder in methods.items():
        print(f"\n{name}: {folder}")
        scores[name] = evaluate(folder, davis, sequences, **options)
        _print_scores(scores[name])
    for name, one in scores.items():
        _write_report(one, davis, places[name])
    if len(scores) > 1:
        _write_comparison(scores, out)
    print(f"\nTables and pictures: {out}")
    return scores


def _by_method(folders: Sequence[Path]) -> dict[str, Path]:
    """Each folder under the shortest end of its path that tells it apart; a last `masks` says nothing."""
    parts = [
        folder.parts[1:-1] if folder.name == "masks" and folder.parent not in folders else folder.parts[1:]
        for folder in folders
    ]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["_".join(path[-length:]) for path in parts]
        if len(set(names)) == len(names):
            break
    return dict(zip(names, folders, strict=True))


def _print_scores(scores: Scores) -> None:
    overall = scores.overall.assign(sequence="overall")
    print(_as_text(pd.concat([scores.per_sequence, overall])))
    if not scores.attributes.empty:
        print("\nMeans over the sequences with an attribute, without it, and the difference:")
        print(_as_text(scores.attributes))
    if scores.missing:
        print(f"\n{_missing_text(scores.missing)}")
    for note in scores.notes:
        print(f"\nnote: {note}")


def _missing_text(missing: Sequence[str]) -> str:
    named = ", ".join(missing[:5]) + (" …" if len(missing) > 5 else "")
    return (
        f"{len(missing)} missing {'mask was' if len(missing) == 1 else 'masks were'} scored as empty: {named}"
    )


def _as_text(table: pd.DataFrame, index: bool = False) -> str:
    return table.to_string(index=index, float_format="{:.3f}".format, na_rep="–")


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
    overall = pd.DataFrame({name: one.overall.iloc[0] for name, one in scores.items()}).T
    print(_as_text(overall, index=True))
    with write_atomically(out / "comparison.csv") as temporary:
        table.set_axis([f"{measure} {method}" for measure, method in table.columns], axis=1).to_csv(temporary)
    for measure in ("J_mean", "F_mean"):
        save_figure(compare_bars(scores, measure), out / f"comparison_{measure}.png")
