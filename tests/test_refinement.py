"""What is done to a network's answer before it is a mask."""

import cv2
import numpy as np
import pytest

from osvos_keras import refinement
from osvos_keras.config import InferenceConfig
from osvos_keras.metrics import region_similarity as overlap
from osvos_keras.refinement import keep_near, reconcile, snap_contour

BAND = InferenceConfig.snap_band
DISK = cv2.circle(np.zeros((60, 80), np.uint8), (40, 30), 18, 1, -1) > 0


@pytest.fixture
def frame():
    """A red disk on green, both with noise."""
    noise = np.random.default_rng(0).normal(0, 12, (60, 80, 3))
    colour = np.where(DISK[..., None], (170, 80, 60), (70, 140, 70))
    return np.clip(colour + noise, 0, 255).astype(np.uint8)


def unsure_within(pixels):
    """Logits of a disk whose contour is some pixels too far out, and unsure as far to both sides."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1,) * 2)
    grown = cv2.dilate(DISK.astype(np.uint8), kernel)
    logits = np.where(grown > 0, 0.8, -3.9)
    logits[cv2.dilate(grown, kernel) > grown] = -0.8
    logits[cv2.erode(DISK.astype(np.uint8), kernel) > 0] = 4.6
    return logits.astype(np.float32)


def test_contour_snaps_to_the_edge_of_the_picture(frame):
    logits = unsure_within(4)
    assert overlap(logits > 0, DISK) < 0.75
    assert overlap(snap_contour(frame, logits, BAND) > 0, DISK) > 0.98


def test_what_the_network_is_sure_of_stays(frame):
    logits = unsure_within(4)
    logits[:8, :8], logits[28:32, 38:42] = 2.01, -2.01  # against all colours
    snapped = snap_contour(frame, logits, BAND)
    sure = abs(logits) > 2
    np.testing.assert_array_equal(snapped[sure], logits[sure])
    kept = (snapped > 0) == (logits > 0)
    np.testing.assert_array_equal(snapped[kept], logits[kept])
    assert snapped.dtype == np.float32 and not kept.all()


def test_a_thin_part_before_many_edges_is_kept(monkeypatch):
    """A disk on a leg of three pixels before tiles; by itself, GrabCut cuts the leg off."""
    random = np.random.default_rng(0)
    figure = cv2.circle(np.zeros((120, 160), np.uint8), (80, 40), 20, 1, -1)
    figure = cv2.line(figure, (80, 50), (80, 105), 1, 3)
    tiles = np.kron(random.integers(-60, 60, (15, 20)), np.ones((8, 8)))
    behind = np.stack([np.full(tiles.shape, 90), tiles + 130, tiles + 120], axis=-1)
    picture = np.where(figure[..., None] > 0, (150, 100, 90), behind) + random.normal(0, 16, behind.shape)
    picture = np.clip(picture, 0, 255).astype(np.uint8)
    logits = np.where(cv2.dilate(figure, np.ones((9, 9))) > 0, np.float32(-0.8), np.float32(-5))
    logits[figure > 0], logits[cv2.erode(figure, np.ones((7, 7))) > 0] = 0.5, 5

    leg = np.s_[66:105, 79:82]
    snapped = snap_contour(picture, logits, BAND) > 0
    assert snapped[leg].mean() > 0.99 and overlap(snapped, figure > 0) > 0.99
    monkeypatch.setattr(refinement, "_calm", lambda frame, movable: frame)
    assert not (snap_contour(picture, logits, BAND) > 0)[leg].any()


def test_of_two_looks_the_second_decides_as_far_as_the_first_agrees():
    first, second = np.float32([[5, 1, -5, -1, 3, 0, -3, 0]]), np.float32([[2, 4, -2, -4, -3, -3, 3, 3]])
    found = reconcile(first, second)
    np.testing.assert_array_equal(found[:, :4], [[2, 1, -2, -1]])
    np.testing.assert_array_equal(np.sign(found[:, 4:]), [[-1, -1, 1, 1]])
    assert (abs(found[:, 4:]) < 0.01).all() and found.dtype == np.float32


def test_where_two_looks_differ_the_colours_decide(frame):
    """The first look misses the object's middle, as from too near; the second is too coarse."""
    middle = cv2.circle(np.zeros(DISK.shape, np.uint8), (40, 30), 9, 1, -1) > 0
    first = np.where(DISK & ~middle, np.float32(6), np.float32(-6))
    block = cv2.boxFilter(DISK.astype(np.float32), -1, (15, 15)) > 0.2
    second = np.where(block, np.float32(6), np.float32(-6))
    assert max(overlap(one > 0, DISK) for one in (first, second)) < 0.8
    assert overlap(snap_contour(frame, reconcile(first, second), BAND) > 0, DISK) > 0.98


def test_snapping_does_not_depend_on_what_was_drawn_before(frame):
    first = snap_contour(frame, unsure_within(4), BAND)
    cv2.randu(np.zeros((9, 9), np.uint8), 0, 255)
    np.testing.assert_array_equal(snap_contour(frame, unsure_within(4), BAND), first)


@pytest.mark.parametrize("value", [-9.0, -0.4, 0.4, 9.0])
def test_without_colours_of_both_nothing_is_snapped(frame, value):
    logits = np.full((60, 80), value, np.float32)
    assert snap_contour(frame, logits, BAND) is logits


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (33, 2)])
def test_tiny_frames(shape):
    logits = np.linspace(-9, 9, shape[0] * shape[1], dtype=np.float32).reshape(shape)
    assert snap_contour(np.zeros((*shape, 3), np.uint8), logits, BAND).shape == shape


def squares(*lefts):
    """Logits of squares of 10 × 10 pixels, whose length is 10, at these columns."""
    logits = np.full((30, 100), -3, np.float32)
    for left in lefts:
        logits[10:20, left : left + 10] = 3
    return logits


@pytest.mark.parametrize(
    ("before", "now", "kept"),
    [
        ([0], [0, 60], [0]),  # a look-alike at the other side
        ([0], [14, 60], [14]),  # 5 pixels away: half of its length
        ([0], [15, 60], [15, 60]),  # 6 pixels away, as nothing is nearer: all stay
        ([0, 60], [0, 60], [0, 60]),  # an object of two parts
        ([0], [60], [60]),  # a jump
        ([0], [], []),
    ],
)
def test_parts_far_from_the_mask_before_are_left_out(before, now, kept):
    found = keep_near(squares(*now), squares(*before) > 0, reach=0.5)
    np.testing.assert_array_equal(found > 0, squares(*kept) > 0)
    stays = (squares(*now) < 0) | (squares(*kept) > 0)
    np.testing.assert_array_equal(found[stays], squares(*now)[stays])
    assert found.dtype == np.float32 and (found[~stays] == 0).all()


@pytest.mark.parametrize(("before", "reach"), [(None, 0.5), (squares(0) > 0, 0), (squares(0)[1:] > 0, 0.5)])
def test_without_a_mask_before_or_a_reach_all_parts_stay(before, reach):
    np.testing.assert_array_equal(keep_near(squares(0, 60), before, reach), squares(0, 60))


@pytest.mark.parametrize(("rows", "stays"), [(5, False), (4, True)])
def test_less_than_half_of_the_object_is_not_all_of_it(rows, stays):
    """It was hidden and comes out elsewhere, and what is left near it is a mistake."""
    logits = squares(0, 60)
    logits[10 + rows : 20, :10] = -3
    found = keep_near(logits, squares(0) > 0, reach=0.5)
    assert (found[:, :10] > 0).sum() == 10 * rows
    assert (found[:, 60:] > 0).any() == stays
