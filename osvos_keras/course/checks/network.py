"""Checks of the exercises on the network: its input, a side branch, upsampling, and the mask at its end."""

from collections.abc import Callable

import cv2
import numpy as np
from keras import ops

from osvos_keras.conventions import OURS
from osvos_keras.course.checks.compare import compare
from osvos_keras.model import BilinearUpsample, PrepareFrame

MEANS = np.array(OURS.means)  # blue, green, red


def prepare_frame(student: Callable) -> None:
    """`student(frame)` prepares (H, W, 3) uint8 RGB for VGG16, as `model.PrepareFrame` does."""
    random = np.random.default_rng(0)

    def right(frame):
        return np.asarray(PrepareFrame()(frame[None]))[0]

    def pad(image, before=False, missing=lambda size: -size % 16, **options):
        missing = [missing(size) for size in image.shape[:2]]
        return np.pad(image, [*((size, 0) if before else (0, size) for size in missing), (0, 0)], **options)

    mistakes = {
        "the channels are still red, green, blue; reverse them, then subtract the means.": (
            lambda frame: pad(frame - MEANS)
        ),
        "the channels stay red, green, blue, and so do the means; VGG16 wants blue first.": (
            lambda frame: pad(frame - MEANS[::-1])
        ),
        "the means are in the order red, green, blue, but the channels are blue, green, red.": (
            lambda frame: pad(frame[..., ::-1] - MEANS[::-1])
        ),
        "the means are rounded to uint8, so that what falls below 0 starts again at 255; use floats.": (
            lambda frame: pad(frame[..., ::-1] - MEANS.astype(np.uint8))
        ),
        "the result is made uint8 again, and what is below 0 is lost; leave it as floats.": (
            lambda frame: pad((frame[..., ::-1] - MEANS).astype(np.uint8))
        ),
        "the values are divided by 255; VGG16 wants them from 0 to 255, less the means.": (
            lambda frame: pad(frame[..., ::-1] / 255)
        ),
        "the values are divided by 255 before the means are subtracted; do not divide.": (
            lambda frame: pad(frame[..., ::-1] / 255 - MEANS)
        ),
        "the values are divided by 255 in the end; VGG16 wants them as they are, less the means.": (
            lambda frame: pad((frame[..., ::-1] - MEANS) / 255)
        ),
        "the frame's own mean is subtracted; subtract IMAGENET_MEANS.": (
            lambda frame: pad(frame[..., ::-1] - frame[..., ::-1].mean(axis=(0, 1)))
        ),
        "the means are not subtracted.": lambda frame: pad(frame[..., ::-1]),
        "it is not padded to multiples of 16.": lambda frame: frame[..., ::-1] - MEANS,
        "it is padded before the means are subtracted, so that the filling is not zero; subtract first.": (
            lambda frame: pad(frame)[..., ::-1] - MEANS
        ),
        "it is padded at the top and on the left; pad at the bottom and on the right.": (
            lambda frame: pad(frame[..., ::-1] - MEANS, before=True)
        ),
        "the border is repeated; fill up with zeros.": lambda frame: pad(
            frame[..., ::-1] - MEANS, mode="edge"
        ),
        "a size that is a multiple of 16 already gets 16 more; -size % 16 is 0 there.": (
            lambda frame: pad(frame[..., ::-1] - MEANS, missing=lambda size: 16 - size % 16)
        ),
        "as much is added as is over, size % 16; what is missing is -size % 16.": (
            lambda frame: pad(frame[..., ::-1] - MEANS, missing=lambda size: size % 16)
        ),
    }
    cases = {
        f"a frame of {height} × {width}": (random.integers(0, 256, (height, width, 3), np.uint8),)
        for height, width in ((2, 3), (16, 32), (19, 37))
    }
    compare("prepare_frame", student, right, cases, mistakes)


