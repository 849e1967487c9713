"""Weights: the bundled ones, Keras's download, and a path, each checked before use."""

import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import keras
import numpy as np

from osvos_keras.conventions import OURS, Conventions, read_record
from osvos_keras.errors import WeightsError
from osvos_keras.files import PROJECT, find_input, write_atomically

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


def find_weights(weights: str | Path) -> Path:
    """The file of `"imagenet"`, of `"parent"`, or of a path.

    `"imagenet"` without the bundled file is downloaded by Keras.

    Raises:
        WeightsError: there is no such file, or the download failed.
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
        raise WeightsError(
            f"{path}: no such file. WEIGHTS must be 'imagenet', 'parent' or the path of a .weights.h5 file."
        )
    return path


def _download_imagenet(bundled: Path) -> Path:
    """Keras's own file, through its cache."""
    try:
        with _socket_timeout(TIMEOUT):
            return Path(
                keras.utils.get_file(
                    Path(KERAS_URL).name, KERAS_URL, cache_subdir="models", file_hash=KERAS_MD5
                )
            )
    except Exception as error:  # urllib, ssl, http and Keras each raise their own
        raise WeightsError(
            f"{bundled}: the bundled VGG16 weights are missing and the download failed ({error}). Restore "
            f"the file (git checkout -- data/weights), or place Keras's file in ~/.keras/models."
        ) from error


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """A silent server is an error after some seconds; Keras's downloader would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
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
    with _explained(path), h5py.File(path) as file:
        return read_record(file.get(PREPARE_GROUP, {}))


def load_weights(model: keras.Model, path: Path) -> None:
    """Load a weights file into a model of the same architecture and conventions.

    Raises:
        WeightsError: the file is damaged, or belongs to another architecture or other conventions.
    """
    with _explained(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns once a layer before it gives up
        model.load_weights(path)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what Keras and h5py raise into an error that says what to do."""
    try:
        yield
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(
            f"{path}: not the weights of this network, or a damaged file: {error} "
            "Pass a .weights.h5 file that this project wrote, or 'imagenet'."
        ) from error


def save_weights(model: keras.Model, path: str | Path, half: bool = False) -> None:
    """Write a model's weights, whole or not at all, without the optimizer's state.

    With `half` they are stored as float16, in half the bytes; Keras widens them as it loads them.

    Raises:
        WeightsError: a weight is beyond float16's range.
    """
    bare = keras.Model(model.inputs, model.outputs, name=model.name)
    with write_atomically(path) as temporary:
        bare.save_weights(temporary)
        if half:
            _store_half(temporary)


def _store_half(path: Path) -> None:
    """Write a weights file anew with float16 in the place of float32."""
    with write_atomically(path) as temporary, h5py.File(path) as file, h5py.File(temporary, "w") as narrow:

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
