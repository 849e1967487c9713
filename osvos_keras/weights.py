"""Weights: the bundled ones, Keras's download, and a path, each checked before use.

A file that this library writes is Keras's `.weights.h5` with a seal before it: the SHA-256 of all behind
the seal. It is what HDF5 calls a user block, which it skips, so Keras loads the file as any other. HDF5
itself works in memory only: on a full disk or with a damaged file it can take the process down.
"""

import hashlib
import io
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
from tqdm import tqdm

from osvos_keras.conventions import OURS, Conventions, read_record
from osvos_keras.errors import WeightsError
from osvos_keras.io.files import write_atomically
from osvos_keras.io.formats import HDF5, KERAS, MINDSPORE, PYTORCH, SAFETENSORS, SEAL, read_bytes, recognize
from osvos_keras.io.kept import rename_aside
from osvos_keras.io.paths import PROJECT, find_input, join_command

if TYPE_CHECKING:
    import keras  # where it is needed, functions import it: a wrong path is found before it has started

BUNDLED = PROJECT / "data" / "weights"
FILES = {"imagenet": "vgg16_imagenet_fp16.weights.h5", "parent": "osvos_parent_fp16.weights.h5"}
# Keras Applications' own file, which it also caches in ~/.keras/models.
KERAS_URL = (
    "https://storage.googleapis.com/tensorflow/keras-applications/vgg16/"
    "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
)
KERAS_MD5 = "6d6bbae143d832006294945121d1f1fc"
# Where Keras puts what `model.PrepareFrame` saves: it names a group by the class of the layer.
PREPARE_GROUP = "layers/prepare_frame/vars"
TIMEOUT = 10  # seconds without a byte before a download is given up
SEAL_BYTES = 512  # the smallest user block
SIGNATURE = b"\x89HDF\r\n\x1a\n"  # HDF5's own first bytes
REMEDY = (
    "WEIGHTS is 'imagenet', 'parent', or the path of weights that a training here or `osvos weights convert` "
    "wrote."
)


def find_weights(weights: str | Path) -> Path:
    """The file of `"imagenet"`, of `"parent"`, or of a path.

    `"imagenet"` without the bundled file is downloaded by Keras.

    Raises:
        WeightsError: there is no such file, it is of another kind, or the download failed.
    """
    bundled = BUNDLED / FILES.get(str(weights), "")
    if weights == "imagenet":
        return bundled if bundled.is_file() else _download_imagenet(bundled)
    if weights == "parent":
        if not bundled.is_file():
            raise WeightsError(
                f"{bundled}: no parent network is bundled. Train one with notebook 03 and pass the path of "
                "its weights, or use WEIGHTS = 'imagenet'."
            )
        return bundled
    path = find_input(weights)
    if not path.is_file():
        raise WeightsError(f"{path}: {'not a file' if path.exists() else 'no such file'}. {REMEDY}")
    _check_kind(path)
    return path


def _check_kind(path: Path) -> None:
    """See that a file's content is HDF5's, or say what it is instead."""
    kind = recognize(path)
    if kind in (PYTORCH, MINDSPORE, SAFETENSORS):
        command = join_command(["osvos", "weights", "convert", str(path), "--to", _name_beside(path)])
        raise WeightsError(f"{path}: {kind}, not weights of this network. Convert it first: {command}")
    if kind == KERAS:
        raise WeightsError(f"{path}: {kind}. {_take_weights(path)}")
    if kind != HDF5:
        raise WeightsError(f"{path}: {kind}, where the weights of this network are needed. {REMEDY}")


def _take_weights(path: Path) -> str:
    """What to do with a whole model, of which the weights alone are wanted."""
    return (
        "Take the weights out of it, in Python: import keras, osvos_keras.model; "
        f"keras.models.load_model({str(path)!r}).save_weights({_name_beside(path)!r})"
    )


def _name_beside(path: Path) -> str:
    """A name for the weights made of a file, other than its own."""
    return f"{path.stem}_keras.weights.h5"


