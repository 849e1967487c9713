"""What `osvos segment` writes beside the overlay video: the cut-out and COCO's file. Its estimate; Ctrl-C."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from osvos_keras.config import OnlineConfig, get_config
from osvos_keras.io.images import read_frame
from osvos_keras.io.masks import read_annotation, read_indexed, write_indexed, write_mask
from osvos_keras.io.paths import PROJECT
from osvos_keras.video import coco, estimate, overlay
from osvos_keras.video.clip import Clip, import_clip, write_annotations
from osvos_keras.video.coco import describe_masks, encode_runs, write_coco
from osvos_keras.video.overlay import RIM, cut_out, write_cutout
from osvos_keras.video.segment import segment_clip
from tests.conftest import NARROW, call, interrupt, refuse, write_sequence
from tests.exercises import read

SIZE = (45, 61)
TWO = np.zeros(SIZE, np.uint8)
TWO[5:40, 5:25], TWO[5:40, 35:55] = 1, 2
may_find_nothing = pytest.mark.filterwarnings("ignore")  # as the random network


@pytest.fixture
def clip(tmp_path) -> Clip:
    write_sequence(tmp_path / "tiny", "disk", SIZE)
    return import_clip(tmp_path / "tiny/JPEGImages/480p/disk", tmp_path / "run/clip", progress=False)


@pytest.fixture
def masks(clip, tmp_path):
    """Objects 1 and 2 in the first frame and in the last, object 2 in the second, none in the third."""
    folder, maps = tmp_path / "run/masks/disk", np.zeros((4, *SIZE), np.uint8)
    maps[0, :20, :9], maps[0, 30:, 40:] = 1, 2
    maps[1, 10:12, 5:50] = 2
    maps[3] = np.random.default_rng(0).integers(0, 3, SIZE)
    for path, objects in zip(clip.frames, maps, strict=True):
        write_indexed(folder / f"{path.stem}.png", objects)
    return folder


def arguments(clip, tmp_path, *more):
    first = tmp_path / "first.png"
    write_mask(first, read_annotation(tmp_path / "tiny/Annotations/480p/disk/00000.png"))
    return ["segment", str(tmp_path / "tiny/JPEGImages/480p/disk"), "--mask", str(first), "--height", "24",
            "--run-dir", str(tmp_path / "run"), "--out", str(tmp_path / "a.webm"), *more]  # fmt: skip


def decode_opacity(path):
    """The opacity (N, H, W) of a WebM; FFmpeg's own VP9 decoder leaves it out, libvpx has it."""
    with av.open(str(path)) as container:
        decoder, found = av.CodecContext.create("libvpx-vp9", "r"), []
        for packet in container.demux(video=0):
            for frame in decoder.decode(packet if packet.size else None):
                assert frame.format.name == "yuva420p"
                found.append(frame.to_ndarray(format="rgba"))
    return np.stack(found)


def test_a_cut_out_has_the_colours_of_the_object_and_of_its_rim_alone():
    frame = np.random.default_rng(0).integers(1, 256, (80, 120, 3), np.uint8)
    objects = np.zeros((80, 120), np.uint8)
    objects[30:40, 50:60], objects[35, 60] = 1, 2
    image = cut_out(frame, objects)
    np.testing.assert_array_equal(image[..., 3], np.where(objects > 0, 255, 0))
    near = np.zeros((80, 120), bool)
    assert RIM == 16  # docs/footage.md
    near[30 - RIM : 40 + RIM, 50 - RIM : 60 + RIM] = near[35 - RIM : 36 + RIM, 60 : 61 + RIM] = True
    np.testing.assert_array_equal(image[..., :3], np.where(near[..., None], frame, 0))


def test_the_video_of_cut_outs_is_transparent_where_the_masks_are_background(clip, masks, tmp_path):
    objects = read_annotation(clip.davis.root.parents[1] / "tiny/Annotations/480p/disk/00000.png")
    for path in masks.iterdir():
        write_mask(path, objects)
    frames = decode_opacity(write_cutout(clip, masks, tmp_path / "cut.webm", progress=False))
    assert frames.shape == (4, 46, 62, 4)  # WebM has even sides
    for found, path in zip(frames, clip.frames, strict=True):
        np.testing.assert_array_equal(found[:45, :61, 3] > 127, objects)
        error = np.abs(found[:45, :61, :3][objects] - read_frame(path)[objects].astype(int))
        assert error.mean() < 8


