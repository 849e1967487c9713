"""The measuring itself: frames of several methods side by side, in a pool of threads.

Each annotation is read once, however many methods there are; a few images are in memory at a time.
(Decoding and the metrics leave Python's lock, so processes would gain nothing.)
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm
from tqdm.contrib.concurrent import thread_map

from osvos_keras.evaluation.folder import Pair
from osvos_keras.evaluation.objects import Reader
from osvos_keras.metrics import contour_accuracy, count_pixels, region_similarity


@dataclass(frozen=True)
class FrameScore:
    """What was measured of one mask: a row for each object, and what later sums need.

    Attributes:
        rows: object, J, F; none for a frame that is not scored.
        seen: the objects in the mask.
        pixels: in both regions, and in the mask plus in the annotation, of all objects.
    """

    rows: list[tuple[int, float, float]]
    seen: frozenset[int]
    pixels: tuple[int, int]


@dataclass(frozen=True)
class FrameTask:
    """One frame of all methods.

    Attributes:
        pairs: the frame's pair by the name of the method.
        reader: reads masks and annotations as the sequence's kind asks.
        is_scored: whether J and F are wanted (the first and the last frame have their pixels counted only).
    """

    pairs: Mapping[str, Pair]
    reader: Reader
    is_scored: bool

    def run(self) -> dict[str, FrameScore]:
        """What is measured of each method's mask, by the name of the method."""
        annotation = self.reader.annotation(next(iter(self.pairs.values())).annotation)
        return {name: self._score(pair.mask, annotation) for name, pair in self.pairs.items()}

    def _score(self, path: Path | None, annotation: np.ndarray) -> FrameScore:
        mask = self.reader.mask_like(path, annotation)
        rows, both, total, seen = [], 0, 0, set()
        for number, (found, true) in self.reader.split(mask, annotation):
            if self.is_scored:
                rows.append((number, region_similarity(found, true), contour_accuracy(found, true)))
            pixels = count_pixels(found, true)
            both, total = both + pixels[0], total + pixels[1]
            if found.any():
                seen.add(number)
        return FrameScore(rows, frozenset(seen), (both, total))


def in_threads(
    work: Callable, items: Sequence, text: str, unit: str, progress: bool, workers: int | None = None
) -> list:
    """The results of `work` for each item, in order, with a bar; no workers given: one for each CPU core."""
    workers, disable = workers or os.cpu_count(), not progress or not items
    options = {"desc": text, "unit": unit, "disable": disable, "tqdm_class": tqdm}
    return thread_map(work, items, max_workers=workers, **options)
