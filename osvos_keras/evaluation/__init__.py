"""From a folder of masks to the tables that papers print.

    <masks>/<sequence>/00000.png        DAVIS result layout, any method's
    →  per_frame.csv  per_sequence.csv  global.csv  attributes.csv  evaluation.json
    and per_object.csv where annotations number several objects

As in the DAVIS toolkits the first and the last frame of a sequence are not scored, and the overall numbers
are means over sequences (over objects, if there are several), not over frames. No TensorFlow and no Keras
in here.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from osvos_keras import __version__
from osvos_keras.davis import Davis
from osvos_keras.errors import ConfigError, DataError, FolderError
from osvos_keras.evaluation.folder import Pair, find_masks, plan_sequence, why_unscorable
from osvos_keras.evaluation.measuring import measure_methods
from osvos_keras.evaluation.objects import Reader, find_reader
from osvos_keras.evaluation.steadiness import add_stability
from osvos_keras.evaluation.tables import STATISTICS as STATISTICS
from osvos_keras.evaluation.tables import make_tables
from osvos_keras.io.files import make_folder, read_json, write_atomically, write_json
from osvos_keras.io.paths import find_input, resolve_output


@dataclass(frozen=True)
class Scores:
    """What `evaluate` found.

    Attributes:
        per_frame: sequence, frame (the file's name without suffix, a string), J, F; where annotations
            number several objects also object, after sequence.
        per_object: sequence, object and the `STATISTICS`; empty where no annotation numbers objects.
        per_sequence: sequence and the seven `STATISTICS`, of several objects their means; then T if it is
            defined for any sequence, pooled_iou and pooled_dice if asked for.
        overall: one row, the means of `per_sequence` (of `per_object`, if there are several).
        attributes: attribute, sequences (how many have it), and for J and F the mean over those
            (`_with`), over the others (`_without`), and the first less the second (`_gain`: below
            zero where the attribute makes a sequence harder); empty without a `db_info.yml`.
        missing: `sequence/frame` of each mask that was not there and counted as empty.
        notes: sentences on what was left out, or read in another way than by its plain name.
        arguments: what `evaluate` was called with.
        plan: the frames that were scored, by sequence.
        readers: how the masks and annotations of each sequence are read.
    """

    per_frame: pd.DataFrame
    per_object: pd.DataFrame
    per_sequence: pd.DataFrame
    overall: pd.DataFrame
    attributes: pd.DataFrame
    missing: tuple[str, ...]
    notes: tuple[str, ...]
    arguments: Mapping[str, object]
    plan: Mapping[str, list[Pair]] = field(repr=False)
    readers: Mapping[str, Reader] = field(repr=False)

    def save(self, out: str | Path) -> Path:
        """Write the tables and `evaluation.json` into the folder `out`, each whole or not at all.

        Raises:
            FolderError: `out` cannot be written, or holds the results of other masks.
        """
        out = make_folder(resolve_output(out))
        require_own_folder(out, self.arguments["masks"])
        tables = {
            "per_frame": self.per_frame,
            "per_sequence": self.per_sequence,
            "global": self.overall,
            "attributes": self.attributes,
        }
        if len(self.per_object):
            tables["per_object"] = self.per_object
        files = [f"{name}.csv" for name in tables]
        for file, table in zip(files, tables.values(), strict=True):
            with write_atomically(out / file) as temporary:
                table.to_csv(temporary, index=False)
        write_json(
            out / "evaluation.json", {"files": sorted(_files_of(out).union(files)), **self._record(out)}
        )
        return out

    def _record(self, out: Path) -> dict:
        return {
            "software": f"osvos-keras {__version__}",
            "arguments": dict(self.arguments),
            "masks_from_here": os.path.relpath(self.arguments["masks"], out),
            "counts": {
                "sequences": len(self.per_sequence),
                "frames": len(self.per_frame),
                "missing": len(self.missing),
            },
            "missing": list(self.missing),
            "notes": list(self.notes),
            "overall": self.overall.iloc[0].to_dict(),
        }


def add_files(out: Path, names: Iterable[str]) -> None:
    """Note in `evaluation.json` what is about to be written beside the tables in the folder `out`."""
    path = out / "evaluation.json"
    record = read_json(path) or {}
    write_json(path, {**record, "files": sorted(_files_of(out).union(names))})


def remove_files(out: Path) -> None:
    """Remove what an earlier evaluation wrote into the folder `out`, and nothing else."""
    for name in _files_of(out):
        (out / name).unlink(missing_ok=True)


def _files_of(out: Path) -> set[str]:
    """What the record in the folder `out` says was written beside it; names of files in it only."""
    names = (read_json(out / "evaluation.json") or {}).get("files")
    names = names if isinstance(names, list) else []
    return {name for name in names if isinstance(name, str) and name and Path(name).name == name}


def require_own_folder(out: str | Path, masks: str | Path) -> None:
    """Refuse to write the scores of `masks` over those of other masks.

    Raises:
        FolderError: the folder `out` holds results that its record says are of other masks.
    """
    record = read_json(Path(out) / "evaluation.json") or {}
    arguments = record.get("arguments")
    theirs = arguments.get("masks") if isinstance(arguments, dict) else None
    moved_together = record.get("masks_from_here") == os.path.relpath(masks, out)
    if theirs is not None and theirs != str(masks) and not moved_together:
        raise FolderError(
            f"{out}: holds the results of other masks, {theirs}. Choose another --out, or move it away."
        )


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
    left_out: list[str] = []
    names = _scorable(davis, sequences, left_out)
    readers = {name: find_reader(davis.annotation_path(davis.frames(name)[0])) for name in names}
    notes = {method: list(left_out) for method in folders}
    plans = {
        method: _plan(folder, davis, names, notes[method], allow_missing=allow_missing, first_and_last=pooled)
        for method, folder in folders.items()
    }
    measured = measure_methods(plans, davis, readers, workers, progress=progress)
    scores = {}
    for method, folder in folders.items():
        arguments = {
            "masks": str(find_input(folder)),
            "davis": str(davis.root),
            "resolution": davis.resolution,
            "sequences": names,
            "workers": workers,
            "allow_missing": allow_missing,
            "stability": False,
            "pooled": pooled,
        }
        plan = plans[method]
        missing = [f"{name}/{pair.frame}" for name in names for pair in plan[name] if not pair.mask]
        tables = make_tables(measured[method], davis, pooled=pooled)
        scores[method] = Scores(
            **tables,
            missing=tuple(missing),
            notes=(*notes[method], *measured[method].notes),
            arguments=arguments,
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


def _scorable(davis: Davis, sequences: str | Iterable[str] | None, notes: list[str]) -> list[str]:
    """The selected sequences that have annotations to score by; a note on each of the others."""
    names = davis.select("val" if sequences is None else sequences)
    reasons = {name: reason for name in names if (reason := why_unscorable(davis, name))}
    if len(reasons) == len(names):
        raise DataError(" ".join(reasons.values()))
    notes += [f"{reason} It is left out." for reason in reasons.values()]
    return [name for name in names if name not in reasons]


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
