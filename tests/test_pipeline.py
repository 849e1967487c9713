"""The tf.data pipeline and its transforms: exact, binary, reproducible from (seed, step)."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf

from osvos_keras import augment, pipeline
from osvos_keras.augment import random_transform, warp
from osvos_keras.config import OnlineConfig, ParentConfig
from osvos_keras.errors import DataError
from osvos_keras.io.images import read_frame
from osvos_keras.io.masks import read_annotation, write_mask
from osvos_keras.pipeline import load_frame, naming_files, online_dataset, parent_dataset, resize_to_height


def transform_of(monkeypatch, height, width, flip=1.0, rotation=0.0, scale=1.0):
    """`random_transform` with its ranges narrowed to one value (flip: 1 never, 0 always)."""
    monkeypatch.setattr(augment, "FLIP", 1 - flip)
    monkeypatch.setattr(augment, "SCALE", (scale, scale))
    monkeypatch.setattr(
        augment.tf.random, "stateless_uniform", lambda *_: tf.constant([0.5, (1 + rotation) / 2, 0.5])
    )
    monkeypatch.setattr(augment, "ROTATION", 30.0)
    return random_transform((0, 0), height, width).numpy()


@pytest.mark.parametrize("size", [(8, 10), (7, 11)])
def test_no_change_leaves_every_pixel(monkeypatch, size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    transform = transform_of(monkeypatch, *size)
    np.testing.assert_array_equal(warp(image, transform, cv2.INTER_LINEAR), image)


def test_flip_mirrors_exactly(monkeypatch):
    image = np.arange(6 * 9, dtype=np.uint8).reshape(6, 9, 1)
    transform = transform_of(monkeypatch, 6, 9, flip=0.0)
    np.testing.assert_array_equal(warp(image, transform, cv2.INTER_NEAREST), image[:, ::-1])


@pytest.mark.parametrize("scale", [0.75, 1.25])
def test_scale_enlarges_the_object_by_its_square(monkeypatch, scale):
    y, x = np.mgrid[:101, :141]
    disk = ((y - 50) ** 2 + (x - 70) ** 2 < 30**2).astype(np.uint8)[..., None]
    warped = warp(disk, transform_of(monkeypatch, 101, 141, scale=scale), cv2.INTER_NEAREST)
    np.testing.assert_allclose(warped.sum() / disk.sum(), scale**2, rtol=0.02)


def test_rotation_and_scale_are_about_the_centre(monkeypatch):
    """15 degrees and 1.1 times, as OpenCV's own matrix says it."""
    transform = transform_of(monkeypatch, 80, 100, rotation=0.5, scale=1.1)
    for degrees in (15, -15):
        forward = cv2.getRotationMatrix2D((49.5, 39.5), degrees, 1.1)
        if np.allclose(cv2.invertAffineTransform(forward), transform, atol=1e-5):
            return
    pytest.fail(f"{transform} is neither 15 degrees to the left nor to the right")


@pytest.mark.parametrize("seed", range(4))
def test_warp_agrees_with_tensorflows(seed):
    """The border included, which both reflect. OpenCV rounds positions to a 32nd of a pixel."""
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (80, 100, 3), np.uint8), (0, 0), 2)
    transform = random_transform((0, seed), 80, 100)
    theirs = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None].astype(np.float32),
        transforms=tf.concat([tf.reshape(transform, (1, 6)), [[0.0, 0.0]]], axis=1),
        output_shape=(80, 100),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )[0]
    ours = warp(image, transform.numpy(), cv2.INTER_LINEAR)
    difference = np.abs(ours - theirs.numpy())
    assert difference.max() < 2.5 and difference.mean() < 0.4 and np.ptp(ours) > 30


def test_frame_and_annotation_move_together(tiny):
    """The object is bright: after any transform the annotation still covers what is bright."""
    frame, annotation = tiny.first("ant")
    for frames, targets, _ in online_dataset(frame, annotation, OnlineConfig(height=0, steps=20)):
        bright = frames[0].numpy().mean(-1) > 130
        mask = targets["fused"][0, ..., 0].numpy() == 1
        assert (bright & mask).sum() / (bright | mask).sum() > 0.85


def test_annotations_stay_binary_and_frames_uint8(tiny):
    frame, annotation = tiny.first("ant")
    shares = []
    for frames, targets, _ in online_dataset(frame, annotation, OnlineConfig(height=30, steps=20)):
        assert frames.shape == (1, 30, 41, 3) and frames.dtype == tf.uint8
        assert set(np.unique(targets["fused"])) == {0, 1}
        shares.append(targets["fused"].numpy().mean())
    assert np.std(shares) > 0.01  # the transforms differ


