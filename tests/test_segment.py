"""From a clip and what was marked in it to masks, by the library and by `osvos segment`."""

import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from PIL import Image

from osvos_keras.cli.clips import plain_warnings
from osvos_keras.cli.marks import parse_points
from osvos_keras.config import OnlineConfig
from osvos_keras.errors import ConfigError, MaskError, VideoWarning
from osvos_keras.io.images import read_frame
from osvos_keras.io.masks import (
    davis_palette,
    read_annotation,
    read_indexed,
    write_indexed,
    write_map,
    write_mask,
)
from osvos_keras.io.paths import PROJECT
from osvos_keras.marking.marks import box_mask, given_objects, polygon_mask, read_correction
from osvos_keras.self_training import expected_similarity
from osvos_keras.trained import WEIGHTS_FILE
from osvos_keras.video import overlay, segment
from osvos_keras.video.clip import import_clip
from osvos_keras.video.codec import read_video, write_gif, write_webm
from osvos_keras.video.doubt import least_sure
from osvos_keras.video.objects import merge_logits
from osvos_keras.video.overlay import contact_sheet, draw_objects, pick_frames, write_overlays
from osvos_keras.video.segment import segment_clip
from tests.conftest import call, contents, interrupt, refuse, write_sequence

CONFIG = OnlineConfig(height=24, steps=2)
SIZE = (45, 61)


@pytest.fixture(scope="module")
def tiny_frames(tmp_path_factory):
    """Frames and annotations of a bright disk that moves, four of them."""
    root = tmp_path_factory.mktemp("tiny")
    write_sequence(root, "disk", SIZE)
    frames = sorted((root / "JPEGImages" / "480p" / "disk").iterdir())
    return frames, sorted((root / "Annotations" / "480p" / "disk").iterdir())


@pytest.fixture(scope="module")
def done(tiny_frames, tmp_path_factory):
    """A folder in which `osvos segment` was run on a GIF's worth of frames, and its arguments."""
    folder = tmp_path_factory.mktemp("done")
    frames, annotations = tiny_frames
    clip = write_webm(folder / "disk.webm", map(read_frame, frames), [0, 0.1, 0.15, 0.4, 0.5])
    mask = np.pad(read_annotation(annotations[0]), ((0, 1), (0, 1)))  # WebM has even sides
    write_mask(folder / "first.png", mask)
    arguments = [
        "segment", str(clip), "--mask", str(folder / "first.png"), "--out", str(folder / "result.webm"),
        "--run-dir", str(folder / "run"), "--steps", "2", "--height", "24", "--weights", "imagenet",
    ]  # fmt: skip
    assert call(arguments) == 0
    return folder, arguments


def test_terminal_shows_no_error_of_tensorflow(done, tmp_path):
    """Neither of a missing GPU, nor of the graphs that make windows: they cut bars in two, and alarm."""
    places = ["--run-dir", str(tmp_path / "run"), "--out", str(tmp_path / "out.webm")]
    arguments = [*done[1], *places, "--height", "40", "--settings", "window=24"]
    command = [sys.executable, "-m", "osvos_keras.cli", *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    ran = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, check=True)
    assert "osvos: " in ran.stderr and not re.findall(r"\bE0000 .*", ran.stderr)


def test_command_leaves_masks_video_gif_and_sheet(done, capsys):
    folder, _ = done
    run = folder / "run"
    masks = sorted((run / "masks" / "disk").iterdir())
    assert [path.name for path in masks] == [f"{index:05d}.png" for index in range(4)]
    assert all(read_annotation(path).shape == (46, 62) for path in masks)
    shown = list(read_video(folder / "result.webm"))
    assert [round(frame.start, 3) for frame in shown] == [0, 0.1, 0.15, 0.4]
    assert shown[-1].image.shape == (46, 62, 3)
    with Image.open(folder / "result.gif") as gif:
        assert gif.n_frames == 3 and gif.size == (62, 46)  # 0.15 s is too soon after 0.1
    with Image.open(folder / "result_sheet.png") as sheet:
        assert sheet.width == 1000
    assert (run / "online" / "disk" / WEIGHTS_FILE).is_file()
    assert not list(folder.rglob(".tmp-*"))


