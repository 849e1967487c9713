"""The data set on disk: what is read, and how each kind of bad file is reported."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from osvos_keras.davis import Davis
from osvos_keras.errors import ConfigError, DataError, OsvosError
from osvos_keras.io.images import read_frame
from osvos_keras.io.masks import read_annotation, write_mask
from osvos_keras.io.paths import PROJECT
from tests.conftest import write_sequence


def frame_of(davis, sequence="ant", index=0):
    return davis.frames(sequence)[index]


def annotation_of(davis, sequence="ant", index=0):
    return davis.annotation_path(frame_of(davis, sequence, index))


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def test_missing_root_names_the_folder(tmp_path):
    with pytest.raises(DataError, match=r"nowhere/JPEGImages/480p: no such folder.*osvos data download"):
        Davis(tmp_path / "nowhere")


def test_another_resolution_is_named(tiny):
    with pytest.raises(DataError, match=r"1080p: no such folder \(resolutions found: 480p; RESOLUTION"):
        Davis(tiny.root, "1080p")


def test_relative_root_is_found_from_any_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Davis("data/sample").root == PROJECT / "data" / "sample"


def test_both_list_formats_give_the_same_sequences(tiny):
    official = tiny.sequences("train")
    tiny.list_path("train").write_text("ant\n\nbee/\n")
    assert tiny.sequences("train") == official == ["ant", "bee"]


def test_high_resolution_is_a_folder_of_its_own(tiny):
    write_sequence(tiny.root, "ant", size=(90, 122))
    for kind in ("JPEGImages", "Annotations"):
        (tiny.root / kind / "480p" / "ant").rename(tiny.root / kind / "ant")
        (tiny.root / kind / "1080p").mkdir()
        (tiny.root / kind / "ant").rename(tiny.root / kind / "1080p" / "ant")
    high = Davis(tiny.root, "1080p")
    assert high.all_sequences() == ["ant"]
    assert read_frame(high.frames("ant")[0]).shape == (90, 122, 3)


def test_unknown_split_names_those_there_are(tiny):
    with pytest.raises(DataError, match=r"test\.txt: no such list \(splits found: train, val\)"):
        tiny.sequences("test")


def test_unknown_sequence_suggests_a_close_name(tiny):
    with pytest.raises(DataError, match="no such sequence or split; did you mean bee"):
        tiny.select("beee")


def test_list_naming_a_missing_file(tiny):
    frame_of(tiny, "bee", 1).unlink()
    with pytest.raises(DataError, match=r"train\.txt, line 6: .*bee/00001\.jpg does not exist"):
        tiny.sequences("train")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("../../secret", r"train\.txt, line 1: .* lies outside"),
        ("/JPEGImages/480p/../../../etc/passwd", r"train\.txt, line 1: .* lies outside"),
        ("../secret.jpg x.png", r"train\.txt, line 1: .* lies outside"),
        ("", r"train\.txt: the list is empty"),
    ],
)
def test_names_in_lists_cannot_leave_the_root_and_there_is_one(tiny, line, message):
    tiny.list_path("train").write_text(line + "\n")
    with pytest.raises(DataError, match=message):
        tiny.sequences("train")


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones((10, 20), bool), "20×10 pixels, but its frame has 61×45"),
        (np.zeros((45, 61), bool), "the first annotation is empty"),
    ],
)
def test_a_wrong_first_annotation_is_named(tiny, mask, message):
    write_mask(annotation_of(tiny), mask)
    with pytest.raises(DataError, match=rf"ant/00000\.png: {message}"):
        tiny.first("ant")


def test_mask_is_written_as_0_and_255_and_read_back(tmp_path):
    mask = np.random.default_rng(0).random((7, 9)) > 0.5
    write_mask(tmp_path / "new" / "00000.png", mask)
    image = Image.open(tmp_path / "new" / "00000.png")
    assert image.mode == "L"
    np.testing.assert_array_equal(np.asarray(image), mask * np.uint8(255))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["00000.png"]


def names_of(davis, sequence="ant"):
    return [path.name for path in davis.frames(sequence)]


def rename_frames(davis, *names, sequence="ant"):
    for path, name in reversed(list(zip(davis.frames(sequence), names, strict=True))):
        annotation = davis.annotation_path(path)
        annotation.rename(annotation.with_name(f"{name.partition('.')[0]}.png"))
        path.rename(path.with_name(name))


@pytest.mark.parametrize(
    "names",
    [
        ["frame8.jpg", "frame9.jpg", "frame10.jpg", "frame11.jpg"],
        ["00001.jpg", "00002.JPG", "00003.jpeg", "00004.png"],
        ["my frame 1.webp", "my frame 2.tif", "my frame 10.bmp", "my frame 20.JPEG"],
    ],
)
def test_frames_come_in_the_order_of_their_numbers_and_none_is_lost(tiny, names):
    pictures = [read_frame(path) for path in tiny.frames("ant")]
    annotations = [read_annotation(path) for path in tiny.annotations("ant")]
    rename_frames(tiny, *names)  # whatever the suffix says, the files stay JPEGs
    assert names_of(tiny) == names
    for path, picture, mask in zip(tiny.frames("ant"), pictures, annotations, strict=True):
        np.testing.assert_array_equal(read_frame(path), picture)
        np.testing.assert_array_equal(read_annotation(tiny.annotation_path(path)), mask)


def test_annotations_with_a_suffix_in_upper_case_are_found(tiny):
    for path in tiny.annotations("ant")[:2]:
        path.rename(path.with_suffix(".PNG"))
    assert [path.suffix for path in tiny.annotations("ant")] == [".PNG", ".PNG", ".png", ".png"]


def test_hidden_files_and_leftovers_are_neither_frames_nor_sequences(tiny):
    expected = names_of(tiny)
    frame_of(tiny).with_name("._00000.jpg").write_bytes(b"macOS")
    frame_of(tiny).with_name(".tmp-1-00000.jpg").write_bytes(b"half")
    for name in (".ipynb_checkpoints", "__MACOSX", ".hidden"):
        (tiny.root / "JPEGImages" / "480p" / name).mkdir()
    (tiny.root / "JPEGImages" / "480p" / "notes.txt").touch()
    assert names_of(tiny) == expected
    assert tiny.all_sequences() == ["ant", "bee", "cow"]


def test_two_frames_of_one_name_are_refused(tiny):
    write_mask(frame_of(tiny, index=1).with_suffix(".png"), np.ones((45, 61), bool))
    with pytest.raises(DataError, match=r"ant: 00001\.jpg, 00001\.png are 2 frames of one name"):
        tiny.frames("ant")


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_what_is_no_file_among_the_frames_is_named_not_left_out(tiny, kind):
    odd = frame_of(tiny).with_name("00009.jpg")
    {"link": lambda: odd.symlink_to("nowhere"), "fifo": lambda: os.mkfifo(odd), "folder": odd.mkdir}[kind]()
    with pytest.raises(DataError, match=r"00009\.jpg: a broken link, a folder or a pipe"):
        tiny.frames("ant")


@pytest.mark.parametrize(
    "name",
    ["../../evil", "/etc", "..", ".", "", " ", ".hidden", "a/b", "a\\b", "nul\0", "new\nline", "x" * 300],
)
def test_names_that_would_leave_the_data_set_are_refused(tiny, name):
    for ask in (tiny.frames, tiny.first, tiny.sequences, lambda name: tiny.select([name])):
        with pytest.raises(ConfigError, match="must be a name alone"):
            ask(name)
    with pytest.raises(OsvosError, match=r"must be a name alone|names no sequence"):
        tiny.select(name)
    with pytest.raises(ConfigError, match=r"the resolution is .* must be a name alone"):
        Davis(tiny.root, name)


@pytest.mark.parametrize("selection", ["", ",", " , ", []])
def test_an_empty_selection_is_refused(tiny, selection):
    with pytest.raises(DataError, match=r"names no sequence\. Give a split"):
        tiny.select(selection)


@pytest.mark.parametrize("selection", ["cow,cow", ["ant", "cow", "ant"]])
def test_a_sequence_named_twice_is_refused(tiny, selection):
    with pytest.raises(DataError, match=r"sequence (cow|ant) is named 2 times"):
        tiny.select(selection)


@pytest.mark.parametrize("kind", ["names", "pairs"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lists_in_other_encodings_and_names_with_spaces(tiny, kind, encoding, end):
    for folder in ("JPEGImages", "Annotations"):
        (tiny.root / folder / "480p" / "bee").rename(tiny.root / folder / "480p" / "my café")
    pairs = "/JPEGImages/480p/{0}/00000.jpg /Annotations/480p/{0}/00000.png"
    lines = [{"names": "{}", "pairs": pairs}[kind].format(name) for name in ("my café", "ant")]
    tiny.list_path("train").write_bytes((end.join(lines) + end).encode(encoding))
    assert tiny.sequences("train") == ["my café", "ant"]
    assert tiny.select("my café,ant") == ["my café", "ant"]


def test_lists_without_the_leading_slash_and_with_backslashes(tiny):
    line = "JPEGImages\\480p\\ant\\00000.jpg Annotations\\480p\\ant\\00000.png\n"
    tiny.list_path("train").write_text(line)
    assert tiny.sequences("train") == ["ant"]


@pytest.mark.parametrize("kind", ["binary", "fifo", "folder"])
def test_a_list_that_is_no_text_is_named(tiny, kind, tmp_path):
    path = tmp_path / "list.txt"
    make = {
        "binary": lambda: path.write_bytes(b"a\0b"),
        "fifo": lambda: os.mkfifo(path),
        "folder": path.mkdir,
    }
    make[kind]()
    with pytest.raises(DataError, match=r"list\.txt: (not a text file|a pipe|a folder)"):
        tiny.select(str(path))


@pytest.mark.parametrize("place", ["val.txt", "val_seqs.txt", "ImageSets/2016/val.txt"])
def test_the_original_codes_lists_are_found(tiny, place):
    tiny.list_path("val").unlink()
    (tiny.root / "ImageSets" / "2016").mkdir()
    (tiny.root / place).write_text("bee\n")
    assert tiny.select("val") == ["bee"]


def test_a_list_can_be_given_by_its_path(tiny, tmp_path):
    (tmp_path / "mine.txt").write_text("cow\nant\n")
    assert tiny.select(str(tmp_path / "mine.txt")) == ["cow", "ant"]


def test_a_root_without_lists_points_at_the_command_that_writes_them(tiny):
    shutil.rmtree(tiny.root / "ImageSets")
    with pytest.raises(DataError, match=r"splits found: none.*osvos data lists --davis .*tiny --val"):
        tiny.sequences("val")


def test_a_root_without_sequences_is_named(tiny):
    shutil.rmtree(tiny.root / "JPEGImages" / "480p")
    (tiny.root / "JPEGImages" / "480p").mkdir()
    with pytest.raises(DataError, match="480p: no sequence"):
        tiny.all_sequences()


def test_the_first_annotation_alone_is_enough_for_what_learns_from_it(tiny):
    for path in tiny.annotations("ant")[1:]:
        path.unlink()
    assert list(tiny.known_annotations("ant")) == [frame_of(tiny)]
    assert tiny.first("ant")[1].any()
    assert tiny.select("ant") == ["ant"]
    with pytest.raises(DataError, match=r"ant/00001\.png: no such annotation.*3 of 4 are missing"):
        tiny.annotations("ant")
