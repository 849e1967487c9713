"""What an evaluation found, and its files.

<out>/per_frame.csv  per_sequence.csv  global.csv  attributes.csv
<out>/per_object.csv        where annotations number several objects
<out>/evaluation.json       the record: what was scored, and the files that were written beside it
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from osvos_keras import __version__
from osvos_keras.errors import FolderError
from osvos_keras.evaluation.folder import Pair
from osvos_keras.evaluation.objects import Reader
from osvos_keras.io.files import make_folder, read_json, write_csv, write_json
from osvos_keras.io.paths import resolve_output
from osvos_keras.io.records import dict_in


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
            write_csv(out / file, table)
        counts = {"sequences": self.per_sequence, "frames": self.per_frame, "missing": self.missing}
        record = {
            "files": sorted(_files_of(out).union(files)),
            "software": f"osvos-keras {__version__}",
            "arguments": dict(self.arguments),
            "masks_from_here": _way(self.arguments["masks"], out),
            "counts": {name: len(counted) for name, counted in counts.items()},
            "missing": self.missing,
            "notes": self.notes,
            "overall": self.overall.iloc[0].to_dict(),
        }
        write_json(out / "evaluation.json", record)
        return out


def add_files(out: Path, names: Iterable[str]) -> None:
    """Note in `evaluation.json` what is about to be written beside the tables in the folder `out`."""
    path = out / "evaluation.json"
    record = read_json(path) or {}
    write_json(path, {**record, "files": sorted(_files_of(out).union(names))})


def remove_files(out: Path) -> None:
    """Remove what an earlier evaluation wrote into the folder `out`, and nothing else."""
    path = out / "evaluation.json"
    for name in _files_of(out):
        (out / name).unlink(missing_ok=True)
    if record := read_json(path):
        write_json(path, {**record, "files": []})  # a file of that name is a person's from now on


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
    theirs = dict_in(record, "arguments").get("masks")
    moved_together = record.get("masks_from_here", "") == _way(masks, out) is not None
    if theirs is not None and theirs != str(masks) and not moved_together:
        raise FolderError(
            f"{out}: holds the results of other masks, {theirs}. Choose another --out, or move it away."
        )


def _way(masks: str | Path, out: str | Path) -> str | None:
    """The path from the results to the masks; None from one drive of Windows to another."""
    try:
        return os.path.relpath(masks, out)
    except ValueError:
        return None
