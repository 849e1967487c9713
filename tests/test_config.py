"""Settings: one meaning each, checked by type and range, from Python, a notebook or a command."""

import argparse
import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvos_keras.cli.arguments import add_config_arguments, read_config
from osvos_keras.config import PRESETS, InferenceConfig, OnlineConfig, ParentConfig, get_config, setting_types
from osvos_keras.errors import ConfigError

PHASES = {"parent": ParentConfig, "online": OnlineConfig}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("phase", PHASES)
def test_none_is_the_presets(phase, preset):
    assert get_config(phase, preset, height=None, seed=None) == PRESETS[preset][phase]


def test_online_training_sees_480_lines_and_the_published_presets_whole_frames_of_full_size():
    assert get_config("online", height=None).height == 480
    for preset in ("paper", "mindspore"):
        for phase in PHASES:
            config = get_config(phase, preset, height=None)
            assert config.height == 0 and config.balance == 1  # and the paper's loss
        assert get_config("online", preset).window == 0


def test_zero_lines_are_the_frames_own_and_no_steps_are_an_error():
    assert get_config("online", height=0).height == 0
    with pytest.raises(ConfigError, match="steps is 0; it must be above zero"):
        get_config("online", steps=0)
    with pytest.raises(ConfigError, match=r"epochs is 0\.0; it must be above zero"):
        get_config("parent", epochs=0)


def test_none_can_be_a_value_of_its_own():
    assert get_config("parent").side_end == 1
    assert get_config("parent", side_end=None).side_end is None
    assert get_config("parent", settings="side_end=None").side_end is None
    with pytest.raises(ConfigError, match="batch is None; it must be a whole number"):
        get_config("parent", settings="batch=None")


def test_settings_are_typed_as_pairs():
    config = get_config("online", "paper", "learning_rate=3e-5, balance = 1 optimizer=adam", height=48)
    assert (config.learning_rate, config.balance, config.optimizer) == (3e-5, 1.0, "adam")
    assert (config.height, config.steps, config.accumulate) == (48, 5_000, 10)


@pytest.mark.parametrize("phase", PHASES)
def test_every_setting_can_be_typed(phase):
    """What a preset holds, typed out, is that preset."""
    for preset in PRESETS:
        config = get_config(phase, preset)
        text = " ".join(f"{name}={value}" for name, value in dataclasses.asdict(config).items())
        assert get_config(phase, settings=text) == config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("learning_rat=1", r"no setting learning_rat; did you mean learning_rate\? There are: height, "),
        ("epochs=3", "the online phase has no setting epochs"),
        ("balance", r"'balance' is not NAME=VALUE, as in SETTINGS=\"learning_rate=3e-5 balance=1\""),
        ("=1", "'=1' is not NAME=VALUE"),
        ("balance=1 balance=0", "balance is given twice: '1' and '0'"),
        ("height=240", "SETTINGS .* names height, which has a parameter or option of its own"),
        ("batch=many", "batch is 'many'; it must be a whole number"),
        ("batch=1e1", r"batch is 10\.0; it must be a whole number"),
        ("optimizer=lion", "optimizer is 'lion'; choose from adam, sgd"),
        ("decay=linear", "decay is 'linear'; choose from cosine, none"),
        ("learning_rate=0", r"learning_rate is 0\.0; it must be above zero"),
        ("balance=2", r"balance is 2\.0; it must lie between 0 and 1"),
        ("learning_rate=1e999", "learning_rate is inf; it must be a finite number"),
        ("balance=" + "(" * 10_000, r"balance is '\(\(\(.*…; it must be a finite number"),
        ("batch=" + "9" * 5_000, "batch is '9*…; it must be a whole number"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        get_config("online", settings=settings, height=None)


def test_wrong_phase_is_named():
    with pytest.raises(ConfigError, match="no phase onlin; did you mean online"):
        get_config("onlin")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("height", True), ("height", "240"), ("height", 240.0), ("height", 10**30), ("height", None),
        ("steps", 10**30), ("steps", False), ("steps", [1]), ("batch", -1), ("batch", 10**9),
        ("seed", 2**63), ("seed", -1), ("seed", 1.5), ("learning_rate", float("nan")),
        ("learning_rate", float("inf")), ("learning_rate", 10**400), ("learning_rate", -1e-4),
        ("balance", 1j), ("balance", np.array([0.5])), ("weight_decay", -0.1), ("optimizer", None),
        ("decay", ["cosine"]), ("window", -1), ("frozen_blocks", 6), ("side_end", 0),
    ],
)  # fmt: skip
def test_a_value_of_another_type_or_range_is_an_error(name, value):
    with pytest.raises(ConfigError, match=rf"^{name} is .*; (it must|choose)"):
        OnlineConfig(**{name: value})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"height": -1}, "height is -1; it must not be negative"),
        ({"window": -1}, "window is -1; it must not be negative"),
        ({"batch": 2.0}, r"batch is 2\.0; it must be a whole number"),
        ({"snap": 1}, "snap is 1; it must be True or False"),
        ({"shrinking": 1.5}, r"shrinking is 1\.5; it must lie between 0 and 1"),
        ({"second_looks": [(1.6, 0.5)]}, r"second_looks is \[.*; it must be a tuple"),
        ({"second_looks": (1.6, 0.5)}, r"second_looks holds 1\.6; a pair is"),
        ({"second_looks": ((0.9, 0.5),)}, r"second_looks holds \(0\.9, 0\.5\); a pair is"),
        ({"second_looks": ((1.6, 2),)}, r"second_looks holds \(1\.6, 2\); a pair is"),
        ({"second_looks": ((1.6, "half"),)}, "second_looks is 'half'; it must be a finite number"),
    ],
)
def test_wrong_settings_of_inference_are_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        InferenceConfig(**changes)


