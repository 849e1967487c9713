"""From network to masks on disk."""

import gc
import threading
import warnings
import weakref
from dataclasses import replace

import cv2
import keras
import numpy as np
import pytest
from PIL import Image

from osvos_keras import looks
from osvos_keras.config import InferenceConfig
from osvos_keras.errors import DataError, FolderError, MaskWarning
from osvos_keras.inference import predict_logits, predict_sequence, segment_sequence
from osvos_keras.io import images
from osvos_keras.io.images import read_frame
from osvos_keras.io.masks import read_annotation
from osvos_keras.looks import fused_only
from osvos_keras.model import OUTPUTS, build_osvos
from osvos_keras.pipeline import resize_to_height
from osvos_keras.refinement import reconcile
from osvos_keras.self_training import expected_similarity


@pytest.fixture(scope="module")
def network():
    """Says that bright is object: a network with one channel set by hand, the rest untouched."""
    model = build_osvos("imagenet")
    for side in ("side2", "side3", "side4", "side5"):
        model.get_layer(f"{side}_fuse").kernel.assign(np.zeros((1, 1, 16, 1)))
    model.get_layer("side2_fuse").kernel.assign(np.ones((1, 1, 16, 1)))
    return model


PLAIN = InferenceConfig(snap=False)
CLOSE = {"rtol": 1e-5, "atol": 1e-3}  # of logits in the hundreds


def all_logits(network, frames, settings=None, learned_area=0):
    return np.stack([found for _, found in predict_sequence(network, frames, settings, learned_area, False)])


def read_all(folder):
    return np.stack([read_annotation(path) for path in sorted(folder.iterdir())])


def test_masks_are_whole_files_of_the_frames_own_size(network, tiny, tmp_path):
    folder = segment_sequence(network, tiny, "cow", tmp_path / "masks", InferenceConfig(24), progress=False)
    assert folder == tmp_path / "masks" / "cow"
    assert [path.name for path in sorted(folder.iterdir())] == [path.name for path in tiny.annotations("cow")]
    for path in folder.iterdir():
        image = Image.open(path)
        assert (image.mode, image.size) == ("L", (61, 45))
        assert set(np.unique(image)) <= {0, 255}


def test_masks_are_where_the_logit_is_above_zero(network, tiny, tmp_path):
    folder = segment_sequence(network, tiny, "cow", tmp_path, progress=False)
    found = read_all(folder)
    area = tiny.first("cow")[1].mean()
    frames = tiny.frames("cow")
    expected = [logits > 0 for _, logits in predict_sequence(network, frames, None, area, progress=False)]
    np.testing.assert_array_equal(found, expected)
    assert 0 < np.mean(found) < 1


@pytest.mark.parametrize(("height", "window"), [(0, 0), (20, 0), (0, 16)])
def test_batches_do_not_change_the_result(network, tiny, height, window):
    def found(batch):
        settings = InferenceConfig(height, window, batch, snap=False)
        return all_logits(network, tiny.frames("cow"), settings)

    np.testing.assert_allclose(found(1), found(3), **CLOSE)


def test_logits_of_one_frame_are_those_of_the_sequence(network, tiny):
    logits = predict_logits(network, tiny.first("cow")[0])
    assert tuple(logits) == OUTPUTS and logits["fused"].shape == (45, 61)
    np.testing.assert_allclose(all_logits(network, tiny.frames("cow"), PLAIN)[0], logits["fused"], **CLOSE)


@pytest.mark.parametrize(("growth", "lines"), [(1.2, None), (1.3, 34), (2.0, 22), (5.0, 11)])
def test_an_object_that_has_grown_is_looked_at_again_at_a_smaller_scale(network, tiny, growth, lines):
    frame = tiny.first("cow")[0]
    expected = predict_logits(network, frame)["fused"]
    area = (expected > 0).mean() / growth**2
    if lines:
        second = cv2.resize(predict_logits(network, frame, lines)["fused"], expected.shape[::-1])
        expected = reconcile(expected, second)
    found = all_logits(network, tiny.frames("cow")[:1], PLAIN, area)
    np.testing.assert_allclose(found[0], expected, **CLOSE)


