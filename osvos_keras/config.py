"""Every number that decides what a training does, with named presets.

One set serves every sequence: nothing is tuned per sequence.
"""

import dataclasses
import math
import re
import typing
from dataclasses import dataclass
from types import NoneType

from osvos_keras.errors import ConfigError
from osvos_keras.io.literals import check_known, check_range, check_type, parse_pairs, read_literal

# The least and the most that a setting may be; where the least is above zero, zero means nothing.
RANGES = {
    "height": (0, 16_384),
    "window": (0, 16_384),
    "batch": (1, 4_096),
    "accumulate": (1, 4_096),
    "epochs": (1e-9, 1e6),
    "steps": (1, 2**31 - 1),  # what a counter of steps holds with every backend of Keras
    "learning_rate": (1e-37, 1e38),  # what float32 holds
    "weight_decay": (0, 1e3),
    "head_scale": (1e-9, 1e3),
    "frozen_blocks": (0, 5),
    "balance": (0, 1),
    "side_weight": (0, 1e3),
    "side_end": (1e-9, 1e9),
    "seed": (0, 2**63 - 1),  # what tf.data takes
    "shrinking": (0, 1),
    "snap_band": (0, 1e3),
    "reach": (0, 1e3),
}
CHOICES = {"optimizer": ("adam", "sgd"), "decay": ("cosine", "none")}
# No float16: the gradients of a mean over pixels are too small for it.
POLICIES = ("auto", "float32", "mixed_bfloat16", "float64")


@dataclass(frozen=True)
class InferenceConfig:
    """How a network makes masks of frames. A trained one carries this as `model.inference`.

    `dataclasses.replace(model.inference, height=480)` changes one setting. Why these numbers:
    docs/experiments.md. A logit of 0 is a probability of one half, 2 of 0.88.
    """

    height: int = 0  # lines, as in training; 0 leaves frames as they are
    window: int = 0  # frames of more lines are seen in a window, after a glance at the whole; 0: whole
    batch: int = 4  # frames that the network sees at once
    # Of objects that grow: how many times as long, at least, as where it was learned, and the scale of the
    # second look. Empty: one look.
    second_looks: tuple = ((1.25, 0.75), (1.6, 0.5), (2.4, 0.35), (3.4, 0.25))
    shrinking: float = 0.9  # what is left of an object's length, at the least, from one frame to the next
    snap: bool = True  # whether the contour moves to edges of the picture …
    snap_band: float = 2.0  # … where the logit lies between minus this and this
    # Parts farther from the mask before than so many times the object's length are left out; 0: none is.
    reach: float = 0.5

    def __post_init__(self):
        _check_settings(self)
        for look in self.second_looks:
            pair = look if isinstance(look, tuple) and len(look) == 2 else (0, 0)
            growth, scale = (check_type("second_looks", number, (float,)) for number in pair)
            if not growth >= 1 >= scale > 0:
                raise ConfigError(
                    f"second_looks holds {look!r}; a pair is the least growth, 1 or more, and a scale, above "
                    "0 and at most 1, as (1.6, 0.5)."
                )


@dataclass(frozen=True)
class _Config:
    """The settings that both phases of training have."""

    height: int = 240  # lines that frames are resized to, aspect kept; 0 leaves them as they are
    batch: int = 1
    optimizer: str = "adam"  # "adam" (AdamW when weights decay) or "sgd" (momentum 0.9)
    accumulate: int = 1  # steps whose gradients are averaged into one update
    learning_rate: float = 1e-4
    decay: str = "cosine"  # of the learning rate over the steps: "cosine" to zero, or "none"
    weight_decay: float = 0.0  # decoupled (AdamW)
    layer_rates: bool = (
        False  # the paper's: a tenth for the scores, a hundredth for the fusion, twice for biases
    )
    head_scale: float = 0.01  # standard deviation of the first weights of scores and fusion
    frozen_blocks: int = 0  # the first blocks of VGG16's five that are held as they are
    # Of the loss: 1 is the paper's, 0 counts every pixel alike. Why a half: docs/experiments.md
    balance: float = 0.5
    side_weight: float = 0.5  # the weight of each side output's loss beside the fused one's …
    side_end: float | None = None  # … which falls to 0 at this fraction of the training; None: constant
    seed: int = 0

    def __post_init__(self):
        _check_settings(self)

    @property
    def inference(self) -> InferenceConfig:
        """How a network trained with these settings makes masks."""
        return InferenceConfig(self.height, getattr(self, "window", 0))


@dataclass(frozen=True)
class ParentConfig(_Config):
    """Phase 1: the parent network, on all frames of the training sequences."""

    epochs: float = 20  # may be a fraction
    batch: int = 2
    frozen_blocks: int = 2  # no worse in the same seconds: docs/experiments.md
    side_weight: float = 1.0
    side_end: float | None = 1.0

    def count_steps(self, frames: int) -> int:
        """The number of steps of a training on this number of frames."""
        return math.ceil(frames * self.epochs / self.batch)


