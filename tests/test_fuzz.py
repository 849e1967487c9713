"""Every reader under damaged and random input: either it reads, or it raises this project's own error.

About ten minutes: `make test ARGS="-m slow tests/test_fuzz.py"`. At its end it prints how often each reader
was tried and how often it refused. `OSVOS_FUZZ=150` makes it ten times as thorough.
"""

import io
import json
import os
import warnings
from collections import Counter
from fractions import Fraction

import av
import h5py
import nbformat
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from osvos_keras.errors import OsvosError
from tests.checkpoint_files import message

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
EXAMPLES = int(100 * float(os.environ.get("OSVOS_FUZZ", "15")))
TRIED, REFUSED = Counter(), Counter()
fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module", autouse=True)
def counts(request):
    """At the end, a line for each reader."""
    yield
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(*(f"\n{name}: {TRIED[name]} inputs, {REFUSED[name]} refused" for name in TRIED))


def accept(name, read, *arguments):
    """Read; the project's own error is as good as a result."""
    TRIED[name] += 1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read(*arguments)
    except OsvosError as error:
        REFUSED[name] += 1
        assert str(error).strip()
        return None


@st.composite
def damaged(draw, whole: bytes) -> bytes:
    """A valid file with some bytes changed, cut out, doubled, or cut off."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        match draw(st.sampled_from(["flip", "set", "cut", "insert", "truncate"])):
            case "flip" if content:
                content[at] ^= 1 << draw(st.integers(0, 7))
            case "set" if content:
                content[at] = draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
            case "cut":
                del content[at : at + draw(st.integers(1, 64))]
            case "insert":
                content[at:at] = draw(st.binary(min_size=1, max_size=16))
            case "truncate":
                del content[at:]
    return bytes(content)


def files(*valid: bytes) -> st.SearchStrategy[bytes]:
    return st.one_of(*map(damaged, valid), st.binary(max_size=200))


def image_bytes(mode: str, kind: str) -> bytes:
    values = np.random.default_rng(0).integers(0, 2, (9, 7)).astype(np.uint8) * 255
    out = io.BytesIO()
    Image.fromarray(values).convert(mode).save(out, kind)
    return out.getvalue()


PNGS = [image_bytes(mode, "PNG") for mode in ("L", "P", "1", "RGBA", "I;16")]
OTHERS = [image_bytes("RGB", kind) for kind in ("JPEG", "WEBP", "BMP", "TIFF", "GIF")]
IMAGES = [*PNGS, *OTHERS]


@fuzz
@given(content=files(*IMAGES), suffix=st.sampled_from([".png", ".jpg"]))
def test_images(tmp_path, content, suffix):
    from osvos_keras.io.images import read_frame
    from osvos_keras.io.masks import read_annotation, read_mask

    path = tmp_path / f"image{suffix}"
    path.write_bytes(content)
    accept("frame", read_frame, path)
    accept("annotation", read_annotation, path)
    accept("mask", read_mask, path)


@fuzz
@given(content=files(*IMAGES))
def test_a_first_mask(tmp_path, content):
    from osvos_keras.marking.marks import read_objects

    (tmp_path / "mask.png").write_bytes(content)
    accept("first mask", read_objects, tmp_path / "mask.png", (9, 7))


LISTS = [
    b"cow\nbee\n",
    b"/JPEGImages/480p/cow/00000.jpg /Annotations/480p/cow/00000.png\n",
    "cow\n".encode("utf-16"),
    b"../cow\n/etc/passwd\n",
]


@fuzz
@given(content=files(*LISTS))
def test_lists(tiny, content):
    tiny.list_path("val").write_bytes(content)
    accept("list", tiny.sequences, "val")


@fuzz
@given(sequences=st.text(max_size=300) | st.lists(st.text(max_size=20)))
def test_selections(tiny, sequences):
    found = accept("selection", tiny.select, sequences)
    assert found is None or set(found) <= set(tiny.all_sequences())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@fuzz
@given(
    content=st.one_of(
        files(
            b"sequences:\n- {name: cow, attributes: [DEF, OCC], eval_t: true}\n", b"a: &a [*a]", b"!!python/x"
        ),
        json_values.map(lambda value: yaml.safe_dump(value).encode()),
        json_values.map(lambda value: yaml.safe_dump({"sequences": value}).encode()),
        json_values.map(
            lambda value: yaml.safe_dump({"sequences": [{"name": "cow", "attributes": value}]}).encode()
        ),
    )
)
def test_db_info(tiny, content):
    from osvos_keras.evaluation.db_info import read_db_info

    (tiny.root / "db_info.yml").write_bytes(content)
    accept("db_info.yml", read_db_info, tiny)


@fuzz
@given(content=files(b'{"made_with": {"a": 1}}') | json_values.map(lambda value: json.dumps(value).encode()))
def test_state_files(tmp_path, content):
    from osvos_keras.io.records import read_record

    (tmp_path / "state.json").write_bytes(content)
    accept("state file", read_record, tmp_path / "state.json", {"a": 1})


def notebook_bytes(parameters: str) -> bytes:
    cell = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    return nbformat.writes(nbformat.v4.new_notebook(cells=[cell])).encode()


@fuzz
@given(
    content=st.one_of(
        files(notebook_bytes('A = 1  # one\nB: int | None = None  # two\nC = "x"')),
        st.text(max_size=60).map(notebook_bytes),
        json_values.map(lambda value: json.dumps(value).encode()),
    )
)
def test_notebooks(tmp_path, content):
    from osvos_keras.batch.parameters import read_parameters

    (tmp_path / "a.ipynb").write_bytes(content)
    accept("notebook", read_parameters, tmp_path / "a.ipynb")


@fuzz
@given(
    name=st.sampled_from(["HEIGHT", "ONLINE_STEPS", "SEQUENCE", "WEIGHTS"]) | st.text(max_size=9),
    value=st.text(max_size=40),
)
def test_parameters(name, value):
    from osvos_keras.batch.parameters import check_parameters, find_notebook
    from osvos_keras.io.literals import parse_pairs

    notebook = find_notebook("04_online_training")
    accept("parameter", lambda: check_parameters(notebook, parse_pairs([f"{name}={value}"], "-p A=1")))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small model and its weights file, of a few kilobytes."""
    import keras

    from osvos_keras.weights import save_weights

    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    path = tmp_path_factory.mktemp("weights") / "a.weights.h5"
    save_weights(model, path)
    return model, path.read_bytes(), [value.copy() for value in model.get_weights()]


