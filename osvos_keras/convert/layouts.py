"""Conversion of published weights to this network: `osvos weights convert`.

Three layouts are recognized by the names of their tensors, in any file format: OSVOS-PyTorch's state dict,
the OSVOS network of MindSpore's model zoo, and that zoo's VGG16 (a backbone only).

A parent keeps the conventions that it was trained under, `conventions.OSVOS_PYTORCH` or
`OSVOS_MINDSPORE`. The written file contains them. The network built from it gives the same probabilities as
the original code at every pixel, for frames of any size, within float32's accuracy. A backbone alone gets
this library's conventions, because its branches are still to be trained; its first convolution absorbs the
difference between the mean colours. `docs/converting.md` has the measurements.
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

# VGG16's thirteen convolutions: their names here, channels, and indices in the source's containers.
BACKBONE = [
    f"block{block}_conv{index}"
    for block, depth in enumerate((2, 2, 3, 3, 3), start=1)
    for index in range(1, depth + 1)
]
CHANNELS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
STAGE = (0, 0, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4)
PLACE_IN_STAGE = (0, 2, 1, 3, 1, 3, 5, 1, 3, 5, 1, 3, 5)  # ReLUs, and a stage's first pooling, count too
PLACE_IN_VGG16 = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
# Further names in MindSpore's files: the state of Momentum, SGD and Adam, and counters.
OPTIMIZER = re.compile(
    r"(moments|moment1|moment2|accum|stat)\..*|learning_rate|momentum|weight_decay|global_step|"
    r"beta[12]_power|loss_scale|scale_sense|epoch_num|step_num|(current|last_overflow)_iterator_step"
)


@dataclass(frozen=True)
class Layout:
    """How a published network names its tensors and prepares its frames.

    Attributes:
        title: the name of the layout in messages.
        backbone: the names of the thirteen convolutions, in order.
        branches: the names of the branches' preparation, score, upsampling of features and upsampling of
            the score, each followed by `.0` to `.3`; empty for a backbone alone.
        conventions: the conventions of the network to build.
        means: the means that the source subtracts from a frame, in the order BGR.
        deviations: the deviations by which the source then divides, in the order BGR.
        rgb: whether the source's first convolution takes RGB.
        surplus: a pattern of further tensor names, which this network does not need.
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
        """The same layout for the backbone alone; all other tensors are surplus."""
        unused = [self.surplus, r"fuse\..*", *(rf"{name}\.\d\..*" for name in self.branches)]
        return replace(self, branches=(), conventions=OURS, surplus="|".join(unused))


def _vgg16(prefix: str) -> Layout:
    """MindSpore's VGG16, trained on RGB normalized by ImageNet's means and deviations (times 255)."""
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
    _vgg16(""),  # written by the original code's convert_checkpoint
)


@dataclass(frozen=True)
class Conversion:
    """The result of a conversion.

    Attributes:
        layout: the layout of the source.
        layers: the names of the layers taken from the source.
        unused: the names of all other entries of the source.
        path: the written file.
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
        """A line with the unused names; empty if there are none."""
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
        target: the file to write, `….weights.h5`; it is written atomically.
        half: store float16, which halves the size of the file.
        backbone_only: convert only VGG16's convolutions. The branches then have random weights (seed 0), as
            they always do when the source is a VGG16.

    Raises:
        WeightsError: the source has no known layout; a tensor is missing, has another shape, is not finite or
            is unknown; the upsampling is not bilinear; or the target's name has another ending or is the
            source's.
    """
    target = resolve_output(target)
    if not target.name.endswith(".weights.h5"):
        raise WeightsError(f"{target}: the name of a weights file must end in .weights.h5.")
    if target == find_input(source):
        raise WeightsError(f"{target}: this is the file to convert. Choose another name for the result.")
    checkpoint = read_checkpoint(source)
    layout = find_layout(checkpoint)
    from osvos_keras.model import build_osvos  # imports TensorFlow, so it comes after the checks above

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
    raise WeightsError(f"{checkpoint.path}: has no known layout ({known}). Its first tensors are {found}.")


