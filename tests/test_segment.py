"""From a clip and what was marked in it to masks, by the library and by `osvos segment`."""

import json
import shutil

import keras
import numpy as np
import pytest
from PIL import Image

from osvos_keras import overlay, segment
from osvos_keras.cli import main
from osvos_keras.clip import import_clip
from osvos_keras.config import OnlineConfig
from osvos_keras.davis import read_annotation, read_frame, write_mask
from osvos_keras.errors import ConfigError, MaskError
from osvos_keras.mask_files import davis_palette, read_indexed, write_indexed
from osvos_keras.objects import given_objects, merge_probabilities, read_correction
from osvos_keras.overlay import contact_sheet, draw_objects, pick_frames, write_overlays
from osvos_keras.segment import segment_clip
from osvos_keras.segment_command import parse_points
from osvos_keras.training import WEIGHTS_FILE
from osvos_keras.video import read_video, write_webm
from tests.conftest import write_sequence

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


def call(arguments):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    return exit_.value.code


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


def refuse(what):
    return lambda *_, **__: pytest.fail(f"{what} again")


def test_second_run_computes_nothing(done, monkeypatch):
    folder, arguments = done
    files = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    monkeypatch.setattr("osvos_keras.clip.read_video", refuse("read the clip"))
    monkeypatch.setattr(segment, "train_online", refuse("trained"))
    monkeypatch.setattr(segment, "segment_sequence", refuse("segmented"))
    monkeypatch.setattr(overlay, "write_webm", refuse("drew"))
    assert call(arguments) == 0
    annotation = folder / "run/clip/Annotations/480p/disk/00000.png"  # written again, the same
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert {path for path in after if after[path] != files.get(path)} <= {annotation, folder / "run/.lock"}


def test_what_was_lost_is_made_again_and_no_more(done, monkeypatch):
    folder, arguments = done
    monkeypatch.setattr(keras.Model, "fit", refuse("trained"))
    before = {path.name: path.read_bytes() for path in (folder / "run/masks/disk").iterdir()}
    (folder / "run/masks/disk/00002.png").unlink()
    (folder / "result.gif").unlink()
    assert call(arguments) == 0
    assert (folder / "result.gif").is_file()
    assert {path.name: path.read_bytes() for path in (folder / "run/masks/disk").iterdir()} == before


def test_killed_while_masks_are_written_goes_on(done, tmp_path, monkeypatch):
    folder, arguments = done
    shutil.copytree(folder / "run", tmp_path / "run")
    arguments = [text.replace(str(folder / "run"), str(tmp_path / "run")) for text in arguments]
    arguments = [text.replace(str(folder / "result"), str(tmp_path / "result")) for text in arguments]
    (tmp_path / "run/masks/disk.json").unlink()
    with monkeypatch.context() as patch:
        patch.setattr("osvos_keras.inference.write_mask", stop_after(2))
        assert "stopped" in call(arguments)
    assert not (tmp_path / "result.webm").exists() and not (tmp_path / "run/masks/disk.json").exists()
    monkeypatch.setattr(keras.Model, "fit", refuse("trained"))
    assert call(arguments) == 0
    for path in (folder / "run/masks/disk").iterdir():
        assert (tmp_path / "run/masks/disk" / path.name).read_bytes() == path.read_bytes()


def stop_after(count):
    def write(path, mask):
        if path.stem == f"{count:05d}":
            raise KeyboardInterrupt
        write_mask(path, mask)

    return write


def test_correction_trains_anew_on_both_frames(done, tmp_path):
    folder, arguments = done
    shutil.copytree(folder / "run", tmp_path / "run")
    fixed = np.roll(read_annotation(folder / "first.png"), 6, axis=1)
    write_mask(tmp_path / "fixed.png", fixed)
    arguments = [text.replace(str(folder / "run"), str(tmp_path / "run")) for text in arguments]
    assert call([*arguments, "--correct", f"00003={tmp_path / 'fixed.png'}"]) == 0
    before, after = (json.loads((one / "online/disk/config.json").read_text()) for one in
                     (folder / "run", tmp_path / "run"))  # fmt: skip
    assert before["inputs_sha256"] != after["inputs_sha256"] and before["config"] == after["config"]
    kept = sorted((tmp_path / "run/clip/Annotations/480p/disk").iterdir())
    assert [path.name for path in kept] == ["00000.png", "00003.png"]
    np.testing.assert_array_equal(read_annotation(kept[1]), fixed)
    assert json.loads((tmp_path / "run/masks/disk.json").read_text())["made_with"]["marked"] == [0, 3]


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
    assert contact_sheet(clip, masks).get_axes()[0].get_title() == "frame 0, 0.0 s"


