"""Every preset in both phases, for more steps than an update takes: undisturbed, resumed, mirrored."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from osvos_keras.callbacks import read_history
from osvos_keras.config import PRESETS

STEPS, CHUNK, STOP = 24, 7, 16  # the backup after step 14 lies between the paper's updates, 10 and 20
# A process of its own: exact results and several devices must be asked for before TensorFlow starts.
TRAIN = """
import json, sys
import tensorflow as tf

tf.config.experimental.enable_op_determinism()
replicas = int(sys.argv[3])
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)
devices = [device.name for device in tf.config.list_logical_devices("CPU")]

import numpy as np
from osvos_keras import fitting, trained, training
from osvos_keras.config import get_config
from osvos_keras.davis import Davis
from tests.conftest import stop_at
from tests.test_multi_host import small_network

fitting.build_osvos = trained.build_osvos = small_network
davis, steps, chunk, stop = Davis(sys.argv[1]), *map(int, sys.argv[5:])


def train(phase, preset, folder, strategy, callbacks=()):
    config = get_config(phase, preset, height=0, seed=1)
    batch = max(config.batch, replicas)
    length = {"steps": steps} if phase == "online" else {"epochs": steps * batch / 8}  # of 8 frames
    config = get_config(phase, preset, height=0, seed=1, batch=batch, **length)
    options = {"policy": "float32", "progress": False, "chunk": chunk, "callbacks": callbacks}
    where = (davis, "cow") if phase == "online" else (davis, ["ant", "bee"])
    run = getattr(training, f"train_{phase}")
    return run(*where, config, f"{sys.argv[2]}/{folder}", strategy=strategy, **options).get_weights()


def difference(one, other):
    return max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))


strategy = tf.distribute.MirroredStrategy(devices) if replicas > 1 else tf.distribute.get_strategy()
assert strategy.num_replicas_in_sync == replicas
found = {}
for preset in sys.argv[4].split(","):
    for phase in ("parent", "online"):
        name = f"{preset}_{phase}"
        whole = train(phase, preset, name, strategy)
        try:
            train(phase, preset, f"{name}_killed", strategy, [stop_at(stop)])
        except KeyboardInterrupt:
            resumed = train(phase, preset, f"{name}_killed", strategy)
        one = whole
        if replicas > 1:
            one = train(phase, preset, f"{name}_one", tf.distribute.OneDeviceStrategy(devices[0]))
        start = small_network(seed=1).get_weights()
        found[name] = {
            "learned": difference(whole, start),
            "resumed": difference(whole, resumed),
            "one device": difference(whole, one),
        }
print(json.dumps(found))
"""
OTHERS = ",".join(sorted(PRESETS.keys() - {"paper"}))


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("presets", ["paper", pytest.param(OTHERS, marks=pytest.mark.slow)])
def test_killed_and_resumed_is_to_the_bit_what_undisturbed_is(tiny, tmp_path, presets, replicas):
    numbers = map(str, (STEPS, CHUNK, STOP))
    command = [sys.executable, "-c", TRAIN, str(tiny.root), str(tmp_path), str(replicas), presets, *numbers]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(found, indent=2))
    assert found.keys() == {
        f"{preset}_{phase}" for preset in presets.split(",") for phase in ("parent", "online")
    }
    for name, differences in found.items():
        assert differences["learned"] > 1e-5, name
        assert differences["resumed"] == 0, name
        np.testing.assert_allclose(differences["one device"], 0, atol=1e-4, err_msg=name)
        for folder in (name, f"{name}_killed"):
            assert read_history(tmp_path / folder / "history.csv")["step"].tolist() == [7, 14, 21, 24]
