"""What other systems do, played here: Windows' drives and held files, file systems without upper case."""

import errno
import ntpath
import os
from pathlib import Path

import filelock
import pytest

from osvos_keras.dataset.lists import write_lists
from osvos_keras.davis import Davis
from osvos_keras.errors import DataError, FolderError, VideoError
from osvos_keras.evaluation import results
from osvos_keras.io import files, paths
from osvos_keras.video.clip import import_clip
from tests.conftest import write_sequence


def one_sequence(tmp_path, frames=1):
    write_sequence(tmp_path / "davis", "cow", (64, 80), frames)
    return Davis(tmp_path / "davis")


def test_a_sequence_is_named_as_its_folder_is(tiny, monkeypatch):
    """Where Cat opens the folder cat, the validation sequence would else be a training sequence too."""
    monkeypatch.setattr(Davis, "frames", lambda davis, name: [davis.root / name.lower() / "00000.jpg"])
    with pytest.raises(DataError, match="Cow: no such sequence or split; did you mean cow"):
        write_lists(tiny, ["Cow"])


@pytest.mark.parametrize("names", [("Frame1.jpg", "frame1.png"), ("a.jpg", "b.jpg", "A.png")])
def test_frames_that_would_become_one_file_elsewhere_are_refused(tmp_path, names):
    davis = one_sequence(tmp_path)
    (source,) = davis.frames("cow")
    clip = tmp_path / "clip"
    clip.mkdir()
    for name in names:
        for folder in (source.parent, clip):
            (folder / name).write_bytes(source.read_bytes())
    with pytest.raises(DataError, match="2 frames of one name"):
        davis.frames("cow")
    with pytest.raises(VideoError, match="exists too, so two frames would be called"):
        import_clip(clip, tmp_path / "run", progress=False)


def test_a_name_that_is_no_text_is_refused_before_any_work(tmp_path):
    davis = one_sequence(tmp_path, 2)
    source = davis.frames("cow")[0]
    source.rename(os.fsdecode(os.fsencode(source.parent) + b"/caf\xe9.jpg"))
    with pytest.raises(DataError, match=r"caf\\udce9\.jpg.*: its name is not UTF-8\. Rename it"):
        davis.frames("cow")
    with pytest.raises(DataError, match="its name is not UTF-8"):
        import_clip(source.parent, tmp_path / "run", progress=False)


def test_results_may_lie_on_another_drive_than_the_masks(tmp_path, monkeypatch):
    assert results._way("runs/masks", "runs/evaluation") == str(Path("..") / "masks")
    monkeypatch.setattr(results.os.path, "relpath", ntpath.relpath)
    assert results._way("D:\\masks", "C:\\results") is None
    results.require_own_folder("C:\\results", "D:\\masks")


def test_a_file_that_another_program_holds_for_a_moment_is_renamed_later(tmp_path, monkeypatch):
    (tmp_path / "new").write_text("new")
    replace, calls = Path.replace, []

    def held(source, target):
        calls.append(source)
        if len(calls) < 3:
            raise PermissionError(errno.EACCES, "held")
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", held)
    with pytest.raises(PermissionError):
        files.replace(tmp_path / "new", tmp_path / "old")
    monkeypatch.setattr(files, "HELD", 2)
    files.replace(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old").read_text() == "new" and len(calls) == 3


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOLCK, r"its file system cannot lock a folder \(No locks available\)"),
        (errno.EACCES, r"\.lock: the lock of another person, which cannot be opened \(Permission denied\)"),
    ],
)
def test_what_cannot_be_locked_is_named(tmp_path, monkeypatch, number, message):
    def fail(lock):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(filelock.FileLock, "_acquire", fail)
    with pytest.raises(FolderError, match=message), files.lock_folder(tmp_path):
        pass


def test_commands_are_quoted_as_the_system_reads_them(monkeypatch):
    words = ["osvos", "mark", "my clip.mp4"]
    assert paths.join_command(words) == "osvos mark 'my clip.mp4'"
    monkeypatch.setattr(paths.os, "name", "nt")
    assert paths.join_command(words) == 'osvos mark "my clip.mp4"'


def test_a_name_that_a_mac_wrote_is_found_as_typed(tmp_path):
    davis = one_sequence(tmp_path, 3)
    folder = davis.frames("cow")[0].parent
    davis.frames("cow")[1].rename(folder / "bo\u0308se.jpg")
    with pytest.warns(UserWarning, match="names differ in form"):
        clip = import_clip(folder, tmp_path / "run", progress=False)
    assert clip.find_frame("b\u00f6se") == clip.find_frame("bo\u0308se.jpg")
