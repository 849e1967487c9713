"""Compiles a network for training: the trained outputs, the loss, the optimizer, the frozen blocks."""

import keras
from keras import ops

from osvos_keras.config import OnlineConfig, ParentConfig
from osvos_keras.losses import BalancedCrossEntropy
from osvos_keras.model import OUTPUTS, keep_outputs


def freeze_blocks(model: keras.Model, count: int) -> None:
    """Make the layers of the first `count` of VGG16's blocks untrainable."""
    frozen = tuple(f"block{block}_" for block in range(1, count + 1))
    for layer in model.layers:
        if layer.name.startswith(frozen):
            layer.trainable = False


def compile_for_training(
    model: keras.Model, config: ParentConfig | OnlineConfig, steps: int, steps_per_execution: int = 1
) -> keras.Model:
    """The same network with the outputs that `config` trains, compiled with loss and optimizer.

    Its layers are the model's own, and stay as they are: `freeze_blocks` holds some of them. Keras decides on
    XLA: it takes it on one GPU, not on several, whose variables XLA cannot reach from one of them.
    """
    trained = keep_outputs(model, OUTPUTS if config.side_weight else ("fused",))
    trained.compile(
        optimizer=make_optimizer(config, steps),
        loss={name: BalancedCrossEntropy(config.balance) for name in trained.output},
        steps_per_execution=steps_per_execution,
    )
    _make_metrics(trained)
    return trained


def _make_metrics(model: keras.Model) -> None:
    """Make the metrics of the losses now. If the first step makes them, TensorFlow traces the step twice."""
    pixel = {name: ops.zeros((1, 1, 1, 1)) for name in model.output}
    with keras.StatelessScope():  # makes them, and leaves their values
        model.compute_loss(y=pixel, y_pred=pixel)


def make_optimizer(config: ParentConfig | OnlineConfig, steps: int) -> keras.optimizers.Optimizer:
    """The optimizer and learning-rate schedule that a config asks for."""
    rate = config.learning_rate
    if config.decay == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(config.learning_rate, decay_steps=steps)
    options = {"learning_rate": rate, "weight_decay": config.weight_decay or None}
    if config.optimizer == "sgd":
        options["momentum"] = 0.9
    if config.accumulate > 1 or config.layer_rates:
        kind = {"sgd": PublishedSGD, "adam": PublishedAdam}[config.optimizer]
        return kind(config.accumulate, steps, config.layer_rates, **options)
    return {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}[config.optimizer](**options)


def count_steps(model: keras.Model) -> int:
    """The steps, one per batch, that a compiled model has done; correct also on several replicas."""
    optimizer = model.optimizer
    return int(ops.convert_to_numpy(getattr(optimizer, "steps_done", optimizer.iterations)))


def layer_rate(name: str) -> float:
    """The factor by which the paper multiplies the learning rate of a variable."""
    rate = 0.01 if "fuse" in name else 0.1 if "score" in name else 1.0
    return 2 * rate if "bias" in name else rate


class _Published:
    """Adds to an optimizer of Keras what published trainings need: accumulated gradients and rates per layer.

    An update uses the mean gradient of `accumulate` steps; the last one uses the steps that are left.
    A learning-rate schedule counts steps; `iterations`, which Adam uses, counts updates. The sums are
    variables of the optimizer, so a backup between two updates contains them.

    Keras's own `gradient_accumulation_steps` drops the steps that are left, and fails on several replicas.

    Args:
        accumulate: steps for each update.
        steps: the number of steps of the whole training.
        layer_rates: whether the learning rate is multiplied by `layer_rate`.
        weight_decay: the fraction, times the learning rate, that each update takes off a weight; None: 0.
        **options: the optimizer's own.
    """

    def __init__(
        self, accumulate: int, steps: int, layer_rates: bool, *, weight_decay: float | None, **options
    ):
        super().__init__(**options)
        self.accumulate, self.steps, self.layer_rates = accumulate, steps, layer_rates
        self.decay = weight_decay or 0.0

    def get_config(self):
        own = {name: getattr(self, name) for name in ("accumulate", "steps", "layer_rates")}
        return {**super().get_config(), **own, "weight_decay": self.decay}

    @property
    def steps_done(self):
        return super().iterations

    @property
    def iterations(self):
        return ops.floor_divide(self.steps_done, self.accumulate)

    def build(self, variables):
        if not self.built:
            super().build(variables)
            self.sums = self.add_optimizer_variables(variables, "sum")

    def update_step(self, gradient, variable, learning_rate):
        sums = self.sums[self._get_variable_index(variable)]
        total = ops.add(sums, ops.cast(gradient, variable.dtype))
        super().assign(sums, self._if_due(0.0, total))
        rate = ops.cast(learning_rate, variable.dtype)
        if self.layer_rates:
            rate = rate * layer_rate(getattr(variable, "path", variable.name))
        self.assign_sub(variable, ops.multiply(variable, self.decay * rate))
        count = ops.cast(ops.mod(self.steps_done, self.accumulate) + 1, variable.dtype)
        super().update_step(total / count, variable, rate)

    def _if_due(self, value, otherwise):
        """`value` in a step that updates. Not a branch: several replicas cannot meet inside one."""
        step = ops.add(self.steps_done, 1)
        due = ops.logical_or(ops.equal(ops.mod(step, self.accumulate), 0), ops.equal(step, self.steps))
        return ops.where(due, ops.convert_to_tensor(value), ops.convert_to_tensor(otherwise))

    def assign(self, variable, value):
        super().assign(variable, self._if_due(value, variable))

    def assign_add(self, variable, value):
        super().assign_add(variable, self._if_due(value, 0.0))

    def assign_sub(self, variable, value):
        super().assign_sub(variable, self._if_due(value, 0.0))


@keras.saving.register_keras_serializable("osvos_keras")
class PublishedSGD(_Published, keras.optimizers.SGD):
    """SGD as the paper has it."""


@keras.saving.register_keras_serializable("osvos_keras")
class PublishedAdam(_Published, keras.optimizers.Adam):
    """Adam, the same way."""
