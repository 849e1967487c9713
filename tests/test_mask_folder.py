"""Folders of masks as other methods leave them are understood, or one sentence says what to do."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from osvos_keras.davis import Davis
from osvos_keras.errors import DataError
from osvos_keras.evaluation import evaluate
from osvos_keras.evaluation.folder import repeat_first_mask
from tests.conftest import write_sequence


@pytest.fixture
def expected(masks, davis):
    return evaluate(masks, davis, progress=False).per_frame


@pytest.mark.parametrize(
    "inside", ["method", "method/method", "Annotations/480p", "480p", "Results/Segmentations/480p/osmn"]
)
def test_nested_folders_are_entered(masks, davis, expected, inside, tmp_path):
    outer = tmp_path / "archive"
    shutil.copytree(masks, outer / inside)
    (outer / "__MACOSX" / "._method").mkdir(parents=True)
    (outer / ".git").mkdir()
    (outer / ".DS_Store").write_bytes(b"\0")
    scores = evaluate(outer, davis, progress=False)
    pd.testing.assert_frame_equal(scores.per_frame, expected)
    assert scores.notes == (f"{outer}: the masks are taken from {outer / inside}.",)


def test_two_methods_in_one_folder_are_not_guessed_between(masks, davis, tmp_path):
    for name in ("one", "two"):
        shutil.copytree(masks, tmp_path / "all" / name)
    with pytest.raises(DataError, match=rf"but .*one/bee exists\. Give {tmp_path}/all/one instead"):
        evaluate(tmp_path / "all", davis, progress=False)


def test_the_folder_of_one_sequence_is_named_with_its_parent(masks, davis):
    with pytest.raises(DataError, match=rf"masks of one sequence\. Give the folder that holds it, {masks}\."):
        evaluate(masks / "cow", davis, "cow", progress=False)


def test_a_folder_that_links_to_itself_ends(davis, tmp_path):
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop" / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(DataError, match="no masks of this sequence"):
        evaluate(tmp_path / "loop", davis, progress=False)


@pytest.mark.parametrize("name", ["{}", "{:03d}", "{:07d}", "frame_{:05d}", "bee2-{}", "{:05d}_mask2_{}"])
def test_masks_named_by_the_number_of_their_frame_are_matched(masks, davis, expected, name):
    for path in sorted((masks / "cow").iterdir()):
        path.rename(path.with_name(f"{name.format(*[int(path.stem)] * 2)}.png"))
    scores = evaluate(masks, davis, progress=False)
    pd.testing.assert_frame_equal(scores.per_frame, expected)
    assert "matched to frames by number" in scores.notes[0]


def test_two_masks_of_one_frame_are_both_named(masks, davis):
    shutil.copy(masks / "cow" / "00003.png", masks / "cow" / "3.png")
    with pytest.raises(DataError, match=r"a second mask of frame 00003, beside"):
        evaluate(masks, davis, progress=False)


def test_jpeg_masks_are_read_where_they_are_clear(masks, davis, expected):
    for path in sorted((masks / "cow").iterdir()):
        Image.open(path).resize((610, 450), 0).save(path.with_suffix(".JPG"), quality=95)
        path.unlink()
    big = Davis(davis.root)
    for path in big.annotations("cow"):
        Image.open(path).resize((610, 450), 0).save(path)
    scores = evaluate(masks, big, "cow", progress=False)
    cow = expected.query("sequence == 'cow'")["J"].to_numpy()
    np.testing.assert_allclose(scores.per_frame["J"], cow, atol=0.01)
    assert "masks are JPEGs" in scores.notes[0]


def test_a_jpeg_that_is_no_mask_is_named(masks, davis):
    shutil.rmtree(masks / "cow")
    (masks / "cow").mkdir()
    for frame in davis.frames("cow"):
        Image.linear_gradient("L").resize((61, 45)).save(masks / "cow" / frame.name)
    with pytest.raises(DataError, match=r"0000[0-9]\.jpg: a JPEG with many greys, so not a mask"):
        evaluate(masks, davis, "cow", progress=False)


def test_overlays_and_hidden_files_beside_the_masks_are_no_masks(masks, davis, expected):
    """As what a kill leaves half written, and what macOS leaves in archives."""
    for frame in davis.frames("cow"):
        shutil.copy(frame, masks / "cow")
    (masks / "cow" / ".tmp-123-00003.png").write_bytes(b"half")
    (masks / "cow" / "._00003.png").write_bytes(b"\0\5\26\7")
    (masks / "cow" / "Thumbs.db").write_bytes(b"\0")
    pd.testing.assert_frame_equal(evaluate(masks, davis, progress=False).per_frame, expected)


def test_a_fifo_is_no_mask(masks, davis):
    path = masks / "cow" / "00003.png"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DataError, match=r"00003\.png: no such mask"):
        evaluate(masks, davis, progress=False)


def test_ctrl_c_ends_the_scoring_at_once(masks, davis):
    """The masks that still wait in the pool are dropped."""
    code = (
        "import os, signal, sys, time; from osvos_keras.evaluation import objects\n"
        "from osvos_keras.davis import Davis; from osvos_keras.evaluation import evaluate\n"
        "def read(path):\n"
        "    os.write(1, b'mask\\n')  # one write: two threads' lines stay apart\n"
        "    time.sleep(0.3); os.kill(os.getpid(), signal.SIGINT); time.sleep(1)  # all masks wait by then\n"
        "objects.read_any_mask = read\n"
        "evaluate(sys.argv[1], Davis(sys.argv[2]), 'cow,bee', workers=2, progress=False)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, masks, davis.root], capture_output=True, text=True, timeout=120
    )
    assert "KeyboardInterrupt" in done.stderr
    assert 1 <= len(done.stdout.splitlines()) <= 4  # of 8 masks


@pytest.mark.parametrize(
    ("frames", "annotations", "message"), [(5, 1, ".*nothing to score"), (2, 2, "2 frames.*at least 3")]
)
def test_a_sequence_with_nothing_to_score_is_left_out_by_name(
    masks, davis, expected, frames, annotations, message
):
    write_sequence(davis.root, "fly", frames=frames)
    for path in davis.annotations("fly")[annotations:]:
        path.unlink()
    scores = evaluate(masks, davis, "fly,bee,cow", progress=False)
    pd.testing.assert_frame_equal(scores.per_frame, expected)
    assert "fly" in scores.notes[0] and scores.notes[0].endswith("It is left out.")
    assert scores.arguments["sequences"] == ["bee", "cow"]
    with pytest.raises(DataError, match=f"fly: {message}"):
        evaluate(repeat_first_mask(davis, ["fly"], masks), davis, "fly", progress=False)


def test_an_annotation_missing_in_between_is_still_an_error(masks, davis):
    davis.annotations("cow")[3].unlink()
    with pytest.raises(DataError, match=r"00003\.png: no such annotation"):
        evaluate(masks, davis, ["cow"], progress=False)
