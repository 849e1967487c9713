"""The convolution of the branches: what Keras's own computes, and its gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from osvos_keras.convolution import Conv2D, convolve

SHAPES = [(7, 5, 3, 16), (1, 1, 2, 4), (4, 9, 5, 1)]


@pytest.mark.parametrize(("height", "width", "inputs", "channels"), SHAPES)
def test_values_and_gradients_are_those_of_keras(height, width, inputs, channels):
    random = np.random.default_rng(0)
    x, kernel, weights = (
        tf.constant(random.normal(size=shape), tf.float32)
        for shape in ((2, height, width, inputs), (3, 3, inputs, channels), (2, height, width, channels))
    )
    found = []
    for function in (convolve, lambda x, kernel: keras.ops.conv(x, kernel, padding="same")):
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            y = function(x, kernel)
            loss = keras.ops.sum(y * weights)
        found.append([y, *tape.gradient(loss, [x, kernel])])
    for own, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(own, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_a_step_of_fit_is_that_of_keras(policy, eager):
    """Also in bfloat16, in which it is Keras's own."""
    frames = np.random.default_rng(0).uniform(size=(1, 6, 7, 3)).astype("float32")
    start, trained = keras.initializers.GlorotNormal(1), []
    for kind in (Conv2D, keras.layers.Conv2D):
        layer = kind(4, 3, padding="same", dtype=policy, kernel_initializer=start)
        model = keras.Sequential([layer])
        model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=eager)
        model.fit(frames, np.ones((1, 6, 7, 4), "float32"), verbose=0)
        trained.append([*model.get_weights(), model.predict(frames, verbose=0)])
    for own, theirs in zip(*trained, strict=True):
        np.testing.assert_allclose(own, theirs, rtol=1e-5, atol=1e-6)


def test_weights_have_the_names_of_keras(tmp_path):
    """A file of the one loads into the other."""
    first, second = (
        keras.Sequential([keras.Input((4, 4, 3)), kind(2, 3, padding="same")])
        for kind in (Conv2D, keras.layers.Conv2D)
    )
    first.save_weights(tmp_path / "one.weights.h5")
    second.load_weights(tmp_path / "one.weights.h5")
    np.testing.assert_array_equal(first.get_weights()[0], second.get_weights()[0])
