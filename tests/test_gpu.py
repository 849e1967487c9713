"""What runs on a GPU is what runs on a CPU. `make test ARGS="-m gpu"` on a machine that has one."""

import numpy as np
import pytest
import tensorflow as tf

from osvos_keras.config import get_config
from osvos_keras.davis import Davis
from osvos_keras.device import gpus
from osvos_keras.evaluation import evaluate
from osvos_keras.inference import segment_sequence
from osvos_keras.model import build_osvos
from osvos_keras.training import train_online

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not gpus(), reason="TensorFlow sees no GPU")]


def test_logits_are_those_of_the_cpu():
    model, (frame, _) = build_osvos("parent"), Davis("data/sample").first("cat")
    found = []
    for device in ("CPU", "GPU"):
        with tf.device(device):
            found.append(model(frame[None, ::2, ::2])["fused"].numpy())
    np.testing.assert_allclose(*found, rtol=0.05, atol=0.05)  # GPUs multiply with 10 bits of mantissa


def test_online_training_learns_the_object(tmp_path):
    davis, config = Davis("data/sample"), get_config("online", height=240, steps=50)
    model = train_online(davis, "cat", config, tmp_path / "online", weights="parent", progress=False)
    segment_sequence(model, davis, "cat", tmp_path / "masks", progress=False)
    assert evaluate(tmp_path / "masks", davis, "cat", progress=False).overall["J_mean"].item() > 0.9
