"""Which masks of a clip are most in doubt, so that a person knows where to look and what to correct."""

from pathlib import Path

import pandas as pd

from osvos_keras.evaluation.mistakes import worst_frames
from osvos_keras.io.records import dict_in, read_record
from osvos_keras.video.clip import Clip


def least_sure(clip: Clip, masks: Path, count: int = 3) -> list[str]:
    """The names of the frames in whose masks the networks expect the lowest J, the lowest first.

    Frames that the networks have learned from are left out, and so are neighbours of a named one.

    Args:
        clip: the clip.
        masks: the folder of its masks, as `segment_clip` returns it.
        count: how many frames to name, at most.
    """
    record = read_record(masks.with_name(f"{masks.name}.json"))
    made_with = dict_in(record, "made_with")
    learned = {key for kind in ("marked", "corrected") for key in dict_in(made_with, kind)}
    names = [path.stem for path in clip.frames]
    j = pd.to_numeric(pd.Series(dict_in(record, "expected")), errors="coerce").reindex(names).fillna(1)
    j[[str(index) in learned for index in range(len(names))]] = 1
    table = pd.DataFrame({"sequence": clip.name, "frame": names, "J": j.to_numpy()})
    return worst_frames(table, count).query("J < 1")["frame"].tolist()
