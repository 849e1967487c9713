"""`osvos mark`: what is marked in a frame becomes a mask and a picture, before anything trains."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from osvos_keras.errors import MaskError
from osvos_keras.io.files import list_files, make_folder
from osvos_keras.io.images import read_frame
from osvos_keras.io.masks import read_annotation, read_indexed, write_indexed, write_mask
from osvos_keras.marking import lab
from osvos_keras.marking.marks import (
    box_mask,
    given_objects,
    number_objects,
    polygon_mask,
    read_correction,
    write_objects,
)
from osvos_keras.video.clip import import_clip, write_annotations
from osvos_keras.video.overlay import draw_objects
from osvos_keras.video.preview import draw_marks
from tests.conftest import call, call_apart, contents, write_sequence

SIZE = 45, 61
CORNERS = [(3, 3), (12, 3), (12, 9)]


@pytest.fixture
def frames(tmp_path, monkeypatch):
    """The four frames of a clip; `clip` in the working folder holds them."""
    root = tmp_path / "data"
    write_sequence(root, "disk", SIZE)
    (root / "JPEGImages" / "480p" / "disk").rename(tmp_path / "clip")
    monkeypatch.chdir(tmp_path)
    return list_files(tmp_path / "clip", ".jpg")


def mark(*options):
    return call(["mark", "clip", *options])


def picture(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_a_box_gives_the_mask_and_its_picture_in_the_working_folder(frames, tmp_path, capsys):
    assert mark("--box", "9,11,31,33") == 0
    mask, preview = tmp_path / "clip_first.png", tmp_path / "clip_first_preview.png"
    frame = read_frame(frames[0])
    expected = box_mask(frame, (9, 11, 31, 33))
    np.testing.assert_array_equal(read_annotation(mask), expected)
    np.testing.assert_array_equal(picture(preview), draw_objects(frame, expected.astype(np.uint8)))
    out, told = capsys.readouterr()
    assert out.split() == [str(mask), str(preview)]
    assert f"object 1 covers {expected.mean():.1%} of frame 00000." in told
    assert f"go on with: osvos segment clip --mask {mask}\n" in told


def test_any_frame_and_all_places_can_be_chosen(frames, tmp_path, capsys):
    options = ["--polygon", "3,3 12,3 12,9", "--out", "m/a.png", "--preview", "p/b.png", "--run-dir", "r"]
    assert mark("--frame", "00002.jpg", *options) == 0
    np.testing.assert_array_equal(read_annotation(tmp_path / "m/a.png"), polygon_mask(CORNERS, SIZE))
    expected = draw_objects(read_frame(frames[2]), polygon_mask(CORNERS, SIZE).astype(np.uint8))
    np.testing.assert_array_equal(picture(tmp_path / "p/b.png"), expected)
    assert len(list((tmp_path / "r/clip/JPEGImages/480p/clip").iterdir())) == 4
    assert f"segment clip --mask 00002.jpg={tmp_path / 'm/a.png'} --run-dir=r\n" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"clip", "data", "m", "p", "r"}


def test_the_preview_lies_beside_the_mask_that_is_named(frames, tmp_path):
    assert mark("--polygon", "3,3 12,3 12,9", "--out", "first.png") == 0  # as README.md has it
    assert (tmp_path / "first_preview.png").is_file()


def test_a_name_that_looks_like_an_option_is_written_as_a_path(frames, tmp_path, capsys):
    (tmp_path / "clip").rename(tmp_path / "-clip")
    assert call(["mark", "--box", "9,11,31,33", "--run-dir=-run", "--", "-clip"]) == 0
    assert "segment ./-clip --mask" in (said := capsys.readouterr().err) and said.endswith("--run-dir=-run\n")


def test_several_objects_are_one_palette_file_in_colours_with_their_numbers(frames, tmp_path):
    write_mask(tmp_path / "one.png", np.indices(SIZE)[0] > 38)
    options = ["--mask", "one.png", "--box", "12,8,41,37", "--polygon", "3,3 12,3 12,9"]
    assert mark("--frame", "3", *options) == 0
    with Image.open(tmp_path / "clip_3.png") as image:
        assert image.mode == "P"
    objects, frame = read_indexed(tmp_path / "clip_3.png"), read_frame(frames[3])
    assert objects[44, 0] == 1 and objects[4, 11] == 3 and set(np.unique(objects)) == {0, 1, 2, 3}
    shown = picture(tmp_path / "clip_3_preview.png")
    np.testing.assert_array_equal(shown, draw_marks(frame, objects))
    assert (shown[objects == 1] != draw_objects(frame, objects)[objects == 1]).any()  # the number


def test_a_number_is_written_inside_its_object():
    objects = np.zeros((200, 300), np.uint8)
    objects[20:80, 20:80], objects[100:190, 150:290] = 1, 2
    frame = np.full((200, 300, 3), 90, np.uint8)
    changed = (draw_marks(frame, objects) != draw_objects(frame, objects)).any(axis=2)
    assert changed[20:80, 20:80].any() and changed[100:190, 150:290].any()
    assert not changed[objects == 0].any()
    one = (objects == 1).astype(np.uint8)
    np.testing.assert_array_equal(draw_marks(frame, one), draw_objects(frame, one))


def test_a_mask_alone_is_drawn_and_not_written_again(frames, tmp_path, capsys):
    (tmp_path / "deep").mkdir()
    write_mask(tmp_path / "deep/one.png", polygon_mask(CORNERS, SIZE))
    before = contents(tmp_path / "deep")
    assert mark("--mask", "deep/one.png") == 0
    assert contents(tmp_path / "deep") == before
    expected = [str(tmp_path / "deep/one.png"), str(tmp_path / "one_preview.png")]
    assert capsys.readouterr().out.split() == expected
    assert not (tmp_path / "clip_first.png").exists()


def test_a_second_try_replaces_the_first_and_no_file_of_a_person(frames, tmp_path, capsys):
    assert mark("--box", "9,11,31,33") == 0
    assert mark("--polygon", "3,3 12,3 12,9") == 0
    np.testing.assert_array_equal(read_annotation(tmp_path / "clip_first.png"), polygon_mask(CORNERS, SIZE))
    assert "kept as" not in capsys.readouterr().err
    own = np.eye(*SIZE, dtype=bool)
    write_mask(tmp_path / "clip_first.png", own)  # painted over by hand
    assert mark("--polygon", "3,3 12,3 12,9") == 0
    np.testing.assert_array_equal(read_annotation(tmp_path / "clip_first-1.png"), own)
    assert "clip_first.png: no earlier run of this clip wrote it; it is kept as" in capsys.readouterr().err
    names = {path.name for path in tmp_path.iterdir()} - {"clip", "data", "runs"}
    assert names == {"clip_first.png", "clip_first-1.png", "clip_first_preview.png"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--frame", "9", "--box", "1,1,9,9"], "there is no frame 9; its frames are 00000 to 00003"),
        (["--frame", "a/b", "--box", "1,1,9,9"], "--frame is 'a/b'; it must be a name alone"),
        (["--box", "2=1,1,9,9"], "name it by --frame"),
        (["--box", "1,1,9"], "give four numbers"),
        (["--polygon", "1,1 9,9"], "at least three corners"),
        (["--mask", "nope.png"], "nope.png: no such file"),
        (["--mask", "first.png", "--out", "first.png"], "first.png: is one of the inputs"),
        (["--mask", "first.png", "--preview", "first.png"], "first.png"),
        (["--box", "1,1,9,9", "--out", "a.jpg"], "--out is a.jpg; it must end in .png"),
        (["--box", "1,1,9,9", "--out", "/"], "--out is /; it must end in .png"),
        (["--box", "1,1,9,9", "--preview", "a.gif"], "--preview is a.gif; it must end in .png"),
        (["--box", "1,1,9,9", "--out", "a.png", "--preview", "a.png"], "Give two files"),
        (["--box", "1,1,9,9", "--out", "clip/a.png"], "among the frames of the clip"),
        (["--box", "1,1,9,9", "--run-dir", "."], "clip: lies in"),
        (["--box", "1,1,9,9", "--out", ""], "a path is empty"),
        (["--box", "0,0,61,45"], "covers the whole frame"),
        (["--correct"], "name its frame by --frame"),
        (["--correct", "--frame", "2", "--box", "1,1,9,9"], "leave out --mask, --box and --polygon"),
        (["--correct", "--frame", "2"], "00002.png: `osvos segment` has made no mask of this frame yet"),
    ],
)
def test_what_cannot_be_is_refused(frames, tmp_path, options, message):
    write_mask(tmp_path / "first.png", polygon_mask(CORNERS, SIZE))
    before = {path for path in contents(tmp_path) if "runs" not in path.parts}
    assert message in mark(*options)
    assert {path for path in contents(tmp_path) if "runs" not in path.parts} == before


def test_tensorflow_is_not_needed(frames):
    status, modules = call_apart("mark", "clip", "--polygon", "3,3 12,3 12,9")
    assert status == 0 and not {"tensorflow", "keras"} & modules


class Lab:
    """JupyterLab, in which a person draws `objects` and saves them, or nothing if they are None."""

    objects, status = None, 0

    def __init__(self, command, **_):
        self.notebook, self.interrupts = command[-1], 1
        Lab.command, Lab.source = command, Path(command[-1]).read_text()

    def wait(self):
        if self.interrupts:  # Ctrl-C reaches both; JupyterLab asks, and the person says no
            self.interrupts = 0
            raise KeyboardInterrupt
        if Lab.objects is not None:
            write_objects("clip_2.png", Lab.objects)
        return Lab.status

    def poll(self):
        return Lab.status


@pytest.fixture
def person(monkeypatch):
    monkeypatch.setattr(lab, "can_show", lambda: True)
    monkeypatch.setattr(lab.subprocess, "Popen", Lab)
    monkeypatch.setattr(Lab, "objects", None)
    monkeypatch.setattr(Lab, "status", 0)
    return Lab


def test_without_marks_the_tool_opens_and_what_was_saved_is_drawn(frames, tmp_path, person, capsys):
    person.objects = polygon_mask(CORNERS, SIZE).astype(np.uint8)
    assert mark("--frame", "2") == 0
    assert person.command[:3] == [sys.executable, "-m", "jupyterlab"]
    frame = tmp_path / "runs/segment/clip/clip/JPEGImages/480p/clip/00002.jpg"
    for text in ("MaskTool(read_frame(", str(frame), str(tmp_path / "clip_2.png"), "Shift+Enter"):
        assert text in person.source
    expected = draw_objects(read_frame(frames[2]), person.objects)
    np.testing.assert_array_equal(picture(tmp_path / "clip_2_preview.png"), expected)
    out, told = capsys.readouterr()
    assert out.split() == [str(tmp_path / "clip_2.png"), str(tmp_path / "clip_2_preview.png")]
    assert "the tool opens in JupyterLab" in told
    assert mark("--frame", "2") == 0  # what the tool saved is opened again, not moved
    assert not (tmp_path / "clip_2-1.png").exists()


def test_nothing_saved_and_a_lab_that_fails_are_said(frames, person):
    assert "clip_2.png: no mask was saved" in mark("--frame", "2")
    person.status = 1
    assert "JupyterLab ended with status 1" in mark("--frame", "2")


def test_the_notebook_of_the_tool_runs(frames, tmp_path):
    shown = {}
    exec(
        lab.tool_code(frames[1], tmp_path / "new.png").replace("MaskTool(read", "tool = MaskTool(read"), shown
    )
    np.testing.assert_array_equal(shown["tool"].drawing.frame, read_frame(frames[1]))
    assert shown["tool"].path == tmp_path / "new.png"


@pytest.fixture
def no_display(monkeypatch):
    for name in lab.SCREENS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(lab.sys, "platform", "linux")


def test_without_a_display_it_says_what_to_do(frames, no_display):
    said = mark()
    for text in ("there is no display here", "--box, --polygon or --mask", "MaskTool(read_frame("):
        assert text in said
    assert "\n" not in said


@pytest.fixture
def segmented(frames, tmp_path):
    """What `osvos segment` leaves of the clip: two objects are marked, and object 1 is not in frame 2."""
    run = tmp_path / "runs/segment/clip"
    clip = import_clip("clip", run / "clip")
    marked = np.zeros(SIZE, np.uint8)
    marked[3:9, 3:12], marked[20:30, 20:30] = 1, 2
    write_annotations(clip, {0: marked})
    found = np.where(marked == 2, marked, 0)
    make_folder(run / "masks/clip")
    write_indexed(run / "masks/clip/00002.png", found)
    return found


def test_a_correction_begins_with_the_mask_that_was_made(frames, segmented, tmp_path, no_display, capsys):
    assert mark("--frame", "2", "--correct") == 0
    mask = tmp_path / "clip_2.png"
    np.testing.assert_array_equal(read_correction(mask, SIZE, 2), segmented)
    shown = picture(tmp_path / "clip_2_preview.png")
    np.testing.assert_array_equal(shown, draw_marks(read_frame(frames[2]), segmented))
    said = capsys.readouterr().err
    assert f"Correct {mask} in a paint program" in said and "count=2" in said
    assert f"command again, with this added: --correct 2={mask}\n" in said
    write_indexed(mask, 2 - segmented // 2)
    assert mark("--frame", "2", "--correct") == 0  # what a person changed is not made again
    assert f"{mask} is there already, and stays as it is" in capsys.readouterr().err
    np.testing.assert_array_equal(read_correction(mask, SIZE, 2), 2 - segmented // 2)


def test_an_object_may_be_absent_from_a_correction(frames, segmented, tmp_path, no_display):
    write_indexed(tmp_path / "clip_2.png", 0 * segmented)
    assert mark("--frame", "2", "--correct") == 0
    shown = picture(tmp_path / "clip_2_preview.png")
    np.testing.assert_array_equal(shown, read_frame(frames[2]))


def test_the_tool_corrects_the_mask_that_was_made(frames, segmented, tmp_path, person):
    assert mark("--frame", "2", "--correct") == 0
    assert "clip_2.png', count=2)" in person.source
    np.testing.assert_array_equal(read_correction(tmp_path / "clip_2.png", SIZE, 2), segmented)


def test_a_display_is_a_screen_and_a_browser(monkeypatch):
    def no_browser():
        raise lab.webbrowser.Error

    monkeypatch.setattr(lab.sys, "platform", "linux")
    for name in lab.SCREENS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(lab.webbrowser, "get", object)
    assert not lab.can_show()
    monkeypatch.setenv("DISPLAY", ":0")
    assert lab.can_show()
    monkeypatch.setattr(lab.webbrowser, "get", no_browser)
    assert not lab.can_show()


def test_objects_of_several_frames_are_numbered_on():
    first, later = np.array([[0, 1, 2]], np.uint8), np.array([[1, 0, 1]], np.uint8)
    numbered = number_objects({0: first, 7: later, 9: later})
    for index, expected in {0: [[0, 1, 2]], 7: [[3, 0, 3]], 9: [[4, 0, 4]]}.items():
        assert numbered[index].dtype == np.uint8
        np.testing.assert_array_equal(numbered[index], expected)
    many = np.arange(200, dtype=np.uint8)[None]
    with pytest.raises(MaskError, match="398 objects are marked; mark at most 254"):
        number_objects({0: many, 1: many})


def test_more_objects_than_a_map_can_number_are_refused(tmp_path):
    frame, left = np.zeros((1, 400, 3), np.uint8), np.zeros((1, 400), np.uint8)
    left[0, :200] = np.arange(1, 201)
    for name, objects in {"left.png": left, "right.png": np.roll(left, 200)}.items():
        write_indexed(tmp_path / name, objects)
    with pytest.raises(MaskError, match="400 objects are marked; mark at most 254"):
        given_objects(frame, [tmp_path / "left.png", tmp_path / "right.png"])
