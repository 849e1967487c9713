"""Paths, listings, locks and atomic writing: the ground that every command stands on."""

import errno
import os
from pathlib import Path

import pytest

from osvos_keras.errors import ConfigError, FolderError
from osvos_keras.io import files
from osvos_keras.io.files import (
    clear_temporaries,
    list_files,
    lock_folder,
    make_folder,
    read_json,
    write_atomically,
    write_json,
)
from osvos_keras.io.paths import PROJECT, find_input, resolve_output


def test_outputs_go_below_the_working_folder_even_where_the_project_has_such_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve_output("runs/x") == tmp_path / "runs" / "x"
    assert resolve_output("data/sample") == tmp_path / "data" / "sample"


def test_the_projects_notebooks_mean_the_project(monkeypatch):
    monkeypatch.chdir(PROJECT / "notebooks")
    assert resolve_output("runs/x") == PROJECT / "runs" / "x"
    assert find_input("data/sample") == PROJECT / "data" / "sample"


def test_only_bundled_inputs_are_found_in_the_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_input("data/sample") == PROJECT / "data" / "sample"
    assert find_input("README.md") == tmp_path / "README.md"
    assert find_input("data/nope") == tmp_path / "data" / "nope"  # as it was typed
    (tmp_path / "data" / "sample").mkdir(parents=True)
    assert find_input("data/sample") == tmp_path / "data" / "sample"  # one's own comes first


@pytest.mark.parametrize("path", ["", " ", "a\0b", "~no_such_user_here/x", "x" * 256, "ö" * 128])
@pytest.mark.parametrize("find", [find_input, resolve_output])
def test_what_cannot_be_a_path_is_one_error(find, path):
    with pytest.raises(ConfigError):
        find(path)


def test_a_loop_of_links_is_one_error(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(ConfigError):
        resolve_output(tmp_path / "a" / "x")


def test_a_listing_is_what_a_person_sees_in_the_order_of_numbers(tmp_path):
    for name in ("f10.jpg", "f2.JPG", "f1.jpeg", "._f1.jpg", ".tmp-12-f3.jpg", "note.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    assert [path.name for path in list_files(tmp_path, ".jpg", ".jpeg")] == ["f1.jpeg", "f2.JPG", "f10.jpg"]
    assert list_files(tmp_path / "nowhere") == []


def test_the_order_never_depends_on_the_file_system(tmp_path):
    names = ["a01", "a1", "a001", "b", "a1b", "²", "10", "9"]
    for name in names:
        (tmp_path / name).touch()
    found = [path.name for path in list_files(tmp_path)]
    assert found.index("9") < found.index("10")
    assert sorted(reversed(found), key=files.natural_key) == found


def test_stale_temporaries_go_and_nothing_else(tmp_path):
    for name in (".tmp-1-00000.png", "00000.png", ".lock"):
        (tmp_path / name).touch()
    (tmp_path / ".tmp-1-osvos" / "variables").mkdir(parents=True)
    clear_temporaries(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"00000.png", ".lock"}


def test_temporaries_of_one_name_go_and_not_those_of_a_name_that_ends_like_it(tmp_path):
    for name in ("cat_result.webm", "my-cat_result.webm"):
        (tmp_path / f".tmp-1-{name}").touch()
    clear_temporaries(tmp_path, "cat_result.webm")
    assert [path.name for path in tmp_path.iterdir()] == [".tmp-1-my-cat_result.webm"]


def test_a_folder_that_another_run_clears_meanwhile_can_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "touch", lambda probe: clear_temporaries(probe.parent))
    assert make_folder(tmp_path / "run") == tmp_path / "run"


def test_a_failed_write_leaves_the_old_file_and_no_temporary(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), write_atomically(path) as temporary:
        temporary.write_text('{"a": ')
        raise RuntimeError
    assert read_json(path) == {"a": 1}
    assert [one.name for one in tmp_path.iterdir()] == ["a.json"]


def test_a_full_disk_is_one_error_that_names_file_and_room(tmp_path):
    with (
        pytest.raises(FolderError, match=r"a\.bin: cannot be written .*bytes are free in .*Make room"),
        write_atomically(tmp_path / "a.bin") as temporary,
    ):
        temporary.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


def test_where_a_folder_lies_in_the_way_is_one_error(tmp_path):
    (tmp_path / "a.json" / "b").mkdir(parents=True)
    with pytest.raises(FolderError, match=r"a\.json: cannot be written"):
        write_json(tmp_path / "a.json", {})


@pytest.mark.parametrize(
    "content",
    [b"", b"[1]", b"{", b"\xff\xfe\x00", b'{"a": ' + b"[" * 100_000, b'{"a": ' + b"1" * 5000 + b"}"],
)
def test_a_damaged_state_file_is_no_state(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    assert read_json(tmp_path / "a.json") is None


def test_no_state_file_a_folder_or_a_pipe_is_no_state(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "nope", tmp_path / "pipe", Path("/proc/self/mem")):
        assert read_json(path) is None


def test_a_folder_is_held_by_one(tmp_path):
    with (
        lock_folder(tmp_path / "run") as folder,
        pytest.raises(FolderError, match=f"{tmp_path}/run: another run is writing there.*RUN_DIR"),
        lock_folder(folder),
    ):
        pass
    with lock_folder(folder):  # free again
        pass
