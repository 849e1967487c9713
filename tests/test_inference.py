"""From network to masks on disk."""

import cv2
import keras
import numpy as np
import pytest
from PIL import Image

from osvos_keras.davis import read_annotation
from osvos_keras.errors import DataError, FolderError
from osvos_keras.evaluation import evaluate
from osvos_keras.inference import predict_logits, predict_sequence, sample_similarity, segment_sequence
from osvos_keras.model import OUTPUTS, build_osvos


@pytest.fixture(scope="module")
def network():
    """Says that bright is object: a network with one channel set by hand, the rest untouched."""
    model = build_osvos("imagenet")
    for side in ("side2", "side3", "side4", "side5"):
        model.get_layer(f"{side}_fuse").kernel.assign(np.zeros((1, 1, 16, 1)))
    model.get_layer("side2_fuse").kernel.assign(np.ones((1, 1, 16, 1)))
    return model


def test_masks_are_whole_files_of_the_frames_own_size(network, tiny, tmp_path):
    folder = segment_sequence(network, tiny, "cow", tmp_path / "masks", height=24, progress=False)
    assert folder == tmp_path / "masks" / "cow"
    assert [path.name for path in sorted(folder.iterdir())] == [path.name for path in tiny.annotations("cow")]
    for path in folder.iterdir():
        image = Image.open(path)
        assert (image.mode, image.size) == ("L", (61, 45))
        assert set(np.unique(image)) <= {0, 255}


def test_masks_are_where_the_probability_is_above_one_half(network, tiny, tmp_path):
    folder = segment_sequence(network, tiny, "cow", tmp_path, progress=False)
    found = [read_annotation(path) for path in sorted(folder.iterdir())]
    share = tiny.first("cow")[1].mean()
    options = {"learned_share": share, "snap": True, "progress": False}
    expected = [p > 0.5 for _, p in predict_sequence(network, tiny.frames("cow"), **options)]
    np.testing.assert_array_equal(found, expected)
    assert 0 < np.mean(found) < 1


@pytest.mark.parametrize(("height", "scales"), [(0, 1), (20, 1), (0, 2)])
def test_batches_do_not_change_the_result(network, tiny, height, scales):
    def probabilities(batch):
        options = {"scales": scales, "progress": False}
        return [p for _, p in predict_sequence(network, tiny.frames("cow"), height, batch, **options)]

    np.testing.assert_allclose(probabilities(1), probabilities(3), atol=1e-4)


def test_logits_of_one_frame_are_those_of_the_sequence(network, tiny):
    logits = predict_logits(network, tiny.first("cow")[0])
    assert tuple(logits) == OUTPUTS and logits["fused"].shape == (45, 61)
    _, probability = next(predict_sequence(network, tiny.frames("cow"), progress=False))
    expected = 1 / (1 + np.exp(-logits["fused"].astype(np.float64)))
    np.testing.assert_allclose(expected, probability, atol=0.02)  # two JPEG decoders


def mean_logits(network, frame, heights):
    looks = [predict_logits(network, frame, height)["fused"] for height in heights]
    return np.mean([cv2.resize(look, frame.shape[1::-1]) for look in looks], axis=0)


@pytest.mark.parametrize(("share", "second"), [(None, None), (4.0, (22, 11))])
def test_of_several_scales_the_mean_logits_count(network, tiny, share, second):
    """In a second look too: at half the size, the scales are a half and a quarter."""
    frame = tiny.first("cow")[0]
    expected = mean_logits(network, frame, (45, 22))
    if share:
        share = (expected > 0).mean() / share
        expected = expected / 4 + mean_logits(network, frame, second) * 3 / 4
    options = {"learned_share": share, "scales": 2, "progress": False}
    _, probability = next(predict_sequence(network, tiny.frames("cow"), **options))
    np.testing.assert_allclose(probability, keras.ops.sigmoid(expected), atol=0.02)  # two JPEG decoders


@pytest.mark.parametrize(("growth", "lines"), [(1.2, None), (1.3, 34), (2.0, 22), (5.0, 11)])
def test_an_object_that_has_grown_is_looked_at_again_at_a_smaller_scale(network, tiny, growth, lines):
    frame = tiny.first("cow")[0]
    expected = predict_logits(network, frame)["fused"]
    share = (expected > 0).mean() / growth**2
    if lines:
        second = cv2.resize(predict_logits(network, frame, lines)["fused"], expected.shape[::-1])
        expected = expected / growth**2 + second * (1 - 1 / growth**2)
    _, probability = next(predict_sequence(network, tiny.frames("cow"), progress=False, learned_share=share))
    np.testing.assert_allclose(probability, keras.ops.sigmoid(expected), atol=0.02)  # two JPEG decoders


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