def map_layers(checkpoint: Checkpoint, layout: Layout) -> dict[str, list[np.ndarray]]:
    """This network's layers, made from the checkpoint: name → weights in Keras's order and shapes, float32.

    Raises:
        WeightsError: a tensor is missing, has another shape, is not finite, not bilinear or unknown.
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
    """Whether a tensor is a single number stored beside the weights, such as an epoch or a loss."""
    return value.size == 1 and not name.endswith((".weight", ".bias"))


def _map_backbone(checkpoint: Checkpoint, layout: Layout) -> dict[str, list[np.ndarray]]:
    """The thirteen convolutions. Missing biases (MindSpore has none) become zeros.

    A source that divides the frame by deviations has features about 57 times smaller than the branches
    expect. So all features are multiplied by the mean deviation: the first kernel and every bias are
    multiplied by it, and ReLUs and poolings preserve a positive factor.
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
    """The first convolution, adapted to the new network's input: BGR minus its means, without division."""
    if layout.rgb:
        kernel = kernel[:, :, ::-1]
    kernel = kernel * (scale / np.float32(layout.deviations))[:, None]
    shift = np.subtract(layout.conventions.means, layout.means, dtype=np.float32)
    return [kernel, bias + np.einsum("hwio,i->o", kernel, shift)]


def _map_branches(checkpoint: Checkpoint, layout: Layout) -> dict[str, list[np.ndarray]]:
    """Each branch's preparation, score and part of the fuse; its upsampling must equal this network's."""
    from osvos_keras.model import SIDE_CHANNELS, SIDES

    prep_name, score_name, *upsample_names = layout.branches
    fuse_kernel, fuse_bias = _take_convolution(checkpoint, "fuse", (1, len(SIDES) * SIDE_CHANNELS, 1, 1))
    layers = {"fuse": [fuse_bias]}
    for index, (side, (backbone_layer, factor)) in enumerate(SIDES.items()):
        inputs = CHANNELS[BACKBONE.index(backbone_layer)]
        prep = _take_convolution(checkpoint, f"{prep_name}.{index}", (SIDE_CHANNELS, inputs, 3, 3))
        score = _take_convolution(checkpoint, f"{score_name}.{index}", (1, SIDE_CHANNELS, 1, 1))
        projection = fuse_kernel[:, :, index * SIDE_CHANNELS : (index + 1) * SIDE_CHANNELS]
        layers |= {f"{side}_prep": prep, f"{side}_score": score, f"{side}_fuse": [projection]}
        for name, channels in zip(upsample_names, (SIDE_CHANNELS, 1), strict=True):
            _check_upsampling(checkpoint, f"{name}.{index}.weight", channels, factor)
    return layers


def _take_convolution(
    checkpoint: Checkpoint, name: str, shape: tuple[int, ...], bias_needed: bool = True
) -> list[np.ndarray]:
    """The kernel, transposed from (out, in, h, w) to Keras's (h, w, in, out), and the bias.

    An absent bias becomes zeros, unless `bias_needed`.
    """
    kernel = checkpoint.take(f"{name}.weight", shape).transpose(2, 3, 1, 0)
    if not bias_needed and f"{name}.bias" not in checkpoint.tensors:
        return [kernel, np.zeros(shape[0], np.float32)]
    return [kernel, checkpoint.take(f"{name}.bias", shape[:1])]


def _check_upsampling(checkpoint: Checkpoint, name: str, channels: int, factor: int) -> None:
    """Raise a WeightsError unless the upsampling is bilinear, because this network's is fixed."""
    from osvos_keras.model import BilinearUpsample

    found = checkpoint.take(name, (channels, channels, 2 * factor, 2 * factor))
    bilinear = BilinearUpsample(factor).kernel[..., 0, 0]
    if not np.allclose(found, np.eye(channels)[:, :, None, None] * bilinear, atol=1e-6):
        raise WeightsError(
            f"{checkpoint.path}: {name} is not bilinear: that network trained its upsampling, but this one "
            "has a fixed upsampling. Convert its VGG16 alone, with --backbone-only."
        )
