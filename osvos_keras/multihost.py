"""Parent training on several machines: one process on each, on Keras's JAX backend.

Every process holds the whole network and computes its share of every batch; gradients are averaged
over all (`keras.distribution.DataParallel`). Process 0 alone reads and writes the run's folder.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import keras
import numpy as np

from osvos_keras.errors import ClusterError, ConfigError
from osvos_keras.roll_call import call_roll, check_place

WAIT = 300  # seconds that processes wait for each other at the start
HEARTBEAT = 60  # seconds without a sign of life, after which a process is given up
FAREWELL = 20  # seconds that a process that ends waits for the others


@dataclass(frozen=True)
class Team:
    """The processes that train one network together; `ALONE` is the team of one that needs no JAX.

    Attributes:
        index: which process this is; 0 leads, and alone writes.
        count: how many there are.
        distribution: over all devices of all processes.
    """

    index: int = 0
    count: int = 1
    distribution: keras.distribution.DataParallel | None = None

    @property
    def leads(self) -> bool:
        return self.index == 0

    @property
    def devices(self) -> int:
        """All of its devices, for JAX."""
        return self.distribution.num_model_replicas if self.distribution else 1

    def compare(self, settings: dict) -> None:
        """See that all processes have the same settings.

        Raises:
            ConfigError: they have not.
            ClusterError: another process is gone.
        """
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).digest()
        digests = self._gather(np.frombuffer(digest, np.uint8))
        others = [index for index, other in enumerate(digests) if (other != digests[0]).any()]
        if others:
            raise ConfigError(
                f"process {', '.join(map(str, others))} differs from process 0 in a setting, the data, the "
                "starting weights or the precision that its device suggests. Give every process the same "
                f"command (only --process differs); this is process {self.index}, with {settings}."
            )

    def agree(self, value: bool) -> bool:
        """Process 0's value, for all; nobody goes on before all have asked."""
        return bool(self._gather(np.array(value))[0])

    def _gather(self, value: np.ndarray) -> np.ndarray:
        """The value of every process, stacked."""
        if self.distribution is None:
            return value[None]
        from jax.experimental import multihost_utils

        with self._explained():
            return np.reshape(multihost_utils.process_allgather(value), (self.count, *value.shape))

    def share(self, model: keras.Model) -> keras.Model:
        """Process 0's weights for all: `model` with them."""
        if self.distribution is not None:
            model.set_weights(self._broadcast(model.get_weights()))
        return model

    def _broadcast(self, values: list[np.ndarray]) -> list[np.ndarray]:
        from jax.experimental import multihost_utils

        with self._explained():
            return multihost_utils.broadcast_one_to_all(values)

    @contextmanager
    def together(self, trained: keras.Model, build: Callable[[], keras.Model]) -> Iterator[keras.Model]:
        """A twin of process 0's `trained` that all processes train; its end is copied into `trained`.

        Process 0 can so read a backup before any process depends on it.

        Args:
            trained: a compiled network; only process 0's counts.
            build: makes another one like it.
        """
        if self.distribution is None:
            yield trained
            return
        values = self._broadcast(_values(trained))
        with self._explained():
            keras.utils.set_random_seed(0)  # JAX wants every process to make the same variables
            with self.distribution.scope():
                twin = build()
                twin.optimizer.build(twin.trainable_variables)
                _assign(twin, values)
                yield twin
            _assign(trained, _values(twin))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn JAX's error when another process is gone into one that says what to do."""
        from jax.errors import JaxRuntimeError

        try:
            yield
        except JaxRuntimeError as error:
            raise ClusterError(
                f"process {self.index} of {self.count} cannot go on: {str(error).splitlines()[0]}\n"
                "If another process has ended, see its message first. Then start the same command again on "
                "every machine: training goes on from the last backup."
            ) from error


ALONE = Team()


def join(address: str, count: int, index: int, wait: float = WAIT) -> Team:
    """Meet the other processes; to be called before any computation, with KERAS_BACKEND=jax.

    Args:
        address: `HOST:PORT`, the machine of process 0 and a free port there.
        count: how many processes there are, one a machine.
        index: which one this is, from 0.
        wait: seconds after which to give up.

    Raises:
        ConfigError: not the JAX backend, or as `check_place`.
        ClusterError: the others did not come, or have other devices.
    """
    if keras.config.backend() != "jax":
        raise ConfigError(
            f"several machines need Keras's JAX backend, and this is {keras.config.backend()}: set "
            "KERAS_BACKEND=jax before keras is imported (`osvos parent --coordinator` does)."
        )
    check_place(address, count, index)
    call_roll(address, count, index, wait)
    import jax
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")  # TensorFlow only reads files here; the memory is JAX's
    jax.distributed.initialize(
        address,
        count,
        index,
        initialization_timeout=int(wait),
        heartbeat_timeout_seconds=HEARTBEAT,
        shutdown_timeout_seconds=FAREWELL,
        cluster_detection_method="deactivate",  # Slurm's would hide all GPUs but one
    )
    if jax.device_count() != count * jax.local_device_count():
        raise ClusterError(
            f"process {index} has {jax.local_device_count()} devices, all {count} together "
            f"{jax.device_count()}: every machine must have as many. CUDA_VISIBLE_DEVICES can hide some."
        )
    # The pipeline makes each process's share itself; Keras would have each decode every frame.
    return Team(index, count, keras.distribution.DataParallel(auto_shard_dataset=False))


@contextmanager
def undistributed() -> Iterator[None]:
    """Keep what Keras does inside to this process.

    Saving weights makes variables (a throw-away optimizer to compare with); in one process of a
    team alone, it would wait for the others to make them too, and they do not.
    """
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


def _state(model: keras.Model) -> list:
    return [*model.variables, *model.optimizer.variables]


def _values(model: keras.Model) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(variable) for variable in _state(model)]


def _assign(model: keras.Model, values: list[np.ndarray]) -> None:
    for variable, value in zip(_state(model), values, strict=True):
        variable.assign(value)