@fuzz
@given(data=st.data())
def test_weights(tmp_path, weights, data):
    from osvos_keras.weights import load_weights

    model, whole, values = weights
    path = tmp_path / "b.weights.h5"
    path.write_bytes(data.draw(files(whole)))
    before = REFUSED["weights"]
    accept("weights", load_weights, model, path)
    if REFUSED["weights"] == before:  # read: then these are the weights that were written
        for found, expected in zip(model.get_weights(), values, strict=True):
            np.testing.assert_array_equal(found, expected)


def h5_bytes() -> bytes:
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        file["layers/prepare_frame/vars/conventions"] = np.frombuffer(b"osvos-pytorch", np.uint8)
    return out.getvalue()


@fuzz
@given(content=files(h5_bytes()))
def test_conventions(tmp_path, content):
    from osvos_keras.weights import find_conventions

    (tmp_path / "a.weights.h5").write_bytes(content)
    accept("conventions", find_conventions, tmp_path / "a.weights.h5")


# MindSpore's format by hand: a tag, and a tensor of dimensions, type and content.
TENSOR = bytes([1 << 3, 2, 1 << 3, 3]) + message(2, b"Float32") + message(3, bytes(24))
CKPT = message(1, message(1, b"features.0.weight") + message(2, TENSOR))