def test_the_masks_in_most_doubt_are_named(done, capsys):
    folder, arguments = done
    assert call(arguments) == 0
    clip = import_clip(arguments[1], folder / "run/clip", progress=False)
    (doubtful,) = least_sure(clip, folder / "run/masks/disk")  # all frames are neighbours
    expected = json.loads((folder / "run/masks/disk.json").read_text())["expected"]
    assert [path.stem for path in clip.frames] == sorted(expected)
    assert doubtful == min(sorted(expected)[1:], key=expected.get)  # the first frame was learned
    said = capsys.readouterr().err
    assert f"least sure: the masks of {doubtful}. If one is wrong, correct it: osvos mark " in said
    assert f"mark {arguments[1]} --frame {doubtful} --correct --run-dir={folder / 'run'}\n" in said


@pytest.mark.parametrize("expected", [None, [], {"00001": "high"}, {"00009": 0.1}, {"00000": 0.1}])
def test_without_doubt_no_frame_is_named(done, tmp_path, expected):
    folder, arguments = done
    clip = import_clip(arguments[1], folder / "run/clip", progress=False)
    shutil.copy(folder / "run/masks/disk.json", tmp_path / "disk.json")
    record = json.loads((tmp_path / "disk.json").read_text()) | {"expected": expected}
    (tmp_path / "disk.json").write_text(json.dumps(record))
    assert least_sure(clip, tmp_path / "disk") == []
    assert least_sure(clip, tmp_path / "another") == []


@pytest.mark.parametrize("marked", [{"20": "…"}, ["20"], 20, None])
def test_three_frames_apart_are_named_but_none_that_was_learned(tmp_path, marked):
    clip = SimpleNamespace(name="disk", frames=[Path(f"{index:05d}.jpg") for index in range(40)])
    expected = {path.stem: 0.9 for path in clip.frames} | {"00005": 0.4, "00006": 0.3, "00014": 0.5}
    expected |= {"00020": 0.1, "00033": 0.6}
    record = {"made_with": {"marked": marked}, "expected": expected}
    (tmp_path / "disk.json").write_text(json.dumps(record))
    first = [] if marked == {"20": "…"} else ["00020"]
    assert least_sure(clip, tmp_path / "disk") == [*first, "00006", "00014", "00033"][:3]


def test_the_expected_j_is_that_of_the_probabilities():
    """Six pixels: two in the mask with p = 0.9 and 0.6, the others with p = 0.2, 0.2, 0 and 0."""
    probability = np.array([[0.9, 0.6, 0.2], [0.2, 1e-30, 1e-30]])
    logits = np.log(probability / (1 - probability)).astype(np.float32)
    assert expected_similarity(logits) == pytest.approx((0.9 + 0.6) / (2 + 0.2 + 0.2))
    sure = np.where([[1, 0, 0]], 90, -90).astype(np.float32)
    assert expected_similarity(sure) == 1
    assert expected_similarity(-abs(sure)) == 0


def test_second_run_computes_nothing(done, monkeypatch):
    folder, arguments = done
    files = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    monkeypatch.setattr("osvos_keras.video.clip.read_video", refuse("read the clip"))
    monkeypatch.setattr(segment, "train_online", refuse("trained"))
    monkeypatch.setattr(segment, "segment_objects", refuse("segmented"))
    monkeypatch.setattr(overlay, "write_webm", refuse("drew"))
    assert call(arguments) == 0
    annotation = folder / "run/clip/Annotations/480p/disk/00000.png"  # written again, the same
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    again = {annotation, folder / "run/marked/00000.png", folder / "run/marked.json", folder / "run/.lock"}
    assert {path for path in after if after[path] != files.get(path)} <= again


def test_what_was_lost_is_made_again_and_no_more(done, monkeypatch):
    folder, arguments = done
    monkeypatch.setattr(keras.Model, "fit", refuse("trained"))
    before = contents(folder / "run/masks/disk")
    (folder / "run/masks/disk/00002.png").unlink()
    (folder / "result.gif").unlink()
    assert call(arguments) == 0
    assert (folder / "result.gif").is_file()
    assert contents(folder / "run/masks/disk") == before


def moved(done, tmp_path):
    """A copy of the run and its results, and the arguments of the command that made them."""
    folder, arguments = done
    shutil.copytree(folder / "run", tmp_path / "run")
    arguments = [text.replace(str(folder / "run"), str(tmp_path / "run")) for text in arguments]
    return [text.replace(str(folder / "result"), str(tmp_path / "result")) for text in arguments]


def test_killed_while_masks_are_written_goes_on(done, tmp_path, monkeypatch):
    arguments, masks = moved(done, tmp_path), tmp_path / "run/masks/disk"
    (masks / "00003.png").unlink()
    with monkeypatch.context() as patch:
        patch.setattr("osvos_keras.video.objects.write_map", stop_after(2))
        assert call(arguments) == 130
    for half in (masks / ".tmp-1-00002.png", tmp_path / ".tmp-1-result.webm"):
        half.write_bytes(b"half")
    assert not (tmp_path / "result.webm").exists()
    monkeypatch.setattr(keras.Model, "fit", refuse("trained"))
    assert call(arguments) == 0
    assert contents(masks) == contents(done[0] / "run/masks/disk")
    assert not list(tmp_path.rglob(".tmp-*"))


