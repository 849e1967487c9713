"""The data set on disk: what is read, and how each kind of bad file is reported."""

import numpy as np
import pytest
from PIL import Image

from osvos_keras.davis import Davis, read_annotation, read_frame, write_mask
from osvos_keras.errors import DataError
from osvos_keras.files import PROJECT
from osvos_keras.verification import verify, write_lists
from tests.conftest import FRAMES, write_sequence


def frame_of(davis, sequence="ant", index=0):
    return davis.frames(sequence)[index]


def annotation_of(davis, sequence="ant", index=0):
    return davis.annotation_path(frame_of(davis, sequence, index))


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def test_missing_root_names_the_folder(tmp_path):
    with pytest.raises(DataError, match=r"nowhere/JPEGImages/480p: no such folder.*osvos data download"):
        Davis(tmp_path / "nowhere")


def test_relative_root_is_found_from_any_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Davis("data/sample").root == PROJECT / "data" / "sample"


def test_both_list_formats_give_the_same_sequences(tiny):
    official = tiny.sequences("train")
    tiny.list_path("train").write_text("ant\n\nbee\n")
    assert tiny.sequences("train") == official == ["ant", "bee"]


def test_lists_of_2017_are_found(tiny):
    own = tiny.list_path("val")
    later = tiny.root / "ImageSets" / "2016" / "val.txt"
    later.parent.mkdir()
    own.rename(later)
    assert tiny.sequences("val") == ["cow"]


def test_high_resolution_is_a_folder_of_its_own(tiny):
    write_sequence(tiny.root, "ant", size=(90, 122))
    for kind in ("JPEGImages", "Annotations"):
        (tiny.root / kind / "480p" / "ant").rename(tiny.root / kind / "ant")
        (tiny.root / kind / "1080p").mkdir()
        (tiny.root / kind / "ant").rename(tiny.root / kind / "1080p" / "ant")
    high = Davis(tiny.root, "1080p")
    assert high.all_sequences() == ["ant"]
    assert read_frame(high.frames("ant")[0]).shape == (90, 122, 3)


def test_written_lists_are_in_the_official_format(tiny):
    write_lists(tiny, "bee,cow")
    lines = tiny.list_path("train").read_text().splitlines()
    assert lines[0] == "/JPEGImages/480p/ant/00000.jpg /Annotations/480p/ant/00000.png"
    assert len(lines) == FRAMES
    assert tiny.sequences("val") == ["bee", "cow"]


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
    "line", ["../../secret", "/JPEGImages/480p/../../../etc/passwd", "../secret.jpg x.png"]
)
def test_names_in_lists_cannot_leave_the_root(tiny, line):
    tiny.list_path("train").write_text(line + "\n")
    with pytest.raises(DataError, match=r"train\.txt, line 1: .* lies outside"):
        tiny.sequences("train")


def test_empty_list(tiny):
    tiny.list_path("train").write_text("\n")
    with pytest.raises(DataError, match="the list is empty"):
        tiny.sequences("train")


def test_truncated_frame(tiny):
    truncate(frame_of(tiny))
    with pytest.raises(DataError, match=r"ant/00000\.jpg: unreadable or truncated"):
        read_frame(frame_of(tiny))


def test_file_that_is_no_image(tiny):
    frame_of(tiny).write_text("not a picture")
    with pytest.raises(DataError, match="not an image"):
        read_frame(frame_of(tiny))


def test_annotation_of_another_size(tiny):
    write_mask(annotation_of(tiny), np.ones((10, 20), bool))
    with pytest.raises(DataError, match=r"ant/00000\.png: 20×10 pixels, but its frame has 61×45"):
        tiny.first("ant")


def test_empty_first_annotation(tiny):
    write_mask(annotation_of(tiny), np.zeros((45, 61), bool))
    with pytest.raises(DataError, match=r"ant/00000\.png: the first annotation is empty"):
        tiny.first("ant")


def test_non_binary_annotation(tiny):
    Image.fromarray(np.full((45, 61), 38, np.uint8)).save(annotation_of(tiny))
    with pytest.raises(DataError, match=r"holds the values 38; an annotation holds 0"):
        read_annotation(annotation_of(tiny))


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA"])
def test_annotation_in_any_mode_reads_the_same(tiny, mode):
    path = annotation_of(tiny)
    expected = read_annotation(path)
    image = Image.open(path)
    if mode == "P":  # two objects' numbering: 0 and 1
        image = Image.fromarray(expected.astype(np.uint8), mode="P")
        image.putpalette([0, 0, 0, 128, 0, 0])
    image.convert(mode).save(path)
    assert Image.open(path).mode == mode
    np.testing.assert_array_equal(read_annotation(path), expected)


def test_mask_is_written_as_0_and_255_and_read_back(tmp_path):
    mask = np.random.default_rng(0).random((7, 9)) > 0.5
    write_mask(tmp_path / "new" / "00000.png", mask)
    image = Image.open(tmp_path / "new" / "00000.png")
    assert image.mode == "L"
    np.testing.assert_array_equal(np.asarray(image), mask * np.uint8(255))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["00000.png"]


def test_verify_accepts_a_good_data_set(tiny):
    assert list(verify(tiny, "ant")) == []


def test_verify_names_every_problem(tiny):
    truncate(frame_of(tiny, index=0))
    annotation_of(tiny, index=1).unlink()
    write_mask(annotation_of(tiny, index=2), np.ones((5, 5), bool))
    Image.fromarray(np.full((45, 61), 7, np.uint8)).save(annotation_of(tiny, index=3))
    write_mask(annotation_of(tiny, index=0).with_name("00009.png"), np.ones((45, 61), bool))
    found = {problem.path.name: problem.what for problem in verify(tiny, "ant")}
    assert "truncated" in found["00000.jpg"]
    assert "no such file" in found["00001.png"]
    assert "5×5 pixels" in found["00002.png"]
    assert "holds the values 7" in found["00003.png"]
    assert "without a frame" in found["00009.png"]


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
