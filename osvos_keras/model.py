"""The network: VGG16 from Keras Applications, four side branches, one fused output.

Source: Caelles et al., "One-Shot Video Object Segmentation", CVPR 2017, section 3 and figure 4.
Only `keras.ops` is used, so the network runs on every Keras backend.
"""

from functools import cache, partial
from pathlib import Path

import keras
import numpy as np
from keras import ops

from osvos_keras.config import ParentConfig
from osvos_keras.conventions import CONVENTIONS, OURS, Conventions, read_record
from osvos_keras.convolution import Conv2D
from osvos_keras.weights import find_conventions, find_weights, load_weights

# Each side output: the VGG16 layer it leaves from (the last before the next pooling), and how
# many times smaller than the frame that layer's features are.
SIDES = {
    "side2": ("block2_conv2", 2),
    "side3": ("block3_conv3", 4),
    "side4": ("block4_conv3", 8),
    "side5": ("block5_conv3", 16),
}
OUTPUTS = (*SIDES, "fused")
SIDE_CHANNELS = 16
WIDTH = 64  # channels of VGG16's first block; the tests build narrower networks
# Standard deviation of the first weights of the branches' first layer; that of the others is `head_scale`.
# VGG16's features are in the hundreds, so that a tenfold larger start gives logits in the tens, and masks
# that were measurably worse.
PREP_SCALE = 0.001


@keras.saving.register_keras_serializable("osvos_keras")
class PrepareFrame(keras.layers.Layer):
    """RGB 0–255 → BGR with the mean colour subtracted, padded to the conventions' grid.

    Padding goes to the bottom and the right, with zeros, which here is the mean colour; ours makes
    (B, H, W, 3) → (B, ⌈H/16⌉·16, ⌈W/16⌉·16, 3), float32.

    It also stands for the network's conventions in every file that Keras writes its weights to,
    and refuses a file of other conventions.
    """

    def __init__(self, conventions: str = OURS.name, **options):
        super().__init__(**options)
        self.conventions = CONVENTIONS[conventions]

    def call(self, frame):
        x = ops.flip(ops.cast(frame, "float32"), axis=-1)  # (B, H, W, 3), BGR
        x = x - ops.convert_to_tensor(self.conventions.means, "float32")
        missing = [[0, self.conventions.pad(size) - size] for size in ops.shape(x)[1:3]]
        return ops.pad(x, [[0, 0], *missing, [0, 0]])  # (B, H', W', 3), in ours multiples of 16

    def compute_output_spec(self, frame):
        padded = [None if size is None else self.conventions.pad(size) for size in frame.shape[1:3]]
        return keras.KerasTensor((frame.shape[0], *padded, 3), dtype="float32")

    def get_config(self):
        return {**super().get_config(), "conventions": self.conventions.name}

    def save_own_variables(self, store):
        self.conventions.record(store)

    def load_own_variables(self, store):
        found = read_record(store)
        if found != self.conventions:
            raise ValueError(
                f"the weights keep to the conventions of {found.name}, this network to those of "
                f"{self.conventions.name}. build_osvos(path) builds the network that they belong to."
            )


@keras.saving.register_keras_serializable("osvos_keras")
class BilinearUpsample(keras.layers.Layer):
    """Fixed bilinear upsampling by `factor`, cropped to the size of the frame.

    Called with (B, h, w, 1) and the frame (B, H, W, 3), returns (B, H, W, 1). It is a transposed
    convolution, as in the paper. Our conventions repeat the border once before it, which makes it
    equal to bilinear resizing up to the edge. (`ops.image.resize` wants sizes that are known when
    a graph is traced.)
    """

    def __init__(self, factor: int, conventions: str = OURS.name, **options):
        super().__init__(**options)
        self.factor = factor
        self.conventions = CONVENTIONS[conventions]
        ramp = 1 - np.abs(np.arange(2 * factor) - (factor - 0.5)) / factor
        self.kernel = np.outer(ramp, ramp)[..., None, None]

    def call(self, x, frame):
        (rows, columns), (height, width) = ops.shape(x)[1:3], ops.shape(frame)[1:3]
        border = self.conventions.border
        # (B, h, w, 1) → (B, h + 2·border, w + 2·border, 1)
        x = ops.pad(x, [[0, 0], [border, border], [border, border], [0, 0]], mode="symmetric")
        kernel = ops.cast(self.kernel, x.dtype)  # (2·factor, 2·factor, 1, 1)
        # → (B, (h + 2·border + 1)·factor, (w + 2·border + 1)·factor, 1)
        x = ops.conv_transpose(x, kernel, strides=self.factor, data_format="channels_last")
        (upsampled, wide), crop = ops.shape(x)[1:3], self.conventions.crop
        top = crop(upsampled, rows * self.factor, height)
        left = crop(wide, columns * self.factor, width)
        return x[:, top : top + height, left : left + width]  # (B, H, W, 1)

    def compute_output_spec(self, x, frame):
        return keras.KerasTensor((*frame.shape[:3], x.shape[-1]), dtype=self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor, "conventions": self.conventions.name}


@keras.saving.register_keras_serializable("osvos_keras")
class Fuse(keras.layers.Layer):
    """The sum of the branches' projections, plus one bias: list of (B, H, W, 1) → (B, H, W, 1).

    The paper concatenates the upsampled 16 channels of every branch and applies a 1×1
    convolution. That convolution is a sum over branches, and it commutes with bilinear
    upsampling, so each branch is projected to one channel first and upsampled afterwards: the
    same function with a sixteenth of the full-resolution bytes.
    """

    def build(self, shapes):
        self.bias = self.add_weight(shape=(1,), initializer="zeros", name="bias")

    def call(self, projections):
        return sum(projections) + self.bias


