"""A training's folder: what is finished is taken up again, and nothing that is there is lost."""

import dataclasses

import keras
import numpy as np
import pytest

from osvos_keras import fitting, trained
from osvos_keras.callbacks import read_history
from osvos_keras.config import InferenceConfig, OnlineConfig, ParentConfig
from osvos_keras.errors import DataError, WeightsError
from osvos_keras.io.records import read_record, write_record
from osvos_keras.multihost import Processes
from osvos_keras.trained import WEIGHTS_FILE, load_finished, load_or_start
from osvos_keras.training import train_online, train_parent
from osvos_keras.weights import save_weights
from tests.conftest import ONLINE, QUIET, refuse, stop_at, weights_of
from tests.test_multi_host import small_network


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """A small network, which trains in a second."""
    for module in (fitting, trained):
        monkeypatch.setattr(module, "build_osvos", small_network)


def test_finished_training_is_loaded_and_a_changed_setting_trains_again(tiny, tmp_path, monkeypatch, capsys):
    """What was finished is not lost: it is set aside whole, where the printed line says, with its reason."""
    first = train_online(tiny, "cow", ONLINE, tmp_path, **QUIET)
    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "fit", refuse("trained"))
        again = train_online(tiny, "cow", ONLINE, tmp_path, **QUIET)
    np.testing.assert_array_equal(weights_of(first), weights_of(again))
    other = train_online(tiny, "cow", OnlineConfig(height=0, steps=6, seed=2), tmp_path, **QUIET)
    assert not np.array_equal(weights_of(first), weights_of(other))
    (aside,) = (tmp_path / "replaced").iterdir()
    assert {path.name for path in aside.iterdir()} == {WEIGHTS_FILE, "config.json", "history.csv"}
    said = f"{tmp_path}: another training was here (with another seed). It is set aside in {aside}."
    assert said in capsys.readouterr().out
    np.testing.assert_array_equal(weights_of(load_finished(aside)), weights_of(first))


def test_unfinished_training_with_other_settings_is_set_aside_too(tiny, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train_online(tiny, "cow", ONLINE, tmp_path, callbacks=[stop_at(4)], **QUIET)
    train_online(tiny, "cow", dataclasses.replace(ONLINE, seed=2), tmp_path, **QUIET)
    (aside,) = (tmp_path / "replaced").iterdir()
    assert (aside / "backup" / "latest.weights.h5").is_file()
    assert read_history(tmp_path / "history.csv")["step"].tolist() == [2, 4, 6]


def test_the_same_starting_weights_at_another_path_are_the_same_training(tiny, tmp_path, monkeypatch):
    first, second = (tmp_path / f"{name}.weights.h5" for name in ("first", "second"))
    save_weights(small_network(seed=5), first)
    train_online(tiny, "cow", ONLINE, tmp_path / "run", weights=first, **QUIET)
    first.rename(second)
    monkeypatch.setattr(keras.Model, "fit", refuse("trained"))
    train_online(tiny, "cow", ONLINE, tmp_path / "run", weights=second, **QUIET)


def test_automatic_precision_takes_what_was_finished_in_another_one(tiny, tmp_path, monkeypatch):
    """On a GPU "auto" is bfloat16, on most CPUs float32. Another one by name trains anew, and keeps both."""
    first = train_online(tiny, "cow", ONLINE, tmp_path, **QUIET)
    monkeypatch.setattr("osvos_keras.device._has_bfloat16", lambda: True)
    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "fit", refuse("trained"))
        again = train_online(tiny, "cow", ONLINE, tmp_path, progress=False)
    np.testing.assert_array_equal(weights_of(again), weights_of(first))
    train_online(tiny, "cow", ONLINE, tmp_path, **{**QUIET, "policy": "mixed_bfloat16"})
    (aside,) = (tmp_path / "replaced").iterdir()
    np.testing.assert_array_equal(weights_of(load_finished(aside)), weights_of(first))


