"""Other backends and settings of Keras than the usual ones."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

SEGMENT = """
import json, sys
import keras
from osvos_keras.config import OnlineConfig
from osvos_keras.davis import Davis
from osvos_keras.evaluation import evaluate
from osvos_keras.inference import predict_logits, segment_sequence
from osvos_keras.training import train_online

davis = Davis(sys.argv[1])
options = {"policy": "float32", "progress": False, "chunk": 10}
network = train_online(davis, "cow", OnlineConfig(height=24, steps=30), sys.argv[2], **options)
masks = segment_sequence(network, davis, "cow", sys.argv[3], progress=False)
assert len(list(masks.iterdir())) == 4
assert predict_logits(network, davis.first("cow")[0])["fused"].shape == (24, 33)
(similarity,) = evaluate(sys.argv[3], davis, ["cow"], progress=False).overall["J_mean"]
print(json.dumps([keras.config.backend(), keras.config.image_data_format(), similarity]))
"""


def segment(davis, folder, **environment) -> list:
    command = [sys.executable, "-c", SEGMENT, str(davis.root), str(folder / "run"), str(folder / "masks")]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu", **environment}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_keras_configured_for_channels_first_segments_the_same(tiny, tmp_path):
    (tmp_path / "keras.json").write_text(json.dumps({"image_data_format": "channels_first"}))
    *found, similarity = segment(tiny, tmp_path, KERAS_HOME=str(tmp_path))
    assert found == ["tensorflow", "channels_first"] and similarity > 0.9


@pytest.mark.skipif(not find_spec("jax"), reason="needs JAX; it is in the extras 'jax' and 'test'")
def test_online_training_and_masks_on_the_jax_backend(tiny, tmp_path):
    *found, similarity = segment(tiny, tmp_path, KERAS_BACKEND="jax")
    assert found == ["jax", "channels_last"] and similarity > 0.9