def stop_after(count):
    def write(path, objects, several):
        if path.stem == f"{count:05d}":
            raise KeyboardInterrupt
        write_map(path, objects, several)

    return write


@pytest.mark.parametrize("content", [b"", b"[1]", b"{}", b"\xff\xfe{", b'{"made_with": {"clip_sha256": 3}}'])
def test_damaged_records_mean_that_it_is_made_again_and_nothing_is_lost(done, tmp_path, monkeypatch, content):
    arguments = moved(done, tmp_path)
    for name in ("clip/clip.json", "masks/disk.json", "masks/disk_overlays.json"):
        (tmp_path / "run" / name).write_bytes(content)
    monkeypatch.setattr(keras.Model, "fit", refuse("trained"))
    assert call(arguments) == 0
    for name in ("disk", "disk-1"):
        assert contents(tmp_path / "run/masks" / name) == contents(done[0] / "run/masks/disk")
    assert (tmp_path / "run" / "clip-1" / "JPEGImages" / "480p" / "disk" / "00003.jpg").exists()


def test_correction_goes_on_from_what_the_first_mask_taught(done, tmp_path, monkeypatch):
    folder, arguments = done[0], moved(done, tmp_path)
    monkeypatch.setattr("osvos_keras.marking.lab.can_show", lambda: False)
    mark = ["--frame", "3", "--correct", "--out", str(tmp_path / "fixed.png")]
    assert call(["mark", arguments[1], *mark, "--run-dir", str(tmp_path / "run")]) == 0
    made = read_annotation(folder / "run/masks/disk/00003.png")
    np.testing.assert_array_equal(read_annotation(tmp_path / "fixed.png"), made)
    fixed = np.roll(read_annotation(folder / "first.png"), 6, axis=1)
    write_mask(tmp_path / "fixed.png", fixed)
    corrected = [*arguments, "--correct", f"3={tmp_path / 'fixed.png'}"]
    assert call(corrected) == 0
    first, after = (tmp_path / "run" / stage / "disk" for stage in ("online", "corrected"))
    assert contents(first).keys() == contents(folder / "run/online/disk").keys()
    assert (first / WEIGHTS_FILE).read_bytes() == (folder / "run/online/disk" / WEIGHTS_FILE).read_bytes()
    assert (first / WEIGHTS_FILE).read_bytes() != (after / WEIGHTS_FILE).read_bytes()
    learned = json.loads((after / "config.json").read_text())
    assert learned["weights"] == str(first / WEIGHTS_FILE) and learned["made_with"]["config"]["steps"] == 2
    kept = sorted((tmp_path / "run/clip/Annotations/480p/disk").iterdir())
    assert [path.name for path in kept] == ["00000.png", "00003.png"]
    np.testing.assert_array_equal(read_annotation(kept[1]), fixed)
    np.testing.assert_array_equal(read_annotation(tmp_path / "run/masks/disk/00003.png"), fixed)
    made_with = json.loads((tmp_path / "run/masks/disk.json").read_text())["made_with"]
    assert (list(made_with["marked"]), list(made_with["corrected"])) == (["0"], ["3"])
    monkeypatch.setattr(keras.Model, "fit", refuse("trained"))
    assert call(corrected) == 0
    assert call(arguments) == 0  # without the correction the masks are those of the first mask again
    assert contents(tmp_path / "run/masks/disk") == contents(folder / "run/masks/disk")


def test_warnings_of_ours_are_a_line_each(capsys):
    with plain_warnings():
        warnings.warn("the object is small.", VideoWarning, stacklevel=1)
    assert capsys.readouterr() == ("", "osvos: the object is small.\n")


def test_two_objects_have_a_network_each_and_masks_of_numbers(tiny_frames, tmp_path):
    frames, annotations = tiny_frames
    clip = import_clip(frames[0].parent, tmp_path / "clip", progress=False)
    objects = read_annotation(annotations[0]).astype(np.uint8)
    objects[:8, :20] = 2
    masks = segment_clip(clip, {0: objects}, tmp_path, CONFIG, progress=False)
    assert {path.name for path in (tmp_path / "online/disk").iterdir()} == {"object_1", "object_2"}
    for path in masks.iterdir():
        with Image.open(path) as image:
            assert (image.mode, image.size) == ("P", SIZE[::-1])
            assert image.getpalette() == davis_palette().ravel().tolist()
        assert read_indexed(path).max() <= 2
    with Image.open(clip.davis.annotation_path(clip.frames[0])) as kept:
        np.testing.assert_array_equal(np.asarray(kept), objects)
    assert contact_sheet(clip, masks).get_axes()[0].get_title() == "00000, 0.0 s"


