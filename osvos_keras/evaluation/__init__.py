"""From a folder of masks to the tables that papers print.

    <masks>/<sequence>/00000.png        DAVIS result layout, any method's
    →  the tables of `Scores`, and their files: see `results`

As in the DAVIS toolkits the first and the last frame of a sequence are not scored, and the overall numbers
are means over sequences (over objects, if there are several), not over frames. No TensorFlow and no Keras
in here.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from osvos_keras.davis import Davis
from osvos_keras.errors import ConfigError, DataError
from osvos_keras.evaluation.folder import Pair, find_masks, plan_sequence, why_unscorable
from osvos_keras.evaluation.measuring import measure_methods, name_unseen
from osvos_keras.evaluation.objects import find_reader
from osvos_keras.evaluation.results import Scores
from osvos_keras.evaluation.steadiness import add_stability
from osvos_keras.evaluation.tables import STATISTICS as STATISTICS
from osvos_keras.evaluation.tables import make_tables
from osvos_keras.io.paths import find_input


def evaluate(
    masks: str | Path,
    davis: Davis | str | Path,
    sequences: str | Iterable[str] | None = None,
    **options,
) -> Scores:
    """Score a folder of masks against the annotations of a data set.

    Args:
        masks: a folder with a folder of masks for each sequence.
        davis: the data set, or its root.
        sequences: a split, names, or names joined by commas; None is the split `val`.
        options: as for `evaluate_methods`.

    Raises:
        DataError: a sequence or mask is missing, a mask is there without a frame, is unreadable,
            has another size, or is not binary. The message names the file and the remedy.
        ConfigError: `workers` below 1.
    """
    (scores,) = evaluate_methods({"": masks}, davis, sequences, **options).values()
    return scores


def evaluate_methods(
    folders: Mapping[str, str | Path],
    davis: Davis | str | Path,
    sequences: str | Iterable[str] | None = None,
    *,
    workers: int | None = None,
    allow_missing: bool = False,
    stability: bool = True,
    pooled: bool = False,
    progress: bool = True,
) -> dict[str, Scores]:
    """As `evaluate`, for several methods at once: each annotation is read once.

    Args:
        folders: of masks, by the name of the method.
        davis, sequences: as for `evaluate`.
        workers: threads; None is one for each CPU core.
        allow_missing: score a mask that is not there as empty; `Scores.missing` names it.
        stability: compute T for the sequences that have it.
        pooled: add the two numbers of the MindSpore implementation, which are not J and F; their masks must
            be there for the first and the last frame too.
        progress: show progress bars.
    """
    davis = davis if isinstance(davis, Davis) else Davis(davis)
    if workers is not None and workers < 1:
        raise ConfigError(f"workers must be at least 1, not {workers}.")
    workers = workers or os.cpu_count() or 1
    names, left_out = _scorable(davis, sequences)
    readers = {name: find_reader(davis.annotation_path(davis.frames(name)[0])) for name in names}
    notes = {method: left_out.copy() for method in folders}
    plans = {
        method: _plan(folder, davis, names, notes[method], allow_missing=allow_missing, first_and_last=pooled)
        for method, folder in folders.items()
    }
    arguments = {
        "davis": str(davis.root),
        "resolution": davis.resolution,
        "sequences": names,
        "workers": workers,
        "allow_missing": allow_missing,
        "stability": False,
        "pooled": pooled,
    }
    scores, table = {}, measure_methods(plans, readers, workers, progress=progress)
    numbered = any(reader.objects is not None for reader in readers.values())
    for method, measured in table.groupby("method", sort=False):
        plan = plans[method]
        scores[method] = Scores(
            **make_tables(measured, davis, numbered=numbered, pooled=pooled),
            missing=tuple(f"{name}/{pair.frame}" for name in names for pair in plan[name] if not pair.mask),
            notes=(*notes[method], *name_unseen(measured, readers)),
            arguments={"masks": str(find_input(folders[method])), **arguments},
            plan=plan,
            readers=readers,
        )
    return add_stability(scores, davis, progress=progress) if stability else scores


def _plan(
    folder: str | Path, davis: Davis, names: list[str], notes: list[str], **options
) -> dict[str, list[Pair]]:
    folder = find_input(folder)
    root = find_masks(folder, names)
    if root != folder:
        notes.append(f"{folder}: the masks are taken from {root}.")
    return {name: plan_sequence(root, davis, name, notes=notes, **options) for name in names}


def _scorable(davis: Davis, sequences: str | Iterable[str] | None) -> tuple[list[str], list[str]]:
    """The selected sequences that have annotations to score by, and a note on each of the others."""
    names = davis.select("val" if sequences is None else sequences)
    reasons = {name: reason for name in names if (reason := why_unscorable(davis, name))}
    if len(reasons) == len(names):
        raise DataError(" ".join(reasons.values()))
    notes = [f"{reason} It is left out." for reason in reasons.values()]
    return [name for name in names if name not in reasons], notes


def compare(scores: Mapping[str, Scores]) -> pd.DataFrame:
    """Several methods side by side: a row for each sequence and `overall`, columns (measure, method).

    Args:
        scores: by the name of the method, in the order in which they shall appear.

    Raises:
        ValueError: no method, or methods scored on different sequences.
    """
    if not scores:
        raise ValueError("compare needs at least one method.")
    tables = {name: one.per_sequence.set_index("sequence") for name, one in scores.items()}
    first, *others = tables
    for name in others:
        different = tables[first].index.symmetric_difference(tables[name].index)
        if len(different):
            raise ValueError(
                f"{first} and {name} were scored on different sequences ({', '.join(different)}). "
                "Evaluate both on the same ones."
            )
    columns = {
        (measure, name): pd.concat([table[measure], scores[name].overall[measure].set_axis(["overall"])])
        for measure in ("J_mean", "F_mean", "J&F")
        for name, table in tables.items()
    }
    table = pd.DataFrame(columns)
    table.columns.names = ["measure", "method"]
    table.index.name = "sequence"
    return table


def published_scores() -> pd.DataFrame:
    """Published numbers on DAVIS 2016: method, sequence, measure, value, source.

    The sequence `val20` stands for the mean over all 20 validation sequences.
    """
    return pd.read_csv(Path(__file__).with_name("published.csv"))