def score_at(student: Callable) -> None:
    """`student(features, y, x, prep, score)` gives a side branch's score at row y, column x.

    Features are (h, w, C); `prep` and `score` are pairs of kernel and bias, (3, 3, C, D) and (1, 1, D, 1).
    """
    random = np.random.default_rng(0)
    features, prep_kernel, prep_bias, score_kernel, score_bias = (
        random.normal(size=shape).astype(np.float32)
        for shape in ((8, 11, 5), (3, 3, 5, 4), (4,), (1, 1, 4, 1), (1,))
    )

    def right(features, y, x, prep, score, activation=lambda value: value):
        x_all = ops.conv(features[None], prep[0], padding="same") + prep[1]
        return np.asarray(ops.conv(activation(x_all), score[0], padding="same") + score[1])[0, y, x]

    def with_kernel(change):
        return lambda f, y, x, prep, score: right(f, y, x, (change(prep[0]), prep[1]), score)

    def with_bias(of_prep, of_score):
        return lambda f, y, x, prep, score: right(
            f, y, x, (prep[0], of_prep * prep[1]), (score[0], of_score * score[1])
        )

    upper_left = np.pad(np.ones((2, 2, 1, 1), np.float32), ((0, 1), (0, 1), (0, 0), (0, 0)))
    mistakes = {
        "negative values are set to zero (ReLU) between the two convolutions; here there is no activation.": (
            lambda *given: right(*given, activation=ops.relu)
        ),
        "both biases are forgotten.": with_bias(0, 0),
        "the bias of prep is forgotten.": with_bias(0, 1),
        "the bias of score is forgotten.": with_bias(1, 0),
        "the window is 2 × 2 or smaller: the end of a slice is not in it, so write y + 2 and x + 2.": (
            with_kernel(lambda kernel: kernel * upper_left)
        ),
        "the window begins at the position; it should lie around it, from y − 1 to y + 1.": (
            lambda f, y, x, *weights: right(f, y + 1, x + 1, *weights)
        ),
        "rows and columns are swapped; features[y, x] is row y, column x.": (
            lambda f, y, x, *weights: right(f, x, y, *weights)
        ),
        "rows and columns of the kernel are swapped.": with_kernel(lambda kernel: kernel.swapaxes(0, 1)),
        "the kernel is mirrored, as in mathematics; networks do not mirror it.": with_kernel(
            lambda kernel: kernel[::-1, ::-1]
        ),
        "only the position itself is used; prep looks at its eight neighbours too.": with_kernel(
            lambda kernel: kernel * np.pad(np.ones((1, 1)), 1)[..., None, None].astype(np.float32)
        ),
    }
    weights = (prep_kernel, prep_bias), (score_kernel, score_bias)
    cases = {
        "features of 0, so that only the biases count": (np.zeros_like(features), 3, 5, *weights),
        **{f"row {y}, column {x}": (features, y, x, *weights) for y, x in ((3, 5), (2, 6), (6, 1), (4, 4))},
    }
    compare("score_at", student, right, cases, mistakes)


def _interpolate(
    coarse,
    factor,
    *,
    shift=0.5,
    repeat_border=True,
    exchange=False,
    corners=False,
    axes=2,
    clip_high=True,
    whole=np.floor,
):
    """Bilinear upsampling step by step, with the steps open in which mistakes are made."""
    for _ in range(2):
        size = len(coarse)
        position = (np.arange(size * factor) + shift) / factor - shift
        if corners:
            position = np.linspace(0, size - 1, size * factor)
        if repeat_border:
            position = np.clip(position, 0, size - 1)
        low = whole(position).astype(int)
        high = np.minimum(low + 1, size - 1) if clip_high else low + 1
        share = (position - low)[:, None]
        share = 1 - share if exchange else share
        coarse = ((1 - share) * coarse[low] + share * coarse[high]).T
        if axes == 1:
            return coarse.T
    return coarse


