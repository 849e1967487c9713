"""Checkpoint files written by hand, so that no test needs MindSpore or safetensors."""

import json
import zlib


def varint(number):
    low, rest = number & 127, number >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def message(number, content):
    return bytes([number << 3 | 2]) + varint(len(content)) + content


MINDSPORE_TYPES = {"bfloat16": "BFloat16"}


def write_mindspore(path, tensors, slices=1):
    """Protobuf by hand: Checkpoint.value = {tag, tensor = {dims, tensor_type, tensor_content}}."""
    with path.open("wb") as file:
        for tag, array in tensors.items():
            content, dims = array.tobytes(), array.shape or (0,)
            step = -(-len(content) // slices)
            head = b"".join(b"\x08" + varint(size) for size in dims)
            head += message(2, MINDSPORE_TYPES.get(array.dtype.name, array.dtype.name.capitalize()).encode())
            for start in range(0, len(content), step):
                tensor = head + message(3, content[start : start + step])
                file.write(message(1, message(1, tag.encode()) + message(2, tensor)))
    return path


def add_checksum(path):
    content = path.read_bytes()
    path.write_bytes(content + b"crc_num" + zlib.crc32(content).to_bytes(10, "big"))


def write_safetensors(path, tensors):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, array in tensors.items():
        end = len(data) + array.nbytes
        kind = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64"}[array.dtype.name]
        header[name] = {"dtype": kind, "shape": array.shape, "data_offsets": (len(data), end)}
        data += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path
