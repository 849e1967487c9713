"""A training that was checked, run in its folder: from the start, or the last backup, to the weights."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from osvos_keras.callbacks import Backup, History, ProgressBar
from osvos_keras.compilation import compile_for_training, count_steps, freeze_blocks
from osvos_keras.config import OnlineConfig, ParentConfig
from osvos_keras.device import choose_policy, choose_steps_per_execution
from osvos_keras.errors import ConfigError, TrainingError, note_if_stopped
from osvos_keras.io.files import lock_folder
from osvos_keras.io.literals import check_range
from osvos_keras.io.paths import resolve_output
from osvos_keras.model import build_osvos
from osvos_keras.multihost import Processes
from osvos_keras.pipeline import naming_files
from osvos_keras.trained import WEIGHTS_FILE, flatten, load_finished, load_or_start, settle_policy
from osvos_keras.weights import find_conventions, find_weights, save_weights

LOCK_WAIT = 10  # seconds in which the kernel of a killed worker has ended
ONE_PROCESS = Processes()


@dataclasses.dataclass(frozen=True)
class Training:
    """A training that was checked and not begun."""

    made_with: dict[str, Any]  # what decides the result, but for the precision
    weights: str | Path | None  # what it starts from
    config: ParentConfig | OnlineConfig
    steps: int
    make_dataset: Callable[[int], tf.data.Dataset]  # the batches from a step on


def run_training(
    training: Training,
    folder: str | Path,
    policy: str,
    strategy: tf.distribute.Strategy,
    processes: Processes = ONE_PROCESS,
    *,
    chunk: int = 25,
    **options,
) -> keras.Model:
    """The network that the training gives: trained here, or loaded from its folder.

    Args:
        training: what to do.
        folder: where weights, history, settings and backups go.
        policy, strategy, processes: as in `train_parent`.
        chunk: steps between backups.
        **options: `progress` and `callbacks`, as in `train_online`.

    Raises:
        as `train_parent`, but for what is wrong with its data.
    """
    folder, is_first = resolve_output(folder), processes.is_first
    check_start(training.weights, folder)
    check_range("chunk", chunk, 1, 2**31 - 1)
    with lock_folder(folder, wait=LOCK_WAIT) if is_first else nullcontext():
        alone = processes.world_size == 1  # else the processes agree on what their devices suggest
        policy = settle_policy(policy, training.made_with, folder) if alone else choose_policy(policy)
        made_with = {**training.made_with, "policy": policy}
        processes.check_same(flatten({**made_with, "chunk": chunk}))
        notes = {"weights": training.weights and str(training.weights)}
        network = load_or_start(folder, made_with, **notes) if is_first else None
        saver = Backup(folder / "backup" if is_first else None, every=chunk)
        kind = {"policy": policy, "conventions": find_conventions(training.weights)}
        if not processes.broadcast(np.array(network is not None)):
            network = _finish(training, folder, kind, strategy, processes, saver, **options)
        saver.remove()  # here, so that none stays if an earlier run was killed before it could remove it
        network = network or build_osvos(None, **kind)
        network.inference = training.config.inference
        if not alone:
            network.set_weights(processes.broadcast(network.get_weights()))
        return network


def check_start(weights: str | Path | None, folder: Path) -> None:
    """See that a training does not start from weights that it would set aside or write over."""
    path = None if weights is None else find_weights(weights)
    if path and (path == folder / WEIGHTS_FILE or path.is_relative_to(folder / "backup")):
        raise ConfigError(
            f"{path}: these weights lie where the training writes. Copy them elsewhere, or train in another "
            "folder (RUN_DIR or --run-dir)."
        )


def _finish(
    training: Training,
    folder: Path,
    kind: dict[str, Any],
    strategy: tf.distribute.Strategy,
    processes: Processes,
    saver: Backup,
    **options,
) -> keras.Model | None:
    """Train to the end, write the weights, and give the network to the first process."""
    config = training.config

    def build(weights: str | Path | None) -> tuple[keras.Model, keras.Model]:
        model = build_osvos(weights, seed=config.seed, head_scale=config.head_scale, **kind)
        freeze_blocks(model, config.frozen_blocks)
        trained = compile_for_training(model, config, training.steps, choose_steps_per_execution(saver.every))
        trained.inference = config.inference
        return model, trained

    with strategy.scope():
        model, trained = build(training.weights)
        saver.restore(trained)
    with processes.replicate(trained, lambda: build(None)[1]) as replica:
        if count_steps(replica) < training.steps:
            _fit(replica, training, folder, processes, saver, **options)
    if not processes.is_first:
        return None
    save_weights(model, folder / WEIGHTS_FILE)
    if strategy.num_replicas_in_sync * processes.devices > 1:
        return load_finished(folder)  # its variables are spread over the devices no longer
    model.trainable = True
    return model


def _fit(
    model: keras.Model,
    training: Training,
    folder: Path,
    processes: Processes,
    saver: Backup,
    *,
    progress: bool = True,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> None:
    """Keras's own `fit`, from the steps that the model has done to the last."""
    start, chunk, is_first = count_steps(model), saver.every, processes.is_first
    history = History(folder / "history.csv" if is_first else None, start, chunk)
    observers = [history, saver]  # in this order: see History
    if progress and is_first:
        names = training.made_with["sequences"]
        what = names[0] if len(names) == 1 else f"{len(names)} sequences"
        observers.append(ProgressBar(f"{training.made_with['phase']} {what}", start, training.steps))
    alone = processes.world_size == 1
    keeping = note_if_stopped(lambda: saver.keep(model, training.steps)) if alone else nullcontext()
    with _explained(training.config), keeping:
        data = training.make_dataset(start)
        # Not shuffled by Keras: the pipeline's own order is the one that counts.
        model.fit(data, callbacks=[*observers, *callbacks], shuffle=False, verbose=0)


@contextmanager
def _explained(config: ParentConfig | OnlineConfig) -> Iterator[None]:
    """Turn the backend's errors that have a cause outside into ones that say what to do."""
    try:
        with naming_files():
            yield
    except (tf.errors.ResourceExhaustedError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not str(error).startswith("RESOURCE_EXHAUSTED"):  # JAX's words
            raise
        seen = config.inference
        raise TrainingError(
            f"memory ran out in a step with batch={config.batch}, height={seen.height} (0: the frame's) "
            f"and window={seen.window} (0: whole frames). Lower the batch, or let a step see fewer lines."
        ) from error