def decode_runs(segmentation):
    """A mask from COCO's uncompressed run lengths, pixel by pixel, as the format defines them."""
    height, width = segmentation["size"]
    mask, at, value = [[None] * width for _ in range(height)], 0, False
    for count in segmentation["counts"]:
        for _ in range(count):
            mask[at % height][at // height] = value
            at += 1
        value = not value
    return np.array(mask)


@pytest.mark.parametrize(
    ("mask", "counts"),
    [
        ([[0, 1], [0, 1], [1, 1]], [2, 4]),
        ([[1, 0, 0]], [0, 1, 2]),
        ([[1], [1]], [0, 2]),
        ([[0, 0], [1, 0]], [1, 1, 2]),
    ],
)
def test_run_lengths_go_down_the_columns_and_start_with_background(mask, counts):
    mask = np.array(mask, bool)
    assert encode_runs(mask) == {"size": list(mask.shape), "counts": counts}
    np.testing.assert_array_equal(decode_runs(encode_runs(mask)), mask)


def test_coco_holds_every_object_of_every_frame(clip, masks, tmp_path):
    found = json.loads(write_coco(clip, masks, tmp_path / "masks.json").read_text())
    assert [image["file_name"] for image in found["images"]] == [path.name for path in clip.frames]
    assert {(image["height"], image["width"]) for image in found["images"]} == {SIZE}
    assert found["categories"] == [{"id": 1, "name": "object_1"}, {"id": 2, "name": "object_2"}]
    shown = [(one["image_id"], one["category_id"]) for one in found["annotations"]]
    assert shown == [(1, 1), (1, 2), (2, 2), (4, 1), (4, 2)]
    assert [one["id"] for one in found["annotations"]] == [1, 2, 3, 4, 5]
    for one in found["annotations"]:
        name = found["images"][one["image_id"] - 1]["file_name"]
        mask = read_indexed((masks / name).with_suffix(".png")) == one["category_id"]
        np.testing.assert_array_equal(decode_runs(one["segmentation"]), mask)
        y, x = np.nonzero(mask)
        assert one["bbox"] == [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]
        assert one["area"] == mask.sum() and one["iscrowd"] == 0


def test_an_object_that_no_mask_shows_is_a_category_all_the_same(clip, masks):
    write_annotations(clip, {0: TWO})
    for path in masks.iterdir():
        write_indexed(path, np.minimum(read_indexed(path), 1))
    found = describe_masks(clip, masks)
    assert {one["category_id"] for one in found["annotations"]} == {1}
    assert [one["id"] for one in found["categories"]] == [1, 2]


@pytest.mark.parametrize(("module", "write"), [(overlay, write_cutout), (coco, write_coco)])
def test_a_file_is_written_once_follows_its_masks_and_replaces_nothing_else(
    clip, masks, tmp_path, monkeypatch, module, write
):
    out = tmp_path / "result"
    out.write_bytes(b"a person's")
    with pytest.warns(UserWarning, match="it is kept as result-1"):
        write(clip, masks, out)
    first = out.read_bytes()
    with monkeypatch.context() as patch:
        name = "write_webm" if module is overlay else "describe_masks"
        patch.setattr(module, name, refuse("written"))
        write(clip, masks, out)
    write_indexed(masks / "00002.png", np.eye(*SIZE, dtype=np.uint8))
    write(clip, masks, out)
    assert out.read_bytes() != first
    assert (tmp_path / "result-1").read_bytes() == b"a person's"


@pytest.mark.usefixtures("narrow")
def test_the_command_writes_both_and_says_where(clip, tmp_path, capsys):
    more = ["--cutout", str(tmp_path / "new/cut.webm"), "--coco", str(tmp_path / "masks.json")]
    assert call(arguments(clip, tmp_path, "--steps", "1", *more)) == 0
    assert capsys.readouterr().out.split() == [
        str(tmp_path / name)
        for name in ("run/masks/disk", "a.webm", "a.gif", "a_sheet.png", "new/cut.webm", "masks.json")
    ]
    found = json.loads((tmp_path / "masks.json").read_text())
    assert found == describe_masks(clip, tmp_path / "run/masks/disk")
    opacity = decode_opacity(tmp_path / "new/cut.webm")[..., 3]
    masks = [read_annotation(path) for path in sorted((tmp_path / "run/masks/disk").iterdir())]
    assert ((opacity[:, :45, :61] > 127) != masks).mean() < 0.005


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--cutout", "cut.mov"], "--cutout is cut.mov; it must end in .webm"),
        (["--coco", "masks.txt"], "--coco is masks.txt; it must end in .json"),
        (["--cutout", ""], "a path is empty"),
        (["--cutout", "{}/a.webm"], "two outputs of this run would have this name"),
        (["--coco", "{}/run/masks/disk.json"], "where this run writes"),
        (["--coco", "/proc/nowhere/masks.json"], "cannot write there"),
        (["--cutout", "{}/first.webm", "--mask", "{}/first.webm"], "first.webm: is one of the inputs"),
    ],
)
def test_outputs_that_cannot_be_are_refused(clip, tmp_path, more, message):
    command = arguments(clip, tmp_path)
    (tmp_path / "first.webm").write_bytes((tmp_path / "first.png").read_bytes())
    assert message in call([*command, *(text.format(tmp_path) for text in more)])