def test_automatic_precision_goes_on_as_it_was_begun(tiny, tmp_path, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        train_online(tiny, "cow", ONLINE, tmp_path, callbacks=[stop_at(4)], **QUIET)
    monkeypatch.setattr("osvos_keras.device._has_bfloat16", lambda: True)
    train_online(tiny, "cow", ONLINE, tmp_path, progress=False, chunk=2)
    assert read_record(tmp_path / "config.json")["made_with"]["policy"] == "float32"
    assert not (tmp_path / "replaced").exists()


def test_a_result_of_another_version_is_not_taken_for_new(tiny, tmp_path, monkeypatch):
    train_online(tiny, "cow", ONLINE, tmp_path, **QUIET)
    monkeypatch.setattr("osvos_keras.io.records.__version__", "99")
    train_online(tiny, "cow", ONLINE, tmp_path, **QUIET)
    assert len(list((tmp_path / "replaced").iterdir())) == 1


@pytest.mark.parametrize("content", [b"[]", b"{", b"\xff\xfe", b'{"made_with": 3}', b"[" * 100_000, None])
def test_settings_that_cannot_be_read_are_no_record(tmp_path, content):
    """None: a folder of that name. What lies beside them is set aside, and the folder begun anew."""
    (tmp_path / WEIGHTS_FILE).write_bytes(b"weights")
    (tmp_path / "config.json").mkdir() if content is None else (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(WeightsError, match=r"config\.json: no record of a training"):
        load_finished(tmp_path)
    made_with = {"phase": "online", "config": {"height": 0}}
    assert load_or_start(tmp_path, made_with) is None
    assert read_record(tmp_path / "config.json", made_with)
    (aside,) = (tmp_path / "replaced").iterdir()
    assert (aside / WEIGHTS_FILE).read_bytes() == b"weights" and (aside / "config.json").exists()


@pytest.mark.parametrize(
    "changes", [{"policy": "float23"}, {"policy": 3}, {"config": {"height": float("inf")}}, {"config": []}]
)
def test_a_record_of_what_no_training_has_is_no_record(tmp_path, changes):
    (tmp_path / WEIGHTS_FILE).write_bytes(b"weights")
    made_with = {"policy": "float32", "config": {"height": 0}, **changes}
    write_record(tmp_path / "config.json", made_with)
    with pytest.raises(WeightsError, match=r"config\.json: no record of a training"):
        load_finished(tmp_path)


def test_network_is_the_same_whether_it_was_trained_or_loaded(tiny, tmp_path):
    config = OnlineConfig(height=24, steps=2, window=16)
    trained, loaded = (train_online(tiny, "cow", config, tmp_path, **QUIET) for _ in range(2))
    for network in (trained, loaded, load_finished(tmp_path)):
        assert all(layer.trainable for layer in network.layers)
        assert network.inference == InferenceConfig(height=24, window=16)
        assert getattr(network, "optimizer", None) is None
    parent = train_parent(tiny, ["ant"], ParentConfig(height=32, epochs=0.5), tmp_path / "parent", **QUIET)
    assert parent.inference == load_finished(tmp_path / "parent").inference == InferenceConfig(32)
    second = Processes(rank=1, world_size=2)  # gets the weights alone from the first
    options = {**QUIET, "processes": second}
    parent = train_parent(tiny, ["ant"], ParentConfig(height=32, epochs=0.5), tmp_path / "second", **options)
    assert parent.inference == InferenceConfig(32)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", b"step,loss\nx,1\n", b"a,b\n1,2,3\n4,5,6,7\n", None]
)
def test_damaged_history_starts_anew(tiny, tmp_path, capsys, content):
    with pytest.raises(KeyboardInterrupt):
        train_online(tiny, "cow", ONLINE, tmp_path, callbacks=[stop_at(4)], **QUIET)
    history = tmp_path / "history.csv"
    history.unlink()
    if content is not None:
        history.write_bytes(content)
        with pytest.raises(DataError, match=r"history\.csv: no history of a training"):
            read_history(history)
    train_online(tiny, "cow", ONLINE, tmp_path, **QUIET)
    assert read_history(history)["step"].tolist() == [6]
    assert ("It starts anew at step 4." in capsys.readouterr().out) == (content is not None)