@pytest.fixture(scope="module")
def bright():
    """A network whose logit is a pixel's brightness above 128."""
    images = keras.Input((None, None, 3), dtype="uint8")
    logits = keras.ops.mean(keras.ops.cast(images, "float32"), axis=-1, keepdims=True) - 128
    return keras.Model(images, {"fused": logits})


def write_frames(folder, *frames):
    """Frames (H, W) uint8 of grey as a sequence's files."""
    paths = [folder / "cow" / f"{index:05d}.jpg" for index in range(len(frames))]
    paths[0].parent.mkdir()
    for path, frame in zip(paths, frames, strict=True):
        Image.fromarray(np.stack([frame] * 3, axis=-1)).save(path, quality=100)
    return paths


def test_after_a_glance_the_network_looks_where_the_object_may_be(bright, monkeypatch, tmp_path):
    """There the logits are those of the whole frame, elsewhere those of the small copy."""
    monkeypatch.setattr("osvos_keras.looks.MARGIN", 8)
    picture = np.random.default_rng(0).integers(0, 100, (48, 96), np.uint8)
    picture[20:28, 56:64] = 255
    frames = write_frames(tmp_path, picture)
    whole = all_logits(bright, frames, PLAIN)[0]
    found = all_logits(bright, frames, replace(PLAIN, window=12))[0]
    small = np.asarray(resize_to_height(read_frame(frames[0]), 12, "bilinear")).mean(-1) - 128.0
    glance = cv2.resize(small.astype(np.float32), (96, 48))
    np.testing.assert_allclose(found[14:34, 56:64], whole[14:34, 56:64], atol=1e-3)
    np.testing.assert_allclose(found[20:28, 50:70], whole[20:28, 50:70], atol=1e-3)
    assert np.minimum(abs(found - whole), abs(found - glance)).max() < 1e-3
    np.testing.assert_allclose(found[:, :32], glance[:, :32], atol=1e-3)
    assert (found != whole).any() and (found[20:28, 56:64] > 0).all()


def test_where_a_glance_finds_nothing_the_whole_frame_is_looked_at(bright, tmp_path):
    picture = np.zeros((48, 96), np.uint8)
    picture[20, 56] = 255  # a pixel alone, too small for the glance
    frames = write_frames(tmp_path, picture)
    whole, found = (all_logits(bright, frames, replace(PLAIN, window=window)) for window in (0, 12))
    np.testing.assert_array_equal(found, whole)
    assert (found > 0).any()


def test_frames_no_larger_than_the_window_are_looked_at_at_once(network, tiny, monkeypatch):
    monkeypatch.setattr("osvos_keras.looks._look_closely", None)  # an error if it were used
    frames = tiny.frames("cow")
    found = all_logits(network, frames, InferenceConfig(height=24, window=24, snap=False))
    np.testing.assert_array_equal(found, all_logits(network, frames, InferenceConfig(24, snap=False)))


@pytest.mark.parametrize(("growth", "lines"), [(1.0, [24, 48]), (1.4, [24, 48, 36]), (2.0, [24, 48])])
def test_one_glance_serves_both_looks(bright, monkeypatch, tmp_path, growth, lines):
    """A second look at half of 48 lines sees what the glance at 24 saw: it asks the network nothing."""
    seen, fuse = [], looks._fuse
    monkeypatch.setattr(
        looks, "_fuse", lambda model, images: (seen.append(images.shape[1]), fuse(model, images))[1]
    )
    picture = np.zeros((48, 96), np.uint8)
    picture[8:40, 16:80] = 255
    frames, settings = write_frames(tmp_path, picture), replace(PLAIN, window=24)
    area = (all_logits(bright, frames, settings) > 0).mean() / growth**2
    seen.clear()
    all_logits(bright, frames, settings, area)
    assert seen == lines


@pytest.mark.parametrize("order", [1, -1])
def test_the_last_growth_that_is_reached_decides_on_the_second_look(order):
    scales, logits = [], np.ones((4, 4), np.float32)
    settings = InferenceConfig(second_looks=((1.25, 0.75), (1.6, 0.5), (2.4, 0.35))[::order])

    def see(scale):
        scales.append(scale)
        return logits

    looks.look_again(see, logits, settings, learned_area=0.25, before=1.0)  # twice as long
    assert scales == [0.5]


