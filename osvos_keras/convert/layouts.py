"""Weights that others published, converted to this network's: `osvos weights convert`.

Three layouts are known by the names of their tensors, whatever file holds them: OSVOS-PyTorch's state
dict, the OSVOS network of MindSpore's model zoo, and that zoo's VGG16 (a backbone only).

A parent keeps the conventions that it was trained under, `conventions.OSVOS_PYTORCH` or
`OSVOS_MINDSPORE`: the file records them, and the network built from it gives the probabilities of its
own code's forward pass at every pixel of a frame of any size, to float32's accuracy. A backbone alone
has branches to be trained yet, and gets our conventions; its first convolution absorbs the difference of
the mean colours.
`docs/converting.md` has the measurements.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from osvos_keras.conventions import OSVOS_MINDSPORE, OSVOS_PYTORCH, OURS, Conventions
from osvos_keras.convert.readers import Checkpoint, read_checkpoint
from osvos_keras.errors import WeightsError
from osvos_keras.io.files import sha256
from osvos_keras.io.paths import find_input, resolve_output
from osvos_keras.weights import save_weights

# VGG16's thirteen convolutions: name here, channels, and their place in the others' containers.
BACKBONE = [
    f"block{block}_conv{index}"
    for block, depth in enumerate((2, 2, 3, 3, 3), start=1)
    for index in range(1, depth + 1)
]
CHANNELS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
STAGE = (0, 0, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4)
PLACE_IN_STAGE = (0, 2, 1, 3, 1, 3, 5, 1, 3, 5, 1, 3, 5)  # after ReLUs, and a pooling in front
PLACE_IN_VGG16 = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
# What MindSpore stores beside the network: Momentum's, SGD's and Adam's state, and counters.
OPTIMIZER = re.compile(
    r"(moments|moment1|moment2|accum|stat)\..*|learning_rate|momentum|weight_decay|global_step|"
    r"beta[12]_power|loss_scale|scale_sense|epoch_num|step_num|(current|last_overflow)_iterator_step"
)


@dataclass(frozen=True)
class Layout:
    """How a published network names its tensors and prepares its frames.

    Attributes:
        title: its name, for people.
        backbone: the thirteen convolutions, in order.
        branches: names of the branches' preparation, score, upsampled features and upsampled
            score, each followed by `.0` to `.3`; empty for a backbone alone.
        conventions: those of the network to build: a whole one keeps its own.
        means: subtracted from the frame, in the order BGR.
        deviations: what the frame is then divided by, in the order BGR.
        rgb: whether its first convolution takes RGB.
        surplus: a pattern of further names that this network has no use for.
    """

    title: str
    backbone: tuple[str, ...]
    branches: tuple[str, ...] = ()
    conventions: Conventions = OURS
    means: tuple[float, ...] = OSVOS_PYTORCH.means
    deviations: tuple[float, ...] = (1.0, 1.0, 1.0)
    rgb: bool = False
    surplus: str = r"(?!)"

    def without_branches(self) -> "Layout":
        """The same, for the backbone alone; all else is surplus."""
        unused = [self.surplus, r"fuse\..*", *(rf"{name}\.\d\..*" for name in self.branches)]
        return replace(self, branches=(), conventions=OURS, surplus="|".join(unused))


def _vgg16(prefix: str) -> Layout:
    """Trained on RGB, normalized by ImageNet's mean and deviation: 0.485, 0.229 and so on, times 255."""
    return Layout(
        "MindSpore VGG16",
        tuple(f"{prefix}{place}" for place in PLACE_IN_VGG16),
        means=(103.53, 116.28, 123.675),
        deviations=(57.375, 57.12, 58.395),
        rgb=True,
        surplus=r"classifier\..*",
    )


LAYOUTS = (
    Layout(
        "OSVOS-PyTorch",
        tuple(f"stages.{stage}.{place}" for stage, place in zip(STAGE, PLACE_IN_STAGE, strict=True)),
        ("side_prep", "score_dsn", "upscale", "upscale_"),
        OSVOS_PYTORCH,
    ),
    Layout(
        "MindSpore OSVOS",
        tuple(f"stages_ms.{stage}.{place}" for stage, place in zip(STAGE, PLACE_IN_VGG16, strict=True)),
        ("side_prep_ms", "score_dsn_ms", "ms_upscale", "ms_upscale_"),
        OSVOS_MINDSPORE,
    ),
    _vgg16("layers."),
    _vgg16(""),  # as the original's convert_checkpoint wrote it
)


