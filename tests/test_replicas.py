"""The parent trained on two devices at once: the numbers of one device."""

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from osvos_keras.compilation import compile_for_training
from osvos_keras.config import ParentConfig
from osvos_keras.device import choose_steps_per_execution
from osvos_keras.trained import load_finished
from tests.test_multi_host import small_network

STEPS = 20
# A process of its own: the devices must be known before TensorFlow starts.
TRAIN = """
import json, sys
import keras
import tensorflow as tf
from osvos_keras.config import ParentConfig
from osvos_keras.davis import Davis
from osvos_keras.training import train_parent

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
devices = [device.name for device in tf.config.list_logical_devices("CPU")]
strategy = tf.distribute.MirroredStrategy(devices) if sys.argv[3] == "2" else tf.distribute.get_strategy()
assert strategy.num_replicas_in_sync == int(sys.argv[3])
curve = []
class Curve(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        curve.append(logs)
        self.model.reset_metrics()  # each step's own loss, not the mean so far
        if len(curve) == int(sys.argv[4]):
            print(json.dumps(curve))
            sys.exit()
config = ParentConfig(height=0, batch=2, epochs=5, frozen_blocks=0, seed=1)  # 8 frames: 20 steps
train_parent(Davis(sys.argv[1]), ["ant", "bee"], config, sys.argv[2], policy="float32", chunk=10,
             progress=False, strategy=strategy, callbacks=[Curve()])
print(json.dumps(curve))
"""


def train(davis, folder, replicas: int, stop: int = 0) -> pd.DataFrame:
    command = [sys.executable, "-c", TRAIN, str(davis.root), str(folder), str(replicas), str(stop)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return pd.DataFrame(json.loads(done.stdout.splitlines()[-1]))


def test_a_mirrored_network_trains_without_xla_one_step_a_call(monkeypatch):
    """On two GPUs each of them ends the first call: XLA cannot reach one's variables from the other."""
    mirrored = tf.distribute.MirroredStrategy(["CPU:0"])
    gpu = SimpleNamespace(device_type="GPU")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [gpu])
    for scope, xla, steps in ((nullcontext(), True, 5), (mirrored.scope(), False, 1)):
        with scope:
            assert compile_for_training(small_network(), ParentConfig(), steps=1).jit_compile == xla
            assert choose_steps_per_execution(25) == steps


@pytest.mark.slow
def test_two_replicas_give_the_loss_curve_of_one_device(tiny, tmp_path):
    one, two = (train(tiny, tmp_path / str(replicas), replicas) for replicas in (1, 2))
    assert len(one) == len(two) == STEPS
    assert one["loss"].iloc[-1] < 0.9 * one["loss"].iloc[0]  # or the curves would be equal for no reason
    np.testing.assert_allclose(two, one, rtol=0, atol=1e-4)  # the total and each output's own loss
    print("largest difference of a loss:", np.abs(two - one).to_numpy().max())


@pytest.mark.slow
def test_training_on_two_replicas_goes_on_where_it_was_killed(tiny, tmp_path):
    """The backup of a mirrored model: half a training, then the other half on two replicas."""
    whole = train(tiny, tmp_path / "whole", 2)
    first = train(tiny, tmp_path / "halves", 2, stop=12)
    second = train(tiny, tmp_path / "halves", 2)
    assert (len(first), len(second)) == (12, 10)  # from the backup after step 10
    np.testing.assert_allclose(second, whole[10:], rtol=0, atol=1e-4)
    weights = (load_finished(tmp_path / name).get_weights() for name in ("whole", "halves"))
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-5)
