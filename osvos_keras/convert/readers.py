"""Readers of PyTorch, MindSpore and safetensors checkpoints; they return NumPy arrays.

Reading a PyTorch checkpoint needs PyTorch, because only `torch.load(weights_only=True)` may open its pickles.
The other formats need no further package.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from math import prod
from pathlib import Path
from zlib import crc32

import ml_dtypes
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.message import DecodeError

from osvos_keras.errors import WeightsError
from osvos_keras.io.formats import HDF5, KERAS, MINDSPORE, PYTORCH, SAFETENSORS, read_bytes, recognize
from osvos_keras.io.paths import find_input

# MindSpore's and safetensors' names of the types in which a weight may be stored.
FLOATS = {
    **dict.fromkeys(("Float16", "F16"), np.dtype("<f2")),
    **dict.fromkeys(("Float32", "F32"), np.dtype("<f4")),
    **dict.fromkeys(("Float64", "F64"), np.dtype("<f8")),
    **dict.fromkeys(("BFloat16", "BF16"), np.dtype(ml_dtypes.bfloat16)),
}
# MindSpore's optional checksum at the end of a file: this word, and the CRC-32 as ten bytes, big-endian.
CHECKSUM, CHECKSUM_BYTES = b"crc_num", 17
# The messages of mindspore/ccsrc/utils/checkpoint.proto, as a descriptor.
SCHEMA = """
    name: "checkpoint.proto" syntax: "proto2"
    message_type { name: "Checkpoint"
      field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: "Value" } }
    message_type { name: "Value"
      field { name: "tag" number: 1 label: LABEL_REQUIRED type: TYPE_STRING }
      field { name: "tensor" number: 2 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: "TensorProto" } }
    message_type { name: "TensorProto"
      field { name: "dims" number: 1 label: LABEL_REPEATED type: TYPE_INT64 }
      field { name: "tensor_type" number: 2 label: LABEL_REQUIRED type: TYPE_STRING }
      field { name: "tensor_content" number: 3 label: LABEL_REQUIRED type: TYPE_BYTES } }