def upsample(student: Callable) -> None:
    """`student(coarse, factor)` makes (h, w) numbers `factor` times as fine, as `BilinearUpsample` does."""

    def right(coarse, factor):
        frame = np.zeros((1, *(factor * size for size in coarse.shape), 3))
        return np.asarray(BilinearUpsample(factor)(coarse[None, ..., None], frame))[0, ..., 0]

    def without_border(coarse, factor):
        return right(np.pad(coarse, 1), factor)[factor:-factor, factor:-factor]

    mistakes = {
        "every value is only repeated (nearest neighbour); mix the neighbours by their distance.": (
            lambda coarse, factor: np.kron(coarse, np.ones((factor, factor)))
        ),
        "the whole is repeated, tiled; every value should be spread over the cells around it.": (
            lambda coarse, factor: np.tile(coarse, (factor, factor))
        ),
        "the half-pixel centres are missing; fine pixel i lies at (i + 0.5) / factor − 0.5.": (
            lambda *given: _interpolate(*given, shift=0)
        ),
        "the corners are put onto the corners; the centres of cells keep their places, half a cell inside.": (
            lambda *given: _interpolate(*given, corners=True)
        ),
        "rows and columns are swapped at the end.": lambda *given: right(*given).T,
        "only the rows are upsampled; do the same along the columns.": lambda *given: _interpolate(
            *given, axes=1
        ),
        "only the columns are upsampled; do the same along the rows.": (
            lambda coarse, factor: _interpolate(coarse.T, factor, axes=1).T
        ),
        "beyond the last centre there is no value after it; keep low + 1 at size − 1 or below.": (
            lambda *given: _interpolate(*given, clip_high=False)
        ),
        "beyond the first centre the index is −1, which is the last value; keep positions at 0 or above.": (
            lambda *given: _interpolate(*given, repeat_border=False)
        ),
        "beyond the outermost centres zeros are mixed in; repeat the border.": without_border,
        "the two shares are exchanged; the nearer value counts more.": lambda *given: _interpolate(
            *given, exchange=True
        ),
    }
    cases = {
        "3 × 3 values, twice as fine": (np.float32([[0, 0, 4], [0, 8, 0], [4, 0, 2]]), 2),
        "2 × 5 values, four times as fine": (np.float32([[1, 5, 2, 0, 7], [3, 3, 8, 1, 4]]), 4),
    }
    compare("upsample", student, right, cases, mistakes)


def logits_to_mask(student: Callable) -> None:
    """`student(logits, height, width)` makes (h, w) logits a mask (height, width) bool, p above one half."""
    coarse = np.random.default_rng(0).normal(0.3, 1, (6, 9)).astype(np.float32)

    def resize(values, height, width, how=cv2.INTER_LINEAR):
        return cv2.resize(np.float32(values), (width, height), interpolation=how)

    mistakes = {
        "logits are compared with ½, as if they were probabilities; probability ½ is logit 0.": (
            lambda logits, *size: resize(logits, *size) > 0.5
        ),
        "probabilities are compared with 0, and all are above it; compare with ½.": (
            lambda logits, *size: np.ones(size, bool)
        ),
        "height and width are swapped; cv2.resize takes (width, height).": (
            lambda logits, height, width: resize(logits, width, height) > 0
        ),
        "there are steps, by nearest neighbour or from a small mask; resize the logits bilinearly first.": (
            lambda logits, *size: resize(logits, *size, cv2.INTER_NEAREST) > 0
        ),
        "cubic interpolation is smoother than the bilinear one that is asked for.": (
            lambda logits, *size: resize(logits, *size, cv2.INTER_CUBIC) > 0
        ),
        "the logits are returned; ask where they are above 0.": resize,
        "the mask is made at the small size, and grows when resized; resize the logits first.": (
            lambda logits, *size: resize(logits > 0, *size) > 0
        ),
        "object and background are exchanged; the object is where the logit is above 0.": (
            lambda logits, *size: resize(logits, *size) < 0
        ),
        "the probabilities are returned; compare them with ½.": (
            lambda logits, *size: 1 / (1 + np.exp(-resize(logits, *size)))
        ),
    }
    cases = {
        "from 2 × 3 to 8 × 12": (np.float32([[2, -1, 0.3], [-2, 1, -3]]), 8, 12),
        "from 6 × 9 to 24 × 36": (coarse, 24, 36),
        "from 6 × 9 to 20 × 45": (coarse[::-1].copy(), 20, 45),
    }
    compare("logits_to_mask", student, lambda *given: resize(*given) > 0, cases, mistakes, may_differ=0.002)