@fuzz
@given(content=files(CKPT, b"PK\x03\x04" + bytes(40), b"\x80\x02}q\x00."))
def test_checkpoints(tmp_path, content):
    from osvos_keras.convert.readers import read_checkpoint

    (tmp_path / "a.ckpt").write_bytes(content)
    accept("checkpoint", read_checkpoint, tmp_path / "a.ckpt")


def video_bytes(codec: str, kind: str) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=Fraction(10))
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        for index in range(4):
            picture = np.full((16, 16, 3), 60 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
    return out.getvalue()


VIDEOS = [
    video_bytes("libvpx-vp9", "webm"),
    video_bytes("mpeg4", "avi"),
    b"ffconcat version 1.0\nfile 'a.mp4'\n",
]


@fuzz
@given(content=files(*VIDEOS))
def test_videos(tmp_path, content):
    from osvos_keras.video.codec import read_video

    (tmp_path / "a.mp4").write_bytes(content)
    accept("video", lambda: sum(1 for _ in read_video(tmp_path / "a.mp4")))


EDGE_TEXT = st.sampled_from(
    ["", " ", "nan", "inf", "-1", "1e400", "9" * 40, "1,2", "0,0,0,0", "0,0,1e20,1e20", "∞", "a=b"]
)


@fuzz
@given(
    text=st.text(max_size=40)
    | EDGE_TEXT
    | st.lists(st.floats(), max_size=8).map(lambda f: ",".join(map(str, f)))
)
def test_marks(text):
    from osvos_keras.cli.marks import parse_box, parse_points
    from osvos_keras.marking.marks import box_region, polygon_mask

    accept("box", lambda: box_region(parse_box(text), (9, 7)))
    accept("polygon", lambda: polygon_mask(parse_points(text), (9, 7)))


COMMANDS = [
    ["segment", "nope.mp4", "--out", "x.webm", "--fps", "TEXT"],
    ["segment", "nope.mp4", "--out", "x.webm", "--box", "TEXT"],
    ["segment", "nope.mp4", "--out", "x.webm", "--correct", "TEXT"],
    ["segment", "nope.mp4", "--out", "x.webm", "--mask", "TEXT"],
    ["mark", "nope.mp4", "--frame", "TEXT", "--box", "1,1,5,5"],
    ["mark", "nope.mp4", "--box", "1,1,5,5", "--out", "TEXT"],
    ["mark", "TEXT", "--polygon", "1,1 5,5 9,1"],
    ["segment", "TEXT", "--out", "x.webm", "--box", "1,1,5,5"],
    ["parent", "--davis", "nope", "--policy", "TEXT"],
    ["parent", "--davis", "nope", "--chunk", "TEXT"],
    ["run", "TEXT"],
    ["run", "04_online_training", "-p", "TEXT", "--each-sequence", ","],
    ["run", "04_online_training", "-p", "DAVIS_ROOT=nope", "--each-sequence", "TEXT"],
    ["evaluate", "TEXT", "--davis", "nope"],
    ["data", "verify", "--davis", "nope", "--sequences", "TEXT"],
    ["data", "download", "--to", "x", "--url", "TEXT"],
    ["weights", "convert", "TEXT", "--to", "x.weights.h5"],
]


@settings(fuzz, max_examples=EXAMPLES * 2)
@given(command=st.sampled_from(COMMANDS), text=st.text(max_size=60) | EDGE_TEXT)
def test_arguments(tmp_path, monkeypatch, command, text):
    """None of these can do any work, so each leaves with a sentence; `--debug` lets other errors out."""
    from osvos_keras.cli import main

    monkeypatch.chdir(tmp_path)
    TRIED["arguments"] += 1
    with pytest.raises((OsvosError, SystemExit)) as leaving:
        main(["--debug", *(text if word == "TEXT" else word for word in command)])
    REFUSED["arguments"] += 1
    assert not isinstance(leaving.value, SystemExit) or leaving.value.code
