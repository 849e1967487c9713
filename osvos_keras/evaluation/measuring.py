"""Every frame of every method measured, in a pool of threads: what the tables are made of.

Each annotation is read once, however many methods there are; a few images are in memory at a time.
(Decoding and the metrics leave Python's lock, so processes would gain nothing.)
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import pandas as pd
from tqdm import tqdm
from tqdm.contrib.concurrent import thread_map

from osvos_keras.evaluation.folder import Pair
from osvos_keras.evaluation.objects import Reader
from osvos_keras.metrics import contour_accuracy, count_pixels, region_similarity

COLUMNS = ["method", "sequence", "object", "frame", "J", "F", "both", "total", "seen"]


def measure_methods(
    plans: Mapping[str, Mapping[str, Sequence[Pair]]],
    readers: Mapping[str, Reader],
    workers: int,
    *,
    progress: bool,
) -> pd.DataFrame:
    """A row for each object in each frame of every method; each annotation is read once.

    Args:
        plans: by method and sequence, the same frames for all methods.
        readers: how each sequence is read.
        workers: threads.
        progress: show bars.

    Returns:
        method, sequence, object, frame; J and F, NaN in a first and last frame, which are not scored; `both`
        and `total`, as `count_pixels` gives them; `seen`, whether the mask shows the object.
    """

    def measure(task: tuple[str, tuple[Pair, ...]]) -> list[tuple]:
        sequence, pairs = task
        return [
            (method, sequence, *row)
            for method, rows in zip(plans, _measure(pairs, readers[sequence]), strict=True)
            for row in rows
        ]

    tasks = [
        (sequence, pairs)
        for sequence in readers
        for pairs in zip(*(plan[sequence] for plan in plans.values()), strict=True)
    ]
    found = in_threads(measure, tasks, "scoring", "frame", progress, workers)
    return pd.DataFrame([row for rows in found for row in rows], columns=COLUMNS)


def _measure(pairs: Sequence[Pair], reader: Reader) -> Iterator[list[tuple]]:
    """Of each method's mask of one frame, a row for each object: the columns from `object` on."""
    annotation = reader.annotation(pairs[0].annotation)
    for pair in pairs:
        rows = []
        for number, both in reader.split(reader.mask_like(pair.mask, annotation), annotation):
            scores = (region_similarity(*both), contour_accuracy(*both)) if pair.scored else (None, None)
            rows.append((number, pair.frame, *scores, *count_pixels(*both), both[0].any()))
        yield rows


def name_unseen(measured: pd.DataFrame, readers: Mapping[str, Reader]) -> list[str]:
    """Sentences on numbered objects that no mask of a method shows."""
    seen = measured.groupby(["sequence", "object"], sort=False)["seen"].any()
    return [
        f"{sequence}: no mask shows object {number}, which counts as missed wherever it is."
        for sequence, number in seen.index[~seen]
        if readers[sequence].objects is not None
    ]


def in_threads(work: Callable, items: Sequence, text: str, unit: str, progress: bool, workers: int) -> list:
    """The results of `work` for each item, in order, with a bar."""
    options = {"desc": text, "unit": unit, "disable": not progress or not items, "tqdm_class": tqdm}
    return thread_map(work, items, max_workers=workers, **options)