def last_mask(network, frames, share):
    *_, (_, probability) = predict_sequence(network, frames, progress=False, learned_share=share)
    return probability > 0.5


def test_an_object_is_not_taken_to_have_shrunk_at_once(bright, tmp_path):
    """After a frame in which it is large, one in which little of it is found is looked at again too."""
    images = np.zeros((2, 48, 48), np.uint8)
    images[0, :30, :30] = images[1, :8, :8] = 255
    frames = write_frames(tmp_path, *images)
    share = 8**2 / 48**2
    alone, after = last_mask(bright, frames[1:], share), last_mask(bright, frames, share)
    np.testing.assert_array_equal(alone, last_mask(bright, frames[1:], None))
    assert (alone != after).any()


def test_a_part_of_the_mask_that_is_nowhere_clear_is_left_out(bright, tmp_path):
    """Of four squares of 16 × 16 pixels the second has 13 clear pixels, a twentieth, and the third 12."""
    image = np.zeros((24, 96), np.uint8)
    image[4:20, 4:20] = 200
    for left, clear in ((28, 13), (52, 12), (76, 0)):
        square = np.full(256, 130, np.uint8)
        square[:clear] = 200
        image[4:20, left : left + 16] = square.reshape(16, 16)
    path = tmp_path / "cow" / "00000.png"  # TensorFlow tells PNG from JPEG by content
    path.parent.mkdir()
    Image.fromarray(np.stack([image] * 3, axis=-1)).save(path)
    everything = last_mask(bright, [path], None)
    np.testing.assert_array_equal(everything, image > 0)
    clear = everything & (np.arange(96) < 48)
    np.testing.assert_array_equal(last_mask(bright, [path], 0.5), clear)


def test_where_nothing_is_clear_the_mask_is_empty(bright, tmp_path):
    frames = write_frames(tmp_path, np.full((24, 32), 130, np.uint8))
    assert last_mask(bright, frames, None).all() and not last_mask(bright, frames, 0.5).any()


def test_masks_of_a_sequence_take_the_first_annotation_for_the_size_that_was_learned(network, tiny, tmp_path):
    def masks(folder, **options):
        folder = segment_sequence(network, tiny, "cow", tmp_path / folder, progress=False, **options)
        return np.stack([read_annotation(path) for path in sorted(folder.iterdir())])

    share = tiny.first("cow")[1].mean()
    np.testing.assert_array_equal(masks("default"), masks("given", learned_share=share, snap=True))
    assert (masks("default") != masks("plain", snap=False)).any()
    assert (masks("once", learned_share=None) != masks("tiny", learned_share=1e-4)).any()


def test_truncated_frame_is_named_and_masks_before_it_are_kept(network, tiny, tmp_path):
    path = tiny.frames("cow")[2]
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(DataError, match=r"cow/00002\.jpg: unreadable or truncated"):
        segment_sequence(network, tiny, "cow", tmp_path, batch=1, progress=False)
    assert [mask.name for mask in sorted((tmp_path / "cow").iterdir())] == ["00000.png", "00001.png"]


def test_masks_follow_each_frames_own_size(network, tiny, tmp_path):
    path = tiny.frames("cow")[1]
    Image.open(path).resize((40, 30)).save(path)
    with pytest.raises(DataError, match=r"different sizes cannot share a batch.*Use batch=1"):
        segment_sequence(network, tiny, "cow", tmp_path, progress=False)
    folder = segment_sequence(network, tiny, "cow", tmp_path, batch=1, progress=False)
    assert [Image.open(mask).size for mask in sorted(folder.iterdir())[:3]] == [(61, 45), (40, 30), (61, 45)]


def test_folder_that_cannot_be_written(network, tiny, tmp_path):
    (tmp_path / "masks").write_text("a file")
    with pytest.raises(FolderError, match="masks/cow: cannot write"):
        segment_sequence(network, tiny, "cow", tmp_path / "masks")


def test_quick_look_is_the_benchmarks_j_of_the_frames_it_takes(network, tiny, tmp_path):
    segment_sequence(network, tiny, "cow", tmp_path, progress=False, learned_share=None, snap=False)
    per_frame = evaluate(tmp_path, tiny, ["cow"], progress=False).per_frame["J"]
    for every in (1, 2):
        quick = sample_similarity(network, tiny, "cow", 0, every)
        np.testing.assert_allclose(quick, per_frame[::every].mean(), atol=1e-9)