@pytest.mark.parametrize("phase", ["parent", "online", "refined", "window"])
def test_a_resumed_run_sees_what_an_uninterrupted_one_would(tiny, phase):
    def samples(start):
        if phase == "parent":
            config = ParentConfig(height=0, epochs=3, batch=2, seed=4)
            dataset = parent_dataset(tiny, ["ant", "bee"], config, start)
        else:
            config = OnlineConfig(height=0, steps=12, batch=2, seed=4, window=24 if phase == "window" else 0)
            pairs = tiny.first("ant") if phase == "online" else two_pairs(tiny)
            dataset = online_dataset(*pairs, config, start)
        return [
            (frames.numpy(), targets["fused"].numpy(), weights["side2"].numpy())
            for frames, targets, weights in dataset
        ]

    whole, rest = samples(0), samples(7)
    assert (len(whole), len(rest)) == (12, 5)
    np.testing.assert_equal(rest, whole[7:])


def two_pairs(davis):
    """The first and the last frame of a sequence with their annotations, each stacked."""
    frames, annotations = davis.frames("ant"), davis.annotations("ant")
    return [np.stack([read(paths[index]) for index in (0, -1)]) for read, paths in
            ((read_frame, frames), (read_annotation, annotations))]  # fmt: skip


def test_annotated_frames_are_seen_in_turn(tiny):
    """Each step's sample is the one that its frame alone would give at that step."""
    frames, annotations = two_pairs(tiny)
    config = OnlineConfig(height=30, steps=6)
    both = list(online_dataset(frames, annotations, config))
    alone = [list(online_dataset(*pair, config)) for pair in zip(frames, annotations, strict=True)]
    for step, (images, targets, _) in enumerate(both):
        expected, expected_targets, _ = alone[step % 2][step]
        np.testing.assert_array_equal(images, expected)
        np.testing.assert_array_equal(targets["fused"], expected_targets["fused"])
    assert not np.array_equal(alone[0][1][0], alone[1][1][0])


def samples_of(pair, **settings):
    """Image and annotation of each step."""
    dataset = online_dataset(*pair, OnlineConfig(steps=20, **settings))
    return [(images[0].numpy(), targets["fused"][0].numpy()) for images, targets, _ in dataset]


def test_every_other_step_sees_a_window_of_what_it_would_see_of_the_whole_frame(tiny):
    pair = tiny.first("ant")
    seen, wholes = (samples_of(pair, height=45, window=window)[::2] for window in (24, 0))
    corners = set()
    for (part, annotation), (whole, all_of_it) in zip(seen, wholes, strict=True):
        assert part.shape == (24, 33, 3) and whole.shape == (45, 61, 3)
        x, y = cv2.minMaxLoc(cv2.matchTemplate(whole, part, cv2.TM_SQDIFF))[2]
        inside = slice(y, y + 24), slice(x, x + 33)
        assert np.abs(whole[inside].astype(int) - part).mean() < 1
        assert (all_of_it[inside] != annotation).mean() < 0.01
        corners.add((x, y))
    spread = np.ptp([*corners], axis=0)  # of 28 columns and 21 lines
    assert len(corners) > 5 and spread.min() > 10


def test_the_other_steps_see_the_whole_frame_as_small_as_the_window(tiny):
    pair = tiny.first("ant")
    seen, small = samples_of(pair, height=45, window=24), samples_of(pair, height=24, window=0)
    np.testing.assert_equal(seen[1::2], small[1::2])


def test_window_shows_some_of_the_object(tiny):
    """Of a small one too, which most windows would miss."""
    frame, annotation = tiny.first("ant")
    small = np.zeros_like(annotation)
    small[30:33, 20:23] = True
    shown = [mask.any() for _, mask in samples_of((frame, small), height=0, window=8)[::2]]
    assert np.mean(shown) >= 0.8  # the transform can move it out of the frame
    assert all(mask.any() for _, mask in samples_of((frame, annotation), height=0, window=8)[::2])


def test_window_of_an_annotation_without_an_object_is_anywhere(tiny):
    frame, annotation = tiny.first("ant")
    shown = samples_of((frame, np.zeros_like(annotation)), height=0, window=8)[::2]
    assert not any(mask.any() for _, mask in shown)
    assert len({image.tobytes() for image, _ in shown}) > 5


@pytest.mark.parametrize("batch", [1, 2])
def test_every_annotated_frame_is_seen_in_every_way(tiny, monkeypatch, batch):
    """Without a transform, the window at the frame's first corner."""
    monkeypatch.setattr("osvos_keras.pipeline.augment", lambda frame, annotation, seed, window: (
        frame[: window[0], : window[1]], annotation[: window[0], : window[1]]))  # fmt: skip
    config = OnlineConfig(height=45, window=24, steps=8, batch=batch)
    seen = [
        image.tobytes()
        for images, _, _ in online_dataset(*two_pairs(tiny), config)
        for image in images.numpy()
    ]
    assert len(set(seen)) == 4 and set(seen[:4]) == set(seen[4:8])


