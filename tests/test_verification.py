"""A data set checked as a whole, and the lists that are written for it."""

import os

import numpy as np
import pytest
from PIL import Image

from osvos_keras.dataset.lists import write_lists
from osvos_keras.dataset.verification import verify
from osvos_keras.davis import Davis
from osvos_keras.errors import DataError, FolderError
from osvos_keras.io.masks import write_mask
from tests.conftest import FRAMES, call, write_sequence
from tests.test_davis import annotation_of, frame_of, truncate


def test_verify_accepts_a_good_data_set(tiny):
    assert list(verify(tiny, "ant")) == []


def test_verify_names_every_problem(tiny):
    truncate(frame_of(tiny, index=0))
    annotation_of(tiny, index=1).unlink()
    write_mask(annotation_of(tiny, index=2), np.ones((5, 5), bool))
    Image.fromarray(np.full((45, 61), 7, np.uint8)).save(annotation_of(tiny, index=3))
    found = {problem.path.name: problem.what for problem in verify(tiny, "ant")}
    assert "truncated" in found["00000.jpg"]
    assert "no such file" in found["00001.png"]
    assert "5×5 pixels" in found["00002.png"]
    assert "holds the values 7" in found["00003.png"]


def test_verify_tells_harmless_findings_apart(tiny):
    write_mask(annotation_of(tiny, index=2), np.zeros((45, 61), bool))
    Image.open(annotation_of(tiny, index=3)).convert("RGBA").save(annotation_of(tiny, index=3))
    problems = list(verify(tiny, "ant"))
    assert [problem.harmless for problem in problems] == [True, True]
    write_mask(annotation_of(tiny, index=0), np.zeros((45, 61), bool))
    assert not next(verify(tiny, "ant")).harmless


def test_davis_2016_has_its_published_counts_and_quirks(shared_davis):
    train = shared_davis.sequences("train")
    assert (len(train), sum(len(shared_davis.frames(name)) for name in train)) == (30, 2079)
    notes = [problem for name in ("bear", "bmx-bumps", "surf") for problem in verify(shared_davis, name)]
    assert all(problem.harmless for problem in notes)
    assert sum("empty" in problem.what for problem in notes) == 15
    assert [
        problem.path.parent.name + "/" + problem.path.name for problem in notes if "channels" in problem.what
    ] == ["bear/00077.png"]


def test_written_lists_are_in_the_official_format(tiny):
    write_lists(tiny, "bee,cow")
    lines = tiny.list_path("train").read_text().splitlines()
    assert lines[0] == "/JPEGImages/480p/ant/00000.jpg /Annotations/480p/ant/00000.png"
    assert len(lines) == FRAMES
    assert tiny.sequences("val") == ["bee", "cow"]


def run(*arguments):
    """The status or the error of `osvos data …`."""
    return call(["data", *map(str, arguments)])


def found_in(davis, sequence="ant"):
    return {problem.path.name: (problem.what, problem.harmless) for problem in verify(davis, sequence)}


def test_verify_tells_what_the_reader_does_to_a_file(tiny):
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.open(frame_of(tiny, index=1)).save(frame_of(tiny, index=1), exif=exif)
    Image.open(frame_of(tiny, index=2)).save(frame_of(tiny, index=2), format="WEBP")
    assert found_in(tiny) == {
        "00001.jpg": ("its EXIF orientation is 3; read upright, as viewers show it.", True),
        "00002.jpg": ("a WEBP file in spite of its suffix; read as such.", True),
    }


def test_a_frame_turned_by_exif_no_longer_fits_its_annotation_and_verify_says_so(tiny):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(frame_of(tiny)).save(frame_of(tiny), exif=exif)
    what, harmless = found_in(tiny)["00000.png"]
    assert "61×45 pixels, but its frame has 45×61" in what and not harmless
    with pytest.raises(DataError, match="61×45 pixels, but its frame has 45×61"):
        tiny.first("ant")
    with pytest.raises(DataError, match="61×45 pixels, but its frame has 45×61"):
        tiny.check_sizes("ant")


