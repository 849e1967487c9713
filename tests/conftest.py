"""Fixtures: a tiny data set made on the spot, and the reference data where it is present."""

import gc
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported by any test

import hypothesis
import numpy as np
import pytest
from PIL import Image

from osvos_keras.config import OnlineConfig
from osvos_keras.dataset.lists import write_lists
from osvos_keras.davis import Davis
from osvos_keras.io.masks import read_annotation, write_mask
from osvos_keras.io.paths import PROJECT
from tests.browser import open_browser

# Tests that a shell runs in the background ignore Ctrl-C, and the processes that they start would too.
signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile(
    "quiet",
    deadline=None,
    database=None,
    derandomize=True,  # the same under any load, and in every run
)
hypothesis.settings.load_profile("quiet")

SHARED = PROJECT.parent / "shared"
FRAMES = 4
NARROW = 4  # channels of the first block of a narrow network, where VGG16 has 64
ONLINE = OnlineConfig(height=0, steps=6, seed=1)
QUIET = {"policy": "float32", "progress": False, "chunk": 2}  # options of a training


def write_sequence(root: Path, name: str, size=(45, 61), frames: int = FRAMES, seed: int = 0) -> None:
    """A bright disk on a dark textured ground, moving to the right: frames and annotations."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(seed).integers(0, 60, (height, width, 3))
    for index in range(frames):
        disk = (y - height / 2) ** 2 + (x - width / 3 - 2 * index) ** 2 < (height / 4) ** 2
        frame = np.where(disk[..., None], 250 - noise // 2, noise).astype(np.uint8)
        path = root / "JPEGImages" / "480p" / name / f"{index:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(frame).save(path, quality=95)
        write_mask(root / "Annotations" / "480p" / name / f"{index:05d}.png", disk)


@pytest.fixture(autouse=True)
def sigterm_ends_pytest():
    """Not the handler of a command that a test has run, which would keep pytest going."""
    yield
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def call(arguments: list[str]) -> int | str | None:
    """Run the `osvos` command here; return its exit status, or what it says when it fails."""
    from osvos_keras.cli import main

    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    return leaving.value.code


def free_port() -> int:
    """A port of this machine on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


APART = """
import json, sys
from osvos_keras.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    print(json.dumps([end.code, [*sys.modules]]))
"""


def call_apart(*arguments) -> tuple[int | str | None, set[str]]:
    """As `call`, in a process of its own, and the modules that it imported."""
    command = [sys.executable, "-c", APART, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    said, modules = json.loads(done.stdout.splitlines()[-1])
    return said, set(modules)


def contents(folder: Path) -> dict[Path, bytes | None]:
    """What lies below a folder, by its path there; without the contents of pipes."""
    files = {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}
    return {path.relative_to(folder): content for path, content in files.items()}


def stop_at(step: int):
    """A callback that interrupts a training after so many steps, as Ctrl-C does."""
    from osvos_keras.callbacks import AtSteps  # imports Keras, which many tests do without

    return AtSteps({step}, interrupt)


def weights_of(model) -> np.ndarray:
    """All weights of a network, one after another."""
    return np.concatenate([np.asarray(weight).ravel() for weight in model.weights])


def interrupt(*_, **__):
    """Ctrl-C, in place of any function."""
    raise KeyboardInterrupt


def refuse(what: str):
    """In place of a function that must not be called again."""
    return lambda *_, **__: pytest.fail(f"{what} again")


@contextmanager
def files_up_to(size: int):
    """No file can grow beyond so many bytes, here and in processes that are started: as on a full disk.

    Nothing is compiled meanwhile: Python 3.11 leaves cut files in `__pycache__`, and cannot read them later.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "dont_write_bytecode", True)
        patch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(autouse=True)
def free_networks():
    """Free what a test built. Networks and their graphs are cycles, and a worker grew to 10 GB with them."""
    yield
    if "keras" in sys.modules:
        import keras

        keras.backend.clear_session()
        free_cycles()


@pytest.fixture(scope="module", autouse=True)
def free_what_fixtures_built():
    """Free what was still in use when a test ended, as its fixtures were."""
    yield
    gc.unfreeze()
    free_cycles()


def free_cycles() -> None:
    gc.collect()
    gc.freeze()  # what is left stays for now; to look through it took half a second per test


@pytest.fixture(scope="session")
def narrow_weights(tmp_path_factory) -> Path:
    """A folder like `data/weights`, for networks with a sixteenth of VGG16's channels: random weights."""
    from osvos_keras import model
    from osvos_keras.conventions import OURS
    from osvos_keras.weights import FILES, save_weights

    folder, random = tmp_path_factory.mktemp("weights"), np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "WIDTH", NARROW)
        save_weights(model._backbone("float32", 0, OURS), folder / FILES["imagenet"])
        parent = model.build_osvos(None)
    for layer in parent.layers:
        if layer.name.startswith("side") or layer.name == "fuse":
            layer.set_weights([random.normal(0, 0.1, weight.shape) for weight in layer.get_weights()])
    save_weights(parent, folder / FILES["parent"])
    return folder


@pytest.fixture
def narrow(monkeypatch, narrow_weights) -> None:
    """Networks that this process builds are narrow, and `imagenet` and `parent` have random weights."""
    from osvos_keras import model, weights

    monkeypatch.setattr(model, "WIDTH", NARROW)
    monkeypatch.setattr(weights, "BUNDLED", narrow_weights)


@pytest.fixture
def tiny(tmp_path) -> Davis:
    """Two training sequences and one for validation, four frames each, odd sizes, with lists."""
    root = tmp_path / "tiny"
    for seed, name in enumerate(("ant", "bee", "cow")):
        write_sequence(root, name, seed=seed)
    davis = Davis(root)
    write_lists(davis, ["cow"])
    return davis


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data, outside the project."""
    if not (SHARED / "davis-2016").is_dir():
        pytest.skip(f"needs the reference data in {SHARED}, which is not part of the project")
    return SHARED


@pytest.fixture(scope="session")
def shared_davis(shared) -> Davis:
    return Davis(shared / "davis-2016")


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="reads .pth files; not a dependency of the project")


@pytest.fixture
def davis(tmp_path) -> Davis:
    """Three sequences of 5, 7 and 12 frames, the last two in `val`."""
    root = tmp_path / "davis"
    for seed, (name, frames) in enumerate({"ant": 5, "bee": 7, "cow": 12}.items()):
        write_sequence(root, name, frames=frames, seed=seed)
    davis = Davis(root)
    write_lists(davis, ["bee", "cow"])
    return davis


@pytest.fixture
def masks(davis, tmp_path) -> Path:
    """Masks of every sequence of `davis` that drift off the object, one pixel every second frame."""
    folder = tmp_path / "method"
    for name in davis.all_sequences():
        for index, path in enumerate(davis.annotations(name)):
            write_mask(folder / name / path.name, np.roll(read_annotation(path), index // 2, 1))
    return folder
