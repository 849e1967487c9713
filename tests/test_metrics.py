"""J, F and their statistics, against slow literal references and the invariants they must have."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from osvos_keras.metrics import (
    contour_accuracy,
    count_pixels,
    dice_of_pixels,
    iou_of_pixels,
    mean_recall_decay,
    region_similarity,
)


def literal_j(mask, annotation):
    """Sets of pixels, as the paper writes it."""
    mask, annotation = set(map(tuple, np.argwhere(mask))), set(map(tuple, np.argwhere(annotation)))
    return len(mask & annotation) / len(mask | annotation) if mask | annotation else 1.0


def literal_outline(region):
    """A pixel is on the outline if its right, lower or lower right neighbour in the frame differs."""
    height, width = region.shape
    neighbours = ((0, 1), (1, 0), (1, 1))
    return [
        (y, x)
        for y in range(height)
        for x in range(width)
        if any(
            region[y, x] != region[min(y + dy, height - 1), min(x + dx, width - 1)] for dy, dx in neighbours
        )
    ]


def literal_f(mask, annotation, tolerance):
    """Every outline pixel of one side against every one of the other."""
    reach = math.ceil(tolerance * math.hypot(*mask.shape))
    ours, true = literal_outline(mask), literal_outline(annotation)

    def share(pixels, others):
        near = [any(math.dist(pixel, other) <= reach for other in others) for pixel in pixels]
        return sum(near) / len(near)

    if not ours or not true:
        return float(not ours and not true)
    precision, recall = share(ours, true), share(true, ours)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def box(top, left, height, width, size=(100, 120)):
    region = np.zeros(size, bool)
    region[top : top + height, left : left + width] = True
    return region


@st.composite
def mask_pairs(draw):
    """Two bool arrays of one shape: noise, boxes, or nothing; transposed and mirrored views."""
    shape = draw(array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=13))

    def region():
        if draw(st.booleans()):
            return draw(arrays(bool, shape)).T[::-1]
        top, left, height, width = (draw(st.integers(0, 13)) for _ in range(4))
        return box(top, left, height, width, shape).T[::-1]

    return region(), region()


@given(mask_pairs())
def test_j_equals_the_literal_reference(pair):
    assert region_similarity(*pair) == literal_j(*pair)


@settings(deadline=None)
@given(mask_pairs(), st.floats(0, 0.4))
def test_f_equals_the_literal_reference(pair, tolerance):
    assert contour_accuracy(*pair, tolerance) == pytest.approx(literal_f(*pair, tolerance), abs=1e-12)


def test_disjoint_regions_score_zero():
    mask, annotation = box(5, 5, 20, 20), box(60, 80, 20, 20)
    assert region_similarity(mask, annotation) == contour_accuracy(mask, annotation) == 0


def test_empty_regions():
    empty, some, full = np.zeros((9, 7), bool), box(2, 2, 3, 3, (9, 7)), np.ones((9, 7), bool)
    assert region_similarity(empty, empty) == contour_accuracy(empty, empty) == 1
    assert region_similarity(empty, some) == contour_accuracy(empty, some) == 0
    assert region_similarity(some, empty) == contour_accuracy(some, empty) == 0
    assert contour_accuracy(full, empty) == 1  # neither has an outline
    assert contour_accuracy(full, some) == 0


@pytest.mark.parametrize("shift", [(0, 1), (1, 1), (2, 0), (0, -2)])
def test_a_shift_within_reach_keeps_f_at_one(shift):
    """The diagonal of 100×120 times 0.008 is 1.25: a reach of 2 pixels."""
    annotation = box(30, 40, 30, 50)
    mask = np.roll(annotation, shift, (0, 1))
    assert contour_accuracy(mask, annotation) == 1
    assert region_similarity(mask, annotation) < 1


@pytest.mark.parametrize("shift", [(0, 3), (2, 2), (-3, 0)])
def test_a_shift_beyond_reach_lowers_f(shift):
    annotation = box(30, 40, 30, 50)
    assert contour_accuracy(np.roll(annotation, shift, (0, 1)), annotation) < 1


def test_reach_grows_with_the_diagonal_of_the_whole_frame():
    """The same object in a larger frame: 8 pixels of reach at 854×480."""
    annotation, mask = box(100, 100, 50, 50, (480, 854)), box(108, 100, 50, 50, (480, 854))
    assert contour_accuracy(mask, annotation) == 1
    assert contour_accuracy(np.roll(mask, 1, 0), annotation) < 1


@pytest.mark.parametrize("metric", [region_similarity, contour_accuracy])
@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((5, 6), bool), r"\(5, 6\).*\(6, 5\)"),
        (np.zeros((6, 5), np.uint8), "uint8"),
        (np.zeros((1, 6, 5), bool), r"\(1, 6, 5\)"),
        (None, "bool array"),
        ([[False] * 5] * 6, "not list"),
    ],
)
def test_wrong_arrays_are_refused(metric, mask, message):
    with pytest.raises(ValueError, match=message):
        metric(mask, np.zeros((6, 5), bool))


@pytest.mark.parametrize("tolerance", [-0.1, 1, 8])
def test_a_tolerance_in_pixels_is_refused(tolerance):
    with pytest.raises(ValueError, match="fraction of the frame's diagonal"):
        contour_accuracy(np.zeros((6, 5), bool), np.zeros((6, 5), bool), tolerance)


def literal_decay(values):
    """Borders of four bins, frames counted from 1 as in Matlab, halves rounded up, ends included."""
    count = len(values)
    borders = [int(1 + (count - 1) * bin / 4 + 0.5) for bin in range(5)]
    first = [values[frame - 1] for frame in range(borders[0], borders[1] + 1)]
    last = [values[frame - 1] for frame in range(borders[3], borders[4] + 1)]
    return sum(first) / len(first) - sum(last) / len(last)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=700))
def test_mean_recall_decay_equal_the_literal_reference(values):
    mean, recall, decay = mean_recall_decay(values)
    assert mean == pytest.approx(math.fsum(values) / len(values), abs=1e-9)
    assert recall == sum(value > 0.5 for value in values) / len(values)
    assert decay == pytest.approx(literal_decay(values), abs=1e-9)


def test_decay_by_hand():
    """Seven frames: borders 1, 2.5, 4, 5.5, 7 round up to 1, 3, 4, 6, 7."""
    assert mean_recall_decay([1, 1, 1, 0, 0, 0.25, 0.75])[2] == 1 - 0.5


def test_decay_is_right_beyond_255_frames():
    """A score that falls evenly over 1000 frames loses three quarters of the fall between the bins."""
    values = np.linspace(1, 0, 1001)
    assert mean_recall_decay(values)[2] == pytest.approx(0.75)


def test_recall_counts_only_what_is_above_one_half():
    assert mean_recall_decay([0.5, 0.5, 0.6, 0.4])[1] == 0.25


@pytest.mark.parametrize("values", [[], [[0.1, 0.2]], 0.3])
def test_statistics_of_nothing_are_refused(values):
    with pytest.raises(ValueError, match="one number per frame"):
        mean_recall_decay(values)


def test_pooled_numbers_weigh_frames_by_their_object():
    """One large frame that is right, one small that is wrong: pooled 0.9 and more, J one half."""
    large, small, nothing = box(0, 0, 90, 100), box(0, 0, 10, 10), box(0, 0, 0, 0)
    pairs = [(large, large), (nothing, small)]
    both, total = map(sum, zip(*(count_pixels(*pair) for pair in pairs), strict=True))
    assert iou_of_pixels(both, total) == 9000 / 9100
    assert dice_of_pixels(both, total) == 2 * 9000 / (9000 + 9100)
    assert np.mean([region_similarity(*pair) for pair in pairs]) == 0.5


@given(mask_pairs())
def test_dice_follows_from_intersection_over_union(pair):
    iou = iou_of_pixels(*count_pixels(*pair))
    assert iou == region_similarity(*pair)
    assert dice_of_pixels(*count_pixels(*pair)) == pytest.approx(2 * iou / (1 + iou))
