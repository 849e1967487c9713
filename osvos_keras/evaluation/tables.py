"""The tables of an evaluation, from what was measured frame by frame."""

import pandas as pd

from osvos_keras.davis import Davis
from osvos_keras.evaluation.db_info import read_db_info
from osvos_keras.metrics import dice_of_pixels, iou_of_pixels, mean_recall_decay

STATISTICS = ["J_mean", "J_recall", "J_decay", "F_mean", "F_recall", "F_decay", "J&F"]


def make_tables(
    measured: pd.DataFrame, davis: Davis, *, numbered: bool, pooled: bool
) -> dict[str, pd.DataFrame]:
    """per_frame, per_object, per_sequence, overall and attributes, as `Scores` describes them."""
    per_frame = measured[["sequence", "object", "frame", "J", "F"]].dropna().reset_index(drop=True)
    per_object = _summarise(per_frame)
    per_sequence = per_object.groupby("sequence", sort=False)[STATISTICS].mean().reset_index()
    overall = per_object[STATISTICS].mean().to_frame().T
    if pooled:
        pixels = measured.groupby("sequence", sort=False)[["both", "total"]].sum().to_numpy().tolist()
        per_sequence["pooled_iou"] = [iou_of_pixels(*counts) for counts in pixels]
        per_sequence["pooled_dice"] = [dice_of_pixels(*counts) for counts in pixels]
    for column in per_sequence.columns[1 + len(STATISTICS) :]:
        overall[column] = per_sequence[column].mean()
    if not numbered:
        per_frame, per_object = per_frame.drop(columns="object"), per_object[:0]
    return {
        "per_frame": per_frame,
        "per_object": per_object,
        "per_sequence": per_sequence,
        "overall": overall,
        "attributes": _attribute_table(per_sequence, davis),
    }


def mean_over_objects(per_frame: pd.DataFrame) -> pd.DataFrame:
    """sequence, frame, J, F: of several objects their means."""
    if "object" not in per_frame:
        return per_frame
    return per_frame.groupby(["sequence", "frame"], sort=False)[["J", "F"]].mean().reset_index()


def _summarise(per_frame: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for key, frames in per_frame.groupby(["sequence", "object"], sort=False):
        j, f = mean_recall_decay(frames["J"]), mean_recall_decay(frames["F"])
        rows.append((*key, *j, *f, (j[0] + f[0]) / 2))
    return pd.DataFrame(rows, columns=["sequence", "object", *STATISTICS])


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
