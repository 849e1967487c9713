"""The ablation: rows that agree with training and scoring by hand, resumed, for every schedule."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from osvos_keras.callbacks import AtSteps
from osvos_keras.config import InferenceConfig, OnlineConfig, get_config
from osvos_keras.course.ablation import _Ablation, read_ablation, run_ablation
from osvos_keras.device import choose_policy
from osvos_keras.errors import ConfigError
from osvos_keras.evaluation import evaluate
from osvos_keras.inference import segment_sequence
from osvos_keras.io.masks import read_annotation, write_mask
from osvos_keras.model import build_osvos
from osvos_keras.plots.scores import ablation_curves
from osvos_keras.training import train_online

CONFIG = OnlineConfig(height=0, seed=3)
STARTS = {"ImageNet": "imagenet"}


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """In float32, so that two ways to the same masks meet exactly."""
    monkeypatch.setattr("osvos_keras.device._has_bfloat16", lambda: False)


@pytest.mark.parametrize(("decay", "moments"), [("none", [4, 0, 2]), ("cosine", [2, 0])])
def test_each_row_is_what_a_training_of_so_many_steps_gives(tiny, tmp_path, decay, moments):
    config = get_config("online", height=0, seed=3, decay=decay)
    table = run_ablation(tiny, ["cow"], STARTS, config, moments, tmp_path, progress=False)
    assert table["steps"].tolist() == sorted(moments)
    alone = get_config("online", height=0, seed=3, decay=decay, steps=2)
    model = train_online(tiny, "cow", alone, tmp_path / "alone", progress=False)
    segment_sequence(model, tiny, "cow", tmp_path / "masks", progress=False)
    by_hand, kept = (
        evaluate(masks, tiny, ["cow"], progress=False).overall["J_mean"].iloc[0]
        for masks in (tmp_path / "masks", tmp_path / "ImageNet_2")
    )
    assert kept == by_hand and table["J"][1] == pytest.approx(by_hand, abs=1e-9)
    assert table["train_seconds"].iloc[0] < table["train_seconds"].iloc[1]
    assert (table["mask_seconds"] > 0).all()
    per_frame = evaluate(tmp_path / "masks", tiny, ["cow"], progress=False).per_frame["J"]
    other = run_ablation(tiny, ["cow"], STARTS, alone, [2], tmp_path / "some", every=2, progress=False)
    assert other["J"][0] == pytest.approx(per_frame[::2].mean(), abs=1e-9) and other["J"][0] != kept
    written = [path.stem for path in sorted((tmp_path / "some" / "ImageNet_2" / "cow").iterdir())]
    assert written == [path.stem for path in [tiny.frames("cow")[0], *tiny.frames("cow")[1:-1:2]]]


def test_random_branches_are_not_snapped(tiny, tmp_path):
    run_ablation(tiny, ["cow"], STARTS, CONFIG, [0], tmp_path, progress=False)
    start = build_osvos("imagenet", policy=choose_policy(), seed=CONFIG.seed)
    bare = InferenceConfig(CONFIG.height, snap=False)
    masks = segment_sequence(start, tiny, "cow", tmp_path / "bare", bare, 0, progress=False)
    kept = tmp_path / "ImageNet_0" / "cow"
    assert len(list(kept.iterdir())) == len(tiny.frames("cow")) - 1
    for path in kept.iterdir():
        np.testing.assert_array_equal(read_annotation(path), read_annotation(masks / path.name))


def test_what_is_finished_is_read_and_other_settings_are_not_mistaken_for_it(tiny, tmp_path, monkeypatch):
    first = run_ablation(tiny, ["ant", "cow"], STARTS, CONFIG, [1], tmp_path, progress=False)
    calls = []
    examine = _Ablation.examine
    monkeypatch.setattr(_Ablation, "examine", lambda *args: calls.append(args[1]) or examine(*args))
    (tmp_path / "ImageNet" / "cow.json").unlink()  # as if it had been killed there
    again = run_ablation(tiny, ["ant", "cow"], STARTS, CONFIG, [1], tmp_path, progress=False)
    assert calls == ["cow"]
    pd.testing.assert_series_equal(first["J"], again["J"])
    pd.testing.assert_frame_equal(read_ablation(tmp_path), again)
    (tmp_path / "ImageNet" / "cow.json").write_text("{")
    run_ablation(tiny, ["cow"], STARTS, get_config("online", height=32), [1], tmp_path, progress=False)
    assert calls == ["cow", "cow"]


def test_another_frame_or_annotation_is_not_taken_for_the_same(tiny, tmp_path, monkeypatch):
    """The record has the data's checksum; one that cannot be read, or lacks a number, is no record."""
    rows = [{"steps": 1, "train_seconds": 1.0, "mask_seconds": 1.0, "J": 0.5}]
    calls = []
    monkeypatch.setattr(_Ablation, "examine", lambda *args: calls.append(args[1]) or rows)

    def examined() -> int:
        calls.clear()
        run_ablation(tiny, ["cow"], STARTS, CONFIG, [1], tmp_path, progress=False)
        return len(calls)

    assert [examined(), examined()] == [1, 0]
    write_mask(tiny.annotations("cow")[2], np.ones((45, 61), bool))
    assert [examined(), examined()] == [1, 0]
    record = tmp_path / "ImageNet" / "cow.json"
    for content in ("[]", "{", '{"rows": 3}', record.read_text().replace('"J"', '"K"')):
        record.write_text(content)
        assert read_ablation(tmp_path).empty
        assert [examined(), examined()] == [1, 0]
    (tmp_path / "ImageNet" / "._cow.json").write_text("macOS")
    assert len(read_ablation(tmp_path)) == 1


