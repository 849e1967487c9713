"""What a training minimizes and how: the outputs that count, the loss, the optimizer, what is held."""

import keras

from osvos_keras.config import OnlineConfig, ParentConfig
from osvos_keras.device import use_xla
from osvos_keras.losses import BalancedCrossEntropy
from osvos_keras.model import OUTPUTS, keep_outputs


def compile_for_training(
    model: keras.Model, config: ParentConfig | OnlineConfig, steps: int, steps_per_execution: int = 1
) -> keras.Model:
    """The same network with the outputs that `config` trains, compiled with loss and optimizer."""
    frozen = tuple(f"block{block}_" for block in range(1, config.frozen_blocks + 1))
    for layer in model.layers:
        layer.trainable = not layer.name.startswith(frozen)
    trained = keep_outputs(model, OUTPUTS if config.side_weight else ("fused",))
    trained.compile(
        optimizer=make_optimizer(config, steps),
        loss={name: BalancedCrossEntropy(config.balance) for name in trained.output},
        jit_compile=use_xla(),
        steps_per_execution=steps_per_execution,
    )
    return trained


def make_optimizer(config: ParentConfig | OnlineConfig, steps: int) -> keras.optimizers.Optimizer:
    """The optimizer and learning-rate schedule that a config asks for."""
    rate = config.learning_rate
    if config.decay == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(config.learning_rate, decay_steps=steps)
    options = {
        "learning_rate": rate,
        "weight_decay": config.weight_decay or None,
        "gradient_accumulation_steps": config.accumulate if config.accumulate > 1 else None,
    }
    if config.optimizer == "sgd":
        return keras.optimizers.SGD(momentum=0.9, **options)
    return keras.optimizers.Adam(**options)
