"""Weights: the bundled file, the download that fails fast, paths, Keras's own file, damage and full disks."""

import io
import os
import socket
import subprocess
import sys
import threading
import time

import h5py
import keras
import numpy as np
import pytest

from osvos_keras import weights
from osvos_keras.config import OnlineConfig
from osvos_keras.davis import Davis
from osvos_keras.errors import FolderError, WeightsError
from osvos_keras.inference import predict_logits
from osvos_keras.io.files import sha256
from osvos_keras.io.paths import PROJECT
from osvos_keras.metrics import region_similarity
from osvos_keras.model import build_osvos
from osvos_keras.trained import WEIGHTS_FILE
from osvos_keras.training import train_online
from osvos_keras.weights import find_weights, load_weights, save_state, save_weights
from tests.checkpoint_files import write_mindspore
from tests.conftest import files_up_to, stop_at

BUNDLED_SHA256 = {
    "imagenet": "e927b4412b60fbbc1b645d454dcac92adcb717d10828df510ddfdae33090ed9f",
    "parent": "a5b70f3812a6389f0fa35745c7ce890b40cefa23616fb177d6bdb9fc027428d2",
}


@pytest.fixture
def silent_server():
    """A server that accepts and never answers: the worst kind of network."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: [server.accept() for _ in range(3)], daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def without_bundle(monkeypatch, tmp_path):
    monkeypatch.setattr(weights, "BUNDLED", tmp_path / "no-weights")
    monkeypatch.setattr(weights, "TIMEOUT", 1)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))


@pytest.mark.parametrize("name", BUNDLED_SHA256)
def test_bundled_file_is_the_one_that_the_model_card_names(name):
    path = find_weights(name)
    assert sha256(path) == BUNDLED_SHA256[name]
    assert BUNDLED_SHA256[name] in (path.parent / "README.md").read_text()


def test_bundled_parent_marks_objects_that_it_has_never_met():
    """Without an online step, in every sequence of the sample, better than marking everything."""
    model, sample = build_osvos("parent", policy="float32"), Davis("data/sample")
    for sequence in sample.sequences("val"):
        frame, annotation = sample.first(sequence)
        logits = keras.ops.image.resize(
            predict_logits(model, frame, 240)["fused"][..., None], annotation.shape
        )
        mask = keras.ops.convert_to_numpy(logits)[..., 0] > 0
        assert region_similarity(mask, annotation) > 2 * annotation.mean(), sequence


@pytest.mark.usefixtures("without_bundle")
def test_without_bundle_and_network_an_error_comes_within_seconds(silent_server, monkeypatch):
    monkeypatch.setattr(weights, "KERAS_URL", f"{silent_server}/osvos-test-silent.h5")
    start = time.monotonic()
    with pytest.raises(WeightsError, match=r"bundled VGG16 weights are missing and the download failed"):
        build_osvos("imagenet")
    assert time.monotonic() - start < 60
    assert socket.getdefaulttimeout() is None


@pytest.mark.usefixtures("without_bundle")
def test_refused_connection_is_an_error_too(monkeypatch):
    monkeypatch.setattr(weights, "KERAS_URL", "http://127.0.0.1:9/osvos-test-refused.h5")
    with pytest.raises(WeightsError, match="git checkout -- data/weights"):
        build_osvos("imagenet")


@pytest.mark.usefixtures("without_bundle")
def test_missing_parent_says_how_to_get_one():
    with pytest.raises(WeightsError, match=r"osvos_parent_fp16.weights.h5: no parent .*notebook 03"):
        build_osvos("parent")


def test_missing_path_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"mine\.weights\.h5: no such file.*'imagenet', 'parent', or"):
        build_osvos(tmp_path / "mine.weights.h5")


# ---- Files of other kinds


OTHER_FILES = {
    b"PK\x03\x04": "a PyTorch checkpoint, not .*osvos weights convert '.* --to parent.weights_keras",
    b"\x80\x02}": "a PyTorch checkpoint, .*osvos weights convert",
    b"\n\x10\n\x05fuse": "a MindSpore checkpoint, .*osvos weights convert",
    b"\x09" + bytes(7) + b"{": "a safetensors file, .*osvos weights convert",
    b"<html>": "a web page, .* where the weights of this network are needed",
    b"": "an empty file, where",
    b"hello": "an unknown kind of file",
}


@pytest.mark.parametrize("content", OTHER_FILES)
def test_file_of_another_kind_is_named_for_what_it_is(tmp_path, content):
    path = tmp_path / "my file" / "parent.weights.h5"  # its name says nothing
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"parent\.weights\.h5: {OTHER_FILES[content]}"):
        find_weights(path)


BEFORE_TENSORFLOW = """
import sys
from osvos_keras.convert.layouts import convert_weights
from osvos_keras.weights import find_weights
for check in (lambda: find_weights("parent.pth"), lambda: convert_weights("some.ckpt", "to.weights.h5")):
    try:
        check()
    except ValueError as error:
        print(error)
