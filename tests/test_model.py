"""The network: exact sizes, the cheap head against the literal one, every precision, a second backend."""

import os
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest

from osvos_keras.config import POLICIES
from osvos_keras.conventions import CONVENTIONS, OSVOS_MINDSPORE, OSVOS_PYTORCH, OURS
from osvos_keras.errors import WeightsError
from osvos_keras.losses import BalancedCrossEntropy
from osvos_keras.model import OUTPUTS, SIDES, build_osvos, keep_outputs
from osvos_keras.weights import find_conventions, find_weights, load_weights, save_weights

OTHER = {OURS: OSVOS_PYTORCH, OSVOS_PYTORCH: OSVOS_MINDSPORE, OSVOS_MINDSPORE: OURS}
each_conventions = pytest.mark.parametrize("conventions", CONVENTIONS.values(), ids=CONVENTIONS)


def make_network(conventions):
    """All weights at random, the head's large enough that a mistake shows."""
    model = build_osvos(weights=None, seed=1, conventions=conventions)
    random = np.random.default_rng(0)
    for layer in model.layers:
        if layer.name.startswith("side") or layer.name == "fuse":
            layer.set_weights([random.normal(0, 0.3, weight.shape) for weight in layer.get_weights()])
    return model


@pytest.fixture(scope="module")
def network():
    return make_network(OURS)


@pytest.fixture(scope="module", params=CONVENTIONS.values(), ids=CONVENTIONS)
def either(request):
    """The network in the conventions of each kind."""
    return make_network(request.param)


def random_frames(*size, batch=1):
    return np.random.default_rng(3).integers(0, 256, (batch, *size, 3)).astype(np.float32)


@pytest.mark.parametrize("size", [(48, 64), (45, 61), (17, 33), (16, 16), (1, 5)])
def test_every_output_has_the_frame_size_exactly(either, size):
    outputs = either(random_frames(*size, batch=2))
    assert tuple(outputs) == OUTPUTS
    assert {value.shape for value in outputs.values()} == {(2, *size, 1)}


def test_side_branches_leave_before_the_pooling(network):
    channels = {"side2": 128, "side3": 256, "side4": 512, "side5": 512}
    for side in SIDES:
        assert network.get_layer(f"{side}_prep").kernel.shape == (3, 3, channels[side], 16)
    assert "block5_pool" not in [layer.name for layer in network.layers]


def test_cheap_head_equals_the_literal_one(network):
    """Upsample 16 channels, concatenate 64, 1×1 convolution: figure 4 of the paper, word for word."""
    frames = random_frames(45, 61)
    preps = keras.Model(network.input, [network.get_layer(f"{side}_prep").output for side in SIDES])(frames)
    upsampled = [
        keras.layers.UpSampling2D(factor, interpolation="bilinear")(prep)[:, :45, :61]
        for prep, (_, factor) in zip(preps, SIDES.values(), strict=True)
    ]
    kernel = np.concatenate([network.get_layer(f"{side}_fuse").kernel for side in SIDES], axis=2)
    literal = keras.ops.conv(keras.ops.concatenate(upsampled, -1), kernel) + network.get_layer("fuse").bias
    fused = network(frames)["fused"]
    scale = np.abs(literal).max()
    np.testing.assert_allclose(fused / scale, literal / scale, atol=1e-6)
    assert np.std(literal) / scale > 0.05


def test_frame_is_prepared_inside(network):
    """RGB in; BGR minus the ImageNet means, then zeros as padding, reach the first convolution."""
    frames = random_frames(17, 20)
    prepared = np.asarray(network.get_layer("prepare")(frames))
    np.testing.assert_allclose(
        prepared[0, :17, :20], frames[0, ..., ::-1] - [103.939, 116.779, 123.68], atol=1e-4
    )
    assert prepared.shape == (1, 32, 32, 3)
    assert not prepared[0, 17:].any() and not prepared[0, :, 20:].any()


def test_uint8_frames_are_the_same_as_float_frames(network):
    frames = random_frames(16, 16)
    np.testing.assert_allclose(
        network.predict_on_batch(frames.astype(np.uint8))["fused"], network.predict_on_batch(frames)["fused"]
    )


@pytest.mark.parametrize("policy", POLICIES[1:])
def test_logits_are_float32_under_every_policy(policy):
    model = build_osvos(weights=None, policy=policy)
    assert {str(keras.backend.standardize_dtype(x.dtype)) for x in model(random_frames(17, 19)).values()} == {
        "float32"
    }
    assert model.get_layer("block3_conv1").compute_dtype == keras.DTypePolicy(policy).compute_dtype
    assert keras.config.dtype_policy().name == "float32"  # the caller's own is left as it was


def test_kept_outputs_share_weights_and_leave_the_rest_out(either):
    fused = keep_outputs(either, ("fused",))
    frames = random_frames(20, 25)
    np.testing.assert_array_equal(fused(frames)["fused"], either(frames)["fused"])
    names = {layer.name for layer in fused.layers}
    assert "side2_fuse" in names and "side2_score" not in names