@may_find_nothing
@pytest.mark.usefixtures("narrow")
def test_the_estimate_is_steps_and_masks_times_what_they_took(clip, tmp_path, monkeypatch, capsys):
    """A clock that counts its readings: a step takes 1 s, two masks 1 s."""
    clock = iter(range(1000))
    monkeypatch.setattr(estimate, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    segment_clip(clip, {0: TWO}, tmp_path / "run", OnlineConfig(height=24, steps=6))
    assert re.findall("about .*", capsys.readouterr().out) == [
        "about 12 s to the last mask: 8 training steps of 1.00 s, then 8 masks of 0.50 s, as measured now"
    ]
    shutil.rmtree(tmp_path / "run/online/disk/object_2")
    (tmp_path / "run/masks/disk/00000.png").unlink()
    segment_clip(clip, {0: TWO}, tmp_path / "run", OnlineConfig(height=24, steps=6))
    assert "about 6 s to the last mask: 2 training steps" in capsys.readouterr().out


@may_find_nothing
@pytest.mark.usefixtures("narrow")
def test_trainings_too_short_to_be_timed_have_no_estimate(clip, tmp_path, capsys):
    """Steps of two trainings are not compared: their numbers may be equal, or fall."""
    segment_clip(clip, {0: TWO}, tmp_path / "run", OnlineConfig(height=24, steps=3))
    assert "about" not in capsys.readouterr().out


@pytest.mark.usefixtures("narrow")
def test_the_lines_of_the_readme(tiny, tmp_path, monkeypatch, capsys):
    """Those of README.md, on a tiny data set."""
    (code,) = re.findall("```python\n(.+?)```", (PROJECT / "README.md").read_text(), re.DOTALL)
    imports, lines = code.strip().split("\n\n")
    assert len([*imports.splitlines(), *lines.splitlines()]) == 5
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(imports, names)
    names["get_config"] = lambda phase: get_config(phase, height=24, steps=1)
    exec(lines.replace("data/sample", str(tiny.root)).replace("cat", "cow"), names)
    assert "J_mean" in capsys.readouterr().out
    assert len(list((tmp_path / "runs/mine/masks/cow").iterdir())) == len(tiny.frames("cow"))


FOOTAGE = (PROJECT / "docs/footage.md").read_text()


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("place", ["06", "footage"])
def test_five_lines_of_python_do_what_the_command_does(clip, tmp_path, monkeypatch, capsys, place):
    """Those of notebook 06, and those of docs/footage.md, whose names are files in the working folder."""
    assert call(arguments(clip, tmp_path, "--steps", "1")) == 0
    printed = capsys.readouterr().out.splitlines()
    here = tmp_path / "here"
    here.mkdir()
    shutil.copy(tmp_path / "first.png", here / "marked.png")
    config, source = get_config("online", height=24, steps=1), tmp_path / "tiny/JPEGImages/480p/disk"
    if place == "06":
        cells = read("06_your_video").cells
        (text,) = (number for number, cell in enumerate(cells) if "### Five lines" in cell.source)
        imports, lines = "from osvos_keras import *", cells[text + 1].source
    else:
        (code,) = re.findall("```python\n(.+?)```", FOOTAGE, re.DOTALL)
        imports, lines = code.strip().split("\n\n")
        for name, path in {"clip.mp4": source, "first.png": here / "marked.png", "runs/mine": here}.items():
            lines = lines.replace(name, str(path))
        monkeypatch.chdir(here)
    assert len(lines.splitlines()) == 5
    names = {}
    exec(imports, names)
    names["get_config"] = lambda _: config  # a quick one
    exec(lines, {**names, "source": source, "folder": here, "config": config, "WEIGHTS": "parent"})
    written = capsys.readouterr().out.splitlines()[-3:]
    assert [Path(path).suffix for path in written] == [Path(path).suffix for path in printed[1:]]
    assert all(Path(path).parent == here for path in written)
    done, again = (json.loads((run / "masks/disk.json").read_text()) for run in (tmp_path / "run", here))
    assert done["made_with"] == again["made_with"]  # all that decides the masks
    assert done["masks"] == again["masks"]


SLOW = """
import sys, time
from osvos_keras import callbacks, model, weights
from pathlib import Path
model.WIDTH, weights.BUNDLED = int(sys.argv[1]), Path(sys.argv[2])
save = callbacks.History.on_train_batch_end
def wait(self, *given, **more):
    time.sleep(600 if int(self.model.optimizer.iterations) == 6 else 0.3)  # the bar shows the steps before
    save(self, *given, **more)
callbacks.History.on_train_batch_end = wait
from osvos_keras.cli import main
main(sys.argv[3:])
"""


def stop_in_training(command, weights):
    """Run a command in a process, and send it Ctrl-C's signal after some steps; its status and messages."""
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(NARROW), str(weights), *command],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stderr=subprocess.PIPE,
    )
    told = b""
    while not re.search(rb" [3-9]/30", told) and (part := os.read(process.stderr.fileno(), 4096)):
        told += part
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=120)[1]
    return process.returncode, (told + rest).decode()