def last_mask(network, frames, area, settings=PLAIN):
    return all_logits(network, frames, settings, area)[-1] > 0


def test_an_object_is_not_taken_to_have_shrunk_at_once(bright, tmp_path):
    """After a frame in which it is large, one in which little of it is found is looked at again too."""
    pictures = np.zeros((2, 48, 48), np.uint8)
    pictures[0, :30, :30] = pictures[1, :8, :8] = 255
    frames = write_frames(tmp_path, *pictures)
    area = 8**2 / 48**2
    alone, after = last_mask(bright, frames[1:], area), last_mask(bright, frames, area)
    np.testing.assert_array_equal(alone, last_mask(bright, frames[1:], 0))
    assert (alone != after).any()
    for settings in (replace(PLAIN, shrinking=0), replace(PLAIN, second_looks=())):
        np.testing.assert_array_equal(last_mask(bright, frames, area, settings), alone)


def test_masks_of_a_sequence_take_the_first_annotation_for_the_size_that_was_learned(network, tiny, tmp_path):
    def masks(folder, settings=None, area=None):
        return read_all(
            segment_sequence(network, tiny, "cow", tmp_path / folder, settings, area, progress=False)
        )

    area = tiny.first("cow")[1].mean()
    np.testing.assert_array_equal(masks("default"), masks("given", InferenceConfig(), area))
    assert (masks("default") != masks("plain", PLAIN)).any()
    assert (masks("once", area=0) != masks("tiny", area=1e-4)).any()


def test_truncated_frame_is_named_and_masks_before_it_are_kept(network, tiny, tmp_path):
    path = tiny.frames("cow")[2]
    path.write_bytes(path.read_bytes()[:-400])  # its header is whole
    with pytest.raises(DataError, match=r"cow/00002\.jpg: unreadable or truncated"):
        segment_sequence(network, tiny, "cow", tmp_path, InferenceConfig(batch=1), progress=False)
    assert [mask.name for mask in sorted((tmp_path / "cow").iterdir())] == ["00000.png", "00001.png"]


def test_masks_follow_each_frames_own_size(network, tiny, tmp_path):
    path = tiny.frames("cow")[1]
    Image.open(path).resize((40, 30)).save(path)
    folder = segment_sequence(network, tiny, "cow", tmp_path, progress=False)
    assert [Image.open(mask).size for mask in sorted(folder.iterdir())[:3]] == [(61, 45), (40, 30), (61, 45)]


def test_each_frame_is_opened_once(network, tiny, monkeypatch):
    opened, lock = [], threading.Lock()
    open_image = images.open_image

    def note(path, *options):
        with lock:
            opened.append(path)
        return open_image(path, *options)

    monkeypatch.setattr(images, "open_image", note)
    all_logits(network, tiny.frames("cow"), InferenceConfig(height=24, window=16), 0.01)
    assert sorted(opened) == tiny.frames("cow")


def test_frame_that_is_missing_is_named(network, tiny):
    frames = tiny.frames("cow")
    frames[2].unlink()
    with pytest.raises(DataError, match=r"cow/00002\.jpg: no such file"):
        next(predict_sequence(network, frames, progress=False))


def test_frame_that_goes_missing_meanwhile_is_named(network, tiny):
    frames = [*tiny.frames("bee"), *tiny.frames("ant"), *tiny.frames("cow")] * 8
    found = predict_sequence(network, frames, InferenceConfig(batch=1), progress=False)
    next(found)
    frames[-1].unlink()
    with pytest.raises(DataError, match=r"cow/00003\.jpg: no such file"):
        list(found)


def test_thin_frames_are_seen_at_their_own_size_and_not_enlarged_beyond_reason(network, tmp_path):
    """Of 1 × 2000 pixels 240 lines would make 480,000 columns; 2000 × 1 keep one column."""
    for name, (height, width) in {"flat": (1, 2000), "tall": (2000, 1)}.items():
        (tmp_path / name).mkdir()
        frames = write_frames(tmp_path / name, np.full((height, width), 200, np.uint8))
        assert all_logits(network, frames).shape == (1, height, width)
    assert all_logits(network, frames, InferenceConfig(240)).shape == (1, 2000, 1)
    with pytest.raises(DataError, match="2000×1 pixels, which 240 lines would enlarge to 480000×240"):
        all_logits(network, [tmp_path / "flat" / "cow" / "00000.jpg"], InferenceConfig(240))