@dataclass(frozen=True)
class OnlineConfig(_Config):
    """Phase 2: one sequence, on its first frame and annotation alone."""

    height: int = 480
    steps: int = 100
    decay: str = "none"
    frozen_blocks: int = 4  # for less than half the time: docs/benchmarks.md
    # Of frames of more lines, every other step sees a window of so many, with some of the object, and the
    # others the whole frame at so many; 0: whole frames alone.
    window: int = 240
    # Then it goes on for as many steps, also on its own surest masks of later frames: `self_training`.
    self_training: bool = False


def _check_settings(config: InferenceConfig | _Config) -> None:
    for name, kinds in setting_types(type(config)).items():
        value = check_type(name, getattr(config, name), kinds)
        if name in RANGES and value is not None:
            check_range(name, value, *RANGES[name])
        if name in CHOICES and value not in CHOICES[name]:
            raise ConfigError(f"{name} is {value!r}; choose from {', '.join(CHOICES[name])}.")
        object.__setattr__(config, name, value)  # frozen: a whole number has become a float


def setting_types(config: type) -> dict[str, tuple[type, ...]]:
    """The name of every setting of a configuration, and the types that it may have."""
    return {name: typing.get_args(hint) or (hint,) for name, hint in typing.get_type_hints(config).items()}


_PIXELS = 480 * 854

# "thorough" takes twice the steps, and makes the masks twice: docs/experiments.md.
#
# "mindspore" and "paper" are published settings, as facts.
#
# "mindspore" is the README of the MindSpore model zoo's OSVOS. The code there does otherwise: Adam with
# Nesterov's momentum, weight decay 1e-5, a warm-up and plateaus of the learning rate, and online one
# learning rate for each validation sequence, twenty from 5e-9 to 1e-4. To tune a number on the sequence that
# is scored is what this project does not do. Its batch is 12 for each GPU: 96 of its run on eight.
#
# "paper" is the paper's section 3 with its Caffe code. The learning rate 1e-8 there belongs to a loss
# summed over pixels; here the loss is their mean. Without its rates per layer and its small first weights it
# diverges at the second update. Its step-wise decay is not reproduced.
PRESETS = {
    "default": {"parent": ParentConfig(), "online": OnlineConfig()},
    "thorough": {"parent": ParentConfig(), "online": OnlineConfig(self_training=True)},
    "mindspore": {
        "parent": ParentConfig(
            height=0, epochs=240, batch=12, learning_rate=5e-5, decay="none", weight_decay=2e-4,
            balance=1.0, side_weight=0.5, side_end=None, frozen_blocks=0,
        ),
        "online": OnlineConfig(
            height=0, steps=10_000, learning_rate=5e-6, decay="none", weight_decay=2e-4, balance=1.0,
            side_weight=0.0, frozen_blocks=0, window=0,
        ),
    },
    "paper": {
        "parent": ParentConfig(
            height=0, epochs=240, batch=1, accumulate=10, optimizer="sgd", learning_rate=1e-8 * _PIXELS,
            decay="none", weight_decay=2e-4, layer_rates=True, head_scale=0.001, balance=1.0, frozen_blocks=0,
        ),
        "online": OnlineConfig(
            height=0, steps=5_000, accumulate=10, optimizer="sgd", learning_rate=1e-8 * _PIXELS, decay="none",
            weight_decay=2e-4, layer_rates=True, head_scale=0.001, balance=1.0, side_weight=0.0,
            frozen_blocks=0, window=0,
        ),
    },
}  # fmt: skip


def get_config(
    phase: str, preset: str = "default", settings: str = "", **changes
) -> ParentConfig | OnlineConfig:
    """The settings of a phase (`"parent"` or `"online"`) from a preset, with changes.

    Args:
        phase: which one.
        preset: one of `PRESETS`.
        settings: changes as a person types them: `"learning_rate=3e-5 balance=1"`; commas may separate too.
        **changes: other changes; None leaves what the preset has, unless None is a value of the setting.

    Raises:
        ConfigError: the phase, preset or a setting is unknown, a value is of another type or out of range, or
            `settings` names what `changes` decide.
    """
    if check_type("PRESET", preset, (str,)) not in PRESETS:
        raise ConfigError(f"PRESET is {preset!r}; the presets are {', '.join(PRESETS)}.")
    check_known(phase, PRESETS[preset], "training has no phase")
    own = PRESETS[preset][phase]
    types = setting_types(type(own))
    pairs = re.sub(r"\s*=\s*", "=", check_type("SETTINGS", settings, (str,))).replace(",", " ").split()
    given = parse_pairs(pairs, 'SETTINGS="learning_rate=3e-5 balance=1"')
    for name in [*changes, *given]:
        check_known(name, types, f"the {phase} phase has no setting")
    for name in given.keys() & changes.keys():
        raise ConfigError(
            f"SETTINGS (--settings) names {name}, which has a parameter or option of its own: set that one."
        )
    changes = {name: n for name, n in changes.items() if n is not None or NoneType in types[name]}
    typed = {name: read_literal(text, types[name]) for name, text in given.items()}
    return dataclasses.replace(own, **changes, **typed)
