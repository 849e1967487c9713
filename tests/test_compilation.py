"""Optimizers that take several steps to an update, counted in steps; and what compiling leaves alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from osvos_keras.compilation import compile_for_training, count_steps, freeze_blocks, make_optimizer
from osvos_keras.config import OnlineConfig, ParentConfig, get_config
from osvos_keras.model import build_osvos

STEPS, EVERY = 8, 3  # updates after steps 3, 6 and, by what is left, 8


def train(optimizer, steps: int = STEPS) -> tuple[keras.Model, list[np.ndarray]]:
    """A model of three weights, and these after every step."""
    random = np.random.default_rng(0)
    x = random.normal(size=(2 * steps, 3)).astype(np.float32)
    data = tf.data.Dataset.from_tensor_slices((x, x @ [[1.0], [2.0], [3.0]])).batch(2)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(optimizer=optimizer, loss="mse")
    weights = []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: weights.append(model.get_weights()[0].copy())
    )
    model.fit(data, shuffle=False, verbose=0, callbacks=[watch])
    return model, weights


def config(kind: str, decay: str, **changes) -> OnlineConfig:
    options = {"optimizer": kind, "decay": decay, "learning_rate": 0.1, "weight_decay": 0.1}
    return OnlineConfig(**options, **changes)


@pytest.mark.parametrize("decay", ["none", "cosine"])
@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_several_steps_to_an_update_are_keras_own_where_it_has_them(kind, decay):
    """Weight decay and schedule among them; Keras forgets the two steps that are left at the end."""
    mine, weights = train(make_optimizer(config(kind, decay, accumulate=EVERY), STEPS))
    single = make_optimizer(config(kind, decay), STEPS)
    own = type(single).from_config({**single.get_config(), "gradient_accumulation_steps": EVERY})
    _, expected = train(own)
    np.testing.assert_allclose(weights[:-1], expected[:-1], rtol=1e-6)
    assert count_steps(mine) == STEPS and int(mine.optimizer.iterations) == STEPS // EVERY
    changed = [step for step in range(2, STEPS + 1) if (weights[step - 1] != weights[step - 2]).any()]
    assert changed == [3, 6, 8]


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_a_saved_network_comes_back_with_its_optimizer(kind, tmp_path):
    """As Keras's own ModelCheckpoint writes it."""
    settings = config(kind, "cosine", accumulate=EVERY, layer_rates=True)
    before, _ = train(make_optimizer(settings, STEPS))
    before.save(tmp_path / "whole.keras")
    after = keras.models.load_model(tmp_path / "whole.keras")
    assert count_steps(after) == STEPS
    assert after.optimizer.get_config() == before.optimizer.get_config()
    np.testing.assert_equal(*(list(map(np.array, one.optimizer.variables)) for one in (after, before)))


def test_the_last_update_is_by_the_mean_of_what_is_left():
    optimizer = make_optimizer(
        OnlineConfig(optimizer="sgd", accumulate=3, learning_rate=0.5, decay="none"), 5
    )
    weight = keras.Variable([10.0])
    optimizer.build([weight])
    found = []
    for gradient in (1.0, 2.0, 6.0, 4.0, 2.0):
        optimizer.apply([[gradient]], [weight])
        found.append(float(weight[0]))
    first = 0.5 * (1 + 2 + 6) / 3
    expected = [10, 10, 10 - first, 10 - first, 10 - first - 0.9 * first - 0.5 * (4 + 2) / 2]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_fewer_steps_than_an_update_takes_are_one_update():
    _, weights = train(make_optimizer(config("sgd", "none", accumulate=10), 4), steps=4)
    assert (weights[3] != weights[2]).all() and (weights[2] == weights[0]).all()


def test_a_config_without_accumulation_has_keras_own_optimizer():
    assert type(make_optimizer(OnlineConfig(), 1)) is keras.optimizers.Adam
    assert (
        type(make_optimizer(get_config("online", "paper", accumulate=1, layer_rates=False), 1))
        is keras.optimizers.SGD
    )


@pytest.mark.usefixtures("narrow")
def test_layers_have_the_papers_rates_if_asked_for():
    """1 and 2 for weights and biases, a tenth of that for scores, a hundredth for the fusion."""
    model = build_osvos(None)
    before = {variable.path: np.array(variable) for variable in model.trainable_variables}
    config = OnlineConfig(optimizer="sgd", layer_rates=True, learning_rate=0.5, decay="none")
    optimizer = make_optimizer(config, 1)
    optimizer.apply([np.ones_like(value) for value in before.values()], model.trainable_variables)
    moved = {
        variable.path: float(np.mean(before[variable.path] - variable)) / 0.5
        for variable in model.trainable_variables
    }
    expected = {
        path: {"weight": 1.0, "bias": 2.0}["bias" if "bias" in path else "weight"]
        * {"sco": 0.1, "fus": 0.01}.get(path.split("/")[0].split("_")[-1][:3], 1.0)
        for path in before
    }
    assert set(expected.values()) == {1, 2, 0.1, 0.2, 0.01, 0.02}
    np.testing.assert_allclose(list(moved.values()), list(expected.values()), rtol=1e-4)


@pytest.mark.usefixtures("narrow")
def test_compiling_leaves_the_layers_of_the_network_as_they_were():
    model = build_osvos(None)
    model.get_layer("side2_prep").trainable = False
    before = [layer.trainable for layer in model.layers]
    compile_for_training(model, OnlineConfig(frozen_blocks=4), steps=1)
    assert [layer.trainable for layer in model.layers] == before
    freeze_blocks(model, 4)
    held = [layer.name for layer in model.layers if layer.weights and not layer.trainable]
    assert len(held) == 2 + 2 + 3 + 3 + 1
    assert {name.split("_")[0] for name in held[:-1]} == {f"block{number}" for number in range(1, 5)}


@pytest.mark.usefixtures("narrow")
def test_every_output_is_trained_with_the_balance_that_was_asked_for():
    trained = compile_for_training(build_osvos(None), ParentConfig(balance=0.25), steps=1)
    assert {name: loss.balance for name, loss in trained.loss.items()} == dict.fromkeys(trained.output, 0.25)


@pytest.mark.parametrize("side_weight", [0.0, 1.0])
def test_a_step_is_traced_once(narrow, side_weight):
    trained = compile_for_training(build_osvos(None), OnlineConfig(side_weight=side_weight), 2)
    trained.optimizer.build(trained.trainable_variables)
    traced, step = [], trained.train_step
    trained.train_step = lambda data: traced.append(data) or step(data)
    targets = {name: np.ones((2, 8, 8, 1), np.float32) for name in trained.output}
    history = trained.fit(np.zeros((2, 8, 8, 3)), targets, batch_size=1, shuffle=False, verbose=0).history
    assert len(traced) == 1
    assert history["loss"][0] > 0 and (f"{next(iter(targets))}_loss" in history) == (len(targets) > 1)