assert not {"keras", "tensorflow", "torch"} & set(sys.modules)
"""


def test_wrong_file_is_named_before_tensorflow_starts(tmp_path):
    (tmp_path / "parent.pth").write_bytes(b"PK\x03\x04")
    write_mindspore(tmp_path / "some.ckpt", {"features.0.weight": np.ones(1, np.float32)})
    command, path = [sys.executable, "-c", BEFORE_TENSORFLOW], {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path, env=path)
    hint, unknown = done.stdout.splitlines()
    assert f"osvos weights convert {tmp_path / 'parent.pth'} --to parent_keras.weights.h5" in hint
    assert f"{tmp_path / 'some.ckpt'}: has no known layout" in unknown


@pytest.mark.parametrize("name", ["mine.keras", "mine.h5"])
@pytest.mark.filterwarnings("ignore:.*HDF5")
def test_whole_keras_model_comes_with_a_remedy_that_works(tmp_path, monkeypatch, name):
    model = build_osvos(None, seed=3)
    model.save(tmp_path / name)
    with pytest.raises(WeightsError, match=r"a whole (Keras )?model.*in Python: ") as error:
        build_osvos(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    exec(str(error.value).split("in Python: ")[1].split(" WEIGHTS is")[0])
    np.testing.assert_array_equal(
        build_osvos("mine_keras.weights.h5").get_layer("side3_prep").kernel,
        model.get_layer("side3_prep").kernel,
    )


# ---- Damage


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    """A compiled model after a step, with all its values, and a file of its weights and optimizer's state."""
    model = keras.Sequential([keras.Input((9,)), keras.layers.Dense(7), keras.layers.Dense(5)])
    model.compile(keras.optimizers.Adam(), "mse")
    model.train_on_batch(np.ones((4, 9)), np.ones((4, 5)))
    path = tmp_path_factory.mktemp("intact") / "latest.weights.h5"
    save_state(model, path)
    return model, values_of(model), path.read_bytes()


def values_of(model):
    return [keras.ops.convert_to_numpy(one) for one in (*model.variables, *model.optimizer.variables)]


def test_keras_itself_loads_a_sealed_file(intact, tmp_path):
    model, values, content = intact
    (tmp_path / "a.weights.h5").write_bytes(content)
    for variable in (*model.variables, *model.optimizer.variables):
        variable.assign(keras.ops.zeros_like(variable))
    model.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_equal(values_of(model), values)


@pytest.mark.parametrize("damage", ["flip", "zeros", "cut"])
def test_damage_anywhere_is_a_weights_error(intact, tmp_path, damage):
    model, _, content = intact
    path = tmp_path / "a.weights.h5"
    positions = np.random.default_rng(0).choice(len(content), 445, replace=False)
    for position in [*positions, len(content) - 1, 511, 0]:
        changed = bytearray(content)
        if damage == "flip":
            changed[position] ^= 0xFF
        elif damage == "zeros":
            changed[position : position + 512] = bytes(len(changed[position : position + 512]))
        if changed == content and damage != "cut":
            continue
        path.write_bytes(changed[:position] if damage == "cut" else changed)
        with pytest.raises(WeightsError, match=str(path)):
            load_weights(model, path)


def test_damaged_file_without_a_seal_is_a_weights_error_too(intact, tmp_path):
    """As Keras writes it: changed values cannot be told, but nothing else than a WeightsError comes out."""
    model, _, content = intact
    content, path = content[weights.SEAL_BYTES :], tmp_path / "a.weights.h5"
    for position in np.random.default_rng(0).choice(len(content), 150, replace=False):
        changed = bytearray(content)
        changed[position] ^= 0xFF
        path.write_bytes(changed)
        try:
            load_weights(model, path)
        except WeightsError as error:
            assert str(path) in str(error)


