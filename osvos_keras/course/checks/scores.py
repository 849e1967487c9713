"""Checks of the exercises on scores: J, F, a sequence in three numbers, and reading a failure."""

from collections.abc import Callable

import cv2
import numpy as np

from osvos_keras import metrics
from osvos_keras.course.checks.compare import compare


def _rectangle(top: int, bottom: int, left: int, right: int, size=(8, 12)) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = True
    return mask


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    """What share of `whole` is in `part` too; 0 where there is none."""
    return np.count_nonzero(part & whole) / max(np.count_nonzero(whole), 1)


EMPTY = _rectangle(0, 0, 0, 0)
OBJECT = _rectangle(2, 6, 2, 6)
PAIRS = {
    "a part is missing": (_rectangle(2, 6, 2, 4), OBJECT),
    "some background is taken for object": (_rectangle(1, 7, 2, 10), OBJECT),
    "nothing in common": (_rectangle(4, 6, 9, 11), OBJECT),
}
FRAME = (90, 120)  # large enough for a tolerance of two pixels


def region_similarity(student: Callable) -> None:
    """`student(mask, annotation)`, two (H, W) bool, gives J, as `metrics.region_similarity` does."""
    right = metrics.region_similarity

    def ratio(mask, annotation):
        return (mask & annotation).sum() / (mask | annotation).sum()

    def when_empty(value):
        return lambda *pair: right(*pair) if np.logical_or(*pair).any() else value

    mistakes = {
        "where both are empty 0 is divided by 0, which is not a number; J is 1 there.": ratio,
        "where both are empty J is 1: there was nothing to find, and nothing was found.": when_empty(0.0),
        "where the annotation alone is empty J is 0: all that was found is wrong.": (
            lambda mask, annotation: right(mask, annotation) if annotation.any() else 1.0
        ),
        "this is the Dice coefficient, 2 · shared ÷ (sum of the two areas); J divides by the union.": (
            lambda mask, annotation: 2 * (mask & annotation).sum() / (mask.sum() + annotation.sum())
        ),
        "the pixels that agree are counted, background too; J looks at the object alone.": (
            lambda mask, annotation: (mask == annotation).mean()
        ),
        "the shared area is divided by the annotation's; divide by the area that either covers.": (
            lambda mask, annotation: (mask & annotation).sum() / annotation.sum()
        ),
        "the shared area is divided by the mask's; divide by the area that either covers.": (
            lambda mask, annotation: (mask & annotation).sum() / mask.sum()
        ),
        "the shared area is divided by the sum of both areas, where it counts twice; divide by the union.": (
            lambda mask, annotation: (mask & annotation).sum() / (mask.sum() + annotation.sum())
        ),
        "the shared area is divided by the pixels where the two differ; divide by the union.": (
            lambda mask, annotation: (mask & annotation).sum() / (mask ^ annotation).sum()
        ),
        "the shared area is divided by all pixels of the frame; divide by the union.": (
            lambda mask, annotation: (mask & annotation).sum() / mask.size
        ),
        "the union is divided by the shared area; J is the other way round.": (
            lambda mask, annotation: (mask | annotation).sum() / (mask & annotation).sum()
        ),
    }
    cases = {
        **PAIRS,
        "both empty": (EMPTY, EMPTY),
        "the mask alone is empty": (EMPTY, OBJECT),
        "the annotation alone is empty": (OBJECT, EMPTY),
    }
    compare("region_similarity", student, right, cases, mistakes)


