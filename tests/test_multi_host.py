"""Parent training in two processes on this machine: the numbers of one, and no waiting for ever."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from osvos_keras import fitting, trained
from osvos_keras.callbacks import read_history
from osvos_keras.config import ParentConfig
from osvos_keras.errors import ConfigError, DataError
from osvos_keras.io.paths import PROJECT
from osvos_keras.model import OUTPUTS, build_osvos
from osvos_keras.multihost import Processes, join
from osvos_keras.pipeline import parent_dataset
from osvos_keras.trained import WEIGHTS_FILE
from osvos_keras.training import train_parent
from osvos_keras.weights import load_weights, save_weights
from tests.conftest import call, free_port, write_sequence

TIMEOUT = 400  # seconds for processes that take one minute on an idle machine
STEPS = 20
CONFIG = {"height": 0, "batch": 2, "epochs": 5, "frozen_blocks": 0, "seed": 1}  # 8 frames: 20 steps
TRAIN = """
import json, os, sys
import jax
import keras
from osvos_keras import fitting, trained, training
from osvos_keras.config import ParentConfig
from osvos_keras.davis import Davis
from osvos_keras.multihost import join
from tests.test_multi_host import Curve, small_network

options = json.loads(sys.argv[1])
fitting.build_osvos = trained.build_osvos = small_network

class Die(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if options["die"] and int(self.model.optimizer.iterations) == options["die"]:
            os.kill(os.getpid(), options["signal"])

jax.config.update("jax_num_cpu_devices", options["devices"])
processes = join(options["address"], options["processes"], options["process"], wait=60)
curve = Curve()
training.train_parent(Davis(options["davis"]), ["ant", "bee"], ParentConfig(**options["config"]),
                      options["folder"], policy="float32", chunk=5,
                      progress=False, processes=processes, callbacks=[curve, Die()])
print(json.dumps(curve.rows))
"""


class Curve(keras.callbacks.Callback):
    """The losses of every step by itself."""

    def __init__(self):
        super().__init__()
        self.rows = []

    def on_train_batch_end(self, batch, logs=None):
        self.rows.append(logs)
        self.model.reset_metrics()


def small_network(weights=None, *, policy="float32", seed=0, **_) -> keras.Model:
    """A network with OSVOS's outputs that every backend compiles in a second, with fixed first weights."""
    frame = keras.Input((None, None, 3), name="frame")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1, dtype=policy)(frame)
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="features", dtype=policy)(x)
    outputs = {name: keras.layers.Conv2D(1, 3, padding="same", name=f"{name}_score")(x) for name in OUTPUTS}
    model = keras.Model(frame, outputs, name="osvos")
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(0, 0.1, weight.shape) for weight in model.get_weights()])
    if str(weights).endswith(".weights.h5"):
        load_weights(model, Path(weights))
    return model


def free_address() -> str:
    return f"127.0.0.1:{free_port()}"


def run_together(commands: list[list[str]]) -> list[tuple[int, str, str]]:
    """Run processes at once; exit status, output and messages of each. None outlives this."""
    hidden = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
    environment = {**os.environ, **hidden, "KERAS_BACKEND": "jax", "TF_CPP_MIN_LOG_LEVEL": "3"}
    with ExitStack() as stack:
        runs = []
        for command in commands:
            run = subprocess.Popen(
                [sys.executable, *command],
                cwd=PROJECT,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(run)
            stack.callback(run.kill)
            runs.append(run)
        with ThreadPoolExecutor(len(runs)) as readers:  # or a full pipe would stop a process, and so all
            texts = list(readers.map(lambda run: run.communicate(timeout=TIMEOUT), runs))
        return [(run.returncode, *text) for run, text in zip(runs, texts, strict=True)]


def train(davis, folder, die=(0, 0), **options) -> list[tuple[int, str, str]]:
    """Train in two processes; number i kills itself after step `die[i]`."""
    common = {"davis": str(davis.root), "folder": str(folder), "processes": 2, "devices": 1}
    common |= {"config": CONFIG, "address": free_address(), "signal": signal.SIGKILL, **options}
    each = [{**common, "process": rank, "die": step} for rank, step in enumerate(die)]
    return run_together([["-c", TRAIN, json.dumps(one)] for one in each])


def command(davis, folder, options: list[list], processes=None, address=None) -> list[tuple[int, str, str]]:
    """`osvos parent` in as many processes as there are lists of options."""
    common = ["-m", "osvos_keras.cli", "parent", "--davis", davis.root, "--run-dir", folder]
    common += ["--coordinator", address or free_address(), "--processes", processes or len(options)]
    return run_together(
        [list(map(str, [*common, "--process", rank, *own])) for rank, own in enumerate(options)]
    )


def curve_of(run: tuple[int, str, str]) -> pd.DataFrame:
    status, output, messages = run
    assert status == 0, messages
    return pd.DataFrame(json.loads(output.splitlines()[-1]))


def assert_equal_weights(one: Path, other: Path, atol: float) -> None:
    weights = (small_network(folder / WEIGHTS_FILE).get_weights() for folder in (one, other))
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=atol)


