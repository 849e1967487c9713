"""A network leaves in three formats, and computes the same there, for frames of any size."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from osvos_keras.conventions import CONVENTIONS, OSVOS_PYTORCH
from osvos_keras.convert.export import ONNX_PACKAGES, export_network
from osvos_keras.errors import ConfigError, FolderError, WeightsError
from osvos_keras.io.records import write_record
from osvos_keras.model import OUTPUTS, build_osvos
from osvos_keras.weights import save_weights
from tests.conftest import call

SIZES = ((45, 61), (17, 40))

pytestmark = pytest.mark.usefixtures("narrow")


def save_trained(path, conventions=OSVOS_PYTORCH):
    """Weights whose head is large enough that a mistake shows."""
    model, parent = build_osvos(None, conventions=conventions), build_osvos("parent")
    model.set_weights(parent.get_weights())
    save_weights(model, path)
    return path


def assert_same_masks(run, weights):
    """`run` takes frames to a dict of logits."""
    network = build_osvos(weights)
    for size in SIZES:
        frames = np.random.default_rng(3).integers(0, 256, (2, *size, 3)).astype(np.float32)
        found, expected = run(frames), network(frames)
        assert set(found) == set(OUTPUTS)
        for name in OUTPUTS:
            ours, theirs = np.asarray(expected[name]), np.asarray(found[name])
            assert theirs.dtype == np.float32 and theirs.shape == (2, *size, 1)
            np.testing.assert_allclose(sigmoid(theirs), sigmoid(ours), atol=1e-4)
            clear = np.abs(ours) > 1e-3
            np.testing.assert_array_equal((theirs > 0)[clear], (ours > 0)[clear])
        assert np.std(sigmoid(np.asarray(expected["fused"]))) > 0.05


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


@pytest.mark.parametrize("conventions", CONVENTIONS.values(), ids=CONVENTIONS)
def test_onnx_of_any_size(conventions, tmp_path):
    for package in ONNX_PACKAGES:
        pytest.importorskip(package, reason="in the extra 'onnx'")
    onnxruntime = pytest.importorskip("onnxruntime", reason="in the extra 'onnx'")
    weights = save_trained(tmp_path / "trained.weights.h5", conventions)
    path = export_network(weights, tmp_path / "osvos.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    assert [one.name for one in session.get_inputs()] == ["frame"]
    assert_same_masks(
        lambda frames: dict(zip(names, session.run(None, {"frame": frames}), strict=True)), weights
    )


def test_onnx_of_wrong_shape_is_made_again(tmp_path, monkeypatch):
    pytest.importorskip("onnx", reason="in the extra 'onnx'")
    kinds, made = [], 0
    shapes = {name: [2, 45, 61, 1] for name in OUTPUTS}

    def export(model, path, kind):
        nonlocal made
        made += 1
        write_graph(path, shapes | ({"side3": [1, 2, 45, 61, 1]} if made < 3 else {}))
        kinds.append(kind)

    monkeypatch.setattr("osvos_keras.convert.export._export", export)
    export_network(save_trained(tmp_path / "trained.weights.h5"), tmp_path / "osvos.onnx")
    assert kinds == ["onnx"] * 3

    made = -10
    with pytest.raises(WeightsError, match="wrong shapes 5 times"):
        export_network(tmp_path / "trained.weights.h5", tmp_path / "never.onnx")
    assert not (tmp_path / "never.onnx").exists()


def write_graph(path, shapes):
    """An ONNX file whose outputs have these shapes, and nothing else."""
    from onnx import TensorProto, helper, save

    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()
    ]
    save(helper.make_model(helper.make_graph([], "graph", [], outputs)), path)


def test_saved_model_of_any_size(tmp_path):
    weights = save_trained(tmp_path / "trained.weights.h5")
    model = tf.saved_model.load(str(export_network(weights, tmp_path / "osvos")))
    assert_same_masks(model.serve, weights)
    assert {one.name for one in tmp_path.iterdir()} == {"osvos", "trained.weights.h5"}


def test_keras_file_of_any_size(tmp_path):
    weights = save_trained(tmp_path / "trained.weights.h5")
    assert_same_masks(keras.models.load_model(export_network(weights, tmp_path / "osvos.keras")), weights)


def test_command_says_how_to_open_a_keras_file_and_how_its_training_saw_frames(tmp_path, capsys):
    """What it says is run, in a process that knows nothing else."""
    weights = save_trained(tmp_path / "osvos.weights.h5")
    write_record(tmp_path / "config.json", {"config": {"height": 240, "window": 120}})
    path = tmp_path / "osvos.keras"
    assert call(["export", str(weights), "--to", str(path)]) == 0
    written, opening, settings = capsys.readouterr().out.splitlines()
    assert written == str(path) and "height 240, window 120" in settings
    code = opening.removeprefix("Open it in Python: ")
    subprocess.run([sys.executable, "-c", f"{code}; assert set(model.output) > {{'fused'}}"], check=True)


@pytest.mark.parametrize("end", ["h5", "KERAS"])
def test_unknown_ending(tmp_path, end):
    message = rf"osvos\.{end}: the name ends in '\.{end}', where '\.keras', '\.onnx' or none"
    with pytest.raises(ConfigError, match=message):
        export_network("parent", tmp_path / f"osvos.{end}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["osvos.keras", "osvos"])
def test_nothing_is_written_over(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(ConfigError, match=rf"{name}: exists already\. Remove it"):
        export_network("parent", tmp_path / name)


def test_missing_packages_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr("osvos_keras.convert.export.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs tf2onnx and onnx\. Install: .*osvos-keras\[onnx\]"):
        export_network("parent", tmp_path / "osvos.onnx")


def test_weights_that_are_no_trained_network(tmp_path):
    with pytest.raises(WeightsError, match="'imagenet' has no trained branches"):
        export_network("imagenet", tmp_path / "osvos.keras")
    with pytest.raises(WeightsError, match=r"none\.weights\.h5: no such file"):
        export_network(tmp_path / "none.weights.h5", tmp_path / "osvos.keras")


@pytest.mark.parametrize("name", ["osvos.keras", "osvos"])
def test_folder_that_cannot_be_written(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match="file: cannot write there"):
        export_network("parent", tmp_path / "file" / name)


def test_a_disk_that_fills_up_leaves_nothing(tmp_path, monkeypatch):
    def export(self, path, **_):
        tf.io.gfile.makedirs(path)
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(keras.Model, "export", export)
    with pytest.raises(FolderError, match=r"cannot be written \(No space left on device\)"):
        export_network("parent", tmp_path / "osvos")
    assert not list(tmp_path.iterdir())