def _contour(
    mask, annotation, *, reach=None, square=False, outline=metrics.outline, join=None, exchange=False
):
    """F step by step, with the steps open in which mistakes are made."""
    reach = int(np.ceil(0.008 * np.hypot(*mask.shape))) if reach is None else reach(mask.shape)
    near = metrics.disk(reach)
    near = np.ones_like(near) if square else near
    ours, theirs = outline(mask), outline(annotation)
    precision, recall = (
        _share(cv2.dilate(np.uint8(other), near) > 0, one) for one, other in ((ours, theirs), (theirs, ours))
    )
    if exchange:
        ratio = np.count_nonzero(ours) / np.count_nonzero(theirs)
        precision, recall = precision * ratio, recall / ratio
    if join:
        return join(precision, recall)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def contour_accuracy(student: Callable) -> None:
    """`student(mask, annotation)`, two (H, W) bool with an outline each, gives F.

    As `metrics.contour_accuracy` does with its tolerance of 0.8 % of the diagonal.
    """

    def vary(**options):
        return lambda mask, annotation: _contour(mask, annotation, **options)

    def with_zero_division(precision, recall):
        return np.divide(2 * precision * recall, precision + recall)

    mistakes = {
        "there is no tolerance; dilate the other outline by the disk before looking.": vary(
            reach=lambda size: 0
        ),
        "this is J; F looks at the outlines alone.": metrics.region_similarity,
        "the filled areas are compared; take `outline` of both first.": vary(outline=lambda region: region),
        "the denominators are exchanged; precision divides by the mask's outline, recall by the other.": vary(
            exchange=True
        ),
        "this is the precision alone; F is the harmonic mean of precision and recall.": vary(
            join=lambda p, r: p
        ),
        "this is the recall alone; F is the harmonic mean of precision and recall.": vary(
            join=lambda p, r: r
        ),
        "this is the ordinary mean of precision and recall; F is the harmonic one, 2pr ÷ (p + r).": vary(
            join=lambda p, r: (p + r) / 2
        ),
        "where precision and recall are both 0, 0 is divided by 0; F is 0 there.": vary(
            join=with_zero_division
        ),
        "the tolerance is a square; near means within a radius, a disk.": vary(square=True),
        "the tolerance is rounded down; round it up to whole pixels.": vary(
            reach=lambda size: int(0.008 * np.hypot(*size))
        ),
        "the tolerance is 0.8 % of the height; take the diagonal.": vary(
            reach=lambda size: int(np.ceil(0.008 * size[0]))
        ),
    }
    slanted = np.tri(*FRAME, 10, dtype=bool) & _rectangle(15, 75, 5, 100, FRAME)
    wide = _rectangle(30, 70, 50, 200, size=(100, 400))
    cases = {
        **PAIRS,
        "one pixel lower, two to the right": (
            _rectangle(21, 61, 32, 72, FRAME),
            _rectangle(20, 60, 30, 70, FRAME),
        ),
        "two pixels lower, two to the right": (np.roll(slanted, (2, 2), (0, 1)), slanted),
        "a wide frame": (np.roll(wide, (3, 3), (0, 1)), wide),
    }
    compare("contour_accuracy", student, metrics.contour_accuracy, cases, mistakes)