def test_after_ctrl_c_the_same_command_goes_on(clip, tmp_path, narrow, narrow_weights, capsys):
    command = arguments(clip, tmp_path, "--steps", "30")
    status, told = stop_in_training(command, narrow_weights)
    assert status == 130 and "Traceback" not in told
    last = told.splitlines()[-1]
    steps, folder = re.fullmatch(
        r"osvos: stopped; (\d+) of 30 training steps are done and kept in (.+); "
        "run the same command again to go on.",
        last,
    ).groups()
    assert 3 <= int(steps) < 30 and folder == str(tmp_path / "run/online/disk/backup")
    assert call(command) == 0
    bar = re.search(r"online disk: .*?(\d+)/30", capsys.readouterr().err)
    assert bar[1] == steps


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ("osvos_keras.video.objects.write_map", "the training is done and kept in {}/run, the masks are"),
        ("osvos_keras.video.overlay.write_gif", "the masks are done and kept in {}/run/masks/disk"),
    ],
)
def test_ctrl_c_later_says_what_is_kept(clip, tmp_path, monkeypatch, capsys, where, kept):
    monkeypatch.setattr(where, interrupt)
    assert call(arguments(clip, tmp_path, "--steps", "1")) == 130
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"osvos: stopped; {kept.format(tmp_path)}")
    assert last.endswith("; run the same command again to go on.")


@pytest.mark.usefixtures("narrow")
def test_the_preset_thorough_trains_twice(clip, tmp_path, capsys):
    assert call(arguments(clip, tmp_path, "--steps", "4", "--preset", "thorough")) == 0
    for folder in ("first", "."):
        assert (tmp_path / "run/online/disk" / folder / "osvos.weights.h5").is_file()
    said = capsys.readouterr().err
    assert re.search(r"to the last mask: [4-7] training steps of .* then 8 masks", said)
    assert call(arguments(clip, tmp_path, "--steps", "4", "--preset", "thorough")) == 0
    assert "online disk" not in capsys.readouterr().err  # no bar of a training
