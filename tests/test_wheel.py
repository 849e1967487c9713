"""The wheel: all of the project that a person needs, where there is no checkout and no network."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from importlib.metadata import PathDistribution
from pathlib import Path

import nbformat
import pytest

from osvos_keras.io.files import list_files, sha256
from osvos_keras.io.masks import read_mask
from osvos_keras.io.paths import INSTALLED, NOTEBOOKS, PROJECT
from tests.conftest import write_sequence

BUNDLED = "osvos_keras/bundled/"


def run(*command, cwd) -> str:
    """What a command prints, run without the paths of this test's own environment."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def build(kind: str, source: Path, folder: Path) -> Path:
    run(sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", folder, cwd=source)
    (built,) = folder.glob(f"*.{'whl' if kind == 'wheel' else 'tar.gz'}")
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return build("wheel", PROJECT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def binaries(wheel, tmp_path_factory) -> Path:
    """`bin` of an environment that has the wheel, and all else from the tested environment."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    libraries = sysconfig.get_path("purelib", vars={"base": str(folder)})
    tested = [path for path in sys.path if path.endswith("-packages")]  # without what a .pth there adds
    Path(libraries, "tested.pth").write_text("\n".join(tested))
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    return python.parent


@pytest.fixture
def course(binaries, tmp_path) -> Path:
    """The course, written out by the installed command."""
    run(binaries / "osvos", "notebooks", "--to", "course", cwd=tmp_path)
    return tmp_path / "course"


def test_it_carries_sample_weights_and_notebooks_and_no_script(wheel):
    assert wheel.stat().st_size < 100e6
    with zipfile.ZipFile(wheel) as archive:
        bundled = {name.removeprefix(BUNDLED) for name in archive.namelist() if name.startswith(BUNDLED)}
        same = all(archive.read(BUNDLED + name) == (PROJECT / name).read_bytes() for name in bundled)
    folders = [PROJECT / "data" / "sample", PROJECT / "data" / "weights", NOTEBOOKS]
    wanted = {path for folder in folders for path in folder.rglob("*") if path.is_file()}
    names = {path.relative_to(PROJECT).as_posix() for path in wanted if path.suffix != ".py"}
    assert {name for name in names if "/." not in name} | {"data/README.md"} == bundled and same


def test_the_licences_of_code_sample_and_weights_travel_along(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (info,) = [path for path in zipfile.Path(archive).iterdir() if path.name.endswith(".dist-info")]
        metadata = PathDistribution(info).metadata
        assert {"MIT", "CC-BY-NC-4.0"} < set(metadata["License-Expression"].split(" AND "))
        for name in ("LICENSE", "data/README.md", "data/weights/README.md"):
            assert name in metadata.get_all("License-File")
            assert (info / "licenses" / name).read_bytes() == (PROJECT / name).read_bytes()


def test_the_source_archive_builds_the_same_wheel(wheel, tmp_path):
    with tarfile.open(build("sdist", PROJECT, tmp_path)) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert sha256(build("wheel", source, tmp_path)) == sha256(wheel)


def test_the_checkout_reads_its_own_folders_and_holds_no_second_copy():
    assert (PROJECT / "pyproject.toml").is_file() and not INSTALLED.exists()


def test_what_is_installed_finds_all_that_it_carries(binaries, tmp_path):
    code = (
        "import osvos_keras\n"
        "from osvos_keras.weights import find_weights\n"
        "print(osvos_keras.__file__, osvos_keras.Davis('data/sample').root)\n"
        "print(find_weights('imagenet'), find_weights('parent'))"
    )
    package, *found = map(Path, run(binaries / "python", "-c", code, cwd=tmp_path).split())
    assert package.is_relative_to(binaries.parent)
    data = package.parent / "bundled" / "data"
    weights = sorted((data / "weights").glob("*.h5"), reverse=True)
    assert found == [data / "sample", *weights]


def test_the_course_is_written_out_whole(course):
    for written, own in ((course, NOTEBOOKS), (course / "figures", NOTEBOOKS / "figures")):
        files = list_files(own, ".ipynb", ".png")
        assert list_files(written) == [written / path.name for path in files]
        assert all((written / path.name).read_bytes() == path.read_bytes() for path in files)


@pytest.mark.slow
def test_a_notebook_runs_where_it_was_written_and_leaves_its_results_there(binaries, course):
    run(binaries / "osvos", "run", "01_data_preparation", cwd=course)
    executed = nbformat.read(course / "runs" / "course" / "notebooks" / "01_data_preparation.ipynb", 4)
    assert executed.metadata.papermill.input_path == str(course / "01_data_preparation.ipynb")
    assert executed.metadata.papermill.exception is None


@pytest.mark.slow
def test_a_clip_is_segmented_with_the_parent_that_the_wheel_carries(binaries, tmp_path):
    write_sequence(tmp_path, "disk")
    (tmp_path / "JPEGImages" / "480p" / "disk").rename(tmp_path / "clip")
    small = ("--height", "48", "--steps", "2")
    run(binaries / "osvos", "segment", "clip", "--box", "9,11,31,33", *small, cwd=tmp_path)
    masks = list_files(tmp_path / "runs" / "segment" / "clip" / "masks" / "clip", ".png")
    assert [read_mask(path).shape for path in masks] == [(45, 61)] * 4
    assert (tmp_path / "clip_result.webm").stat().st_size > 1000
