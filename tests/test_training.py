"""Training: that it learns, goes on after a kill as if nothing had happened, and says what is wrong."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from osvos_keras import callbacks, fitting, pipeline
from osvos_keras.callbacks import AtSteps, read_history
from osvos_keras.compilation import count_steps
from osvos_keras.config import OnlineConfig, ParentConfig, get_config
from osvos_keras.errors import ConfigError, DataError, FolderError, MaskError, TrainingError
from osvos_keras.inference import predict_sequence
from osvos_keras.io.files import lock_folder
from osvos_keras.io.masks import write_mask
from osvos_keras.model import build_osvos
from osvos_keras.trained import WEIGHTS_FILE, load_finished
from osvos_keras.training import train_online, train_parent
from tests.conftest import ONLINE, QUIET, interrupt, refuse, stop_at, weights_of, write_sequence

narrow = pytest.mark.usefixtures("narrow")


def test_online_training_finds_the_object_in_later_frames(tiny, tmp_path):
    model = train_online(tiny, "cow", OnlineConfig(height=0, steps=40), tmp_path, **{**QUIET, "chunk": 10})
    history = read_history(tmp_path / "history.csv")
    assert history["step"].tolist() == [10, 20, 30, 40]
    assert history["fused_loss"].iloc[-1] < 0.5 * history["fused_loss"].iloc[0]
    annotation = tiny.first("cow")[1]
    *_, (path, logits) = predict_sequence(model, tiny.frames("cow"), progress=False)
    assert path == tiny.frames("cow")[-1] and logits.shape == annotation.shape
    last = np.roll(annotation, 2 * 3, axis=1)  # the disk moves two pixels a frame
    mask = logits > 0
    assert (mask & last).sum() / (mask | last).sum() > 0.6


@pytest.mark.parametrize("phase", ["parent", "online"])
def test_the_papers_preset_learns(tiny, tmp_path, phase):
    """Through three updates, from ImageNet. With one rate for all layers its loss is in the hundreds then."""
    if phase == "parent":
        config = get_config("parent", "paper", height=0, epochs=30 / 8)
        train_parent(tiny, ["ant", "bee"], config, tmp_path, **{**QUIET, "chunk": 10})
    else:
        config = get_config("online", "paper", height=0, steps=30)
        train_online(tiny, "cow", config, tmp_path, **{**QUIET, "chunk": 10})
    history = read_history(tmp_path / "history.csv")
    assert history["step"].tolist() == [10, 20, 30]
    assert history["fused_loss" if phase == "parent" else "loss"].iloc[-1] < 0.9 * history["loss"].iloc[0]


@narrow
def test_parent_training_leaves_weights_history_and_settings(tiny, tmp_path):
    config = ParentConfig(height=0, epochs=1, batch=2)
    model = train_parent(tiny, ["ant", "bee"], config, tmp_path, **QUIET)
    assert {path.name for path in tmp_path.iterdir()} >= {WEIGHTS_FILE, "history.csv", "config.json"}
    assert not (tmp_path / "backup").exists()
    history = read_history(tmp_path / "history.csv")
    assert history["step"].tolist() == [2, 4]
    assert {"loss", "fused_loss", "side2_loss", "side5_loss", "seconds_per_step"} <= set(history.columns)
    np.testing.assert_array_equal(weights_of(load_finished(tmp_path)), weights_of(model))


@narrow
def test_frozen_blocks_stay_as_they_were_and_all_others_learn(tiny, tmp_path):
    config = OnlineConfig(height=0, steps=3, frozen_blocks=2)
    trained = train_online(tiny, "cow", config, tmp_path, **QUIET)
    start = build_osvos("imagenet", seed=config.seed)
    changed = {
        weight.path.split("/")[0]: not np.array_equal(weight, before)
        for weight, before in zip(trained.weights, start.weights, strict=True)
        if weight.path.endswith("kernel")
    }
    assert sorted(name for name, different in changed.items() if not different) == [
        f"block{block}_conv{conv}" for block in (1, 2) for conv in (1, 2)
    ]


@narrow
@pytest.mark.parametrize("window", [0, 24])
def test_several_steps_in_one_call_as_on_a_gpu(tiny, tmp_path, monkeypatch, window):
    """Five at once, and the last call has fewer."""
    config, options = OnlineConfig(height=0, steps=11, seed=1, window=window), {**QUIET, "chunk": 5}
    one = train_online(tiny, "cow", config, tmp_path / "one", **options)
    monkeypatch.setattr("osvos_keras.device.gpus", lambda: ["GPU"])
    with pytest.raises(KeyboardInterrupt):
        train_online(tiny, "cow", config, tmp_path / "five", callbacks=[stop_at(10)], **options)
    five = train_online(tiny, "cow", config, tmp_path / "five", **options)
    np.testing.assert_allclose(weights_of(five), weights_of(one), atol=1e-6)
    assert read_history(tmp_path / "five" / "history.csv")["step"].tolist() == [5, 10, 11]
    calls = []
    count = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: calls.append(batch))
    train_online(tiny, "cow", config, tmp_path / "counted", callbacks=[count], **options)
    assert len(calls) == 3


@narrow
def test_changed_annotation_trains_again(tiny, tmp_path):
    first = train_online(tiny, "cow", ONLINE, tmp_path, **QUIET)
    _, annotation = tiny.first("cow")
    write_mask(tiny.annotations("cow")[0], np.roll(annotation, 9, axis=1))
    assert not np.array_equal(
        weights_of(first), weights_of(train_online(tiny, "cow", ONLINE, tmp_path, **QUIET))
    )


@narrow
def test_a_training_cannot_start_from_weights_that_it_would_set_aside(tiny, tmp_path):
    train_online(tiny, "cow", ONLINE, tmp_path, **QUIET)
    own = (tmp_path / WEIGHTS_FILE).read_bytes()
    with pytest.raises(ConfigError, match=f"{WEIGHTS_FILE}: these weights lie where the training writes"):
        train_online(tiny, "cow", ONLINE, tmp_path, weights=tmp_path / WEIGHTS_FILE, **QUIET)
    assert (tmp_path / WEIGHTS_FILE).read_bytes() == own
    train_online(tiny, "cow", ONLINE, tmp_path / "more", weights=tmp_path / WEIGHTS_FILE, **QUIET)
    copied = shutil.copy(tmp_path / WEIGHTS_FILE, tmp_path / "mine.weights.h5")
    train_online(tiny, "cow", ONLINE, tmp_path, weights=copied, **QUIET)


@narrow
def test_two_trainings_cannot_write_to_one_folder(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "LOCK_WAIT", 0.1)
    with lock_folder(tmp_path), pytest.raises(FolderError, match=f"{tmp_path}: another run is writing"):
        train_online(tiny, "cow", ONLINE, tmp_path, **QUIET)


@narrow
def test_damaged_backup_is_set_aside_and_training_starts_over(tiny, tmp_path):
    whole = train_online(tiny, "cow", ONLINE, tmp_path / "whole", **QUIET)
    with pytest.raises(KeyboardInterrupt):
        train_online(tiny, "cow", ONLINE, tmp_path / "broken", callbacks=[stop_at(5)], **QUIET)
    backup = tmp_path / "broken" / "backup" / "latest.weights.h5"
    damaged = backup.read_bytes()[:1000]
    backup.write_bytes(damaged)
    again = train_online(tiny, "cow", ONLINE, tmp_path / "broken", **QUIET)
    np.testing.assert_allclose(weights_of(again), weights_of(whole), atol=1e-6)
    (kept,) = backup.parent.iterdir()
    assert kept.read_bytes() == damaged


@narrow
def test_ctrl_c_keeps_every_step(tiny, tmp_path):
    """The backup is made there, not at the last multiple of `chunk`."""
    whole = train_online(tiny, "cow", ONLINE, tmp_path / "whole", **QUIET)
    with pytest.raises(KeyboardInterrupt) as stopped:
        train_online(tiny, "cow", ONLINE, tmp_path / "stopped", callbacks=[stop_at(3)], **QUIET)
    folder = tmp_path / "stopped" / "backup"
    assert stopped.value.__notes__ == [f"3 of 6 training steps are done and kept in {folder}"]
    seen = []
    watch = AtSteps(range(7), lambda model, step, seconds: seen.append(step))
    again = train_online(tiny, "cow", ONLINE, tmp_path / "stopped", callbacks=[watch], **QUIET)
    assert seen == [3, 4, 5, 6]
    np.testing.assert_allclose(weights_of(again), weights_of(whole), atol=1e-6)


@narrow
def test_backups_after_an_odd_step_where_a_call_has_several(tiny, tmp_path, monkeypatch):
    """Stopped on a CPU, where a call has one step, and resumed as on a GPU, where it has five."""
    config, options = dataclasses.replace(ONLINE, steps=24), {**QUIET, "chunk": 10}
    with pytest.raises(KeyboardInterrupt):
        train_online(tiny, "cow", config, tmp_path, callbacks=[stop_at(7)], **options)
    monkeypatch.setattr(fitting, "choose_steps_per_execution", lambda chunk: 5)
    kept = []
    save = callbacks.Backup.save
    monkeypatch.setattr(
        callbacks.Backup, "save", lambda self, model: (save(self, model), kept.append(count_steps(model)))
    )
    train_online(tiny, "cow", config, tmp_path, **options)
    assert kept == [12, 22]
    assert read_history(tmp_path / "history.csv")["step"].tolist() == [12, 22, 24]


@narrow
def test_a_callback_sees_the_losses_at_the_end_of_the_epoch(tiny, tmp_path):
    """Though the history begins to count anew after its row."""
    seen = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs))
    train_online(tiny, "cow", ONLINE, tmp_path, callbacks=[watch], **QUIET)
    last = read_history(tmp_path / "history.csv").iloc[-1]
    assert seen == [pytest.approx(last.drop(["step", "seconds_per_step"]).to_dict())]


@narrow
def test_history_row_after_the_last_backup_is_dropped_on_resume(tiny, tmp_path):
    """A kill between the row and the backup leaves one row too many."""
    with pytest.raises(KeyboardInterrupt):
        train_online(tiny, "cow", ONLINE, tmp_path, callbacks=[stop_at(2)], **QUIET)
    history = read_history(tmp_path / "history.csv")
    pd.concat([history, history.assign(step=4)]).to_csv(tmp_path / "history.csv", index=False)
    train_online(tiny, "cow", ONLINE, tmp_path, **QUIET)
    assert read_history(tmp_path / "history.csv")["step"].tolist() == [2, 4, 6]


@narrow
def test_kill_between_the_last_backup_and_the_weights(tiny, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fitting, "save_weights", interrupt)
        train_online(tiny, "cow", ONLINE, tmp_path, **QUIET)
    monkeypatch.setattr(keras.Model, "fit", refuse("trained"))
    train_online(tiny, "cow", ONLINE, tmp_path, **QUIET)
    assert (tmp_path / WEIGHTS_FILE).is_file() and not (tmp_path / "backup").exists()
    (tmp_path / "backup").mkdir()  # killed before this was removed
    shutil.copy(tmp_path / WEIGHTS_FILE, tmp_path / "backup" / "latest.weights.h5")
    train_online(tiny, "cow", ONLINE, tmp_path, **QUIET)
    assert not (tmp_path / "backup").exists()


def test_chunks_of_no_step_are_refused(tiny, tmp_path):
    with pytest.raises(ConfigError, match="chunk is 0; it must be above zero"):
        train_online(tiny, "cow", ONLINE, tmp_path, **{**QUIET, "chunk": 0})


# A process of its own, since it is killed: in its third step, after the first backup, if it is told to wait.
KILLED = """
import sys, time
from pathlib import Path
import keras, tensorflow as tf
from osvos_keras.config import OnlineConfig
from osvos_keras.davis import Davis
from osvos_keras.training import train_online
tf.config.experimental.enable_op_determinism()
class Wait(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if len(sys.argv) > 3 and int(self.model.optimizer.iterations) == 3:
            Path(sys.argv[3]).touch()
            time.sleep(600)
train_online(Davis(sys.argv[1]), "cow", OnlineConfig(height=0, steps=8, seed=1), sys.argv[2],
             policy="float32", progress=False, chunk=2, callbacks=[Wait()])
"""


def start_training(davis, folder, *waiting):
    command = [sys.executable, "-c", KILLED, davis.root, folder, *waiting]
    return subprocess.Popen(command, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})


def test_killed_training_ends_with_the_weights_of_an_undisturbed_one(tiny, tmp_path):
    assert start_training(tiny, tmp_path / "whole").wait() == 0
    process = start_training(tiny, tmp_path / "killed", tmp_path / "waiting")
    while not (tmp_path / "waiting").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert (tmp_path / "killed" / "backup" / "latest.weights.h5").is_file()
    assert not (tmp_path / "killed" / WEIGHTS_FILE).exists()
    assert start_training(tiny, tmp_path / "killed").wait() == 0
    whole, killed = (weights_of(load_finished(tmp_path / name)) for name in ("whole", "killed"))
    np.testing.assert_array_equal(killed, whole)
    assert read_history(tmp_path / "killed" / "history.csv")["step"].tolist() == [2, 4, 6, 8]


def test_devices_that_cannot_share_the_batch_are_refused_before_anything_is_read():
    three = SimpleNamespace(num_replicas_in_sync=3)
    for train, config in ((train_parent, ParentConfig()), (train_online, OnlineConfig())):
        with pytest.raises(ConfigError, match=r"batch is \d, and 3 devices .*such as batch = 3 \(--batch\)"):
            train(None, None, config, None, strategy=three)


@narrow
@pytest.mark.parametrize(
    "error",
    [
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate"),  # as JAX's
    ],
)
def test_memory_that_runs_out_is_said(tiny, tmp_path, monkeypatch, error):
    def fit(*_, **__):
        raise error

    monkeypatch.setattr(keras.Model, "fit", fit)
    with pytest.raises(
        TrainingError, match=r"memory ran out .* batch=1, height=0 .* window=240 .*\. Lower the batch"
    ):
        train_online(tiny, "cow", ONLINE, tmp_path, **QUIET)


@narrow
def test_frame_that_goes_missing_during_training_is_named(tiny, tmp_path, monkeypatch):
    """With frames that are read from disk at every step, as those of a large data set are."""
    monkeypatch.setattr(pipeline, "MEMORY_FRACTION", 0)
    lost = tiny.frames("bee")[2]

    class Lose(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            lost.unlink(missing_ok=True)

    config, options = ParentConfig(height=24, epochs=30), {**QUIET, "callbacks": [Lose()]}
    with pytest.raises(DataError, match=r"bee/00002\.jpg: no such file"):
        train_parent(tiny, ["ant", "bee"], config, tmp_path / "run", **options)


@narrow
def test_truncated_training_frame_is_named(tiny, tmp_path):
    path = tiny.frames("bee")[2]
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(DataError, match=r"bee/00002\.jpg: .*truncated"):
        train_parent(tiny, ["ant", "bee"], ParentConfig(height=0, epochs=1), tmp_path / "run", **QUIET)


def test_training_annotation_of_another_size_is_named_not_resized(tiny, tmp_path):
    write_mask(tiny.annotations("bee")[1], np.ones((90, 122), bool))
    with pytest.raises(DataError, match=r"bee/00001\.png: 122×90 pixels, but its frame has 61×45"):
        train_parent(tiny, ["ant", "bee"], ParentConfig(height=24, epochs=1), tmp_path, **QUIET)


@narrow
def test_frames_of_different_sizes_cannot_share_a_batch(tiny, tmp_path):
    """One at a time they can, as they can where they have one size for the network."""
    write_sequence(tiny.root, "dog", size=(30, 40))
    config = ParentConfig(height=0, epochs=0.5, batch=2)
    found = r"cannot share a batch of 2: .*00003\.jpg 61×45, .*00003\.jpg 40×30\. Train .* batch = 1"
    with pytest.raises(DataError, match=found):
        train_parent(tiny, ["ant", "dog"], config, tmp_path / "run", **QUIET)
    assert not (tmp_path / "run").exists()
    write_sequence(tiny.root, "fox", size=(90, 122))
    for names, changes in ((["ant", "fox"], {"height": 15}), (["ant", "dog"], {"batch": 1})):
        train_parent(tiny, names, dataclasses.replace(config, **changes), tmp_path / names[1], **QUIET)


def test_annotated_frames_of_different_sizes_are_named(tiny, tmp_path):
    frame, annotation = tiny.first("cow")
    pairs = [(frame, annotation), (frame[:30], annotation[:30])]
    with pytest.raises(MaskError, match=r"cow: frames and annotations of 61×30, 61×45 pixels; give `pairs`"):
        train_online(tiny, "cow", ONLINE, tmp_path / "run", pairs=pairs, **QUIET)
    assert not (tmp_path / "run").exists()


def test_a_frame_that_would_be_enlarged_beyond_reason_is_refused(tiny, tmp_path):
    """1 × 2000 pixels at 240 lines are 480,000 columns: minutes, then no memory."""
    write_sequence(tiny.root, "line", size=(2, 4000))
    message = r"line/00000\.jpg: 4000×2 pixels, which 240 lines would enlarge to 480000×240\. Use HEIGHT = 0"
    with pytest.raises(DataError, match=message):
        train_online(tiny, "line", OnlineConfig(height=240), tmp_path, **QUIET)
    with pytest.raises(DataError, match=message):
        train_parent(tiny, ["line"], ParentConfig(), tmp_path, **QUIET)


@narrow
def test_loss_that_is_not_finite_stops_training(tiny, tmp_path):
    config = OnlineConfig(height=0, steps=6, learning_rate=1e30, decay="none")
    with pytest.raises(TrainingError, match=r"the loss is nan at step .*Lower the learning rate"):
        train_online(tiny, "cow", config, tmp_path, **QUIET)
    assert not (tmp_path / WEIGHTS_FILE).exists()


def test_run_folder_that_cannot_be_written(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match=r"file/run: cannot write there .*RUN_DIR"):
        train_online(tiny, "cow", ONLINE, tmp_path / "file" / "run", **QUIET)


def test_parent_steps_count_every_epoch_of_every_frame():
    assert ParentConfig(epochs=3, batch=4).count_steps(frames=10) == 8