def test_an_object_is_learned_at_the_largest_size_that_is_marked():
    first, later = np.zeros((2, 6, 10), np.uint8)
    first[:2], first[5, 0] = 1, 2
    later[:4, :1], later[5, :6] = 1, 2
    assert segment._learned_areas({0: first, 3: later}, 2) == [20 / 60, 6 / 60]


def test_merge_takes_the_largest_logit_above_zero():
    first = np.array([[40, 0.4, 0], [-1, 0.1, -9]], np.float32)
    second = np.array([[30, 0.8, 0], [-0.4, 0.1, 20]], np.float32)
    third = np.array([[-2, 3, -0.4], [-0.1, -1, 21]], np.float32)
    expected = [[1, 3, 0], [0, 1, 3]]
    np.testing.assert_array_equal(merge_logits([first, second, third]), expected)
    np.testing.assert_array_equal(merge_logits([first]), first > 0)


def test_palette_is_the_colour_map_of_pascal_voc():
    """The bits of the number as the VOC development kit deals them out, one by one."""
    expected = np.zeros((256, 3), np.uint8)
    for number in range(256):
        for bit in range(8):
            expected[number, bit % 3] |= (number >> bit & 1) << 7 - bit // 3
    np.testing.assert_array_equal(davis_palette(), expected)
    assert davis_palette()[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]


def test_overlay_changes_the_object_alone():
    frame = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    objects = np.zeros((40, 60), np.uint8)
    objects[5:20, 5:20], objects[10:30, 30:50] = 1, 2
    drawn = draw_objects(frame, objects)
    np.testing.assert_array_equal(drawn[objects == 0], frame[objects == 0])
    assert (drawn[objects > 0] != frame[objects > 0]).any(axis=1).mean() > 0.9
    assert not np.array_equal(drawn[6, 6], drawn[11, 31])  # outlines: a colour each
    np.testing.assert_array_equal(draw_objects(frame, np.zeros_like(objects)), frame)


def test_gif_has_a_dozen_frames_a_second_at_most():
    assert pick_frames(np.arange(25) / 24) == list(range(0, 24, 2))
    assert pick_frames([0, 0.5, 1.0, 1.5]) == [0, 1, 2]
    assert len(pick_frames(np.arange(24_001) / 24)) == pytest.approx(150, abs=1)


def test_marks_are_numbered_in_order_and_the_first_keeps_a_pixel(tmp_path):
    frame = np.zeros((40, 60, 3), np.uint8)
    first = np.zeros((40, 60), bool)
    first[5:20, 5:20] = True
    write_mask(tmp_path / "first.png", first)
    objects = given_objects(
        frame, [tmp_path / "first.png"], polygons=[[(10, 10), (40, 10), (40, 30), (10, 30)]]
    )
    assert objects.dtype == np.uint8 and set(np.unique(objects)) == {0, 1, 2}
    assert (objects[first] == 1).all() and objects[25, 25] == 2 and objects[35, 50] == 0


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((46, 62), bool), "the mask is empty"),
        (np.ones((46, 62), bool), "covers the whole frame"),
        (np.eye(30, dtype=bool), r"30×30 pixels, but its frame has 62×46"),
    ],
)
def test_bad_first_masks_end_the_command_with_one_line(done, tmp_path, mask, message):
    arguments = list(done[1])
    write_mask(tmp_path / "bad.png", mask)
    arguments[arguments.index("--mask") + 1] = str(tmp_path / "bad.png")
    error = call(arguments)
    assert error.startswith("osvos: error: ") and "bad.png" in error and message.replace("\\", "") in error


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--fps", "0"], "--fps is 0.0; it must be above zero"),
        (["--fps", "two"], "--fps is 'two'; it must be a finite number"),
        (["--box", "1,2,3"], "give four numbers"),
        (["--box", "7=1,2,30,30"], "there is no frame 7; its frames are 00000 to 00003"),
        (["--mask", "2=nope.png"], "nope.png: no such file"),
        (["--polygon", "=1,2 3,4"], "is not FRAME=MARK"),
        (["--mask", "2="], "is not FRAME=MARK"),
        (["--polygon", "1,2 x,3 4,5"], "is not points in pixels"),
        (["--correct", "3"], "give a frame's name or number and a file"),
        (["--correct", "3=nope.png"], "nope.png: no such file"),
        (["--out", "/proc/nowhere/film.webm"], "cannot write there"),
    ],
)
def test_bad_options_are_explained(done, more, message):
    assert message in call([*done[1], *more])


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (["9"], "there is no frame 9; its frames are 00000 to 00003"),
        (["last"], "there is no frame last"),
        (["0"], "objects are marked in that frame already"),
        (["00000.png"], "objects are marked in that frame already"),
        (["3", "3"], "another --correct names that frame"),
        (["3", "00003.jpg"], "another --correct names that frame"),
    ],
)
def test_corrections_of_frames_that_cannot_be_are_refused(done, frames, message):
    folder, arguments = done
    for frame in frames:
        arguments = [*arguments, "--correct", f"{frame}={folder / 'first.png'}"]
    assert message in call(arguments)


