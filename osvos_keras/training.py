"""The two phases of training: `train_parent` and `train_online`, on Keras's own compile and fit.

Both leave in their folder the weights, `history.csv` and `config.json`. Both can be killed at any
moment: called again with the same settings they go on from the last backup, and end with the
weights of an undisturbed run; called again when finished they load the result. Ctrl-C makes a backup.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from osvos_keras.config import OnlineConfig, ParentConfig
from osvos_keras.davis import Davis
from osvos_keras.device import check_batch, choose_policy, choose_strategy
from osvos_keras.errors import DataError, MaskError
from osvos_keras.fitting import ONE_PROCESS, Training, check_start, run_training
from osvos_keras.io.files import sha256
from osvos_keras.io.paths import resolve_output
from osvos_keras.multihost import Processes
from osvos_keras.pipeline import online_dataset, parent_dataset, resized_size
from osvos_keras.self_training import Pair, add_surest
from osvos_keras.small_objects import check_visible
from osvos_keras.trained import WEIGHTS_FILE
from osvos_keras.weights import find_weights


def train_parent(
    davis: Davis,
    sequences: Sequence[str],
    config: ParentConfig,
    folder: str | Path,
    *,
    weights: str | Path | None = "imagenet",
    policy: str = "auto",
    strategy: tf.distribute.Strategy | None = None,
    processes: Processes = ONE_PROCESS,
    **options,
) -> keras.Model:
    """Phase 1: train the parent network on every frame of `sequences` (paper, section 3.2).

    On several GPUs the global batch `config.batch` is split by `MirroredStrategy`, on several
    machines by `processes`; learning rate, samples and loss stay those of one device.

    Args:
        davis: the data set.
        sequences: the training sequences.
        config: the settings.
        folder: where weights, history, settings and backups go. A training with other settings that is
            there already is set aside in `replaced/`.
        weights: what to start from, as in `build_osvos`.
        policy: Keras dtype policy, or `"auto"` for the device's best (or the one that the same training
            was begun with in `folder`).
        strategy: how to spread over devices; None is `choose_strategy()`.
        processes: this process and those to train with, from `multihost.join`.
        **options: `chunk`, `progress` and `callbacks`, as in `train_online`.

    Returns:
        The trained network, all outputs, every layer trainable. It carries `config.inference`.

    Raises:
        ConfigError: the devices do not divide the batch, the policy is unknown, or the processes were
            started with different settings.
        DataError: a sequence or a file of it is missing or wrong.
        WeightsError: the starting weights are.
        TrainingError: the loss is not finite, or memory ran out.
        FolderError: another training is at work in the folder, or it cannot be written.
        ClusterError: another process is gone.
    """
    strategy = strategy or choose_strategy()
    _check_devices(config, policy, strategy.num_replicas_in_sync * processes.devices)
    for name in sequences:
        davis.check_sizes(name)
    frames = [path for name in sequences for path in davis.frames(name)]
    annotations = [path for name in sequences for path in davis.annotations(name)]
    _check_one_size(frames, config)
    made_with = _describe("parent", config, weights, sequences, sha256(*frames, *annotations))

    def make_dataset(start: int) -> tf.data.Dataset:
        return parent_dataset(davis, sequences, config, start, processes.rank, processes.world_size)

    training = Training(made_with, weights, config, config.count_steps(len(frames)), make_dataset)
    with processes.explain():
        return run_training(training, folder, policy, strategy, processes, **options)


def train_online(
    davis: Davis,
    sequence: str,
    config: OnlineConfig,
    folder: str | Path,
    *,
    pairs: Sequence[Pair] = (),
    weights: str | Path | None = "imagenet",
    policy: str = "auto",
    strategy: tf.distribute.Strategy | None = None,
    **options,
) -> keras.Model:
    """Phase 2: train on the first frame of one sequence and its annotation (paper, section 3.2).

    With `pairs` it trains on several annotated frames, in turn: the paper's progressive refinement,
    in which a person corrects a later mask and lets the network learn from it too.

    With `config.self_training` it trains so in `folder/first`, and then goes on for as many steps on these
    frames and on later ones with the network's own surest masks, in turn.

    Args:
        davis: the data set; only the first frame and the first annotation are read, with self-training all
            frames.
        sequence: its name.
        config: the settings.
        folder: where weights, history, settings and backups go. A training with other settings that is
            there already is set aside in `replaced/`.
        pairs: what to train on instead, each a frame (H, W, 3) uint8 RGB and its annotation (H, W)
            bool, all of one size.
        weights: what to start from, as in `build_osvos`.
        policy: Keras dtype policy, or `"auto"` for the device's best (or the one that the same training
            was begun with in `folder`).
        strategy: how to spread over devices; None is TensorFlow's present one. One frame cannot be split.
        **options: `chunk`, steps between backups; `progress`, whether to show a bar; `callbacks`, more
            Keras callbacks, of the first training alone if another follows. One that stops the training ends
            it: the result is what it has learned by then.

    Returns:
        As `train_parent`.

    Raises:
        MaskError: the object vanishes at `config.height` lines, or `pairs` are not of one size.
        others: as `train_parent`.

    Warns:
        MaskWarning: little of it is left there.
    """
    if config.self_training:
        options |= {"policy": policy, "strategy": strategy}
        return _train_itself(davis, sequence, config, resolve_output(folder), pairs, weights, **options)
    strategy = strategy or tf.distribute.get_strategy()
    _check_devices(config, policy, strategy.num_replicas_in_sync)
    resized_size(davis.frames(sequence)[0], config.height)
    frames, annotations = _stack(pairs or [davis.first(sequence)], sequence)
    check_visible(annotations, config.height, sequence)
    digest = hashlib.sha256()
    for frame, annotation in zip(frames, annotations, strict=True):
        digest.update(frame.tobytes() + annotation.tobytes())
    made_with = _describe("online", config, weights, [sequence], digest.hexdigest())

    def make_dataset(start: int) -> tf.data.Dataset:
        return online_dataset(frames, annotations, config, start)

    training = Training(made_with, weights, config, config.steps, make_dataset)
    return run_training(training, folder, policy, strategy, **options)


def _train_itself(
    davis: Davis,
    sequence: str,
    config: OnlineConfig,
    folder: Path,
    pairs: Sequence[Pair],
    weights: str | Path | None,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    **options,
) -> keras.Model:
    """Online training in `folder/first`, then going on from there, also on its surest masks."""
    check_start(weights, folder)
    once, first = dataclasses.replace(config, self_training=False), folder / "first"
    given = {"pairs": pairs, "weights": weights, "callbacks": callbacks}
    model = train_online(davis, sequence, once, first, **given, **options)
    pairs, weights = pairs or [davis.first(sequence)], first / WEIGHTS_FILE
    shown = {"progress": options.get("progress", True)}
    pairs = add_surest(pairs, model, weights, davis.frames(sequence), first / "surest", **shown)
    return train_online(davis, sequence, once, folder, pairs=pairs, weights=weights, **options)


def _check_devices(config: ParentConfig | OnlineConfig, policy: str, devices: int) -> None:
    """What can be known to fail before anything is read or built."""
    choose_policy(policy)
    check_batch(config.batch, devices)


def _stack(pairs: Sequence[Pair], sequence: str) -> tuple[np.ndarray, np.ndarray]:
    """The frames, and their annotations, each as one array."""
    sizes = {np.shape(one)[:2] for pair in pairs for one in pair}
    if len(sizes) > 1:
        found = ", ".join(f"{width}×{height}" for height, width in sorted(sizes))
        raise MaskError(f"{sequence}: frames and annotations of {found} pixels; give `pairs` of one size.")
    frames, annotations = zip(*pairs, strict=True)
    return np.stack(frames), np.stack(annotations)


def _check_one_size(frames: Sequence[Path], config: ParentConfig) -> None:
    """See that frames can share a batch, at the lines at which the network sees them."""
    sizes = {resized_size(path, config.height): path for path in frames}
    if len(sizes) > 1 and config.batch > 1:
        found = ", ".join(f"{path} {width}×{height}" for (height, width), path in sizes.items())
        raise DataError(
            f"frames of different sizes cannot share a batch of {config.batch}: {found}. Train on sequences "
            "of one size, or on one device with batch = 1 (--batch 1)."
        )


def _describe(phase: str, config, weights: str | Path | None, sequences: Sequence[str], inputs: str) -> dict:
    """What decides the result: checksums, not paths."""
    return {
        "phase": phase,
        "sequences": list(sequences),
        "inputs_sha256": inputs,
        "weights_sha256": None if weights is None else sha256(find_weights(weights)),
        "config": dataclasses.asdict(config),
    }
