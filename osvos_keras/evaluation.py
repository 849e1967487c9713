"""From a folder of masks to the tables that papers print.

    <masks>/<sequence>/00000.png        DAVIS result layout, any method's
    →  per_frame.csv  per_sequence.csv  global.csv  attributes.csv  evaluation.json

As in the DAVIS 2016 toolkit the first and the last frame of a sequence are not scored, and the
overall numbers are means over sequences, not over frames. No TensorFlow and no Keras in here.
"""

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml
from tqdm import tqdm

from osvos_keras import __version__
from osvos_keras.davis import Davis
from osvos_keras.errors import ConfigError, DataError
from osvos_keras.files import find_input, make_folder, write_atomically, write_json
from osvos_keras.mask_folder import Pair, plan_sequence
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
        arguments: what `evaluate` was called with.
    """

    per_frame: pd.DataFrame
    per_sequence: pd.DataFrame
    overall: pd.DataFrame
    attributes: pd.DataFrame
    missing: tuple[str, ...]
    arguments: Mapping[str, object]

    def save(self, out: str | Path) -> Path:
        """Write the tables and `evaluation.json` into the folder `out`, each whole or not at all.

        Raises:
            OSError: `out` cannot be written.
        """
        out = make_folder(out)
        tables = {
            "per_frame": self.per_frame,
            "per_sequence": self.per_sequence,
            "global": self.overall,
            "attributes": self.attributes,
        }
        for name, table in tables.items():
            with write_atomically(out / f"{name}.csv") as temporary:
                table.to_csv(temporary, index=False)
        write_json(out / "evaluation.json", self._record())
        return out

    def _record(self) -> dict:
        return {
            "software": f"osvos-keras {__version__}",
            "arguments": dict(self.arguments),
            "counts": {
                "sequences": len(self.per_sequence),
                "frames": len(self.per_frame),
                "missing": len(self.missing),
            },
            "missing": list(self.missing),
            "overall": self.overall.iloc[0].to_dict(),
        }


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
    masks = find_input(masks)
    names = davis.select("val" if sequences is None else sequences)
    if not names:
        raise DataError(f"{masks}: no sequence to score. Name a split or sequences, as in `dog,camel`.")
    if workers is not None and workers < 1:
        raise ConfigError(f"workers must be at least 1, not {workers}.")
    plans = {name: plan_sequence(masks, davis, name, allow_missing=allow_missing) for name in names}
    workers = min(workers or os.cpu_count() or 1, len(names))
    with ThreadPoolExecutor(workers) as pool:
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
        arguments={
            "masks": str(masks),
            "davis": str(davis.root),
            "resolution": davis.resolution,
            "sequences": list(plans),
            "workers": workers,
            "allow_missing": allow_missing,
        },
    )


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
    attributes = read_attributes(davis)
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


def read_attributes(davis: Davis) -> dict[str, list[str]]:
    """The attributes of each sequence (`{"dog": ["DEF", …]}`) from `db_info.yml`; {} without the file.

    Raises:
        DataError: the file cannot be understood.
    """
    path = davis.root / "db_info.yml"
    if not path.is_file():
        return {}
    try:
        entries = yaml.safe_load(path.read_text())["sequences"]
        return {entry["name"]: list(entry["attributes"]) for entry in entries}
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: not DAVIS's db_info.yml ({type(error).__name__}). Restore or remove it."
        ) from error


def pooled_scores(
    masks: str | Path, davis: Davis, sequences: str | Iterable[str] | None = None
) -> pd.DataFrame:
    """The MindSpore implementation's numbers: sequence, pooled_iou, pooled_dice; not J and F.

    All frames count, the first and the last too, and their mask must be there. Errors as for
    `evaluate`.
    """
    masks = find_input(masks)
    rows = []
    for sequence in davis.select("val" if sequences is None else sequences):
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