def test_lost_state_of_an_optimizer_is_an_error(intact, tmp_path):
    """Keras warns, and would go on from step 0."""
    model, _, content = intact
    with h5py.File(io.BytesIO(content)) as file, h5py.File(tmp_path / "a.weights.h5", "w") as other:
        file.copy("layers", other)
    with pytest.raises(WeightsError, match="Skipping variable loading for optimizer 'adam"):
        load_weights(model, tmp_path / "a.weights.h5")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused_as_weights(tmp_path, value):
    """Written by Keras, so without a seal; this library does not write them at all."""
    model = build_osvos(None)
    kernel = np.asarray(model.get_layer("side3_prep").kernel).copy()
    kernel[1, 2, 3, 4] = value
    model.get_layer("side3_prep").kernel.assign(kernel)
    with pytest.raises(
        WeightsError, match=r"bad\.weights\.h5: not written, since side3_prep/kernel holds a NaN"
    ):
        save_weights(model, tmp_path / "bad.weights.h5")
    assert not list(tmp_path.iterdir())
    model.save_weights(tmp_path / "bad.weights.h5")
    with pytest.raises(WeightsError, match=r"bad\.weights\.h5: side3_prep/kernel holds a NaN .*use others"):
        build_osvos(tmp_path / "bad.weights.h5")


ONLINE = OnlineConfig(height=0, steps=3, seed=1)
QUIET = {"policy": "float32", "progress": False, "chunk": 1}


def change_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    return content


def test_damaged_finished_weights_are_set_aside_and_made_again(tiny, tmp_path, capsys):
    first = train_online(tiny, "cow", ONLINE, tmp_path, **QUIET)
    finished = tmp_path / WEIGHTS_FILE
    damaged = change_a_byte(finished)
    again = train_online(tiny, "cow", ONLINE, tmp_path, **QUIET)
    assert f"{finished}: damaged" in capsys.readouterr().out
    assert [path for path in tmp_path.rglob("*.h5*") if path.read_bytes() == damaged] not in ([], [finished])
    for one, other in zip(again.weights, first.weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert build_osvos(finished)


def test_changed_byte_of_a_backup_starts_the_training_over(tiny, tmp_path, capsys):
    """One in the middle of a kernel: HDF5 has nothing against it."""
    with pytest.raises(KeyboardInterrupt):
        train_online(tiny, "cow", ONLINE, tmp_path, callbacks=[stop_at(2)], **QUIET)
    change_a_byte(tmp_path / "backup" / "latest.weights.h5")
    with pytest.raises(KeyboardInterrupt):  # step 1 is reached, so it started over
        train_online(tiny, "cow", ONLINE, tmp_path, callbacks=[stop_at(1)], **QUIET)
    assert "latest.weights.h5: damaged" in capsys.readouterr().out


# ---- A full disk


@pytest.mark.parametrize("what", ["backup", "finished"])
def test_full_disk_is_one_error_that_names_the_folder(tiny, tmp_path, what):
    """The system's limit on the size of a file stands for it: the same error, at the same place."""
    options = {**QUIET, "chunk": 1 if what == "backup" else 99}
    found = rf"cannot be written .*bytes are free in {tmp_path}.*Make room"
    with files_up_to(10_000_000), pytest.raises(FolderError, match=found):
        train_online(tiny, "cow", ONLINE, tmp_path, **options)
    assert not list(tmp_path.rglob(".tmp-*")) and not (tmp_path / WEIGHTS_FILE).exists()
    train_online(tiny, "cow", ONLINE, tmp_path, **options)
    assert (tmp_path / WEIGHTS_FILE).is_file()


# ---- Keras's own file


def test_kerass_own_file_loads_into_the_backbone(monkeypatch, tmp_path):
    """Its layout is that of Keras 2: a group a layer, weights in order. Made here, for want of a network."""
    source = keras.applications.VGG16(include_top=False, weights=None)
    path = tmp_path / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in source.layers]
        for layer in source.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{kind}:0" for kind in ("kernel", "bias")] if layer.weights else []
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, value in zip(names, layer.get_weights(), strict=True):
                group[name] = value
    monkeypatch.setattr("osvos_keras.model.find_weights", lambda _: path)
    model = build_osvos("imagenet")
    for name in ("block1_conv1", "block5_conv3"):
        np.testing.assert_array_equal(model.get_layer(name).kernel, source.get_layer(name).kernel)


@pytest.mark.network
def test_bundled_file_is_kerass_own_rounded_to_float16():
    theirs = keras.applications.VGG16(include_top=False, weights="imagenet")
    ours = build_osvos("imagenet")
    for layer in theirs.layers:
        for mine, other in zip(layer.get_weights(), ours.get_layer(layer.name).get_weights(), strict=True):
            np.testing.assert_array_equal(mine.astype(np.float16), other.astype(np.float16))
