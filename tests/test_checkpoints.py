"""Files of others: read by their content, and one error for each that is damaged or hostile."""

import itertools
import sys
import zipfile

import ml_dtypes
import numpy as np
import pytest

from osvos_keras.convert.layouts import convert_weights, find_layout
from osvos_keras.convert.readers import read_checkpoint
from osvos_keras.errors import WeightsError
from osvos_keras.io.formats import PYTORCH, recognize
from osvos_keras.weights import find_weights
from tests.checkpoint_files import add_checksum, message, varint, write_mindspore, write_safetensors

OTHER_FILES = {
    b"": "an empty file, but a PyTorch checkpoint, a MindSpore checkpoint or a safetensors file is needed",
    b"hello world": r"an unknown kind of file \(encrypted\?\), which starts with b'hello wo'",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file. It is in Keras's format already",
    b"<!DOCTYPE html><html>": "a web page",
    b"version https://git-lfs.github.com/spec/v1\noid": "a pointer of Git LFS",
    b"\nA text that starts with an empty line": "an unknown kind",
    b"\n\x20\n\x05fuse": "not a MindSpore checkpoint, or a damaged or encrypted one",
    b"\x09" + bytes(7) + b'{"a": 1}x': "a damaged safetensors file",
    b"\x0a" + bytes(7) + b'{"a": 1} x': "a damaged safetensors file",
    b"\xff" + bytes(7) + b'{"a"': "a damaged safetensors file",
}


def test_any_other_file_is_an_error(tmp_path):
    target, source = tmp_path / "out.weights.h5", tmp_path / "some.file"
    with pytest.raises(WeightsError, match=r"some\.file: no such file"):
        convert_weights(source, target)
    for content, kind in OTHER_FILES.items():
        source.write_bytes(content)
        with pytest.raises(WeightsError, match=rf"some\.file: {kind}"):
            convert_weights(source, target)
    with pytest.raises(WeightsError, match=rf"{tmp_path}: not a file"):
        convert_weights(tmp_path, target)
    with pytest.raises(WeightsError, match=r"parent\.h5: the name .* must end in \.weights\.h5"):
        convert_weights(source, tmp_path / "parent.h5")
    own = source.rename(tmp_path / "own.weights.h5")
    with pytest.raises(WeightsError, match=r"own\.weights\.h5: this is the file to convert"):
        convert_weights(own, own)
    assert not target.exists()


def test_truncated_mindspore_file(tmp_path):
    first = {"layers.0.weight": np.ones((64, 3, 3, 3), np.float32)}
    path = write_mindspore(tmp_path / "cut.ckpt", first, slices=2)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(WeightsError, match=r"cut\.ckpt: not a MindSpore checkpoint, or a damaged"):
        read_checkpoint(path)
    path.write_bytes(whole[: len(whole) // 2])  # between the two slices: still valid protobuf
    with pytest.raises(
        WeightsError, match=r"layers\.0\.weight has 3456 bytes, .* \(64, 3, 3, 3\) needs 6912"
    ):
        read_checkpoint(path)


def test_changed_bit_is_seen_where_mindspore_wrote_a_checksum(tmp_path):
    path = write_mindspore(tmp_path / "sum.ckpt", {"fuse.weight": np.ones(99, np.float32)})
    add_checksum(path)
    assert read_checkpoint(path).tensors["fuse.weight"].sum() == 99
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"sum\.ckpt: damaged: its checksum differs"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("dims", "size"),
    [
        ([-1], 4),
        ([-2, -2], 16),
        ([2**62], 4),
        ([2**62, 4], 0),
        ([0, 2**62, 2**62], 0),
        ([1] * 65, 4),
        ([3], 4),
    ],
)
def test_impossible_dimensions_are_an_error(tmp_path, dims, size):
    """Protobuf writes a negative number as one of 64 bits."""
    head = b"".join(b"\x08" + varint(number % 2**64) for number in dims) + message(2, b"Float32")
    tensor = message(2, head + message(3, bytes(size)))
    (tmp_path / "bad.ckpt").write_bytes(message(1, message(1, b"fuse.weight") + tensor))
    with pytest.raises(WeightsError, match=r"bad\.ckpt: damaged: fuse\.weight has \d+ bytes, but Float32 of"):
        read_checkpoint(tmp_path / "bad.ckpt")


@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("write", [write_mindspore, write_safetensors])
def test_halves_are_read_and_what_is_no_float_is_noted(tmp_path, kind, write):
    values = np.linspace(-1, 1, 64).reshape(1, 64, 1, 1).astype(kind)
    path = write(tmp_path / "some.file", {"fuse.weight": values, "epoch": np.int64([3])})
    checkpoint = read_checkpoint(path)
    assert [*checkpoint.others] == ["epoch"] == checkpoint.unused[1:]
    np.testing.assert_array_equal(checkpoint.take("fuse.weight", values.shape), values.astype(np.float32))
    with pytest.raises(WeightsError, match=r"some\.file: epoch is stored as I(nt)?64, but a weight is"):
        checkpoint.take("epoch", (1,))


@pytest.mark.parametrize("write", [write_mindspore, write_safetensors])
def test_changed_byte_is_read_or_a_weights_error(tmp_path, write):
    """Each byte of a small file in turn, so that lengths, types, names and sizes are all hit."""
    tensors = {"fuse.weight": np.ones((2, 3), np.float32), "epoch": np.int64([3])}
    path, errors = write(tmp_path / "some.file", tensors), 0
    content = path.read_bytes()
    for position, mask in itertools.product(range(len(content)), (1, 0x80, 0xFF)):
        changed = bytearray(content)
        changed[position] ^= mask
        path.write_bytes(changed)
        try:
            read_checkpoint(path)
        except WeightsError as error:
            assert str(path) in str(error)
            errors += 1
    assert errors > 50


def test_without_pytorch_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "parent.pth").write_bytes(b"PK\x03\x04")
    with pytest.raises(WeightsError, match=r"parent\.pth: .*pip install torch"):
        read_checkpoint(tmp_path / "parent.pth")