def _download_imagenet(bundled: Path) -> Path:
    """Keras's own file, through its cache."""
    import keras

    before, name = socket.getdefaulttimeout(), Path(KERAS_URL).name
    socket.setdefaulttimeout(TIMEOUT)  # else Keras's downloader would wait for ever for a silent server
    try:
        return Path(keras.utils.get_file(name, KERAS_URL, cache_subdir="models", file_hash=KERAS_MD5))
    except Exception as error:  # urllib, ssl, http and Keras each raise their own
        raise WeightsError(
            f"{bundled}: the bundled VGG16 weights are missing and the download failed ({error}). Restore "
            "the file (git checkout -- data/weights, or install osvos-keras again), or place Keras's file in "
            "~/.keras/models."
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def find_conventions(weights: str | Path | None) -> Conventions:
    """The conventions of the network that weights, as `build_osvos` takes them, were trained in.

    Raises:
        WeightsError: there is no such file, it is damaged, or its conventions are unknown.
    """
    if weights is None:
        return OURS
    path = find_weights(weights)
    content, sealed = _read(path)
    with _explained(path, sealed), h5py.File(io.BytesIO(content)) as file:
        return read_record(file.get(PREPARE_GROUP, {}))


def load_weights(model: "keras.Model", path: Path) -> None:
    """Load a weights file into a model of the same architecture and conventions.

    If the model is compiled, its optimizer's state is loaded too. After an error some of the weights may
    have been loaded.

    Raises:
        WeightsError: the file is damaged, belongs to another architecture or other conventions, or holds a
            NaN or an infinity.
    """
    content, sealed = _read(path)
    with _explained(path, sealed), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns once a layer before it gives up
        warnings.filterwarnings("error", "Skipping variable loading for optimizer")
        with h5py.File(io.BytesIO(content)) as file:
            if "model_weights" in file:
                raise ValueError(f"it is a whole model in Keras's older format. {_take_weights(path)}")
            old = "layer_names" in file.attrs  # Keras's own download is in the layout of Keras 2
        model.load_weights(_Memory(content, "old.h5" if old else "new.weights.h5"))
    if name := _find_nonfinite(model):
        raise WeightsError(
            f"{path}: {name} holds a NaN or an infinity. The file is damaged, or these weights are of a "
            "training that went wrong; use others."
        )


def _find_nonfinite(model: "keras.Model") -> str | None:
    """The path of a variable of a model, or of its optimizer, that holds a NaN or an infinity."""
    from keras import ops

    optimizer = getattr(model, "optimizer", None)
    for variable in [*model.variables, *(optimizer.variables if optimizer else ())]:
        if not np.isfinite(ops.convert_to_numpy(variable)).all():
            return variable.path
    return None


class _Memory(io.BytesIO):
    """A file in memory with a name, from whose ending Keras takes the format."""

    def __init__(self, content: bytes = b"", name: str = "new.weights.h5"):
        super().__init__(content)
        self.name = name

    def __str__(self) -> str:
        return self.name


def _read(path: Path) -> tuple[bytes, bool]:
    """A weights file's content, and whether it has a seal, which it then fits."""
    content = read_bytes(path)
    is_behind_seal = content.startswith(SIGNATURE, SEAL_BYTES) and not content.startswith(SIGNATURE)
    if not (content.startswith(SEAL) or is_behind_seal):  # the seal's own first word may be damaged
        return content, False
    body = content[SEAL_BYTES:]
    if content[:SEAL_BYTES] != _seal(body):
        raise WeightsError(
            f"{path}: damaged: its content is no longer what was written. Make it again, or restore a copy."
        )
    return body, True


def _seal(content: bytes | memoryview) -> bytes:
    return (SEAL + hashlib.sha256(content).hexdigest().encode() + b"\n").ljust(SEAL_BYTES, b"\0")


@contextmanager
def _explained(path: Path, sealed: bool) -> Iterator[None]:
    """Turn whatever Keras and h5py raise into an error that says what to do."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split("\n\n")[:2])  # Keras lists all layers after that
        damaged = "" if sealed else ", or a damaged file"
        raise WeightsError(f"{path}: not the weights of this network{damaged}: {reason} {REMEDY}") from error


def save_weights(model: "keras.Model", path: str | Path, half: bool = False) -> None:
    """Write a model's weights, whole or not at all, without the optimizer's state.

    With `half` they are stored as float16, in half the bytes; Keras widens them as it loads them.

    Raises:
        WeightsError: a weight is not finite, or beyond float16's range.
        FolderError: the disk is full, or the file cannot be written there.
    """
    import keras

    bare = keras.Model(model.inputs, model.outputs, name=model.name)
    if name := _find_nonfinite(bare):
        raise WeightsError(f"{path}: not written, since {name} holds a NaN or an infinity.")
    save_state(bare, path, half)


def save_state(model: "keras.Model", path: str | Path, half: bool = False) -> None:
    """Write a model's weights and, if it is compiled, its optimizer's state; see `save_weights`."""
    content = _Memory()
    model.save_weights(content)
    if half:
        content = _store_half(content)
    with write_atomically(path) as temporary, temporary.open("wb") as file:
        file.write(_seal(content.getbuffer()))
        file.write(content.getbuffer())


def _store_half(content: io.BytesIO) -> io.BytesIO:
    """A weights file anew, with float16 in the place of float32."""
    half = io.BytesIO()
    with h5py.File(content) as file, h5py.File(half, "w") as narrow:

        def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Group):
                narrow.require_group(name).attrs.update(item.attrs)
                return
            values = item[()]
            if values.dtype == np.float32:
                if np.abs(values).max(initial=0) > np.finfo(np.float16).max:
                    raise WeightsError(f"{name}: a weight is beyond float16's range. Store float32 instead.")
                values = values.astype(np.float16)
            narrow[name] = values

        file.visititems(copy)
    return half


def set_aside(path: Path, error: WeightsError) -> None:
    """Rename a damaged file of a training, and say so; the training then makes it again."""
    kept = rename_aside(path)
    tqdm.write(f"{error}\nIt is kept as {kept.name}, and this training makes it again.")
