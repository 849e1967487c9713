"""The checkpoint files of PyTorch and MindSpore, read into NumPy arrays.

A file is recognized by its first bytes, not by its name. PyTorch's need PyTorch, since its pickles
are read by `torch.load(weights_only=True)` and nothing else; MindSpore's need nothing of MindSpore.
"""

from dataclasses import dataclass, field
from functools import cache
from math import prod
from pathlib import Path

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.message import DecodeError

from osvos_keras.errors import WeightsError
from osvos_keras.files import find_input

ZIP, PICKLE, PROTOBUF = b"PK\x03\x04", b"\x80\x02", b"\x0a"  # torch.save since 1.6; before; MindSpore
# MindSpore's own names for what a layer may be stored as.
FLOATS = {"Float16": "<f2", "Float32": "<f4", "Float64": "<f8"}
# What MindSpore appends if asked for a checksum: this word and ten bytes.
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
    """Named arrays of a file, each taken once, so that what nobody took is known.

    Attributes:
        path: the file, for messages.
        tensors: name → array.
        taken: names that were asked for, in order.
    """

    path: Path
    tensors: dict[str, np.ndarray]
    taken: list[str] = field(default_factory=list)

    def take(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """The array `name`, float32, of exactly this shape.

        Raises:
            WeightsError: it is missing, has another shape, or holds a NaN or an infinity.
        """
        if name not in self.tensors:
            raise WeightsError(f"{self.path}: there is no tensor {name} of shape {shape} in it.")
        value = np.asarray(self.tensors[name], np.float32)
        if value.shape != shape:
            raise WeightsError(f"{self.path}: {name} has the shape {value.shape}, where {shape} is needed.")
        if not np.isfinite(value).all():
            raise WeightsError(f"{self.path}: {name} holds a NaN or an infinity; that training went wrong.")
        self.taken.append(name)
        return value


def read_checkpoint(path: str | Path) -> Checkpoint:
    """The floating-point tensors of a PyTorch (`.pth`) or MindSpore (`.ckpt`) file.

    Raises:
        WeightsError: no such file, neither format, damaged or encrypted, or PyTorch is not installed.
    """
    path = find_input(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file.")
    with path.open("rb") as file:
        start = file.read(4)
    if start == ZIP or start.startswith(PICKLE):
        return Checkpoint(path, _read_pytorch(path))
    if start.startswith(PROTOBUF):
        return Checkpoint(path, _read_mindspore(path))
    raise WeightsError(
        f"{path}: neither a PyTorch nor a MindSpore checkpoint: it starts with {start!r}. "
        "An encrypted one must be decrypted first."
    )


def _read_pytorch(path: Path) -> dict[str, np.ndarray]:
    """The state dict, also one inside `{"state_dict": …}` or of a `DataParallel` network."""
    try:
        import torch
    except ImportError as error:
        raise WeightsError(
            f"{path}: reading a PyTorch checkpoint needs PyTorch, for the conversion only: pip install torch"
        ) from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zipfile and torch each raise their own
        raise WeightsError(f"{path}: PyTorch cannot read it as weights alone: {error}") from error
    if isinstance(state, dict):
        state = state.get("state_dict", state)
    if not isinstance(state, dict):
        raise WeightsError(f"{path}: holds a {type(state).__name__}, where a state dict is needed.")
    return {
        str(name).removeprefix("module."): tensor.float().numpy()
        for name, tensor in state.items()
        if isinstance(tensor, torch.Tensor) and tensor.is_floating_point()
    }


def _read_mindspore(path: Path) -> dict[str, np.ndarray]:
    """Every floating-point tensor; a large one is stored in slices, one after the other, under one tag."""
    content = path.read_bytes()
    if content[-CHECKSUM_BYTES:].startswith(CHECKSUM):
        content = content[:-CHECKSUM_BYTES]
    try:
        values = _message_class().FromString(content).value
    except DecodeError as error:
        raise WeightsError(
            f"{path}: not a MindSpore checkpoint, or a damaged or encrypted one ({error})."
        ) from error
    slices, last = {}, {}
    for value in values:
        if value.tensor.tensor_type in FLOATS:
            slices.setdefault(value.tag, []).append(value.tensor.tensor_content)
            last[value.tag] = value.tensor
    return {tag: _array(path, tag, b"".join(slices[tag]), tensor) for tag, tensor in last.items()}


def _array(path: Path, tag: str, content: bytes, tensor) -> np.ndarray:
    shape = () if list(tensor.dims) == [0] else tuple(tensor.dims)  # MindSpore's way to write a scalar
    dtype = np.dtype(FLOATS[tensor.tensor_type])
    if len(content) != prod(shape) * dtype.itemsize:
        raise WeightsError(
            f"{path}: damaged: {tag} has {len(content)} bytes, where {tensor.tensor_type} of shape {shape} "
            f"needs {prod(shape) * dtype.itemsize}."
        )
    return np.frombuffer(content, dtype).reshape(shape)


@cache
def _message_class() -> type:
    """The class of MindSpore's `Checkpoint`, in a pool of its own: MindSpore may be installed too."""
    pool = descriptor_pool.DescriptorPool()
    pool.Add(text_format.Parse(SCHEMA, descriptor_pb2.FileDescriptorProto()))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("Checkpoint"))