def test_network_is_looked_through_as_it_was_trained():
    assert OnlineConfig(height=960, window=300).inference == InferenceConfig(960, 300)
    assert ParentConfig(height=96).inference == dataclasses.replace(InferenceConfig(), height=96)


def test_numpys_numbers_are_taken_and_kept_as_pythons():
    config = OnlineConfig(
        steps=np.int64(3), learning_rate=np.float32(0.5), weight_decay=-0.0, balance=np.int32(1)
    )
    assert config == OnlineConfig(steps=3, learning_rate=0.5, weight_decay=0.0, balance=1.0)
    written = json.dumps(dataclasses.asdict(config))
    assert '"steps": 3,' in written and '"weight_decay": 0.0,' in written and '"balance": 1.0,' in written


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers(), max_size=2)
)


@given(phase=st.sampled_from(list(PHASES)), data=st.data())
def test_any_value_is_taken_or_a_config_error(phase, data):
    name = data.draw(st.sampled_from(list(setting_types(PHASES[phase]))))
    value = data.draw(ANYTHING)
    for make in (
        lambda: get_config(phase, **{name: value}),
        lambda: get_config(phase, settings=f"{name}={value}"),
        lambda: get_config(phase, settings=str(value)),
    ):
        try:
            config = make()
        except ConfigError:
            continue
        assert type(getattr(config, name)) in setting_types(PHASES[phase])[name]


@pytest.mark.parametrize("seed", [2**31, 2**32, 2**63 - 1])
def test_every_seed_that_is_accepted_works(seed, tiny):
    from osvos_keras.model import build_osvos
    from osvos_keras.pipeline import online_dataset, parent_dataset

    build_osvos(None, seed=seed)
    online, parent = OnlineConfig(height=32, seed=seed), ParentConfig(height=32, seed=seed)
    next(iter(online_dataset(*tiny.first("cow"), online)))
    next(iter(parent_dataset(tiny, ["ant"], parent)))


@pytest.mark.parametrize(
    ("phase", "numbers"), [("parent", ("height", "epochs")), ("online", ("height", "steps"))]
)
def test_a_command_has_the_same_rule(phase, numbers):
    def read(*options):
        command = argparse.ArgumentParser()
        add_config_arguments(command, numbers, "parent")
        return read_config(command.parse_args(options), phase, numbers)

    assert read("--preset", "paper") == PRESETS["paper"][phase]
    more = read("--settings", "balance=1", "--settings", "seed=3 batch=4", "--height", "0")
    assert (more.balance, more.seed, more.batch, more.height) == (1.0, 3, 4, 0)
    with pytest.raises(ConfigError, match="names height, which has a parameter or option of its own"):
        read("--settings", "height=3")
    with pytest.raises(ConfigError, match=f"{numbers[1]} is 'x'; it must be a"):
        read(f"--{numbers[1]}", "x")


def test_a_part_of_an_epoch_can_be_asked_for():
    command = argparse.ArgumentParser()
    add_config_arguments(command, ("epochs",), "parent")
    assert read_config(command.parse_args(["--epochs", "0.25"]), "parent", ("epochs",)).epochs == 0.25


WRONG = [
    "run 04_online_training -p HEIGHT=tall",
    "run 04_online_training -p PRESET=papr",
    "run 04_online_training -p SETTINGS=balanc=1",
    "run 04_online_training -p SEQUENCE=../x",
    "run 04_online_training --out x.txt",
    "run 04_online_training --workers 2",
    "run 04_online_training --each-sequence val --workers 0",
    "run 04_online_training --each-sequence val --retries x",
    "run 04_online_training --each-sequence val -p HEIGHT=tall",
    "course -p PRESET=papr",
    "course --davis /nowhere",
    "parent --chunk 0",
    "parent --epochs nan",
    "parent --batch 0",
    "parent --settings balanc=1",
    "parent --policy float7",
    "parent --resolution 720p",
    "parent --weights nope.h5",
    "run 04_online_training -p WEIGHTS=nope.h5",
    "run 04_online_training -p SEQUENCE=unicorn",
    "parent --sequences unicorn",
    "parent --davis /nowhere",
    "parent --process 1",
    "export nope.weights.h5 --to nowhere.keras",
    "export parent --to nowhere.h5",
    "weights convert nope.pth --to nope.weights.h5",
    "mark nope.mp4",
    "segment nope.mp4 --box 1,2,3,4",
    "data verify --davis /nowhere",
    "notebooks --to /dev/null",
    "student --to /dev/null",
    "parent --coordinator here --processes 2 --process 0",
    "parent --coordinator here:1 --processes 2 --process 2",
    "parent --coordinator here:1 --processes 2 --process 0 --wait inf",
]
TRY_ALL = """
import sys
from osvos_keras.cli import main
for line in sys.stdin.read().splitlines():
    try:
        main(line.split())
    except SystemExit as leaving:
        assert leaving.code, line
    heavy = {"tensorflow", "keras", "jax", "torch"} & sys.modules.keys()
    assert not heavy, f"{line}: {heavy}"
"""


def test_wrong_arguments_are_refused_before_tensorflow_starts():
    done = subprocess.run(
        [sys.executable, "-c", TRY_ALL], input="\n".join(WRONG), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