def test_seed_decides_the_initial_weights():
    first, same, other = (build_osvos(weights=None, seed=seed).get_layer("side3_prep") for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.kernel, same.kernel)
    assert not np.array_equal(first.kernel, other.kernel)


def test_model_survives_saving_and_loading(either, tmp_path):
    either.save(tmp_path / "osvos.keras")
    loaded = keras.models.load_model(tmp_path / "osvos.keras")
    frames = random_frames(19, 23)
    np.testing.assert_allclose(loaded(frames)["fused"], either(frames)["fused"], rtol=1e-5)


def test_clone_keeps_the_conventions(either):
    clone = keras.models.clone_model(either)
    clone.set_weights(either.get_weights())
    frames = random_frames(19, 23)
    np.testing.assert_array_equal(clone(frames)["side5"], either(frames)["side5"])


def test_imagenet_weights_reach_the_backbone_alone():
    model = build_osvos("imagenet")
    kernel = np.asarray(model.get_layer("block1_conv1").kernel)
    np.testing.assert_allclose(kernel[0, 0, 0, :3], [0.42944336, 0.11724854, 0.0340271], rtol=1e-6)


def test_weights_come_back_from_a_file(either, tmp_path):
    save_weights(either, tmp_path / "mine.weights.h5")
    again = build_osvos(tmp_path / "mine.weights.h5")
    frames = random_frames(17, 20)
    np.testing.assert_array_equal(again(frames)["side4"], either(frames)["side4"])


@pytest.mark.filterwarnings("ignore:Skipping nested container")  # Keras, before it raises
def test_weights_of_other_conventions_are_refused(either, tmp_path):
    """By this library, and by Keras itself."""
    path, own = tmp_path / "mine.weights.h5", either.get_layer("prepare").conventions
    save_weights(either, path)
    message = rf"mine\.weights\.h5: .*conventions of {own.name}, this network to those of {OTHER[own].name}"
    with pytest.raises(WeightsError, match=f"(?s){message}"):
        build_osvos(path, conventions=OTHER[own])
    network = build_osvos(None, conventions=OTHER[own])
    with pytest.raises(WeightsError, match=f"(?s){message}"):
        load_weights(network, path)
    with pytest.raises(ValueError, match=f"conventions of {own.name}"):
        network.load_weights(path)


def test_conventions_of_a_later_version_are_refused(tmp_path, monkeypatch):
    later = replace(OURS, name="osvos-later", grid=32)
    with monkeypatch.context() as patch:
        patch.setitem(CONVENTIONS, later.name, later)
        save_weights(build_osvos(None, conventions=later), tmp_path / "later.weights.h5")
        assert find_conventions(tmp_path / "later.weights.h5") == later
    with pytest.raises(
        WeightsError, match=r"later\.weights\.h5: .*conventions are osvos-later, and those known"
    ):
        build_osvos(tmp_path / "later.weights.h5")


def test_weights_of_another_architecture(tmp_path):
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    other.save_weights(tmp_path / "other.weights.h5")
    for path in (tmp_path / "other.weights.h5", find_weights("imagenet")):  # the backbone's alone
        with pytest.raises(WeightsError, match=f"{path.name}: not the weights of this network"):
            build_osvos(path)


ON_ANOTHER_BACKEND = """
import sys
from dataclasses import replace
import numpy as np
from osvos_keras.losses import BalancedCrossEntropy
from osvos_keras.model import build_osvos
data = np.load(sys.argv[1])
for path in sys.argv[2:]:
    outputs = build_osvos(path)(data["frames"])
    loss = BalancedCrossEntropy()(data["annotations"], outputs["fused"])
    np.savez(path + ".npz", loss=np.asarray(loss), **{name: np.asarray(x) for name, x in outputs.items()})
"""


def test_same_numbers_on_jax(tmp_path):
    pytest.importorskip("jax", reason="the second backend; it is in the extra 'test'")
    frames = random_frames(37, 50, batch=2)
    annotations = np.random.default_rng(1).random((2, 37, 50, 1)) > 0.7
    np.savez(tmp_path / "in.npz", frames=frames, annotations=annotations)
    networks = {tmp_path / f"{name}.weights.h5": make_network(one) for name, one in CONVENTIONS.items()}
    for path, network in networks.items():
        save_weights(network, path)
    subprocess.run(
        [sys.executable, "-c", ON_ANOTHER_BACKEND, str(tmp_path / "in.npz"), *map(str, networks)],
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        check=True,
    )
    for path, network in networks.items():
        found, expected = np.load(f"{path}.npz"), network(frames)
        for name in OUTPUTS:
            scale = np.abs(expected[name]).max()
            np.testing.assert_allclose(found[name] / scale, expected[name] / scale, atol=1e-5)
        np.testing.assert_allclose(
            found["loss"], BalancedCrossEntropy()(annotations, expected["fused"]), rtol=1e-4
        )
