"""Every frame of every method measured, collected by method: what the tables are made of."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from osvos_keras.davis import Davis
from osvos_keras.evaluation.folder import Pair
from osvos_keras.evaluation.objects import Reader
from osvos_keras.evaluation.scoring import FrameTask, in_threads


@dataclass
class Measured:
    """What was measured of one method.

    Attributes:
        rows: sequence, object, frame, J, F.
        pixels: by sequence, the sums of `count_pixels` over frames and objects.
        readers: by sequence, how it was read.
        notes: sentences on objects that no mask shows.
    """

    readers: Mapping[str, Reader]
    rows: list[tuple[str, int, str, float, float]] = field(default_factory=list)
    pixels: dict[str, np.ndarray] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def measure_methods(
    plans: Mapping[str, Mapping[str, Sequence[Pair]]],
    davis: Davis,
    readers: Mapping[str, Reader],
    workers: int,
    *,
    progress: bool,
) -> dict[str, Measured]:
    """Measure the frames of every method, each annotation read once.

    Args:
        plans: by method and sequence, the same frames for all methods.
        davis, readers: the data set, and how each sequence is read.
        workers: threads.
        progress: show bars.
    """
    measured = {method: Measured(readers) for method in plans}
    tasks = _tasks(plans, davis, readers)
    seen: dict[str, Counter] = {method: Counter() for method in plans}
    results = in_threads(lambda task: task[-1].run(), tasks, "scoring", "frame", progress, workers)
    for (sequence, frame, _), result in zip(tasks, results, strict=True):
        for method, score in result.items():
            one = measured[method]
            one.rows += [(sequence, number, frame, j, f) for number, j, f in score.rows]
            one.pixels[sequence] = one.pixels.get(sequence, 0) + np.array(score.pixels)
            seen[method].update((sequence, number) for number in score.seen)
    for method, one in measured.items():
        one.notes = _unseen(seen[method], readers)
    return measured


def _tasks(plans, davis: Davis, readers: Mapping[str, Reader]) -> list[tuple[str, str, FrameTask]]:
    """(sequence, frame, task) of every frame."""
    tasks = []
    for sequence, reader in readers.items():
        ends = {davis.annotation_path(path) for path in (davis.frames(sequence)[index] for index in (0, -1))}
        for pairs in zip(*(plan[sequence] for plan in plans.values()), strict=True):
            is_scored = pairs[0].annotation not in ends
            task = FrameTask(dict(zip(plans, pairs, strict=True)), reader, is_scored)
            tasks.append((sequence, pairs[0].frame, task))
    return tasks


def _unseen(seen: Counter, readers: Mapping[str, Reader]) -> list[str]:
    return [
        f"{sequence}: no mask shows object {number}, which counts as missed wherever it is."
        for sequence, reader in readers.items()
        for number in range(1, (reader.objects or 0) + 1)
        if (sequence, number) not in seen
    ]