@dataclass(frozen=True)
class Conversion:
    """What was done.

    Attributes:
        layout: the source's.
        layers: those that came from it.
        unused: names of what else was in it.
        path: the file written.
        sha256: its checksum.
    """

    layout: Layout
    layers: tuple[str, ...]
    unused: tuple[str, ...]
    path: Path
    sha256: str

    def __str__(self) -> str:
        rest = "" if "fuse" in self.layers else "; the branches start at random, as from 'imagenet'"
        return (
            f"{self.layout.title}: {len(self.layers)} layers{rest}\n{self._name_unused()}"
            f"{self.path}: sha256 {self.sha256}\nUse it with WEIGHTS={self.path}"
        )

    def _name_unused(self) -> str:
        """A line, or nothing."""
        if not self.unused:
            return ""
        names = [name for name in self.unused if not OPTIMIZER.fullmatch(name)]
        count = len(self.unused) - len(names)
        shown = [*names[:8], *(["…"] if names[8:] else []), *([f"{count} of an optimizer"] if count else [])]
        return f"Left unused, as no part of the network: {', '.join(shown)}\n"


def convert_weights(
    source: str | Path, target: str | Path, *, half: bool = False, backbone_only: bool = False
) -> Conversion:
    """Write a published checkpoint as weights that `build_osvos(target)` loads.

    Args:
        source: the state dict of OSVOS-PyTorch (`.pth`), a MindSpore checkpoint (`.ckpt`) of its OSVOS
            or its VGG16, or a safetensors file with the names of one of them.
        target: the file to write, `….weights.h5`, whole or not at all.
        half: store float16, which halves the file.
        backbone_only: take VGG16's convolutions alone, whatever else there is. The branches then
            start at random, with seed 0; of a VGG16 they always do.

    Raises:
        WeightsError: the source is none of these; a layer is missing, of another shape, not finite
            or unknown; its upsampling is not bilinear; or the target's name has another ending or is the
            source's.
    """
    target = resolve_output(target)
    if not target.name.endswith(".weights.h5"):
        raise WeightsError(f"{target}: the name of a weights file must end in .weights.h5.")
    if target == find_input(source):
        raise WeightsError(f"{target}: this is what is to be converted. Choose another name for the result.")
    checkpoint = read_checkpoint(source)
    layout = find_layout(checkpoint)
    from osvos_keras.model import build_osvos  # brings TensorFlow, for which no mistake above waits

    if backbone_only:
        layout = layout.without_branches()
    layers = map_layers(checkpoint, layout)
    model = build_osvos(weights=None, conventions=layout.conventions)
    for name, values in layers.items():
        model.get_layer(name).set_weights(values)
    save_weights(model, target, half=half)
    return Conversion(layout, tuple(layers), tuple(checkpoint.unused), target, sha256(target))


def find_layout(checkpoint: Checkpoint) -> Layout:
    """The layout whose first layer is in the checkpoint.

    Raises:
        WeightsError: there is none.
    """
    for layout in LAYOUTS:
        if f"{layout.backbone[0]}.weight" in checkpoint.tensors:
            return layout
    known = ", ".join(dict.fromkeys(layout.title for layout in LAYOUTS))
    found = ", ".join(list(checkpoint.tensors)[:3]) or "none"
    raise WeightsError(f"{checkpoint.path}: of no known layout ({known}). Its first tensors are {found}.")


def map_layers(checkpoint: Checkpoint, layout: Layout) -> dict[str, list[np.ndarray]]:
    """This network's layers: name → weights as Keras orders and shapes them, float32.

    Raises:
        WeightsError: a tensor is missing, of another shape, not finite, not bilinear or unknown.
    """
    layers = _map_backbone(checkpoint, layout)
    if layout.branches:
        layers |= _map_branches(checkpoint, layout)
    for name in checkpoint.tensors.keys() - checkpoint.taken:
        known = OPTIMIZER.fullmatch(name) or re.fullmatch(layout.surplus, name)
        if not (known or _is_noted(name, checkpoint.tensors[name])):
            raise WeightsError(f"{checkpoint.path}: {name} belongs to no layer of {layout.title}.")
    return layers


