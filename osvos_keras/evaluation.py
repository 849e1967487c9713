"""From a folder of masks to the tables that papers print.

    <masks>/<sequence>/00000.png        DAVIS result layout, any method's
    →  per_frame.csv  per_sequence.csv  global.csv  attributes.csv  evaluation.json

As in the DAVIS 2016 toolkit the first and the last frame of a sequence are not scored, and the
overall numbers are means over sequences, not over frames. No TensorFlow and no Keras in here.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from osvos_keras import __version__
from osvos_keras.davis import Davis
from osvos_keras.db_info import read_db_info
from osvos_keras.errors import ConfigError, DataError, FolderError
from osvos_keras.files import find_input, make_folder, read_json, resolve_output, write_atomically, write_json
from osvos_keras.mask_folder import Pair, find_masks, plan_sequence, why_unscorable
from osvos_keras.metrics import (
    contour_accuracy,
    mean_recall_decay,
    pooled_dice,
    pooled_iou,
    region_similarity,
)

STATISTICS = ["J_mean", "J_recall", "J_decay", "F_mean", "F_recall", "F_decay", "J&F"]


@dataclass(frozen=True)
class Scores:
    """What `evaluate` found.

    Attributes:
        per_frame: sequence, frame (the file's name without suffix, a string), J, F.
        per_sequence: sequence and the seven `STATISTICS`.
        overall: one row, the means of `per_sequence`.
        attributes: attribute, sequences (how many have it), and for J and F the mean over those
            (`_with`), over the others (`_without`), and the first less the second (`_gain`: below
            zero where the attribute makes a sequence harder); empty without a `db_info.yml`.
        missing: `sequence/frame` of each mask that was not there and counted as empty.
        notes: sentences on what was left out, or read in another way than by its plain name.
        arguments: what `evaluate` was called with.
    """

    per_frame: pd.DataFrame
    per_sequence: pd.DataFrame
    overall: pd.DataFrame
    attributes: pd.DataFrame
    missing: tuple[str, ...]
    notes: tuple[str, ...]
    arguments: Mapping[str, object]

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
        for name, table in tables.items():
            with write_atomically(out / f"{name}.csv") as temporary:
                table.to_csv(temporary, index=False)
        write_json(out / "evaluation.json", self._record(out))
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
    davis: Davis,
    sequences: str | Iterable[str] | None = None,
    *,
    workers: int | None = None,
    allow_missing: bool = False,
    progress: bool = True,
) -> Scores:
    """Score a folder of masks against the annotations of a data set.

    Args:
        masks: a folder with a folder of PNGs for each sequence.
        davis: the data set.
        sequences: a split, names, or names joined by commas; None is the split `val`.
        workers: threads, one sequence each at a time; None is one for each CPU core. (Decoding
            and the metrics leave Python's lock, so processes would gain nothing.)
        allow_missing: score a mask that is not there as empty; `Scores.missing` names it.
        progress: show a progress bar.

    Raises:
        DataError: a sequence or mask is missing, a mask is there without a frame, is unreadable,
            has another size, or is not binary. The message names the file and the remedy.
        ConfigError: `workers` below 1.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"workers must be at least 1, not {workers}.")
    notes: list[str] = []
    names = _scorable(davis, sequences, notes)
    masks = find_input(masks)
    root = find_masks(masks, names)
    if root != masks:
        notes.append(f"{masks}: the masks are taken from {root}.")
    plans = {
        name: plan_sequence(root, davis, name, allow_missing=allow_missing, notes=notes) for name in names
    }
    workers = min(workers or os.cpu_count() or 1, len(names))
    with pool_of(workers) as pool:
        scored = pool.map(_score_sequence, plans.items())
        bar = tqdm(scored, "scoring", len(plans), unit="sequence", disable=not progress)
        per_frame = pd.concat(bar, ignore_index=True)
    per_sequence = _summarise(per_frame)
    return Scores(
        per_frame=per_frame,
        per_sequence=per_sequence,
        overall=per_sequence[STATISTICS].mean().to_frame().T,
        attributes=_attribute_table(per_sequence, davis),
        missing=tuple(
            f"{name}/{pair.frame}" for name, plan in plans.items() for pair in plan if not pair.mask
        ),
        notes=tuple(notes),
        arguments={
            "masks": str(masks),
            "davis": str(davis.root),
            "resolution": davis.resolution,
            "sequences": list(plans),
            "workers": workers,
            "allow_missing": allow_missing,
        },
    )


@contextmanager
def pool_of(workers: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads that drops what waits when the block is left by an error or by Ctrl-C."""
    pool = ThreadPoolExecutor(workers)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def select_sequences(davis: Davis, sequences: str | Iterable[str] | None) -> list[str]:
    """The sequences that are asked for, at least one; None is the split `val`.

    Raises:
        DataError: none is named, or a name is neither a split nor a sequence.
    """
    names = list(dict.fromkeys(davis.select("val" if sequences is None else sequences)))
    if not names:
        raise DataError(
            f"{davis.root}: no sequence to score is named. Name a split or sequences, as in `dog,camel`."
        )
    return names


def _scorable(davis: Davis, sequences: str | Iterable[str] | None, notes: list[str]) -> list[str]:
    """The selected sequences that have annotations to score by; a note on each of the others."""
    names = select_sequences(davis, sequences)
    reasons = {name: reason for name in names if (reason := why_unscorable(davis, name))}
    if len(reasons) == len(names):
        raise DataError(" ".join(reasons.values()))
    notes += [f"{reason} It is left out." for reason in reasons.values()]
    return [name for name in names if name not in reasons]


def _score_sequence(item: tuple[str, list[Pair]]) -> pd.DataFrame:
    """J and F of every frame of a plan; two images are in memory at a time."""
    sequence, plan = item
    rows = []
    for pair in plan:
        mask, annotation = pair.read()
        rows.append(
            (sequence, pair.frame, region_similarity(mask, annotation), contour_accuracy(mask, annotation))
        )
    return pd.DataFrame(rows, columns=["sequence", "frame", "J", "F"])


def _summarise(per_frame: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for sequence, frames in per_frame.groupby("sequence", sort=False):
        j, f = mean_recall_decay(frames["J"]), mean_recall_decay(frames["F"])
        rows.append((sequence, *j, *f, (j[0] + f[0]) / 2))
    return pd.DataFrame(rows, columns=["sequence", *STATISTICS])


def _attribute_table(per_sequence: pd.DataFrame, davis: Davis) -> pd.DataFrame:
    """Means over the sequences with and without each attribute (DAVIS paper, section 6)."""
    attributes = {name: info.attributes for name, info in read_db_info(davis).items()}
    known = per_sequence[per_sequence["sequence"].isin(attributes)]
    rows = []
    for name in sorted({name for sequence in known["sequence"] for name in attributes[sequence]}):
        has = known["sequence"].map(lambda sequence, name=name: name in attributes[sequence])
        row = {"attribute": name, "sequences": int(has.sum())}
        for measure in "JF":
            values = known[f"{measure}_mean"]
            row[f"{measure}_with"], row[f"{measure}_without"] = values[has].mean(), values[~has].mean()
            row[f"{measure}_gain"] = row[f"{measure}_with"] - row[f"{measure}_without"]
        rows.append(row)
    columns = [f"{measure}_{part}" for measure in "JF" for part in ("with", "without", "gain")]
    return pd.DataFrame(rows, columns=["attribute", "sequences", *columns])


def pooled_scores(
    masks: str | Path, davis: Davis, sequences: str | Iterable[str] | None = None
) -> pd.DataFrame:
    """The MindSpore implementation's numbers: sequence, pooled_iou, pooled_dice; not J and F.

    All frames count, the first and the last too, and their mask must be there. Errors as for
    `evaluate`.
    """
    rows = []
    names = select_sequences(davis, sequences)
    masks = find_masks(masks, names)
    for sequence in names:
        plan = plan_sequence(masks, davis, sequence, first_and_last=True)
        found, annotations = zip(*(pair.read() for pair in plan), strict=True)
        rows.append((sequence, pooled_iou(found, annotations), pooled_dice(found, annotations)))
    return pd.DataFrame(rows, columns=["sequence", "pooled_iou", "pooled_dice"])


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