def test_corrections_number_objects_as_the_first_mask_does(tmp_path):
    objects = np.zeros((6, 8), np.uint8)
    objects[:3, :3] = 2  # object 1 has left the frame
    write_indexed(tmp_path / "later.png", objects)
    np.testing.assert_array_equal(read_correction(tmp_path / "later.png", (6, 8), 2), objects)
    np.testing.assert_array_equal(read_correction(tmp_path / "later.png", (6, 8), 1), objects > 0)
    with Image.open(tmp_path / "later.png") as image:
        image.convert("RGB").save(tmp_path / "painted.png")  # as most paint programs do
    np.testing.assert_array_equal(read_correction(tmp_path / "painted.png", (6, 8), 2), objects)
    objects[5, 5] = 3
    write_indexed(tmp_path / "later.png", objects)
    with pytest.raises(MaskError, match="holds object 3, but 2 are marked"):
        read_correction(tmp_path / "later.png", (6, 8), 2)
    with pytest.raises(MaskError, match="8×6 pixels, but its frame has 9×6"):
        read_correction(tmp_path / "later.png", (6, 9), 2)


@pytest.fixture
def clip(tiny_frames, tmp_path):
    return import_clip(tiny_frames[0][0].parent, tmp_path / "run" / "clip", progress=False)


@pytest.fixture
def lessons(monkeypatch):
    """What each network is trained on, a list of pairs for each; nothing is trained or segmented."""
    taught = []
    monkeypatch.setattr(segment, "train_online", lambda *_, pairs, **__: taught.append(pairs))
    monkeypatch.setattr(segment, "segment_objects", write_empty_masks)
    return taught


def write_empty_masks(models, davis, sequence, folder, *_):
    for path in davis.frames(sequence):
        write_mask(folder / sequence / f"{path.stem}.png", np.zeros(SIZE, bool))


def rectangle(number, rows, columns):
    objects = np.zeros(SIZE, np.uint8)
    objects[rows, columns] = number
    return objects


@pytest.mark.parametrize(
    ("marked", "message"),
    [
        ({}, "object 1 is marked in no frame"),
        ({2: np.zeros(SIZE, np.uint8)}, "object 1 is marked in no frame"),
        ({0: rectangle(1, slice(5), slice(5)), 2: rectangle(3, slice(5), slice(5))}, "object 2 is marked"),
        ({4: rectangle(1, slice(5), slice(5))}, "there is no frame 4; its frames are 0 to 3"),
        ({-1: rectangle(1, slice(5), slice(5))}, "there is no frame -1"),
    ],
)
def test_marks_that_teach_nothing_are_refused(clip, tmp_path, marked, message):
    with pytest.raises(MaskError, match=message):
        segment_clip(clip, marked, tmp_path / "run", CONFIG)


def check_lesson(pairs, clip, expected):
    """See that pairs are the frames of these indices, in order, with these annotations."""
    assert len(pairs) == len(expected)
    for (frame, annotation), (index, objects) in zip(pairs, expected.items(), strict=True):
        np.testing.assert_array_equal(frame, read_frame(clip.frames[index]))
        assert annotation.dtype == bool
        np.testing.assert_array_equal(annotation, objects)


def test_one_middle_frame_is_enough(clip, tmp_path, lessons):
    objects = rectangle(1, slice(5, 20), slice(5, 20))
    masks = segment_clip(clip, {2: objects}, tmp_path / "run", CONFIG)
    (pairs,) = lessons
    check_lesson(pairs, clip, {2: objects == 1})
    assert [path.name for path in sorted(masks.iterdir())] == [f"{index:05d}.png" for index in range(4)]
    kept = list((tmp_path / "run/clip/Annotations/480p/disk").iterdir())
    assert [path.name for path in kept] == ["00002.png"]


