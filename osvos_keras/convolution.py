"""A 3×3 convolution to a few channels that trains in the time that its arithmetic needs."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("osvos_keras")
class Conv2D(keras.layers.Conv2D):
    """Keras's own for 3×3 kernels, stride 1, padding and a bias; the gradient of `convolve` in float32.

    It has the name of Keras's, by which Keras calls the weights in its files.
    """

    def call(self, inputs, training=False):
        if training and self.compute_dtype == "float32":
            return convolve(inputs, self.kernel.value) + self.bias
        return super().call(inputs)


@ops.custom_gradient
def convolve(x, kernel):
    """A convolution, padded with zeros, whose gradient is a matrix product and a convolution.

    TensorFlow's own gradient packs 9 values of the input for every product with 16 channels; without oneDNN,
    as on CPUs that have AVX2 alone, that takes five times as long.

    Args:
        x: (B, H, W, inputs), float32.
        kernel: (3, 3, inputs, channels), float32.

    Returns:
        (B, H, W, channels).
    """
    inputs, channels = ops.shape(kernel)[2:]

    def gradient(*arguments, upstream=None):
        # (B, H, W, channels); Keras's backends hand it over in two ways
        upstream = arguments[-1] if upstream is None else upstream
        around = ops.reshape(_neighbours(upstream), (-1, 9 * channels))
        product = ops.matmul(ops.transpose(ops.reshape(x, (-1, inputs))), around)  # (inputs, 9·channels)
        of_kernel = ops.transpose(ops.reshape(product, (inputs, 3, 3, channels)), (1, 2, 0, 3))
        # one axis at a time, for Keras before 3.14
        turned = ops.transpose(ops.flip(ops.flip(kernel, 0), 1), (0, 1, 3, 2))
        return _convolve(upstream, turned), of_kernel

    return _convolve(x, kernel), gradient


def _convolve(x, kernel):
    return ops.conv(x, kernel, padding="same", data_format="channels_last")


def _neighbours(x):
    """The 3×3 pixels around every pixel, the last first: (B, H, W, C) → (B, H, W, 9·C)."""
    height, width = ops.shape(x)[1:3]
    x = ops.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])
    places = [(row, column) for row in (2, 1, 0) for column in (2, 1, 0)]
    return ops.concatenate([x[:, i : i + height, j : j + width] for i, j in places], axis=-1)
