"""The kinds of weights files, recognized by their content, not by their names."""

import re
import zipfile
from pathlib import Path

from osvos_keras.errors import WeightsError

HDF5, KERAS = "an HDF5 file", "a whole Keras model (.keras)"
ZIP = "an archive (.zip or .npz), which may hold a checkpoint: unpack it, and give the file in it"
PYTORCH, MINDSPORE, SAFETENSORS = "a PyTorch checkpoint", "a MindSpore checkpoint", "a safetensors file"
SEAL = b"osvos-keras sha256 "  # the first bytes of this library's weights files, before HDF5; see `weights`
# The first bytes of each kind. A MindSpore checkpoint nests one length-prefixed message in another.
STARTS = {
    HDF5: rb"\x89HDF\r\n\x1a\n|" + SEAL,
    PYTORCH: rb"PK\x03\x04|\x80[\x02-\x05]",  # torch.save since 1.6 (zip), and before (pickle)
    MINDSPORE: rb"\n[\x80-\xff]{0,9}[\x01-\x7f]\n",
    SAFETENSORS: rb"[\s\S]{6}\x00\x00\{",
    "a pointer of Git LFS (git lfs pull brings the file itself)": rb"version https://git-lfs",
    "a web page, not the file that was to be downloaded": rb"(?i)\s*<(!doctype|html)",
    "an empty file": rb"\Z",
}


def recognize(path: Path) -> str:
    """The kind of a file: a key of `STARTS`, `KERAS`, or a text that shows its first bytes.

    Raises:
        WeightsError: there is no such file, or it cannot be read.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: {'not a file' if path.exists() else 'no such file'}.")
    start = read_bytes(path, 64)
    for kind, pattern in STARTS.items():
        if re.match(pattern, start):
            return _kind_of_zip(path) if start.startswith(b"PK") else kind
    return f"an unknown kind of file (encrypted?), which starts with {start[:8]!r}"


def read_bytes(path: Path, count: int = -1) -> bytes:
    """The first `count` bytes of a file; all bytes if `count` is -1.

    Raises:
        WeightsError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}).") from error


def _kind_of_zip(path: Path) -> str:
    """Which kind of zip a file is; PyTorch's if it is damaged, so that PyTorch says what is wrong."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {Path(name).name for name in archive.namelist()}
    except Exception:  # a damaged archive raises exceptions of many kinds
        return PYTORCH
    return KERAS if "model.weights.h5" in names else PYTORCH if "data.pkl" in names else ZIP