def _is_noted(name: str, value: np.ndarray) -> bool:
    """Whether a tensor is a number that somebody noted beside the weights: an epoch, a loss."""
    return value.size == 1 and not name.endswith((".weight", ".bias"))


def _map_backbone(checkpoint: Checkpoint, layout: Layout) -> dict[str, list[np.ndarray]]:
    """The thirteen convolutions. MindSpore's have no biases: zeros.

    Deviations that divide the frame would leave features some 57 times smaller than the branches
    expect. The whole backbone is multiplied by their mean instead, which ReLUs and poolings let
    through: first kernel times it, every bias times it.
    """
    scale = np.mean(layout.deviations, dtype=np.float32)
    layers = {}
    for ours, theirs, inputs, outputs in zip(
        BACKBONE, layout.backbone, (3, *CHANNELS[:-1]), CHANNELS, strict=True
    ):
        kernel, bias = _take_convolution(checkpoint, theirs, (outputs, inputs, 3, 3), bias_needed=False)
        layers[ours] = [kernel, bias * scale]
    layers[BACKBONE[0]] = _adapt_input(*layers[BACKBONE[0]], layout, scale)
    return layers


def _adapt_input(kernel: np.ndarray, bias: np.ndarray, layout: Layout, scale: float) -> list[np.ndarray]:
    """The first convolution, for a frame of BGR minus the means of the network to build, not divided."""
    if layout.rgb:
        kernel = kernel[:, :, ::-1]
    kernel = kernel * (scale / np.float32(layout.deviations))[:, None]
    shift = np.subtract(layout.conventions.means, layout.means, dtype=np.float32)
    return [kernel, bias + np.einsum("hwio,i->o", kernel, shift)]


def _map_branches(checkpoint: Checkpoint, layout: Layout) -> dict[str, list[np.ndarray]]:
    """Preparation, score and share of the fuse of every branch; their upsampling must be ours."""
    from osvos_keras.model import SIDE_CHANNELS, SIDES

    prep_name, score_name, *upsample_names = layout.branches
    shares, fuse_bias = _take_convolution(checkpoint, "fuse", (1, len(SIDES) * SIDE_CHANNELS, 1, 1))
    layers = {"fuse": [fuse_bias]}
    for index, (side, (backbone_layer, factor)) in enumerate(SIDES.items()):
        inputs = CHANNELS[BACKBONE.index(backbone_layer)]
        prep = _take_convolution(checkpoint, f"{prep_name}.{index}", (SIDE_CHANNELS, inputs, 3, 3))
        score = _take_convolution(checkpoint, f"{score_name}.{index}", (1, SIDE_CHANNELS, 1, 1))
        share = shares[:, :, index * SIDE_CHANNELS : (index + 1) * SIDE_CHANNELS]
        layers |= {f"{side}_prep": prep, f"{side}_score": score, f"{side}_fuse": [share]}
        for name, channels in zip(upsample_names, (SIDE_CHANNELS, 1), strict=True):
            _check_upsampling(checkpoint, f"{name}.{index}.weight", channels, factor)
    return layers


def _take_convolution(
    checkpoint: Checkpoint, name: str, shape: tuple[int, ...], bias_needed: bool = True
) -> list[np.ndarray]:
    """Kernel, from (out, in, h, w) to Keras's (h, w, in, out), and bias, zeros if it may be absent."""
    kernel = checkpoint.take(f"{name}.weight", shape).transpose(2, 3, 1, 0)
    if not bias_needed and f"{name}.bias" not in checkpoint.tensors:
        return [kernel, np.zeros(shape[0], np.float32)]
    return [kernel, checkpoint.take(f"{name}.bias", shape[:1])]


def _check_upsampling(checkpoint: Checkpoint, name: str, channels: int, factor: int) -> None:
    """Ours is fixed, so a trained one cannot be taken over."""
    from osvos_keras.model import BilinearUpsample

    found = checkpoint.take(name, (channels, channels, 2 * factor, 2 * factor))
    bilinear = BilinearUpsample(factor).kernel[..., 0, 0]
    if not np.allclose(found, np.eye(channels)[:, :, None, None] * bilinear, atol=1e-6):
        raise WeightsError(
            f"{checkpoint.path}: {name} is not bilinear: that network trained its upsampling, which is fixed "
            "in this one. Its VGG16 alone can be taken: --backbone-only."
        )
