"""Checks of the exercises on training: the balanced loss, the learning rate, the loss of one step."""

from collections.abc import Callable
from functools import partial

import keras
import numpy as np
from keras import ops

from osvos_keras.course.checks.compare import compare
from osvos_keras.losses import BalancedCrossEntropy
from osvos_keras.model import OUTPUTS


def _entropy(annotations: np.ndarray, logits: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, np.where(annotations, -logits, logits))


def balanced_loss(student: Callable) -> None:
    """`student(annotations, logits)` gives the balanced loss of each image: two (B, H, W) → (B,).

    As `losses.BalancedCrossEntropy` does where object and background are both present.
    """
    random = np.random.default_rng(0)
    annotations = np.zeros((2, 3, 5), bool)
    annotations[0, 1, 1:3], annotations[1, 1:, :4] = True, True
    logits = random.normal(0, 2, annotations.shape).round(1)

    def right(annotations, logits):
        return np.asarray(BalancedCrossEntropy().call(annotations[..., None], logits[..., None]))

    def vary(*, axes=(1, 2), exchange=False, entropy=_entropy, total=np.mean):
        def loss(annotations, logits):
            share = annotations.mean(axis=axes, keepdims=True)
            weight = np.where(annotations != exchange, 1 - share, share)
            return total(weight * entropy(annotations, logits), axis=(1, 2))

        return loss

    def direct(annotations, logits, least=0):
        p = np.clip(np.asarray(ops.sigmoid(logits)), least, 1 - least)
        return -np.where(annotations, np.log(p), np.log(1 - p))

    def by_own_count(annotations, logits):
        entropy = _entropy(annotations, logits)
        return [e[a].mean() + e[~a].mean() for a, e in zip(annotations, entropy, strict=True)]

    mistakes = {
        "P and N are counted over the whole batch; count them in each image, over the axes (1, 2).": vary(
            axes=(0, 1, 2)
        ),
        "object and background have each other's weight; the rarer kind of pixel counts more.": vary(
            exchange=True
        ),
        "nothing is weighed: this is the plain cross-entropy.": lambda *given: _entropy(*given).mean(
            axis=(1, 2)
        ),
        "the sigmoid is applied twice; a logit goes through it once.": vary(
            entropy=lambda annotations, logits: _entropy(annotations, np.asarray(ops.sigmoid(logits)))
        ),
        "the pixels are summed; divide by their number T as well.": vary(total=np.sum),
        "the images are averaged too; give one loss an image.": lambda *given: right(*given).mean(),
        "the sign of the logits is the wrong way round; −log p is log(1 + e^−z).": vary(
            entropy=lambda annotations, logits: _entropy(annotations, -logits)
        ),
        "every pixel has the term of an object's, −log p; a background pixel has −log(1 − p).": vary(
            entropy=lambda annotations, logits: np.logaddexp(0, -logits)
        ),
        "probabilities are clipped, so large errors cost too little; give np.logaddexp the logits.": vary(
            entropy=partial(direct, least=1e-7)
        ),
        "the weights are scikit-learn's class weights, T/2P and T/2N; here they are N/T and P/T.": (
            lambda *given: np.asarray(by_own_count(*given)) / 2
        ),
        "object is weighed by N/P and background by 1; the weights are N/T and P/T.": (
            lambda annotations, logits: right(annotations, logits) / annotations.mean(axis=(1, 2))
        ),
        "only the object's pixels count; the background has a term of its own, with −log(1 − p).": vary(
            entropy=lambda annotations, logits: annotations * _entropy(annotations, logits)
        ),
        "each kind of pixel is divided by its own number; the weights are N/T and P/T.": by_own_count,
        "the logarithm of a probability rounded to 0 is infinite; give np.logaddexp the logits.": vary(
            entropy=direct
        ),
    }
    cases = {
        "one image": (annotations[:1], logits[:1]),
        "two images, objects of different size": (annotations, logits),
        "large logits": (annotations, 40 * logits),
    }
    compare("balanced_loss", student, right, cases, mistakes)


