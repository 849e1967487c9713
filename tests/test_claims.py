"""Sentences of the notebooks that can be computed."""

import ast
import json
import re

import cv2
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from osvos_keras.batch.notebooks import run_notebook
from osvos_keras.batch.parameters import read_notebook
from osvos_keras.davis import Davis
from osvos_keras.io.paths import PROJECT
from osvos_keras.marking.marks import box_mask
from osvos_keras.metrics import region_similarity
from osvos_keras.model import SIDES, build_osvos
from osvos_keras.pipeline import resize_to_height
from tests.exercises import read


@pytest.fixture(scope="module")
def features():
    """VGG16's features of the cat's first frame at 240 lines: layer → (h, w, C), as in notebook 02."""
    frame = resize_to_height(tf.constant(Davis("data/sample").first("cat")[0]), 240, "bilinear").numpy()
    model = build_osvos("imagenet")
    layers = [layer for layer, _ in SIDES.values()]
    outputs = tf.keras.Model(model.input, [model.get_layer(layer).output for layer in layers])(frame[None])
    return {layer: np.asarray(output)[0] for layer, output in zip(layers, outputs, strict=True)}


def test_one_channel_of_block3_sees_the_border_alone(features):
    channel = features["block3_conv3"][:, : 427 // 4, 54]
    inside = channel[2:-2, 2:-2]
    assert channel.max() > 4 * inside.max()
    assert 54 in np.argsort(-features["block3_conv3"].std(axis=(0, 1)))[:4]  # notebook 02 shows these four


@pytest.mark.parametrize("channel", [236, 168])
def test_two_channels_of_block4_see_the_eyes_of_both_cats(channel, features):
    response = features["block4_conv3"][..., channel]
    assert channel in np.argsort(-features["block4_conv3"].std(axis=(0, 1)))[:4]
    count, _, boxes, _ = cv2.connectedComponentsWithStats((response > 0.25 * response.max()).astype(np.uint8))
    columns = sorted(8 * (left + width / 2) for left, _, width, _, _ in boxes[1:])
    assert count - 1 == 4 and columns[1] < 200 < 300 < columns[2]  # two eyes left, two right


def test_the_measured_ablation_is_that_of_the_results():
    text = (PROJECT / "docs/results.md").read_text().partition("## What online training")[2]
    measured = pd.read_csv(PROJECT / "data/measured_ablation.csv", comment="#")
    for start, rows in measured[measured["sequence"] == "mean of 12"].groupby("start"):
        (line,) = [line for line in text.splitlines() if re.match(rf"\| from (the )?{start}[ ,]", line)]
        numbers = re.findall(r"0\.\d{3}", line)
        assert [f"{value:.3f}" for value in rows["J"]] == numbers[: len(rows)]


def test_what_notebook_07_says_of_the_measured_rows():
    measured = pd.read_csv(PROJECT / "data/measured_ablation.csv", comment="#")
    means = measured[measured["sequence"] == "mean of 12"].set_index(["start", "steps"])["J"]
    assert means["parent", 10] > means["ImageNet", 300]
    assert max(means["parent", 100], means["parent", 300]) - means["parent", 30] < 0.002
    sequences = measured[measured["sequence"] != "mean of 12"]
    best = sequences.pivot(index="sequence", columns="steps", values="J").idxmax(axis="columns")
    assert best["drift-straight"] == 10 and best["motocross-jump"] == 0
    assert (best == 100).sum() == 10 == len(best) - 2


def test_a_score_of_side5_depends_on_228_pixels_as_notebook_02_counts():
    text = "\n".join(cell.source for cell in read("02_network_and_loss").cells)
    model = build_osvos("imagenet")
    size = 304  # the score in the middle lies at least 114 pixels from every border
    frame = tf.Variable(tf.random.stateless_uniform((1, size, size, 3), (0, 0), 0, 255))
    score = tf.keras.Model(model.input, model.get_layer("side5_score").output)
    middle = size // 16 // 2
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(score(frame)[0, middle, middle])
    rows = np.flatnonzero(np.abs(tape.gradient(value, frame)).max(axis=(0, 2, 3)))
    assert np.ptp(rows) < 228 and np.ptp(rows) > 196  # more than the features', no more than the score's
    assert "228" in text


def test_the_box_of_notebook_06_finds_the_grey_cat_and_nothing_else():
    """The cat is all that is grey in the box: its red, green and blue differ by less than 20."""
    code = "\n".join(cell.source for cell in read("06_your_video").cells)
    (text,) = re.findall(r"box_mask\(first, (\(.*?\))\)", code)
    x0, y0, x1, y1 = box = ast.literal_eval(text)
    frame, annotation = Davis("data/sample").first("cat")
    found, grey = box_mask(frame, box), np.ptp(frame, axis=2) < 20
    grey[:y0] = grey[y1:] = grey[:, :x0] = grey[:, x1:] = False
    assert region_similarity(found, grey) > 0.97 and not (found & annotation).any()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_what_notebook_04_says_of_the_cat(tmp_path):
    """The mask of the last frame grows better, and a reckless rate gives one answer for two frames."""
    run_notebook("04_online_training", {"RUN_DIR": str(tmp_path)}, tmp_path / "04.ipynb", progress=False)
    result = json.loads((tmp_path / "notebooks/04_online_training_cat.json").read_text())
    growth = [result[f"J_last_frame_step_{step}"] for step in (0, 10, 30, 100)]
    assert growth == sorted(growth) and growth[0] < 0.7 < 0.95 < growth[-1]
    printed = "".join(
        output.text
        for cell in read_notebook(tmp_path / "04.ipynb").cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream"
    )
    shares = re.findall(r"jpg: (\d+)% object", printed)
    assert shares in (["0", "0"], ["100", "100"])