def test_moments_between_two_updates_are_trainings_of_their_own(tiny, tmp_path):
    """The last step of a training updates by what is left, so that a longer one does not begin with it."""
    config = get_config("online", height=0, seed=3, accumulate=2)
    table = run_ablation(tiny, ["cow"], STARTS, config, [1, 3], tmp_path, progress=False)
    model = train_online(
        tiny, "cow", dataclasses.replace(config, steps=1), tmp_path / "alone", progress=False
    )
    segment_sequence(model, tiny, "cow", tmp_path / "masks", progress=False)
    by_hand = evaluate(tmp_path / "masks", tiny, ["cow"], progress=False).overall["J_mean"].iloc[0]
    assert table["J"][0] == pytest.approx(by_hand, abs=1e-9)


def test_the_clock_of_a_training_stands_while_it_is_looked_at(monkeypatch):
    model, looks, clock = SimpleNamespace(optimizer=SimpleNamespace(iterations=0)), [], [0.0]
    monkeypatch.setattr("osvos_keras.callbacks.time", SimpleNamespace(perf_counter=lambda: clock[0]))

    def look(_, step, seconds):
        looks.append((step, seconds))
        clock[0] += 200

    observer = AtSteps({0, 2}, look)
    observer.set_model(model)
    observer.on_train_begin()
    for model.optimizer.iterations in (1, 2, 3):
        clock[0] += 1
        observer.on_train_batch_end(0)
    assert looks == [(0, 0), (2, 2)]


def test_moments_must_be_numbers_of_steps(tiny, tmp_path):
    for moments in ([], [-1, 3]):
        with pytest.raises(ConfigError, match="numbers of steps"):
            run_ablation(tiny, ["cow"], STARTS, CONFIG, moments, tmp_path)
    with pytest.raises(ConfigError, match="every is 0; it must be above zero"):
        run_ablation(tiny, ["cow"], STARTS, CONFIG, [1], tmp_path, every=0)


def test_moments_may_be_numpy_s(tiny, tmp_path):
    numbers = {"moments": np.arange(1), "every": np.int64(2)}
    table = run_ablation(tiny, ["cow"], STARTS, CONFIG, folder=tmp_path, progress=False, **numbers)
    pd.testing.assert_frame_equal(read_ablation(tmp_path), table)


@pytest.mark.parametrize("name", ["../mine", "runs/parent/osvos.weights.h5", ""])
def test_the_name_of_a_start_cannot_lead_elsewhere(tiny, tmp_path, name):
    with pytest.raises(ConfigError, match=r"the name of a start is .*; it must be a name alone"):
        run_ablation(tiny, ["cow"], {name: "imagenet"}, CONFIG, [0], tmp_path / "in", progress=False)
    assert not [path for path in ("in", "mine", "runs") if (tmp_path / path).exists()]


def test_curves_of_no_rows_are_refused():
    with pytest.raises(ValueError, match="no training has finished"):
        ablation_curves(pd.DataFrame())


def test_curves_are_means_over_sequences():
    rows = [
        ("parent", name, steps, steps * 2.0 * scale, 1.0, j)
        for name, scale, js in (("a", 1, (0.2, 0.6)), ("b", 3, (0.4, 0.8)))
        for steps, j in zip((0, 10), js, strict=True)
    ]
    columns = ["start", "sequence", "steps", "train_seconds", "mask_seconds", "J"]
    (ax,) = ablation_curves(pd.DataFrame(rows, columns=columns)).axes
    (line,) = ax.lines
    np.testing.assert_allclose(line.get_xydata(), [(0, 0.3), (40, 0.7)])
    assert line.get_label() == "parent"
    ax = ablation_curves(pd.DataFrame(rows, columns=columns).drop(columns="train_seconds"), ax)
    np.testing.assert_allclose(ax.lines[1].get_xydata(), [(0, 0.3), (10, 0.7)])
    assert ax.get_xlabel() == "online steps"