@pytest.mark.parametrize("window", [0, 30, 400])
def test_frames_no_larger_than_the_window_are_seen_whole(tiny, window):
    pair = tiny.first("ant")
    seen, wholes = (samples_of(pair, height=30, window=size) for size in (window, 0))
    np.testing.assert_equal(seen, wholes)


def test_seed_changes_the_samples(tiny):
    first = [
        next(iter(online_dataset(*tiny.first("ant"), OnlineConfig(height=0, seed=seed))))[0].numpy()
        for seed in (0, 1)
    ]
    assert not np.array_equal(*first)


def test_each_epoch_visits_every_frame_once_in_its_own_order(tiny, monkeypatch):
    monkeypatch.setattr("osvos_keras.pipeline.augment", lambda frame, annotation, seed: (frame, annotation))
    dataset = parent_dataset(tiny, ["ant", "bee"], ParentConfig(height=0, epochs=2, batch=1))
    seen = [frames.numpy().tobytes() for frames, _, _ in dataset]
    assert len(seen) == 16 and len(set(seen)) == 8
    assert set(seen[:8]) == set(seen[8:]) and seen[:8] != seen[8:]


def test_samples_are_the_same_whether_frames_fit_into_memory_or_not(tiny, monkeypatch):
    config = ParentConfig(height=30, epochs=1, batch=2)
    kept = parent_dataset(tiny, ["ant", "bee"], config)
    monkeypatch.setattr(pipeline, "MEMORY_FRACTION", 0)
    decoded_anew = parent_dataset(tiny, ["ant", "bee"], config)
    for (frames, targets, _), (frames_again, targets_again, _) in zip(kept, decoded_anew, strict=True):
        np.testing.assert_array_equal(frames, frames_again)
        np.testing.assert_array_equal(targets["fused"], targets_again["fused"])
    for path in tiny.frames("ant"):
        path.unlink()
    assert len(list(kept)) == 4
    with pytest.raises(DataError, match=r"ant/0000\d\.jpg: no such file"), naming_files():
        list(decoded_anew)


def test_deep_supervision_fades_over_the_parents_training(tiny):
    config = ParentConfig(height=0, epochs=4, batch=2, side_weight=1.0, side_end=0.5)
    weights = [float(w["side5"][0]) for _, _, w in parent_dataset(tiny, ["ant", "bee"], config)]
    np.testing.assert_allclose(weights, np.clip(1 - np.arange(16) / 8, 0, None), atol=1e-6)


def test_without_deep_supervision_only_the_fused_output_is_trained(tiny):
    _, targets, weights = next(iter(online_dataset(*tiny.first("ant"), OnlineConfig(side_weight=0.0))))
    assert list(targets) == list(weights) == ["fused"]


def test_online_training_reads_the_first_annotation_only(tiny):
    for path in tiny.annotations("cow")[1:]:
        path.write_text("unreadable")
    for path in tiny.frames("cow")[1:]:
        path.write_text("unreadable")
    assert len(list(online_dataset(*tiny.first("cow"), OnlineConfig(height=0, steps=3)))) == 3


def test_resizing_keeps_the_aspect():
    image = tf.zeros((480, 854, 3), tf.uint8)
    assert resize_to_height(image, 240, "bilinear").shape == (240, 427, 3)
    assert resize_to_height(image, 0, "bilinear") is image


def test_resized_frames_are_as_bright_as_before():
    """Not cut to the whole number below: half a grey level, of a plain area a whole one in places."""
    noise = np.random.default_rng(0).integers(0, 256, (480, 854, 3), np.uint8)
    plain = np.full((480, 854, 3), 200, np.uint8)
    for lines in (240, 360, 77):
        assert (resize_to_height(plain, lines, "bilinear").numpy() == 200).all()
        assert abs(resize_to_height(noise, lines, "bilinear").numpy().mean() - noise.mean()) < 0.1


def test_frames_whose_names_are_no_utf8_are_read_and_named(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    write_mask(path, np.eye(4, dtype=bool))
    frames = tf.data.Dataset.from_tensors(os.fsencode(path)).map(load_frame)
    np.testing.assert_array_equal(next(iter(frames)), read_frame(path))
    path.write_text("no image")
    with pytest.raises(DataError, match=r"caf.udce9\.png: not an image but text"), naming_files():
        list(frames)