@pytest.mark.parametrize("name", ["models/parent_epoch-239.pth", "kernel.npy"])
def test_an_archive_is_to_be_unpacked(tmp_path, name):
    path = tmp_path / "OSVOS_parent_model.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, b"")
    for read in (read_checkpoint, find_weights):
        with pytest.raises(
            WeightsError, match=r"model\.zip: an archive .*: unpack it, and give the file in it"
        ):
            read(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/data.pkl", b"")  # PyTorch's
    assert recognize(path) == PYTORCH


# ---- With PyTorch


@pytest.mark.parametrize("form", ["plain", "before 1.6", "wrapped", "DataParallel", "half"])
def test_pth_in_every_form(torch, tmp_path, form):
    random = np.random.default_rng(0)
    state = {f"layer{index}.weight": random.normal(size=(2, 3)).astype(np.float32) for index in range(3)}
    saved = {name: torch.from_numpy(value) for name, value in state.items()}
    if form == "wrapped":
        saved = {"epoch": 239, "state_dict": saved}
    elif form == "DataParallel":
        saved = {f"module.{name}": value for name, value in saved.items()}
    elif form == "half":
        saved = {name: value.half() for name, value in saved.items()}
    torch.save(saved, tmp_path / "some.pth", _use_new_zipfile_serialization=form != "before 1.6")
    tensors = read_checkpoint(tmp_path / "some.pth").tensors
    kind = np.float16 if form == "half" else np.float32
    np.testing.assert_equal(tensors, {name: value.astype(kind) for name, value in state.items()})


def test_parameters_are_read_and_what_is_no_array_is_an_error(torch, tmp_path):
    path, value = tmp_path / "some.pth", torch.ones(2, 3)
    torch.save({"fuse.weight": torch.nn.Parameter(value)}, path)
    np.testing.assert_array_equal(read_checkpoint(path).tensors["fuse.weight"], np.ones((2, 3)))
    for strange in (value.to_sparse(), torch.empty(2, 3, device="meta")):
        torch.save({"fuse.weight": strange}, path)
        with pytest.raises(
            WeightsError, match=r"some\.pth: fuse\.weight cannot be read as an array \(.*(meta|sparse)"
        ):
            read_checkpoint(path)


def test_state_dict_among_other_dicts_is_found(torch, tmp_path):
    path, tensors = tmp_path / "some.pth", {"a.weight": torch.ones(2), "a.count": torch.tensor(3)}
    optimizer = {"state": {0: {"momentum": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}
    torch.save({"optimizer": optimizer, "epoch": 3, "network": tensors}, path)
    checkpoint = read_checkpoint(path)
    assert [*checkpoint.tensors] == ["a.weight"]
    assert checkpoint.others == {"a.count": "torch.int64", "optimizer": "dict", "epoch": "int"}
    for strange in (optimizer, {"state_dict": [1]}, {0: torch.ones(2), (1, 2): torch.ones(2)}, {}):
        torch.save(strange, path)
        with pytest.raises(WeightsError, match=r"some\.pth: has no known layout"):
            find_layout(read_checkpoint(path))


class Trap:
    def __reduce__(self):
        return print, ("executed",)


def test_pth_with_code_or_cut_off_is_an_error(torch, tmp_path, capsys):
    path = tmp_path / "bad.pth"
    torch.save({"stages.0.0.weight": Trap()}, path)
    with pytest.raises(WeightsError, match=r"bad\.pth: PyTorch cannot read it as weights alone"):
        read_checkpoint(path)
    assert "executed" not in capsys.readouterr().out
    torch.save({"fuse.weight": torch.ones(1, 64, 1, 1)}, path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsError, match=r"bad\.pth: PyTorch cannot read it"):
        read_checkpoint(path)
    torch.save([1, 2], path)
    with pytest.raises(WeightsError, match=r"bad\.pth: holds a list, but a state dict is needed"):
        read_checkpoint(path)