def test_an_object_is_learned_where_it_is_marked_and_then_from_corrections_too(clip, tmp_path, lessons):
    """Object 1 is marked in frame 0, object 2 in frame 2; frame 3 is corrected, and object 1 is not in it."""
    marked = {2: rectangle(2, slice(5), slice(5)), 0: rectangle(1, slice(9), slice(9))}
    corrections = {3: rectangle(2, slice(20, 30), slice(3, 9))}
    segment_clip(clip, marked, tmp_path / "run", CONFIG, corrections=corrections)
    one, one_corrected, two, two_corrected = lessons
    check_lesson(one, clip, {0: marked[0] == 1})
    check_lesson(one_corrected, clip, {0: marked[0] == 1, 3: np.zeros(SIZE, bool)})
    check_lesson(two, clip, {2: marked[2] == 2})
    check_lesson(two_corrected, clip, {2: marked[2] == 2, 3: corrections[3] == 2})


def test_corrections_decide_the_result(clip, tmp_path, lessons):
    marked, correction = {0: rectangle(1, slice(9), slice(9))}, rectangle(1, slice(5), slice(5))
    for corrections, trainings in (({}, 1), ({2: correction}, 3), ({2: correction}, 3), ({3: correction}, 5)):
        segment_clip(clip, marked, tmp_path / "run", CONFIG, corrections=corrections)
        assert len(lessons) == trainings
    for wrong, message in (({4: correction}, "there is no frame 4"), ({2: 2 * correction}, "shows object 2")):
        with pytest.raises(MaskError, match=message):
            segment_clip(clip, marked, tmp_path / "run", CONFIG, corrections=wrong)