def test_network_looks_at_frames_as_it_was_trained_unless_told_otherwise(network, tiny, tmp_path):
    def found(model, *settings):
        return all_logits(model, tiny.frames("cow"), *settings)

    model = keras.Model(network.input, network.output)
    model.inference = settings = InferenceConfig(height=20)
    np.testing.assert_array_equal(found(model), found(network, settings))
    np.testing.assert_array_equal(found(model, InferenceConfig()), found(network))
    assert (found(model) != found(network)).any()
    frame = tiny.first("cow")[0]
    assert predict_logits(model, frame)["fused"].shape == (20, 27)
    assert predict_logits(model, frame, 0)["fused"].shape == (45, 61)
    own = segment_sequence(model, tiny, "cow", tmp_path / "own", progress=False)
    told = segment_sequence(network, tiny, "cow", tmp_path / "told", settings, progress=False)
    np.testing.assert_array_equal(read_all(own), read_all(told))


def test_compiled_network_is_kept_as_long_as_the_network_and_no_longer():
    model = build_osvos(None)
    fused = fused_only(model)
    assert fused_only(model) is fused
    left = [weakref.ref(one) for one in (model, fused)]
    del model, fused
    keras.backend.clear_session()
    gc.collect()
    assert [reference() for reference in left] == [None, None]


def test_masks_that_are_all_empty_are_said_once(bright, tiny, tmp_path):
    frames = write_frames(tmp_path, *np.full((3, 24, 32), 90, np.uint8))
    with pytest.warns(MaskWarning, match="cow: all masks are empty: .* none of the 3 frames") as caught:
        assert not last_mask(bright, frames, 0.5).any()
    assert [warning.category for warning in caught].count(MaskWarning) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # one that has learned no object may find none
        assert not last_mask(bright, frames, 0).any()


def test_what_a_killed_run_left_half_written_among_the_masks_goes(network, tiny, tmp_path):
    half = tmp_path / "cow" / ".tmp-123-00000.png"
    half.parent.mkdir()
    half.write_bytes(b"half")
    folder = segment_sequence(network, tiny, "cow", tmp_path, progress=False)
    assert sorted(path.name for path in folder.iterdir()) == [
        f"{path.stem}.png" for path in tiny.frames("cow")
    ]


def test_folder_that_cannot_be_written(network, tiny, tmp_path):
    (tmp_path / "masks").write_text("a file")
    with pytest.raises(FolderError, match="masks/cow: cannot write"):
        segment_sequence(network, tiny, "cow", tmp_path / "masks")


def test_look_alikes_elsewhere_are_left_out_while_the_object_is_followed(bright, tmp_path):
    """The object moves to the right; in the second frame there is another, which alone is in the fourth."""
    pictures = np.zeros((4, 48, 96), np.uint8)
    for picture, left in zip(pictures, (4, 8, None, 70), strict=True):
        if left is not None:
            picture[20:32, left : left + 12] = 255
    object_alone = pictures[1] > 0
    pictures[1, 20:32, 70:82] = 255
    frames = write_frames(tmp_path, *pictures)
    followed = [logits > 0 for logits in all_logits(bright, frames, PLAIN, learned_area=144 / 4608)]
    np.testing.assert_array_equal(followed[1], object_alone)
    assert followed[0].any() and not followed[2].any() and followed[3].any()
    right = np.zeros_like(object_alone)  # a person says that the object is the other one
    right[20:32, 70:82] = True
    corrected = list(predict_sequence(bright, frames, PLAIN, 144 / 4608, False, {frames[0]: right}))
    for index in (0, 1):
        np.testing.assert_array_equal(corrected[index][1] > 0, right)
    assert expected_similarity(corrected[0][1]) == 1
    for settings, area in ((replace(PLAIN, reach=0), 144 / 4608), (PLAIN, 0)):
        assert (all_logits(bright, frames, settings, area)[1] > 0).sum() == 288