def cosine_rate(student: Callable) -> None:
    """`student(step, steps, highest)` gives the learning rate at a step, as Keras's `CosineDecay` does."""

    def right(step, steps, highest):
        return float(keras.optimizers.schedules.CosineDecay(highest, steps)(step))

    mistakes = {
        "the cosine goes from 1 to −1, and so does the rate; add 1 and halve.": (
            lambda step, steps, highest: highest * np.cos(np.pi * step / steps)
        ),
        "1 + cosine goes from 2 to 0; halve it.": (
            lambda step, steps, highest: highest * (1 + np.cos(np.pi * step / steps))
        ),
        "it goes along a whole cosine, down and up again; half of one, up to π, is wanted.": (
            lambda step, steps, highest: highest * (1 + np.cos(2 * np.pi * step / steps)) / 2
        ),
        "it goes along a quarter of a cosine, up to π/2; half of one, up to π, is wanted.": (
            lambda step, steps, highest: highest * np.cos(np.pi / 2 * step / steps)
        ),
        "it is not multiplied by `highest`.": lambda step, steps, highest: right(step, steps, 1),
        "it is halved twice.": lambda *given: right(*given) / 2,
        "the angle is cut to a whole number by //; divide by /.": (
            lambda step, steps, highest: highest * (1 + np.cos(np.pi * step // steps)) / 2
        ),
        "it falls in a straight line.": lambda step, steps, highest: highest * (1 - step / steps),
        "zero is reached at the last step, steps − 1; it would be reached at step number `steps`.": (
            lambda step, steps, highest: highest * (1 + np.cos(np.pi * step / (steps - 1))) / 2
        ),
        "the angle is in degrees; np.cos takes radians.": (
            lambda step, steps, highest: highest * (1 + np.cos(180 * step / steps)) / 2
        ),
        "it rises from 0; at the start the rate is the highest.": (
            lambda step, steps, highest: highest * (1 - np.cos(np.pi * step / steps)) / 2
        ),
    }
    cases = {
        "the first of 40 steps": (0, 40, 1e-3),
        "a quarter of the way": (10, 40, 1e-3),
        "half-way": (20, 40, 1e-3),
        "the last of 40": (39, 40, 1e-3),
    }
    compare("cosine_rate", student, right, cases, mistakes, tolerance=1e-3)


def step_loss(student: Callable) -> None:
    """`student(logits, targets, weights, balance)`, three dicts by output and the exponent of the loss's
    weights, gives the loss of a step, one number."""
    random = np.random.default_rng(0)
    annotation = np.zeros((1, 8, 12, 1), np.float32)
    annotation[:, 2:5, 3:7] = 1
    logits = {name: random.normal(0, 2, annotation.shape).astype(np.float32) for name in OUTPUTS}

    def terms(logits, targets, weights, balance):
        loss = BalancedCrossEntropy(balance)
        return {name: float(weights[name][0]) * float(loss(targets[name], logits[name])) for name in targets}

    def right(*given):
        return sum(terms(*given).values())

    mistakes = {
        "the weights are not used.": lambda logits, targets, weights, balance: sum(
            terms(logits, targets, {name: [1] for name in targets}, balance).values()
        ),
        "target and logits are exchanged; the loss takes the target first.": (
            lambda logits, targets, *rest: right(targets, logits, *rest)
        ),
        "only the first output counts: is `return` in the loop?": lambda *given: next(
            iter(terms(*given).values())
        ),
        "only the fused output counts.": lambda *given: terms(*given)["fused"],
        "the fused output is forgotten.": lambda *given: right(*given) - terms(*given)["fused"],
        "the outputs are averaged; add them up.": lambda *given: np.mean(list(terms(*given).values())),
        "the sum is divided by the sum of the weights; it should not be.": (
            lambda *given: right(*given) / sum(float(given[2][name][0]) for name in given[1])
        ),
        "it is the plain cross-entropy; take BalancedCrossEntropy.": lambda *given: right(*given[:3], 0),
        "`balance` is not passed on; without it BalancedCrossEntropy is the paper's.": (
            lambda *given: right(*given[:3], 1)
        ),
        "all outputs are asked for, though only those in `targets` have an annotation.": (
            lambda logits, _, *rest: right(logits, dict.fromkeys(logits, annotation), *rest)
        ),
        "the logits go through a sigmoid first; the loss does that itself.": (
            lambda logits, *rest: right({name: ops.sigmoid(logits[name]) for name in logits}, *rest)
        ),
    }

    def case(names, side, balance=0.5):
        ones = np.ones(1, np.float32)
        weights = {name: ones if name == "fused" else side * ones for name in names}
        return logits, {name: annotation for name in names}, weights, balance

    cases = {
        "side outputs at weight 0.5": case(OUTPUTS, 0.5),
        "side outputs at weight 0.1, with the paper's balance of 1": case(OUTPUTS, 0.1, balance=1),
        "the fused output alone": case(("fused",), 0),
    }
    compare("step_loss", student, right, cases, mistakes)
