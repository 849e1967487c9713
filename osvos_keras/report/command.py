"""What `osvos evaluate` does: score folders of masks, print and write the tables, then the pictures."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from osvos_keras.davis import Davis
from osvos_keras.evaluation import compare, evaluate_methods
from osvos_keras.evaluation.folder import require_folder
from osvos_keras.evaluation.results import Scores, add_files, remove_files, require_own_folder
from osvos_keras.evaluation.steadiness import add_stability
from osvos_keras.io.files import make_folder, write_csv
from osvos_keras.io.paths import find_input


def report_scores(
    folders: Sequence[str | Path],
    davis: Davis,
    sequences: str,
    out: str | Path,
    *,
    stability: bool = True,
    pictures: bool = True,
    progress: bool = True,
    **options,
) -> dict[str, Scores]:
    """Score each folder of masks; print the tables and write them, then T, then the pictures, into `out`.

    The first folder's files go into `out` itself, those of each other into `out/<method>`, and
    the comparison of several and `report.html` beside the first's.

    Args:
        folders: of masks, one for each method.
        stability: add T to the tables and print it, after J and F: it takes longer than they do.
        pictures: draw pictures and write `report.html`.
        progress: show bars.
        davis, sequences, options: as for `evaluate_methods`.

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
    scores = evaluate_methods(methods, davis, sequences, stability=False, progress=progress, **options)
    for name, one in scores.items():
        print(f"\n{name}: {methods[name]}")
        _print_scores(one)
        remove_files(places[name])
        one.save(places[name])
    if len(scores) > 1:
        _print_comparison(scores, out)
    print(f"\nTables: {out}", flush=True)
    if stability:
        scores = _add_stability(scores, davis, places, progress)
    if pictures:
        write_pictures(scores, davis, places, progress=progress)
        print(f"Pictures, and report.html to look into every frame: {out}")
    return scores


def _add_stability(
    scores: Mapping[str, Scores], davis: Davis, places: Mapping[str, Path], progress: bool
) -> Mapping[str, Scores]:
    """The scores with T where it is defined, printed and written into the tables."""
    scores = add_stability(scores, davis, progress=progress)
    columns = {
        name: pd.concat([one.per_sequence, one.overall.assign(sequence="overall")]).set_index("sequence")["T"]
        for name, one in scores.items()
        if "T" in one.overall
    }
    if columns:
        print("\nTemporal stability T, lower is steadier, where the object is never hidden:")
        table = pd.DataFrame(columns).dropna(how="all")
        nowhere = "nowhere: no two neighbouring frames have masks with an outline"
        print(_as_text(table, index=True) if len(table) else nowhere, flush=True)
        for name, one in scores.items():
            one.save(places[name])
    return scores


def _by_method(folders: Sequence[Path]) -> dict[str, Path]:
    """Each folder under the shortest end of its path that tells it apart; a last `masks` says nothing."""
    parts = [
        (folder.parent if folder.name == "masks" and folder.parent not in folders else folder).parts[1:]
        or ("masks",)  # at the root of the disk
        for folder in folders
    ]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["_".join(path[-length:]) for path in parts]
        if len(set(names)) == len(names):
            break
    else:  # a_b/c and a/b/c
        names = [f"{name}_{number}" for number, name in enumerate(names, start=1)]
    return dict(zip(names, folders, strict=True))


def _print_scores(scores: Scores) -> None:
    overall = scores.overall.assign(sequence="overall")
    if len(scores.per_object):
        print(_as_text(scores.per_object))
        print("\nMeans over the objects of each sequence, and over all objects:")
    print(_as_text(pd.concat([scores.per_sequence, overall])))
    if not scores.attributes.empty:
        print("\nMeans over the sequences with an attribute, without it, and the difference:")
        print(_as_text(scores.attributes))
    if scores.missing:
        count, named = len(scores.missing), ", ".join(scores.missing[:5]) + " …" * (len(scores.missing) > 5)
        print(f"\n{count} missing {'mask was' if count == 1 else 'masks were'} scored as empty: {named}")
    for note in scores.notes:
        print(f"\nnote: {note}")


def _as_text(table: pd.DataFrame, index: bool = False) -> str:
    return table.to_string(index=index, float_format="{:.3f}".format, na_rep="–")


def _print_comparison(scores: Mapping[str, Scores], out: Path) -> None:
    table = compare(scores)
    print("\nSide by side:")
    print(_as_text(table, index=True))
    overall = pd.DataFrame({name: one.overall.iloc[0] for name, one in scores.items()}).T
    print(_as_text(overall, index=True))
    add_files(out, ["comparison.csv"])
    named = table.set_axis([f"{measure} {method}" for measure, method in table.columns], axis=1)
    write_csv(out / "comparison.csv", named, index=True)


def write_pictures(
    scores: Mapping[str, Scores], davis: Davis, places: Mapping[str, Path], *, progress: bool = True
) -> None:
    """Draw the pictures of each method into its place, and `report.html` of all beside the first's.

    Args:
        scores, places: by the name of the method.
        davis: the data set.
        progress: show a bar.
    """
    from osvos_keras.plots.figures import save_figure  # Matplotlib is not needed for the tables
    from osvos_keras.report.html import write_html_report

    out = next(iter(places.values()))
    pictures = _pictures(scores, davis, places)
    add_files(out, ["report.html"])
    for path in pictures:
        add_files(path.parent, [path.name])
    write_html_report(scores, davis, out / "report.html", progress)
    for path, draw in tqdm(pictures.items(), "pictures", unit="picture", disable=not progress):
        save_figure(draw(), path)


def _pictures(
    scores: Mapping[str, Scores], davis: Davis, places: Mapping[str, Path]
) -> dict[Path, Callable[[], object]]:
    """What is to draw: by file, a function that makes the figure."""
    from osvos_keras.plots.frames import gallery, worst_pictures
    from osvos_keras.plots.scores import attribute_bars, compare_bars, score_bars

    pictures = {}
    for name, one in scores.items():
        place, masks, names = places[name], one.arguments["masks"], one.arguments["sequences"]
        pictures[place / "worst.png"] = partial(worst_pictures, davis, one)
        pictures[place / "gallery.png"] = partial(gallery, davis, masks, names, one)
        pictures[place / "sequences.png"] = partial(score_bars, one)
        if not one.attributes.empty:
            pictures[place / "attributes.png"] = partial(attribute_bars, one)
    if len(scores) > 1:
        for measure in ("J_mean", "F_mean"):
            path = next(iter(places.values())) / f"comparison_{measure}.png"
            pictures[path] = partial(compare_bars, scores, measure)
    return pictures