def test_verify_names_what_belongs_to_nothing(tiny):
    frame_of(tiny).with_name("notes.txt").touch()
    annotation_of(tiny).with_name("00001.bmp").touch()
    write_mask(annotation_of(tiny).with_name("00009.png"), np.ones((45, 61), bool))
    found = found_in(tiny)
    assert found["notes.txt"] == ("its suffix is not an image's; left out.", True)
    assert found["00001.bmp"] == ("its suffix is not an annotation's (.png); left out.", True)
    assert found["00009.png"] == ("an annotation without a frame.", False)


def test_frames_of_two_sizes_are_an_error(tiny):
    Image.new("RGB", (40, 30)).save(frame_of(tiny, index=2))
    assert found_in(tiny)["00002.jpg"] == ("40×30 pixels, but the first frame has 61×45 pixels.", False)


def test_a_sequence_with_its_first_annotation_only_is_no_error(tiny):
    for path in tiny.annotations("ant")[1:]:
        path.unlink()
    (what, harmless) = found_in(tiny)["00001.png"]
    assert what.startswith("no such file; 3 of 4 frames have no annotation") and harmless
    annotation_of(tiny).unlink()
    assert found_in(tiny)["00000.png"] == ("no such file.", False)


def test_one_bad_sequence_does_not_stop_verify(tiny, capsys):
    os.mkfifo(frame_of(tiny).with_name("00009.jpg"))
    assert run("verify", "--davis", tiny.root) == 1
    printed = capsys.readouterr().out
    assert "00009.jpg: a broken link, a folder or a pipe" in printed
    assert printed.endswith("3 sequences, 8 frames, 1 errors\n")


@pytest.mark.parametrize("sequences", ["", ","])
def test_verify_of_nothing_is_refused(tiny, sequences):
    assert "names no sequence" in run("verify", "--davis", tiny.root, "--sequences", sequences)


def test_lists_of_sequences_with_their_first_annotation_only(tiny):
    for path in [*tiny.annotations("ant")[1:], *tiny.annotations("cow")[1:]]:
        path.unlink()
    write_lists(tiny, "cow")
    assert len(tiny.list_path("val").read_text().splitlines()) == 1
    assert len(tiny.list_path("train").read_text().splitlines()) == 1 + FRAMES
    assert (tiny.sequences("train"), tiny.sequences("val")) == (["ant", "bee"], ["cow"])
    annotation_of(tiny, "ant").unlink()
    with pytest.raises(DataError, match=r"ant/00000\.png: no such annotation"):
        write_lists(tiny, "cow")


def test_lists_of_a_single_sequence(tmp_path):
    write_sequence(tmp_path, "only")
    davis = Davis(tmp_path)
    write_lists(davis, "only")
    assert davis.sequences("val") == ["only"]
    with pytest.raises(DataError, match=r"train\.txt: the list is empty"):
        davis.sequences("train")


@pytest.mark.parametrize("val", ["", ","])
def test_an_empty_list_of_validation_sequences_is_refused(tiny, val):
    before = tiny.list_path("val").read_text()
    assert run("lists", "--val", "cat") == 2  # the bundled sample's lists are not for writing
    assert "names no sequence" in run("lists", "--davis", tiny.root, "--val", val)
    assert tiny.list_path("val").read_text() == before


def test_the_command_writes_both_lists_and_keeps_the_old_ones(tiny, capsys):
    official = tiny.list_path("val").read_text()
    for val in ("bee", "ant"):
        assert run("lists", "--davis", tiny.root, "--val", val) == 0
    assert (tiny.sequences("train"), tiny.sequences("val")) == (["bee", "cow"], ["ant"])
    folder = tiny.list_path("val").parent
    assert (folder / "val.txt.old1").read_text() == official
    assert "bee/00000.jpg" in (folder / "val.txt.old2").read_text()
    assert "val.txt (the old list is kept as val.txt.old2)" in capsys.readouterr().out
    assert set(write_lists(tiny, "ant").values()) == {None}  # the same again
    assert len(list(folder.glob("*.old*"))) == 4


def test_lists_that_cannot_be_written_end_in_one_sentence(tmp_path):
    write_sequence(tmp_path, "only")
    (tmp_path / "ImageSets").write_text("a file where the folder should be")
    with pytest.raises(FolderError, match=r"train\.txt: cannot be written"):
        write_lists(Davis(tmp_path), "only")
    assert "ImageSets/480p/train.txt: cannot be written" in run("lists", "--davis", tmp_path, "--val", "only")