needs_jax = pytest.mark.skipif(
    not find_spec("jax"), reason="several machines need JAX; it is in the extras 'jax' and 'test'"
)


@needs_jax
@pytest.mark.parametrize(("devices", "accumulate"), [(1, 3), pytest.param(2, 1, marks=pytest.mark.slow)])
def test_two_processes_give_the_training_of_one(tiny, tmp_path, monkeypatch, devices, accumulate):
    """Two on JAX against one on TensorFlow: losses of every step, weights, and the same files."""
    config = {**CONFIG, "batch": 2 * devices, "epochs": 5 * devices, "accumulate": accumulate}
    runs = train(tiny, tmp_path / "two", config=config, devices=devices)
    curve = Curve()
    for module in (fitting, trained):
        monkeypatch.setattr(module, "build_osvos", small_network)
    options = {"policy": "float32", "chunk": 5, "progress": False, "callbacks": [curve]}
    train_parent(tiny, ["ant", "bee"], ParentConfig(**config), tmp_path / "one", **options)
    one, first, other = pd.DataFrame(curve.rows), *map(curve_of, runs)
    assert len(one) == len(first) == STEPS
    assert one["loss"].iloc[-1] < 0.9 * one["loss"].iloc[0]  # or the curves would be equal for no reason
    np.testing.assert_allclose(first[one.columns], one, rtol=0, atol=1e-4)
    pd.testing.assert_frame_equal(other, first)  # every process knows the loss of the whole batch
    assert_equal_weights(tmp_path / "one", tmp_path / "two", 1e-5)
    names = [sorted(path.name for path in (tmp_path / run).iterdir()) for run in ("one", "two")]
    assert names[0] == names[1]
    histories = [read_history(tmp_path / run / "history.csv")["step"].tolist() for run in ("one", "two")]
    assert histories[0] == histories[1] == [5, 10, 15, 20]
    print("largest difference of a loss:", np.abs(first[one.columns] - one).to_numpy().max())


@needs_jax
@pytest.mark.slow
@pytest.mark.parametrize(("killed", "by"), [(0, signal.SIGKILL), (1, signal.SIGTERM)])
def test_a_process_is_killed_and_the_same_command_goes_on(tiny, tmp_path, killed, by):
    whole = train(tiny, tmp_path / "whole")
    die = [12 if rank == killed else 0 for rank in range(2)]
    started = time.monotonic()
    for rank, (status, _, messages) in enumerate(train(tiny, tmp_path / "cut", die=die, signal=by)):
        assert status == -by if rank == killed else status != 0, messages
    assert time.monotonic() - started < TIMEOUT / 2  # the other one did not wait for ever
    assert not (tmp_path / "cut" / WEIGHTS_FILE).exists()
    rest = train(tiny, tmp_path / "cut")
    for before, after in zip(map(curve_of, whole), map(curve_of, rest), strict=True):
        np.testing.assert_allclose(after, before[10:], rtol=0, atol=1e-5)  # from the backup of step 10
    assert_equal_weights(tmp_path / "whole", tmp_path / "cut", 1e-6)
    assert read_history(tmp_path / "cut" / "history.csv")["step"].tolist() == [5, 10, 15, 20]
    for run in train(tiny, tmp_path / "cut"):
        assert curve_of(run).empty  # finished: nothing is trained again


@needs_jax
@pytest.mark.slow
def test_the_command_gives_the_real_network_of_one_process(tiny, tmp_path):
    save_weights(build_osvos("imagenet", seed=1), start := tmp_path / "start.weights.h5")
    options = ["--weights", start, "--height", "0", "--batch", "2", "--epochs", "5", "--seed", "1"]
    options += ["--policy", "float32", "--chunk", "1"]  # a row of history for every step
    # Not Adam: its first steps have the sign of each gradient, also of those that are rounding alone.
    sgd = {"optimizer": "sgd", "learning_rate": 1e-4}
    options += ["--settings", " ".join(f"{name}={value}" for name, value in sgd.items())]
    for status, _, messages in command(tiny, tmp_path / "two", [options, options]):
        assert status == 0, messages
    kind = {"weights": start, "policy": "float32", "chunk": 1, "progress": False}
    train_parent(tiny, ["ant", "bee"], ParentConfig(**CONFIG, **sgd), tmp_path / "one" / "parent", **kind)
    folders = [tmp_path / name / "parent" for name in ("one", "two")]
    one, two = (read_history(folder / "history.csv").drop(columns="seconds_per_step") for folder in folders)
    assert len(one) == STEPS and one["loss"].iloc[-1] < 0.9 * one["loss"].iloc[0]
    print("largest difference of a loss:", np.abs(two[one.columns] - one).to_numpy().max())
    np.testing.assert_allclose(two[one.columns], one, rtol=0, atol=1e-3)