def mean_recall_decay(student: Callable) -> None:
    """`student(values)` gives mean, recall and decay, as `metrics.mean_recall_decay` does."""
    right = metrics.mean_recall_decay

    def vary(recall=None, decay=None):
        def three(values):
            found = right(values)
            return found[0], recall(values) if recall else found[1], decay(values) if decay else found[2]

        return three

    def with_apart(values):
        quarters = np.array_split(values, 4)
        return quarters[0].mean() - quarters[3].mean()

    def without_last(values):
        first, last = (np.floor((len(values) - 1) * part + 0.5).astype(int) for part in (0.25, 0.75))
        return values[:first].mean() - values[last:-1].mean()

    def with_half_to_even(values):
        borders = np.rint(np.linspace(0, len(values) - 1, 5)).astype(int)
        return values[: borders[1] + 1].mean() - values[borders[3] :].mean()

    mistakes = {
        "decay has the wrong sign; it is what is lost: the first quarter less the last.": vary(
            decay=lambda values: -right(values)[2]
        ),
        "decay compares single frames; compare the means of the first and the last quarter.": vary(
            decay=lambda values: values[0] - values[-1]
        ),
        "decay compares halves; compare the first quarter with the last.": vary(
            decay=lambda values: values[: len(values) // 2].mean() - values[len(values) // 2 :].mean()
        ),
        "the quarters share no frame; in DAVIS neighbouring quarters share the frame at their border.": vary(
            decay=with_apart
        ),
        "the quarters have n // 4 frames, and the others are left out; take the borders from the text.": vary(
            decay=lambda values: values[: len(values) // 4].mean() - values[-(len(values) // 4) :].mean()
        ),
        "the quarters end at n // 4 and begin at 3n // 4; take the borders from the text.": vary(
            decay=lambda values: values[: len(values) // 4].mean() - values[3 * len(values) // 4 :].mean()
        ),
        "a quarter lacks its last frame; the end of a slice is not in it, so add 1.": vary(
            decay=without_last
        ),
        "the borders are rounded half to even, as np.rint does; round half up, by np.floor(… + 0.5).": vary(
            decay=with_half_to_even
        ),
        "recall counts a score of exactly one half; it should be above.": vary(
            recall=lambda values: (values >= 0.5).mean()
        ),
        "recall is a number of frames; divide by how many there are.": vary(
            recall=lambda values: (values > 0.5).sum()
        ),
        "recall is a percentage; give a share, from 0 to 1.": vary(
            recall=lambda values: 100 * (values > 0.5).mean()
        ),
        "recall is the mean of the good frames; it is their share.": vary(
            recall=lambda values: values[values > 0.5].mean()
        ),
        "decay is divided by the first quarter; it is the plain difference.": vary(
            decay=lambda values: right(values)[2] / values[: len(values) // 4 + 1].mean()
        ),
        "the median stands in place of the mean.": lambda values: (np.median(values), *right(values)[1:]),
        "the order should be mean, recall, decay.": lambda values: np.array(right(values))[[0, 2, 1]],
    }
    wave = np.sin(np.arange(23)) / 10
    cases = {
        "scores that fall": (np.round(np.linspace(0.9, 0.3, 23) + wave, 2),),
        "scores that rise": (np.round(np.linspace(0.45, 0.8, 18) + wave[:18], 2),),
        "a score of exactly one half": (np.array([0.9, 0.5, 0.7, 0.5, 0.2, 0.6, 0.5, 0.4]),),
    }
    compare("mean_recall_decay", student, right, cases, mistakes)


def read_failure(student: Callable) -> None:
    """`student(mask, annotation)` gives which share of the object is missed, and of the mask is wrong."""

    def right(mask, annotation):
        return _share(~mask, annotation), _share(~annotation, mask)

    def divided(by):
        return lambda mask, annotation: (
            (annotation & ~mask).sum() / by(mask, annotation),
            (mask & ~annotation).sum() / by(mask, annotation),
        )

    mistakes = {
        "the two are exchanged; first what is missed, then what is wrong.": lambda *pair: right(*pair)[::-1],
        "both are divided by all pixels of the frame; divide by the object's, and by the mask's.": divided(
            lambda mask, annotation: mask.size
        ),
        "the denominators are exchanged; the first by the object's pixels, the second by the mask's.": (
            lambda mask, annotation: (
                np.count_nonzero(annotation & ~mask) / max(np.count_nonzero(mask), 1),
                np.count_nonzero(mask & ~annotation) / max(np.count_nonzero(annotation), 1),
            )
        ),
        "both are divided by all that is missed or wrong; the first by the object's pixels, the second by "
        "the mask's.": divided(lambda mask, annotation: (mask ^ annotation).sum()),
        "both are divided by the object's pixels; the second by the mask's.": divided(
            lambda mask, annotation: annotation.sum()
        ),
        "both are divided by the union; the first by the object's pixels, the second by the mask's.": divided(
            lambda mask, annotation: (mask | annotation).sum()
        ),
        "an empty mask or annotation divides 0 by 0; let the share be 0 there.": lambda mask, annotation: (
            (annotation & ~mask).sum() / annotation.sum(),
            (mask & ~annotation).sum() / mask.sum(),
        ),
        "these are the shares that are right; the shares that are missed and wrong are wanted.": (
            lambda mask, annotation: (_share(mask, annotation), _share(annotation, mask))
        ),
        "pixels are counted; divide by how many there are.": divided(lambda mask, annotation: 1),
    }
    cases = {**PAIRS, "the mask is empty": (EMPTY, OBJECT), "the object is hidden": (OBJECT, EMPTY)}
    compare("read_failure", student, right, cases, mistakes)