def build_osvos(
    weights: str | Path | None = "imagenet",
    *,
    policy: str = "float32",
    seed: int = 0,
    head_scale: float = ParentConfig.head_scale,
    conventions: Conventions | None = None,
) -> keras.Model:
    """The OSVOS network, for frames of any size.

    Args:
        weights: `"imagenet"` (VGG16's, bundled; the branches start at random), `"parent"` (the
            bundled parent network), the path of a `.weights.h5` file of this network, or `None`
            (all start at random).
        policy: Keras dtype policy, such as `"float32"` or `"mixed_bfloat16"`; the logits are
            float32 under each. `device.choose_policy` picks the device's best.
        seed: decides the initial weights.
        head_scale: standard deviation of the initial weights of the scores and of the fusion.
        conventions: how the frame's border is treated; None: as when the weights were trained.

    Returns:
        A model from frames (B, H, W, 3), RGB, 0–255, to a dict of logits `side2`, `side3`,
        `side4`, `side5` and `fused`, each (B, H, W, 1) float32.

    Raises:
        WeightsError: the weights are missing, damaged, of another architecture or other conventions.
    """
    conventions = conventions or find_conventions(weights)
    backbone = _backbone(policy, seed, conventions)
    if weights == "imagenet":
        load_weights(backbone, find_weights("imagenet"))
    outputs = _side_branches(backbone, policy, seed, head_scale, conventions)
    model = keras.Model(backbone.input, outputs, name="osvos")
    if weights not in (None, "imagenet"):
        load_weights(model, find_weights(weights))
    return model


@cache
def _vgg16_layers() -> list[tuple[type[keras.layers.Layer], dict]]:
    """The layers of Keras's VGG16 behind its input, in order: the class and the configuration of each."""
    with keras.StatelessScope(initialize_variables=False):  # the weights are not needed
        vgg16 = keras.applications.VGG16(include_top=False, weights=None)
    return [(type(layer), layer.get_config()) for layer in vgg16.layers[1:]]


def _backbone(policy: str, seed: int, conventions: Conventions) -> keras.Model:
    """VGG16 behind the preparation of a frame; its poolings round odd sizes as the conventions say.

    `keras.applications.VGG16` takes no dtype policy, data format or padding. Its layers are therefore made
    anew from their configurations, as `keras.models.clone_model` does, but without the weights of a
    VGG16 that nobody uses.
    """
    frame = keras.Input((None, None, 3), name="frame")  # (B, H, W, 3), RGB
    x = PrepareFrame(conventions.name, name="prepare", dtype="float32")(frame)  # (B, H', W', 3), BGR
    for index, (kind, config) in enumerate(_vgg16_layers()):
        changes = {"dtype": policy, "data_format": "channels_last"}
        if kind is keras.layers.MaxPooling2D:
            changes["padding"] = conventions.pooling
        else:
            changes["filters"] = config["filters"] * WIDTH // 64
            changes["kernel_initializer"] = keras.initializers.GlorotUniform(_layer_seed(seed, index))
        x = kind.from_config({**config, **changes})(x)
        # block1: (B, H', W', 64), block2: (B, H'/2, W'/2, 128), block3: (B, H'/4, W'/4, 256),
        # block4: (B, H'/8, W'/8, 512), block5: (B, H'/16, W'/16, 512); a pooling halves at its end
    return keras.Model(frame, x, name="vgg16")


def _layer_seed(seed: int, index: int) -> int:
    """The seed of one layer among others: what every backend of Keras takes."""
    return (10 * seed + index) % 2**32


def _side_branches(
    backbone: keras.Model, policy: str, seed: int, head_scale: float, conventions: Conventions
) -> dict:
    """The logits of every side branch and of their fusion."""
    frame, outputs, projections = backbone.input, {}, []
    for index, (side, (layer, factor)) in enumerate(SIDES.items()):
        convolution = partial(_convolution, seed=_layer_seed(seed, index))
        prep = convolution(SIDE_CHANNELS, 3, PREP_SCALE, f"{side}_prep", dtype=policy)
        score = convolution(1, 1, head_scale, f"{side}_score", dtype="float32")
        project = convolution(1, 1, head_scale, f"{side}_fuse", dtype="float32", use_bias=False)
        upsample = partial(BilinearUpsample, factor, conventions.name, dtype="float32")
        x = prep(backbone.get_layer(layer).output)  # (B, H'/factor, W'/factor, 16)
        # each (B, H'/factor, W'/factor, 1) → (B, H, W, 1)
        outputs[side] = upsample(name=f"{side}_upsample")(score(x), frame)
        projections.append(upsample(name=f"{side}_fuse_upsample")(project(x), frame))
    fused = Fuse(name="fuse", dtype="float32")(projections)  # 4 × (B, H, W, 1) → (B, H, W, 1)
    return {**outputs, "fused": fused}


def _convolution(
    channels: int, size: int, scale: float, name: str, seed: int, **options
) -> keras.layers.Conv2D:
    kind = Conv2D if size == 3 else keras.layers.Conv2D
    return kind(
        channels,
        size,
        padding="same",
        data_format="channels_last",
        kernel_initializer=keras.initializers.RandomNormal(stddev=scale, seed=seed),
        name=name,
        **options,
    )


def keep_outputs(model: keras.Model, names: tuple[str, ...]) -> keras.Model:
    """The same network, weights shared, that computes the named outputs alone."""
    return keras.Model(model.input, {name: model.output[name] for name in names}, name="osvos")