def test_each_mark_may_name_its_frame(clip, tiny_frames, tmp_path, lessons, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_mask("a=b.png", rectangle(1, slice(5), slice(5)))
    write_mask("later.png", rectangle(1, slice(30, 40), slice(5)))
    write_indexed("whole.png", rectangle(3, slice(4), slice(8)))
    options = ["--mask", "00002.jpg=later.png", "--box", "2=12,6,40,40", "--polygon", "1=3,3 12,3 12,9"]
    arguments = ["segment", str(tiny_frames[0][0].parent), "--mask", "a=b.png", *options]
    assert call([*arguments, "--correct", "3=whole.png", "--run-dir", "run", *QUICK]) == 0
    polygon = polygon_mask([(3, 3), (12, 3), (12, 9)], SIZE)
    box = box_mask(read_frame(clip.frames[2]), (12, 6, 40, 40))
    later, nothing = rectangle(1, slice(30, 40), slice(5)) > 0, np.zeros(SIZE, bool)
    first, second, third, fourth = lessons[1::2]  # after each object's own marks
    check_lesson(first, clip, {0: rectangle(1, slice(5), slice(5)), 3: nothing})
    check_lesson(second, clip, {1: polygon, 3: nothing})
    check_lesson(third, clip, {2: later, 3: rectangle(1, slice(4), slice(8))})
    check_lesson(fourth, clip, {2: box & ~later, 3: nothing})
    drawn = ", ".join(str(tmp_path / f"run/marked/0000{index}.png") for index in range(3))
    assert f"before it is trained on (Ctrl-C stops): {drawn}\n" in capsys.readouterr().err
    assert not (tmp_path / "run/marked/00003.png").exists()


def test_the_picture_of_the_marks_is_there_before_the_training(tiny_frames, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(segment, "train_online", interrupt)
    arguments = ["segment", str(tiny_frames[0][0].parent), "--box", "2=12,6,40,40", "--run-dir", "run"]
    assert call([*arguments, *QUICK]) != 0
    frame = read_frame(tiny_frames[0][2])
    with Image.open(tmp_path / "run/marked/00002.png") as image:
        expected = draw_objects(frame, box_mask(frame, (12, 6, 40, 40)).astype(np.uint8))
        np.testing.assert_array_equal(np.asarray(image), expected)
    assert f"(Ctrl-C stops): {tmp_path / 'run/marked/00002.png'}\n" in capsys.readouterr().err


def test_points_are_parsed():
    assert parse_points("1,2 3.5,4") == [(1, 2), (3.5, 4)]
    with pytest.raises(ConfigError):
        parse_points("1;2")


def test_overlays_follow_changed_masks(done, tmp_path):
    folder, _ = done
    clip = import_clip(folder / "disk.webm", folder / "run" / "clip", progress=False)
    masks = shutil.copytree(folder / "run/masks/disk", tmp_path / "masks/disk")
    first, *_ = write_overlays(clip, masks, tmp_path / "a.webm", progress=False)
    before = first.read_bytes()
    write_mask(masks / "00001.png", np.eye(46, 62, dtype=bool))
    write_overlays(clip, masks, tmp_path / "a.webm", progress=False)
    assert first.read_bytes() != before


def write_clips(tmp_path, tiny_frames):
    """Two folders of the same name with other frames, and a first mask."""
    frames, annotations = tiny_frames
    for camera, order in (("cam1", frames), ("cam2", frames[::-1])):
        (tmp_path / camera / "clip").mkdir(parents=True)
        for number, path in enumerate(order, start=1):
            shutil.copy(path, tmp_path / camera / "clip" / f"frame{number}.JPG")
    shutil.copy(annotations[0], tmp_path / "first.png")
    shutil.copy(annotations[-1], tmp_path / "last.png")


QUICK = ["--steps", "1", "--height", "24", "--weights", "imagenet"]


def test_from_another_folder_everything_goes_below_it_and_clips_of_one_name_stay_apart(
    tmp_path, tiny_frames, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    write_clips(tmp_path, tiny_frames)
    assert call(["segment", "cam1/clip", "--mask", "first.png", *QUICK]) == 0
    out, told = capsys.readouterr()
    masks = tmp_path / "runs/segment/clip/masks/clip"
    first = contents(masks)
    assert {path.name for path in first} == {f"frame{number}.png" for number in range(1, 5)}
    assert out.split() == [str(masks), *(str(tmp_path / name) for name in
                           ("clip_result.webm", "clip_result.gif", "clip_result_sheet.png"))]  # fmt: skip
    assert "osvos: 4 frames, frame1 to frame4; each mask has its frame's name." in told
    video = (tmp_path / "clip_result.webm").read_bytes()
    assert call(["segment", "cam2/clip", "--mask", "last.png", *QUICK]) == 0
    assert contents(masks) == first
    assert len(list((tmp_path / "runs/segment/clip-2/masks/clip").iterdir())) == 4
    assert (tmp_path / "clip_result-1.webm").read_bytes() == video
    assert (
        "clip_result.webm: no earlier run of this clip wrote it; it is kept as clip_result-1.webm."
        in capsys.readouterr().err
    )
    assert {path.name for path in tmp_path.iterdir()} == {
        "cam1", "cam2", "first.png", "last.png", "runs",
        "clip_result.webm", "clip_result.gif", "clip_result_sheet.png",
        "clip_result-1.webm", "clip_result-1.gif", "clip_result_sheet-1.png",
    }  # fmt: skip


def test_wrong_arguments_are_refused_before_tensorflow_starts_and_anything_is_written(tmp_path, tiny_frames):
    write_clips(tmp_path, tiny_frames)
    start = ["segment", "cam1/clip", "--mask", "first.png"]
    (tmp_path / "film.webm").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    refused = {
        "nope.mp4: no such file": ["segment", "nope.mp4", "--mask", "first.png"],
        "no object is marked": start[:2],
        "nope.png: no such file": [*start, "--mask", "nope.png"],
        "pipe.png: a pipe": [*start, "--mask", "pipe.png"],
        "give its upper left": [*start, "--box", "30,3,10,9"],
        "box (nan, 0.0, 5.0, 5.0)": [*start, "--box", "nan,0,5,5"],
        "box (0.0, 0.0, 1e+300": [*start, "--box", "0,0,1e300,5"],
        "box (0.0, 0.0, inf": [*start, "--box", "0,0,inf,5"],
        "at least three corners": [*start, "--polygon", "0,0 5,5"],
        "three corners (x, y)": [*start, "--polygon", "0,0 5,5 1e300,9"],
        "--fps is 'nan'": [*start, "--fps", "nan"],
        "--fps is 0.001; it must lie between 0.01 and 1000": [*start, "--fps", "0.001"],
        "--out is film.mp4; it must end in .webm": [*start, "--out", "film.mp4"],
        "film.webm: exists and is not a file": [*start, "--out", "film.webm"],
        "a path is empty": [*start, "--out", ""],
        "a path is empty (an": [*start, "--run-dir", ""],
        "the presets are": [*start, "--preset", "best"],
        "steps is 0": [*start, "--steps", "0"],
        "nope.h5: no such file": [*start, "--weights", "nope.h5"],
        "Use at most": [*start, "--out", "x" * 240 + ".webm"],
    }
    before = contents(tmp_path)
    script = (
        "import json, sys; from osvos_keras.cli import main\n"
        "for arguments in json.load(sys.stdin):\n"
        "    try: main(arguments)\n"
        "    except SystemExit as end: print(end)\n"
        "print('tensorflow' in sys.modules, 'keras' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(list(refused.values())),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        timeout=300,
    )
    *found, loaded = ran.stdout.splitlines()
    assert len(found) == len(refused), ran.stderr
    for message, line in zip(refused, found, strict=True):
        assert message in line
    assert loaded == "False False"
    assert contents(tmp_path) == before


def test_a_backend_that_is_not_there_is_one_sentence_before_anything_starts(
    tmp_path, tiny_frames, monkeypatch
):
    write_clips(tmp_path, tiny_frames)
    monkeypatch.chdir(tmp_path)
    for name in ("nonsense", "a.b"):
        monkeypatch.setenv("KERAS_BACKEND", name)
        assert f"Keras's backend is to be '{name}'" in call(["segment", "cam1/clip", "--mask", "first.png"])
    monkeypatch.delenv("KERAS_BACKEND")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "keras.json").write_text('{"backend": "theano"}')
    assert "Keras's backend is to be 'theano'" in call(["segment", "cam1/clip", "--mask", "first.png"])
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["clip.webm", "--mask", "first.png", "--out", "clip.webm"], "clip.webm: is one of the inputs"),
        (["clip.webm", "--mask", "first.png", "--out", "link.webm"], "clip.webm: is one of the inputs"),
        (["clip.webm", "--mask", "first.png", "--out", "hard.webm"], "hard.webm: is one of the inputs"),
        (["film.gif", "--mask", "first.png", "--out", "film.webm"], "film.gif: is one of the inputs"),
        (["clip.webm", "--mask", "a_sheet.png", "--out", "a.webm"], "a_sheet.png: is one of the inputs"),
        (
            ["clip.webm", "--mask", "first.png", "--correct", "2=a_sheet.png", "--out", "a.webm"],
            "a_sheet.png: ",
        ),
        (["clip.webm", "--mask", "masks/clip/00000.png", "--run-dir", "."], "where this run writes"),
        (
            ["clip.webm", "--mask", "first.png", "--run-dir", ".", "--out", "masks/clip/a.webm"],
            "this run writes",
        ),
        (["clip", "--mask", "first.png", "--run-dir", "."], "clip: lies in"),
        (["clip", "--mask", "first.png", "--run-dir", "clip"], "among the frames of the clip"),
        (["clip", "--mask", "first.png", "--run-dir", "clip/runs"], "among the frames of the clip"),
        (["clip", "--mask", "first.png", "--out", "clip/a.webm"], "among the frames of the clip"),
        (["clip", "--mask", "clip/f3.png"], "lies among the frames, so it would be used as a frame"),
        (["clip", "--mask", "link.png"], "lies among the frames, so it would be used as a frame"),
        (["clip.webm", "--mask", "first.png", "--run-dir", "."], "lies where this run would write"),
    ],
)
def test_inputs_are_never_outputs_and_nothing_of_a_person_is_lost(
    tmp_path, tiny_frames, monkeypatch, more, message
):
    frames, annotations = tiny_frames
    images = [np.pad(read_frame(path), ((0, 1), (0, 1), (0, 0))) for path in frames]
    write_webm(tmp_path / "clip.webm", images, [0, 0.1, 0.2, 0.3, 0.4])
    write_gif(tmp_path / "film.gif", images, [0, 0.1, 0.2, 0.3, 0.4])
    (tmp_path / "masks" / "clip").mkdir(parents=True)
    (tmp_path / "clip").mkdir()
    mask = np.pad(read_annotation(annotations[0]), ((0, 1), (0, 1)))
    for name in ("first.png", "a_sheet.png", "masks/clip/00000.png", "masks/clip/mine.png", "clip/f3.png"):
        write_mask(tmp_path / name, mask)
    for index, image in enumerate(images[:3]):
        Image.fromarray(image).save(tmp_path / "clip" / f"f{index}.png")
    (tmp_path / "link.webm").symlink_to("clip.webm")
    (tmp_path / "link.png").symlink_to("clip/f3.png")
    (tmp_path / "hard.webm").hardlink_to(tmp_path / "clip.webm")
    if more[0] == "clip.webm" and message == "lies where this run would write":
        shutil.rmtree(tmp_path / "clip")
    before = contents(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(segment, "train_online", refuse("trained"))
    assert message in call(["segment", *more, *QUICK])
    after = contents(tmp_path)
    assert {path: after[path] for path in before} == before
