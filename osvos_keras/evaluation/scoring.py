"""The measuring itself: frames of several methods side by side, in a pool of threads.

Each annotation is read once, however many methods there are; a few images are in memory at a time.
(Decoding and the metrics leave Python's lock, so processes would gain nothing.)
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from osvos_keras.evaluation.folder import Pair, check_size
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
        read: reads masks and annotations as the sequence's kind asks.
        is_scored: whether J and F are wanted (the first and the last frame have their pixels counted only).
    """

    pairs: Mapping[str, Pair]
    read: Reader
    is_scored: bool

    def run(self) -> dict[str, FrameScore]:
        annotation = self.read.annotation(next(iter(self.pairs.values())).annotation)
        return {name: self._score(pair.mask, annotation) for name, pair in self.pairs.items()}

    def _score(self, path: Path | None, annotation: np.ndarray) -> FrameScore:
        if path is None:
            mask = np.zeros_like(annotation)
        else:
            mask = self.read.mask(path)
            check_size(path, mask, annotation)
        rows, both, total, seen = [], 0, 0, set()
        for number, (found, true) in self.read.split(mask, annotation):
            if self.is_scored:
                rows.append((number, region_similarity(found, true), contour_accuracy(found, true)))
            pixels = count_pixels(found, true)
            both, total = both + pixels[0], total + pixels[1]
            if found.any():
                seen.add(number)
        return FrameScore(rows, frozenset(seen), (both, total))


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


def in_pool(
    pool: ThreadPoolExecutor, work: Callable, items: Sequence, text: str, unit: str, progress: bool
) -> Iterable:
    """The results of `work` for each item, in order, with a bar."""
    return tqdm(pool.map(work, items), text, len(items), unit=unit, disable=not progress or not items)
