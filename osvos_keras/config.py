"""Every number that decides what a training does, with named presets.

One set serves every sequence: nothing is tuned per sequence.
"""

import dataclasses
import math
from dataclasses import dataclass

from osvos_keras.errors import ConfigError


@dataclass(frozen=True)
class _Config:
    """What both phases of training share."""

    height: int = 240  # lines that frames are resized to, aspect kept; 0 leaves them as they are
    batch: int = 1
    optimizer: str = "adam"  # "adam" (AdamW when weights decay) or "sgd" (momentum 0.9)
    accumulate: int = 1  # steps whose gradients are averaged into one update
    learning_rate: float = 1e-4
    decay: str = "cosine"  # of the learning rate over the steps: "cosine" to zero, or "none"
    weight_decay: float = 0.0  # decoupled (AdamW)
    frozen_blocks: int = 0  # the first blocks of VGG16's five that are held as they are
    # Of the loss: 1 is the paper's, 0 counts every pixel alike. Why a half: data/weights/README.md
    balance: float = 0.5
    side_weight: float = 0.5  # what each side output's loss counts beside the fused one …
    side_end: float | None = None  # … falling to nothing at this share of training; None holds it
    seed: int = 0

    def __post_init__(self):
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name in ("height", "weight_decay", "side_weight", "seed"):
            if own[name] < 0:
                raise ConfigError(f"{name} is {own[name]}; it must not be negative.")
        for name in ("batch", "accumulate", "learning_rate", "side_end", "epochs", "steps", "scales"):
            if own.get(name) is not None and own[name] <= 0:
                raise ConfigError(f"{name} is {own[name]}; it must be above zero.")
        if not 0 <= self.balance <= 1:
            raise ConfigError(f"balance is {self.balance}; it must lie between 0 and 1.")
        if not 0 <= self.frozen_blocks <= 5:
            raise ConfigError(f"frozen_blocks is {self.frozen_blocks}; VGG16 has blocks 1 to 5.")
        for name, choices in (("optimizer", ("adam", "sgd")), ("decay", ("cosine", "none"))):
            if own[name] not in choices:
                raise ConfigError(f"{name} is {own[name]!r}; choose from {', '.join(choices)}.")


@dataclass(frozen=True)
class ParentConfig(_Config):
    """Phase 1: the parent network, on all frames of the training sequences."""

    epochs: float = 20  # a part of one counts
    batch: int = 2
    frozen_blocks: int = 2  # no worse in the same seconds: data/weights/README.md
    side_weight: float = 1.0
    side_end: float = 1.0

    def steps(self, frames: int) -> int:
        """How many steps a training on so many frames takes."""
        return math.ceil(frames * self.epochs / self.batch)


@dataclass(frozen=True)
class OnlineConfig(_Config):
    """Phase 2: one sequence, on its first frame and annotation alone."""

    steps: int = 100
    decay: str = "none"
    frozen_blocks: int = 4  # 0.008 J for less than half the time: tests/benchmarks/quality.py
    # Sizes at which the network sees a frame, each half of the one before; it learns them in turn, and
    # its masks are of their mean logits.
    scales: int = 1


_PIXELS = 480 * 854

# "mindspore" and "paper" are published settings, as facts: the MindSpore model zoo's README, and
# the paper's section 3 with its Caffe code. The paper's learning rate 1e-8 belongs to a loss summed
# over pixels; here the loss is their mean. Its rates per layer (double for biases, a hundredth for
# the fusion) and its step-wise decay are not reproduced.
PRESETS = {
    "default": {"parent": ParentConfig(), "online": OnlineConfig()},
    "thorough": {"parent": ParentConfig(), "online": OnlineConfig(height=480, scales=2)},
    "mindspore": {
        "parent": ParentConfig(
            height=0, epochs=240, batch=12, learning_rate=5e-5, decay="none", weight_decay=2e-4,
            balance=1.0, side_weight=0.5, side_end=None, frozen_blocks=0,
        ),
        "online": OnlineConfig(
            height=0, steps=10_000, learning_rate=5e-6, decay="none", weight_decay=2e-4, balance=1.0,
            side_weight=0.0, frozen_blocks=0,
        ),
    },
    "paper": {
        "parent": ParentConfig(
            height=0, epochs=240, batch=1, accumulate=10, optimizer="sgd", learning_rate=1e-8 * _PIXELS,
            decay="none", weight_decay=2e-4, balance=1.0, frozen_blocks=0,
        ),
        "online": OnlineConfig(
            height=0, steps=5_000, accumulate=10, optimizer="sgd", learning_rate=1e-8 * _PIXELS, decay="none",
            weight_decay=2e-4, balance=1.0, side_weight=0.0, frozen_blocks=0,
        ),
    },
}  # fmt: skip


def get_config(phase: str, preset: str = "default", **changes) -> ParentConfig | OnlineConfig:
    """The settings of a phase (`"parent"` or `"online"`) from a preset, with changes.

    Raises:
        ConfigError: the preset is unknown, or a changed value is out of range.
    """
    if preset not in PRESETS:
        raise ConfigError(f"PRESET is {preset!r}; the presets are {', '.join(PRESETS)}.")
    return dataclasses.replace(PRESETS[preset][phase], **changes)
