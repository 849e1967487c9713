"""The balanced loss against a literal NumPy reference, and the schedule of the side outputs."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from osvos_keras.config import ParentConfig
from osvos_keras.losses import EMPTY_AREA, BalancedCrossEntropy, side_weight
from osvos_keras.model import OUTPUTS, SIDES
from osvos_keras.pipeline import supervise

random = np.random.default_rng(0)


def reference(annotation, logits, balance=1.0):
    """Equation 2 of the paper for one image, in float64, pixel by pixel, divided by the pixels."""
    probability = 1 / (1 + np.exp(-logits.astype(np.float64)))
    total, positives = annotation.size, annotation.sum()
    background_share = (total - positives) / total
    result = 0.0
    for is_object, p in zip(annotation.ravel(), probability.ravel(), strict=True):
        share_of_others = background_share if is_object else 1 - background_share
        result -= share_of_others**balance * np.log(p if is_object else 1 - p)
    return result / total


@pytest.mark.parametrize("balance", [1.0, 0.5])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_equals_the_reference(share, balance):
    annotations = random.random((3, 9, 14, 1)) < share
    annotations[:, 0, 0] = True
    logits = random.normal(0, 3, annotations.shape).astype(np.float32)
    expected = [reference(a, x, balance) for a, x in zip(annotations, logits, strict=True)]
    found = BalancedCrossEntropy(balance, reduction="none")(annotations, logits)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    mean = BalancedCrossEntropy(balance)(annotations, logits)
    np.testing.assert_allclose(mean, np.mean(expected), rtol=1e-5)


def test_balance_is_the_papers_unless_told_and_zero_is_keras_own():
    annotations = random.random((2, 9, 14, 1)) < 0.1
    logits = random.normal(0, 3, annotations.shape).astype(np.float32)
    paper = [reference(a, x) for a, x in zip(annotations, logits, strict=True)]
    np.testing.assert_allclose(BalancedCrossEntropy()(annotations, logits), np.mean(paper), rtol=1e-5)
    plain = keras.losses.BinaryCrossentropy(from_logits=True)(annotations, logits)
    np.testing.assert_allclose(BalancedCrossEntropy(0.0)(annotations, logits), plain, rtol=1e-5)


def test_a_saved_loss_keeps_its_balance():
    loss = keras.losses.deserialize(keras.losses.serialize(BalancedCrossEntropy(0.5)))
    assert loss.balance == 0.5


@pytest.mark.parametrize(("value", "direction"), [(0, 1), (1, -1)])
def test_image_of_one_class_still_pushes_every_pixel(value, direction):
    logits = keras.Variable(np.zeros((1, 5, 4, 1), np.float32))
    with tf.GradientTape() as tape:
        loss = BalancedCrossEntropy()(np.full(logits.shape, value), logits.value)
    gradient = tape.gradient(loss, logits.value)
    np.testing.assert_allclose(gradient, direction * EMPTY_AREA * 0.5 / 20, rtol=1e-4)


def test_large_logits_do_not_overflow():
    logits = np.array([-1e4, 1e4], np.float32).reshape(1, 1, 2, 1)
    right, wrong = np.array([0, 1]).reshape(logits.shape), np.array([1, 0]).reshape(logits.shape)
    assert float(BalancedCrossEntropy()(right, logits)) == 0
    np.testing.assert_allclose(BalancedCrossEntropy()(wrong, logits), 5e3, rtol=1e-6)


@pytest.mark.parametrize("balance", [1.0, 0.5])
def test_an_image_of_one_class_weighs_the_same_under_xla(balance):
    """There the mean of ones, at this size, is 0.99999994."""
    annotation, logits = np.ones((1, 22, 22, 1), np.uint8), np.full((1, 22, 22, 1), -2, np.float32)
    loss = BalancedCrossEntropy(balance)
    compiled = tf.function(loss.__call__, jit_compile=True)(annotation, logits)
    np.testing.assert_allclose(compiled, loss(annotation, logits), rtol=1e-5)
    np.testing.assert_allclose(compiled, EMPTY_AREA**balance * np.log1p(np.exp(2)), rtol=1e-5)


def test_side_weight_falls_to_zero_and_stays():
    found = [float(side_weight(progress, 0.8, 0.5)) for progress in (0, 0.25, 0.5, 0.9)]
    np.testing.assert_allclose(found, [0.8, 0.4, 0, 0], atol=1e-7)
    assert side_weight(0.99, 0.5, None) == 0.5
    assert ParentConfig().side_end <= 1  # the parent's deep supervision ends within training


def test_every_output_enters_the_loss_exactly_once():
    """Keras's total is the sum of weight × loss over the outputs, none left out, none twice."""
    annotations = (random.random((2, 6, 6, 1)) < 0.3).astype(np.uint8)
    logits = {name: random.normal(0, 2, annotations.shape).astype(np.float32) for name in OUTPUTS}
    single = {name: float(BalancedCrossEntropy()(annotations, x)) for name, x in logits.items()}
    assert len({round(value, 4) for value in single.values()}) == len(OUTPUTS)

    constants = keras.Model(
        frame := keras.Input((6, 6, 3)), {name: keras.layers.Conv2D(1, 1)(frame) for name in OUTPUTS}
    )
    constants.compile(loss={name: BalancedCrossEntropy() for name in OUTPUTS})
    _, targets, weights = supervise(np.zeros((2, 6, 6, 3), np.float32), annotations, 0.25, deep=True)
    total = constants.compute_loss(None, targets, logits, weights)
    expected = single["fused"] + 0.25 * sum(single[side] for side in SIDES)
    np.testing.assert_allclose(total, expected, rtol=1e-5)
