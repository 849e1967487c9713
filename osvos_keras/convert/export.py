"""A network trained here for other programs: `osvos export` writes a Keras file, a SavedModel or ONNX."""

import warnings
from importlib.util import find_spec
from pathlib import Path

from osvos_keras.errors import ConfigError, FolderError, WeightsError
from osvos_keras.io.files import make_folder, write_atomically
from osvos_keras.io.paths import resolve_output
from osvos_keras.weights import find_conventions

# The endings of a name and their formats; a SavedModel is a folder without one.
FORMATS = {".keras": "keras", ".onnx": "onnx", "": "saved_model"}
ONNX_PACKAGES = ("tf2onnx", "onnx")  # what Keras's own export needs
ATTEMPTS = 5  # of an export to ONNX; about one in fourteen was wrong: see `_write_onnx`


def export_network(weights: str | Path, target: str | Path) -> Path:
    """Write the network of some weights, whole or not at all.

    Whatever the format, it takes frames (B, H, W, 3) float32, RGB, 0–255, of any height and width, and
    gives the logits `side2` … `side5` and `fused`, each (B, H, W, 1) float32. It keeps the conventions of
    the weights, and computes in float32.

    Args:
        weights: `"parent"` or the path of weights, as `build_osvos` takes them.
        target: the file or folder to write, which must not exist yet; its ending decides the format.

    Returns:
        The absolute path of what was written.

    Raises:
        ConfigError: the target exists; its ending is unknown; a package or Keras's TensorFlow backend is
            missing.
        WeightsError: the weights are missing, damaged or not a trained network's.
        FolderError: the target cannot be written.
    """
    target = resolve_output(target)
    if target.suffix not in FORMATS:
        raise ConfigError(
            f"{target}: the name ends in {target.suffix!r}, where '.keras', '.onnx' or none (a SavedModel) "
            "is needed (--to)."
        )
    format = FORMATS[target.suffix]
    missing = [name for name in ONNX_PACKAGES if format == "onnx" and not find_spec(name)]
    if missing:
        raise ConfigError(
            f"export to ONNX needs {' and '.join(missing)}. Install: pip install 'osvos-keras[onnx]'"
        )
    if target.exists():
        raise ConfigError(f"{target}: exists already. Remove it, or choose another name (--to).")
    if weights == "imagenet":
        raise WeightsError(
            "'imagenet' has no trained branches. Export 'parent', or the weights of a training."
        )
    find_conventions(weights)  # raises for a missing or damaged file
    make_folder(target.parent)
    from osvos_keras.model import build_osvos  # brings TensorFlow, for which no mistake above waits

    model = build_osvos(weights)
    with write_atomically(target) as temporary:
        _write(model, temporary, format)
    return target


def _write(model, path: Path, format: str) -> None:
    """Keras's own export of each format."""
    import keras
    import tensorflow as tf

    if format == "keras":
        model.save(path)
        return
    if keras.config.backend() != "tensorflow":
        raise ConfigError(
            f"Keras's backend is {keras.config.backend()}. Export with KERAS_BACKEND=tensorflow."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras looks whether NumPy has names that tf2onnx used to need
            _write_onnx(model, path) if format == "onnx" else _export(model, path, "tf_saved_model")
    except tf.errors.OpError as error:  # TensorFlow writes a SavedModel itself, and a disk can be full
        raise FolderError(f"{path.parent}: the export cannot be written ({error.message}).") from error


def _export(model, path: Path, kind: str) -> None:
    model.export(str(path), format=kind, verbose=False, input_signature=model.inputs)


def _write_onnx(model, path: Path) -> None:
    """Keras's export to ONNX, repeated until every output has the model's number of axes.

    tf2onnx 1.17 orders its passes over the graph by the addresses of objects, so that the same network does
    not always become the same graph. Now and then an output has an axis of length 1 too many.
    """
    import onnx

    wanted = {name: len(output.shape) for name, output in model.output.items()}
    for _ in range(ATTEMPTS):
        _export(model, path, "onnx")
        outputs = onnx.load(path, load_external_data=False).graph.output
        if {one.name: len(one.type.tensor_type.shape.dim) for one in outputs} == wanted:
            return
    raise WeightsError(f"tf2onnx gave outputs of wrong shapes {ATTEMPTS} times. Run the command again.")
