"""Weights: the bundled file, the download that fails fast, paths, and Keras's own file."""

import socket
import threading
import time

import h5py
import keras
import numpy as np
import pytest

from osvos_keras import weights
from osvos_keras.davis import Davis
from osvos_keras.errors import WeightsError
from osvos_keras.files import sha256
from osvos_keras.inference import predict_logits
from osvos_keras.metrics import region_similarity
from osvos_keras.model import build_osvos
from osvos_keras.weights import find_weights

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
    assert time.monotonic() - start < 20
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
    with pytest.raises(WeightsError, match=r"mine\.weights\.h5: no such file.*'imagenet', 'parent' or"):
        build_osvos(tmp_path / "mine.weights.h5")


def test_damaged_file_is_named(tmp_path):
    path = tmp_path / "half.weights.h5"
    path.write_bytes(find_weights("imagenet").read_bytes()[:100_000])
    with pytest.raises(WeightsError, match=r"half\.weights\.h5: .*damaged"):
        build_osvos(path)


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