"""


@dataclass
class Checkpoint:
    """The named arrays of a file, and a list of those that were used.

    Attributes:
        path: the file, for messages.
        tensors: name → array.
        others: name → type, of all entries of the file that are not floating-point arrays.
        taken: the names given to `take`, in order.
    """

    path: Path
    tensors: dict[str, np.ndarray]
    others: dict[str, str] = field(default_factory=dict)
    taken: list[str] = field(default_factory=list)

    def take(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """The array `name` of exactly this shape, as float32; its name is added to `taken`.

        Raises:
            WeightsError: the array is missing, has another shape or type, or holds a NaN or an infinity.
        """
        if name in self.others:
            raise WeightsError(
                f"{self.path}: {name} is stored as {self.others[name]}, but a weight is floating-point."
            )
        if name not in self.tensors:
            raise WeightsError(f"{self.path}: it has no tensor {name} of shape {shape}.")
        value = np.asarray(self.tensors[name], np.float32)
        if value.shape != shape:
            raise WeightsError(f"{self.path}: {name} has the shape {value.shape}, but {shape} is needed.")
        if not np.isfinite(value).all():
            raise WeightsError(f"{self.path}: {name} holds a NaN or an infinity: its training diverged.")
        self.taken.append(name)
        return value

    @property
    def unused(self) -> list[str]:
        """The names of all entries that were not taken."""
        return [*(name for name in self.tensors if name not in self.taken), *self.others]


def read_checkpoint(path: str | Path) -> Checkpoint:
    """The floating-point tensors of a PyTorch (`.pth`), MindSpore (`.ckpt`) or safetensors file.

    Raises:
        WeightsError: there is no such file; it has another format, is damaged or encrypted; or it needs
            PyTorch, which is not installed.
    """
    path = find_input(path)
    kind = recognize(path)
    readers = {PYTORCH: _read_pytorch, MINDSPORE: _read_mindspore, SAFETENSORS: _read_safetensors}
    if kind in readers:
        return readers[kind](path)
    if kind in (HDF5, KERAS):
        raise WeightsError(f"{path}: {kind}. It is in Keras's format already and needs no conversion.")
    raise WeightsError(f"{path}: {kind}, but {PYTORCH}, {MINDSPORE} or {SAFETENSORS} is needed.")


def _read_pytorch(path: Path) -> Checkpoint:
    """The state dict, also one inside another dict (`{"state_dict": …}`)."""
    try:
        import torch
    except (ImportError, OSError) as error:
        raise WeightsError(
            f"{path}: reading a PyTorch checkpoint needs PyTorch, for the conversion only: pip install torch"
        ) from error
    try:
        whole = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zipfile and torch raise exceptions of many kinds
        reason = (str(error).splitlines() or [type(error).__name__])[-1]
        raise WeightsError(
            f"{path}: PyTorch cannot read it as weights alone ({reason}). It is damaged, or it holds more "
            "than tensors; in that case, save only the network's state_dict()."
        ) from error
    if not isinstance(whole, dict):
        raise WeightsError(f"{path}: holds a {type(whole).__name__}, but a state dict is needed.")
    dicts = [whole, *(value for value in whole.values() if isinstance(value, dict))]
    state = max(dicts, key=lambda one: sum(isinstance(value, torch.Tensor) for value in one.values()))
    found = Checkpoint(path, {})
    for key, value in state.items():
        name = _bare(key)
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            found.others[name] = str(getattr(value, "dtype", type(value).__name__))
            continue
        try:
            found.tensors[name] = value.detach().float().numpy()
        except Exception as error:  # a sparse tensor, one without data ("meta"), or an unknown kind
            kind = f"{value.layout}, {value.device}"
            raise WeightsError(f"{path}: {name} cannot be read as an array ({kind}): {error}") from error
    if state is not whole:
        found.others |= {str(key): type(value).__name__ for key, value in whole.items() if value is not state}
    return found


def _read_mindspore(path: Path) -> Checkpoint:
    """A large tensor is stored as consecutive slices with the same tag."""
    content = read_bytes(path)
    if content[-CHECKSUM_BYTES:].startswith(CHECKSUM):
        content, checksum = content[:-CHECKSUM_BYTES], content[-10:]
        if crc32(content) != int.from_bytes(checksum, "big"):
            raise WeightsError(f"{path}: damaged: its checksum differs. Copy or download it again.")
    slices = {}
    try:
        for value in _message_class().FromString(content).value:
            slices.setdefault(value.tag, []).append((value.tensor.tensor_type, value.tensor))
    except (DecodeError, ValueError) as error:  # ValueError: a name is not valid text
        raise WeightsError(
            f"{path}: not a MindSpore checkpoint, or a damaged or encrypted one ({error})."
        ) from error
    arrays = []
    for tag, parts in slices.items():
        kind, last = parts[-1]
        shape = () if list(last.dims) == [0] else tuple(last.dims)  # [0]: a scalar, in older files
        arrays.append((tag, kind, shape, b"".join(tensor.tensor_content for _, tensor in parts)))
    return _collect(path, arrays)


def _read_safetensors(path: Path) -> Checkpoint:
    """The file is: the header's length (eight bytes, little-endian), the JSON header, the tensors' bytes."""
    content = read_bytes(path)
    data = 8 + int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8:data])
        header.pop("__metadata__", None)
        entries = [(name, one["dtype"], one["shape"], one["data_offsets"]) for name, one in header.items()]
        arrays = [
            (name, str(kind), tuple(shape), content[data + start : data + end])
            for name, kind, shape, (start, end) in entries
        ]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise WeightsError(
            f"{path}: a damaged safetensors file: its header cannot be read ({error})."
        ) from error
    return _collect(path, arrays)


def _bare(key: object) -> str:
    """A tensor's name without what PyTorch's `DataParallel` and `torch.compile` put before it."""
    return re.sub(r"^(module\.|_orig_mod\.)+", "", str(key))  # bytes: a damaged file


def _collect(path: Path, arrays: Iterable[tuple[str, str, tuple, bytes]]) -> Checkpoint:
    """A checkpoint made from (name, type as the file calls it, shape, bytes) of each entry."""
    found = Checkpoint(path, {})
    for key, kind, shape, content in arrays:
        name = _bare(key)
        if kind in FLOATS:
            found.tensors[name] = _array(path, name, kind, shape, content)
        else:
            found.others[name] = kind or "no tensor"
    return found


def _array(path: Path, name: str, kind: str, shape: tuple, content: bytes) -> np.ndarray:
    dtype = FLOATS[kind]
    possible = len(shape) <= 32 and all(isinstance(size, int) and size >= 0 for size in shape)
    needed = prod(shape) * dtype.itemsize if possible else None
    try:
        if len(content) == needed:
            return np.frombuffer(content, dtype).reshape(shape)
    except ValueError:  # the shape is too large for NumPy
        needed = None
    need = f"needs {needed}" if needed else "cannot be"
    raise WeightsError(
        f"{path}: damaged: {name} has {len(content)} bytes, but {kind} of shape {str(shape)[:80]} {need}."
    )


@cache
def _message_class() -> type:
    """The class of MindSpore's `Checkpoint`, in a separate pool, because MindSpore may be installed too."""
    pool = descriptor_pool.DescriptorPool()
    pool.Add(text_format.Parse(SCHEMA, descriptor_pb2.FileDescriptorProto()))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("Checkpoint"))