@needs_jax
@pytest.mark.slow
def test_settings_that_differ_are_named_by_every_process(tiny, tmp_path):
    each = [["--seed", seed, "--batch", "2"] for seed in (1, 2)]
    for rank, (status, _, messages) in enumerate(command(tiny, tmp_path, each)):
        assert status == 1 and "Traceback" not in messages
        assert f"differ in seed; rank {rank} has {{'seed': {rank + 1}}}" in messages
    assert not list((tmp_path / "parent").glob("[!.]*"))  # nothing but the lock


@needs_jax
@pytest.mark.slow
def test_a_process_that_others_do_not_join_ends(tiny, tmp_path):
    """By JAX's own hand, after our line; and a port in use is an error of ours."""
    ((status, output, _),) = command(tiny, tmp_path, [["--wait", "5"]], processes=2)
    assert status == -signal.SIGABRT and "rank 0 of 2 waits up to 5 s for the others" in output
    with socket.create_server(("", 0)) as server:
        address = f"localhost:{server.getsockname()[1]}"
        ((status, _, messages),) = command(tiny, tmp_path, [[]], processes=2, address=address)
    assert status == 1 and f"{address}: this process cannot listen there" in messages
    assert not (tmp_path / "parent").exists()


def test_rows_of_the_processes_make_the_batch(tiny):
    config = ParentConfig(height=0, batch=6, epochs=3, seed=1)
    parts = [(0, 1), *((index, 3) for index in range(3))]
    whole, *own = (list(parent_dataset(tiny, ["ant", "bee"], config, 1, *part)) for part in parts)
    assert len(whole) == len(own[0]) == 3  # 4 steps, the first left out
    for batch, *rows in zip(whole, *own, strict=True):
        for one, *parts in zip(*(tf.nest.flatten(element) for element in (batch, *rows)), strict=True):
            np.testing.assert_array_equal(np.concatenate(parts), one)


def test_a_batch_that_the_devices_do_not_divide_is_refused():
    mesh = keras.distribution.DeviceMesh((4,), ["batch"], [f"cpu:{index}" for index in range(4)])
    processes = Processes(0, 2, SimpleNamespace(device_mesh=mesh))
    with pytest.raises(ConfigError, match=r"batch is 6, and 4 devices .* batch = 8 \(--batch\)"):
        train_parent(None, [], ParentConfig(batch=6), None, processes=processes)


def test_frames_of_different_sizes_are_refused_before_anything_waits(tiny, tmp_path):
    write_sequence(tiny.root, "dot", size=(37, 61))
    with pytest.raises(DataError, match=r"different sizes .*dot"):
        train_parent(tiny, ["ant", "dot"], ParentConfig(**CONFIG), tmp_path, processes=Processes(1, 2))


def test_several_machines_need_the_jax_backend():
    with pytest.raises(ConfigError, match="KERAS_BACKEND=jax"):
        join(free_address(), 2, 0, wait=1)


WRONG_ADDRESSES = ("node1", "node1:", ":1", "node1:0", "node1:99999", "node1:http")
TWO = ("--processes", "2", "--process")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--process", "1"], "belong together"),
        (["--preset", "best"], "PRESET is 'best'"),
        (["--sequences", "nowhere"], "nowhere"),
        (["--batch", "0"], "batch is 0"),
        (["--chunk", "0"], "chunk is 0"),
        *((["--coordinator", address, *TWO, "0"], "must be HOST:PORT") for address in WRONG_ADDRESSES),
        (["--coordinator", "node1:8476", *TWO, "2"], "--process is 2; it must lie between 0 and 1"),
    ],
)
def test_wrong_options_are_refused_at_once(tiny, options, message):
    assert message in call(["parent", "--davis", str(tiny.root), *options])


def test_the_command_trains_on_one_machine(tiny, tmp_path, monkeypatch, capsys):
    for module in (fitting, trained):
        monkeypatch.setattr(module, "build_osvos", small_network)
    assert call(f"parent --davis {tiny.root} --run-dir {tmp_path} --height 0 --epochs 1".split()) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "parent" / WEIGHTS_FILE)
    assert (tmp_path / "parent" / WEIGHTS_FILE).is_file()
