"""Parent training on several machines: one process on each, on Keras's JAX backend.

Every process holds the whole network and computes its own rows of every batch; gradients are averaged
over all devices (`keras.distribution.DataParallel`). Rank 0 alone reads and writes the run's folder.
JAX's coordinator, in rank 0, watches all processes: when one is gone, it ends the others.
"""

import hashlib
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from osvos_keras.errors import ClusterError, ConfigError, OsvosError, first_line

HEARTBEAT = 60  # seconds without a sign of life, after which JAX takes a process for dead
SHUTDOWN = 20  # seconds that a process that ends waits for the others to end too


@dataclass(frozen=True)
class Processes:
    """The `world_size` processes that train one network together, seen by number `rank` of them.

    `distribution` is over all their devices; None for one process alone, which needs no JAX.
    """

    rank: int = 0
    world_size: int = 1
    distribution: keras.distribution.DataParallel | None = None

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that reads and writes the run's folder."""
        return self.rank == 0

    @property
    def devices(self) -> int:
        """The devices of all processes, for JAX."""
        return self.distribution.device_mesh.devices.size if self.distribution else 1

    def check_same(self, settings: dict[str, Any]) -> None:
        """See that all processes have the same settings; if not, every one of them raises a ConfigError."""
        if self.distribution is None:
            return
        from jax.experimental.multihost_utils import process_allgather

        texts = [json.dumps(value, sort_keys=True).encode() for value in settings.values()]
        digests = np.stack([np.frombuffer(hashlib.sha256(text).digest(), np.uint8) for text in texts])
        everyone = process_allgather(digests).reshape(self.world_size, *digests.shape)
        differs = (everyone != everyone[0]).any(axis=(0, 2))
        mine = {name: value for (name, value), other in zip(settings.items(), differs, strict=True) if other}
        if mine:
            raise ConfigError(
                f"the processes differ in {', '.join(mine)}; rank {self.rank} has {mine}. Give every process "
                "the same command (only --process differs), data and weights."
            )

    def broadcast(self, values: Any) -> Any:
        """Rank 0's values (arrays, nested as they are); it returns when every process has called it."""
        if self.distribution is None:
            return values
        from jax.experimental.multihost_utils import broadcast_one_to_all

        return broadcast_one_to_all(values)

    @contextmanager
    def replicate(self, trained: keras.Model, build: Callable[[], keras.Model]) -> Iterator[keras.Model]:
        """A replica on every device of rank 0's compiled network; in the end `trained` gets its weights.

        `build` makes another network like `trained`. (A replica's variables belong to all processes, so
        rank 0 alone could not load a backup into it.)
        """
        if self.distribution is None:
            yield trained
            return
        values = self.broadcast([keras.ops.convert_to_numpy(variable) for variable in _state(trained)])
        keras.utils.set_random_seed(0)  # JAX wants every process to make the same variables
        with self.distribution.scope():
            replica = build()
            replica.optimizer.build(replica.trainable_variables)
            for variable, value in zip(_state(replica), values, strict=True):
                variable.assign(value)
            yield replica
        trained.set_weights(replica.get_weights())

    @contextmanager
    def explain(self) -> Iterator[None]:
        """Turn JAX's error, when another process is gone, into a ClusterError that says what to do."""
        try:
            yield
        except (RuntimeError, ValueError) as error:  # JAX raises both
            if self.world_size == 1 or isinstance(error, OsvosError):
                raise
            raise ClusterError(
                f"rank {self.rank} of {self.world_size} cannot go on: {first_line(error)}\n"
                "See the messages of the other processes first. Then start the same command again on every "
                "machine (with a free port): training goes on from the last backup."
            ) from error


def join(address: str, world_size: int, rank: int, wait: int = 300) -> Processes:
    """Meet the other processes at `address`, `HOST:PORT` of rank 0, before any computation.

    JAX ends this process if they have not come in `wait` seconds.

    Raises:
        ConfigError: the backend is not JAX.
        ClusterError: the port is taken, or the processes have different numbers of devices.
    """
    if keras.config.backend() != "jax":
        raise ConfigError(f"several machines need KERAS_BACKEND=jax; it is {keras.config.backend()}.")
    import jax
    import tensorflow as tf

    if rank == 0:
        _check_port(address)
    tf.config.set_visible_devices([], "GPU")  # TensorFlow only reads files here; the memory is JAX's
    jax.config.update("jax_enable_preemption_service", False)  # it would keep SIGTERM from ending a process
    options = {"initialization_timeout": wait, "heartbeat_timeout_seconds": HEARTBEAT}
    options |= {"shutdown_timeout_seconds": SHUTDOWN, "cluster_detection_method": "deactivate"}
    with Processes(rank, world_size).explain():  # no detection: Slurm's would hide all GPUs but one
        jax.distributed.initialize(address, world_size, rank, **options)
    if jax.device_count() != world_size * (own := jax.local_device_count()):
        raise ClusterError(
            f"rank {rank} of {world_size} has {own} devices, all together have {jax.device_count()}. Give "
            "every process the same --processes and as many devices (CUDA_VISIBLE_DEVICES hides some)."
        )
    # The pipeline makes each process's rows itself; Keras would have each decode every frame.
    return Processes(rank, world_size, keras.distribution.DataParallel(auto_shard_dataset=False))


def _check_port(address: str) -> None:
    """See that nothing listens there yet: JAX would end with an error, or crash."""
    try:
        socket.create_server(("", int(address.rpartition(":")[2]))).close()
    except OSError as error:
        raise ClusterError(
            f"{address}: this process cannot listen there ({error.strerror}). Start the command on every "
            "machine with a free port."
        ) from error


def _state(model: keras.Model) -> list:
    return [*model.variables, *model.optimizer.variables]