def test_an_object_is_learned_at_the_largest_size_that_is_marked():
    first, later = np.zeros((2, 6, 10), np.uint8)
    first[:2], first[5, 0] = 1, 2
    later[:4, :1], later[5, :6] = 1, 2
    assert segment._learned_shares({0: first, 3: later}, 2) == [20 / 60, 6 / 60]


def test_merge_takes_the_largest_probability_above_one_half():
    first = np.array([[0.9, 0.6, 0.5], [0.2, 0.51, 0.0]], np.float32)
    second = np.array([[0.8, 0.7, 0.5], [0.4, 0.51, 0.9]], np.float32)
    third = np.array([[0.1, 0.95, 0.4], [0.49, 0.2, 0.91]], np.float32)
    expected = [[1, 3, 0], [0, 1, 3]]
    np.testing.assert_array_equal(merge_probabilities([first, second, third]), expected)
    np.testing.assert_array_equal(merge_probabilities([first]), first > 0.5)


def test_palette_is_the_colour_map_of_pascal_voc():
    """The bits of the number as the VOC development kit deals them out, one by one."""
    expected = np.zeros((256, 3), np.uint8)
    for number in range(256):
        for bit in range(8):
            expected[number, bit % 3] |= (number >> bit & 1) << 7 - bit // 3
    np.testing.assert_array_equal(davis_palette(), expected)
    assert davis_palette()[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]


def test_indexed_masks_come_back(tmp_path):
    objects = np.arange(12, dtype=np.uint8).reshape(3, 4)
    write_indexed(tmp_path / "indexed.png", objects)
    np.testing.assert_array_equal(read_indexed(tmp_path / "indexed.png"), objects)
    write_mask(tmp_path / "one.png", objects > 5)
    np.testing.assert_array_equal(read_indexed(tmp_path / "one.png"), objects > 5)


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


def test_no_mark_is_an_error(done):
    _, arguments = done
    at = arguments.index("--mask")
    assert "no object is marked" in call(arguments[:at] + arguments[at + 2 :])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--out", "film.mp4"], "--out is film.mp4; it must end in .webm"),
        (["--fps", "0"], "--fps is 0.0; it must be above zero"),
        (["--box", "1,2,3"], "give four numbers"),
        (["--polygon", "1,2 x,3 4,5"], "is not points in pixels"),
        (["--polygon", "1,2 3,4"], "at least three corners"),
        (["--correct", "last=fixed.png"], "give the frame's number and a file"),
        (["--correct", "0=fixed.png"], "the first frame's mask is what --mask gives"),
        (["--steps", "0"], "steps is 0"),
        (["--out", "/proc/nowhere/film.webm"], "cannot write there"),
    ],
)
def test_bad_options_are_explained(done, more, message):
    assert message in call([*done[1], *more])


def test_correction_of_a_frame_that_is_not_there(done, tmp_path):
    folder, arguments = done
    error = call([*arguments, "--correct", f"9={folder / 'first.png'}"])
    assert "there is no frame 9; its frames are 0 to 3" in error


def test_corrections_number_objects_as_the_first_mask_does(tmp_path):
    objects = np.zeros((6, 8), np.uint8)
    objects[:3, :3] = 2  # object 1 has left the frame
    write_indexed(tmp_path / "later.png", objects)
    np.testing.assert_array_equal(read_correction(tmp_path / "later.png", (6, 8), 2), objects)
    np.testing.assert_array_equal(read_correction(tmp_path / "later.png", (6, 8), 1), objects > 0)
    objects[5, 5] = 3
    write_indexed(tmp_path / "later.png", objects)
    with pytest.raises(MaskError, match="holds object 3, but the first mask has 2"):
        read_correction(tmp_path / "later.png", (6, 8), 2)
    with pytest.raises(MaskError, match="8×6 pixels, but its frame has 9×6"):
        read_correction(tmp_path / "later.png", (6, 9), 2)


def test_first_frame_must_be_marked(tiny_frames, tmp_path):
    clip = import_clip(tiny_frames[0][0].parent, tmp_path / "clip", progress=False)
    with pytest.raises(MaskError, match="frame 0 is not marked"):
        segment_clip(clip, {1: np.eye(45, 61, dtype=np.uint8)}, tmp_path, CONFIG)


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
