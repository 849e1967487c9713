"""Class-balanced cross-entropy, and the weight of the side outputs over a training.

Sources: Caelles et al., CVPR 2017, equation 2; Xie and Tu, "Holistically-Nested Edge Detection",
ICCV 2015, section 2.2. Only `keras.ops` is used, so the loss runs on every Keras backend.
"""

import math

import keras
from keras import ops

# An image without the object (or without background) has no second class to balance with, and
# the published formula gives it no gradient at all. It is weighed as if this fraction of its
# pixels were object, so that it pushes the background down as hard as a frame with a small object does.
EMPTY_AREA = 0.01


@keras.saving.register_keras_serializable("osvos_keras")
class BalancedCrossEntropy(keras.losses.Loss):
    """Class-balanced binary cross-entropy from logits, one value per image.

    With P object pixels, N background pixels and T = P + N of an image, and b the `balance`,

        ((N/T)ᵇ · Σ_object −log p  +  (P/T)ᵇ · Σ_background −log(1 − p)) / T

    At b = 1, the paper's, object and background weigh the same, however small the object is; at
    b = 0 all pixels do. In between, background that is taken for the object costs more than in the
    paper.

    Pixels are counted per image, so the result does not depend on how a batch is split over
    replicas; the mean over pixels makes a learning rate mean the same at every resolution.

    Called with annotation (B, H, W, 1) of 0 and 1 and logits (B, H, W, 1).
    """

    def __init__(self, balance: float = 1.0, name="balanced_cross_entropy", **options):
        super().__init__(name=name, **options)
        self.balance = balance

    def get_config(self):
        return {**super().get_config(), "balance": self.balance}

    def call(self, annotation, logits):
        annotation = ops.cast(annotation, "float32")
        logits = ops.cast(logits, "float32")
        # −log p and −log(1 − p), in the form that cannot overflow
        entropy = ops.softplus(ops.where(annotation > 0.5, -logits, logits))
        # Counted, not averaged: the mean of ones is 0.99999994 under XLA.
        pixels = math.prod(ops.shape(annotation)[1:])
        counted = ops.count_nonzero(annotation > 0.5, axis=(1, 2, 3))[:, None, None, None]
        area = ops.cast(counted, "float32") / ops.cast(pixels, "float32")
        area = ops.where(counted == 0, EMPTY_AREA, area)
        area = ops.where(counted == pixels, 1 - EMPTY_AREA, area)
        weight = ops.where(annotation > 0.5, (1 - area) ** self.balance, area**self.balance)
        return ops.mean(weight * entropy, axis=(1, 2, 3))


def side_weight(progress, start: float, end: float | None):
    """The weight of a side output's loss beside the fused one: `start`, falling linearly to 0 at `end`.

    The paper ends deep supervision in stages (section 3.2). The linear schedule is that of the PyTorch
    code, which ends with the training.

    Args:
        progress: the fraction of the training that is done, 0 to 1; a number or a tensor.
        start: the weight at the beginning.
        end: the fraction of the training at which the weight reaches zero; None: constant.
    """
    if end is None:
        return start
    left = 1 - progress / end
    return start * (left + abs(left)) / 2
