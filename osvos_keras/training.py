"""The two phases of training: `train_parent` and `train_online`, on Keras's own compile and fit.

Both leave in their folder the weights, `history.csv` and `config.json`. Both can be killed at any
moment: called again with the same settings they go on from the last backup, and end with the
weights of an undisturbed run; called again when finished they load the result.
"""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from osvos_keras.callbacks import Backup, History, ProgressBar, count_steps
from osvos_keras.compilation import compile_for_training
from osvos_keras.config import OnlineConfig, ParentConfig
from osvos_keras.davis import Davis, image_size
from osvos_keras.device import choose_policy, choose_steps_per_execution, choose_strategy
from osvos_keras.errors import DataError, WeightsError
from osvos_keras.files import lock_folder, resolve_output, sha256, write_json
from osvos_keras.model import build_osvos
from osvos_keras.multi_host import ALONE, Team
from osvos_keras.pipeline import online_dataset, parent_dataset
from osvos_keras.verification import verify
from osvos_keras.weights import find_conventions, find_weights, save_weights, set_aside

WEIGHTS_FILE = "osvos.weights.h5"
LOCK_WAIT = 10  # seconds in which the kernel of a killed worker has ended


def train_parent(
    davis: Davis,
    sequences: Sequence[str],
    config: ParentConfig,
    folder: str | Path,
    *,
    weights: str | Path | None = "imagenet",
    policy: str = "auto",
    strategy: tf.distribute.Strategy | None = None,
    team: Team = ALONE,
    **options,
) -> keras.Model:
    """Phase 1: train the parent network on every frame of `sequences` (paper, section 3.2).

    On several GPUs the global batch `config.batch` is split by `MirroredStrategy`, on several
    machines by a `team`; learning rate, samples and loss stay those of one device. (Choose a batch
    that the number of devices divides.)

    Args:
        davis: the data set.
        sequences: the training sequences.
        config: the settings.
        folder: where weights, history, settings and backups go.
        weights: what to start from, as in `build_osvos`.
        policy: Keras dtype policy, or `"auto"` for the device's best.
        strategy: how to spread over devices; None is `choose_strategy()`.
        team: the processes to train with, from `multi_host.join`.
        **options: `chunk`, `progress`, `tensorboard` and `callbacks`, as in `train_online`.

    Returns:
        The trained network, all outputs.

    Raises:
        DataError: a sequence or a file of it is missing or wrong.
        WeightsError: the starting weights are.
        TrainingError: the loss is not finite.
        FolderError: another training is at work in the folder, or it cannot be written.
        ConfigError: the devices of a team do not divide the batch, or its processes were started
            with different settings.
        ClusterError: a process of the team is gone.
    """
    for name in sequences:
        davis.check_sizes(name)
    frames = [path for name in sequences for path in davis.frames(name)]
    files = [*frames, *(path for name in sequences for path in davis.annotations(name))]
    listing = "".join(f"{path.parent.name}/{path.name} {path.stat().st_size}\n" for path in files)
    record = _record("parent", config, weights, policy, list(sequences), listing.encode())
    if team.count > 1:
        _check_one_size(frames)
    try:
        return _train(
            record,
            folder,
            lambda start: parent_dataset(davis, sequences, config, start, (team.index, team.count)),
            config,
            config.steps(len(frames)),
            strategy=strategy or choose_strategy(),
            team=team,
            **options,
        )
    except tf.errors.InvalidArgumentError as error:  # from the pipeline, which cannot name the file
        raise _explain(davis, sequences, error) from error


def train_online(
    davis: Davis,
    sequence: str,
    config: OnlineConfig,
    folder: str | Path,
    *,
    pairs: Sequence[tuple[np.ndarray, np.ndarray]] = (),
    weights: str | Path | None = "imagenet",
    policy: str = "auto",
    **options,
) -> keras.Model:
    """Phase 2: train on the first frame of one sequence and its annotation (paper, section 3.3).

    With `pairs` it trains on several annotated frames, in turn: the paper's progressive refinement,
    in which a person corrects a later mask and lets the network learn from it too.

    Args:
        davis: the data set; only the first frame and the first annotation are read.
        sequence: its name.
        config: the settings.
        folder: where weights, history, settings and backups go.
        pairs: what to train on instead, each a frame (H, W, 3) uint8 RGB and its annotation (H, W)
            bool, all of one size.
        weights: what to start from, as in `build_osvos`.
        policy: Keras dtype policy, or `"auto"` for the device's best.
        **options: `chunk`, steps between backups; `progress`, whether to show a bar;
            `tensorboard`, whether to write its logs; `callbacks`, more Keras callbacks.

    Returns, raises: as `train_parent`.
    """
    frames, annotations = map(np.stack, zip(*(pairs or [davis.first(sequence)]), strict=True))
    inputs = b"".join(frame.tobytes() + one.tobytes() for frame, one in zip(frames, annotations, strict=True))
    record = _record("online", config, weights, policy, [sequence], inputs)
    return _train(
        record,
        folder,
        lambda start: online_dataset(frames, annotations, config, start),
        config,
        config.steps,
        **options,
    )


def _record(phase: str, config, weights, policy: str, sequences: list[str], inputs: bytes) -> dict:
    """All that decides the result: what `config.json` holds, and what a rerun compares."""
    return {
        "phase": phase,
        "sequences": sequences,
        "inputs_sha256": hashlib.sha256(inputs).hexdigest(),
        "weights": None if weights is None else str(weights),
        "weights_sha256": None if weights is None else sha256(find_weights(weights)),
        "policy": choose_policy(policy),
        "config": dataclasses.asdict(config),
    }


def _train(record: dict, folder: str | Path, *arguments, team: Team = ALONE, **options) -> keras.Model:
    """`_train_in` the folder, which it alone may write to meanwhile."""
    folder = resolve_output(folder)
    with lock_folder(folder, wait=LOCK_WAIT) if team.leads else nullcontext():
        return _train_in(folder, record, *arguments, team=team, **options)


def _train_in(
    folder: Path,
    record: dict,
    make_dataset: Callable[[int], tf.data.Dataset],
    config: ParentConfig | OnlineConfig,
    steps: int,
    *,
    chunk: int = 25,
    progress: bool = True,
    tensorboard: bool = False,
    strategy: tf.distribute.Strategy | None = None,
    team: Team,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> keras.Model:
    finished, backup, history = folder / WEIGHTS_FILE, folder / "backup", folder / "history.csv"
    team.compare({**record, "chunk": chunk}, config.batch)
    if team.leads:
        _start_folder(folder, record)
    kind = {"policy": record["policy"], "conventions": find_conventions(record["weights"])}
    done = _load_intact(folder) if team.leads else None
    if team.agree(finished.is_file()):
        return team.share(done if team.leads else build_osvos(None, **kind))

    def build(weights):
        model = build_osvos(weights, seed=config.seed, **kind)
        return model, compile_for_training(model, config, steps, choose_steps_per_execution(chunk))

    with (strategy or tf.distribute.get_strategy()).scope():  # one frame cannot be split over GPUs
        model, trained = build(record["weights"])
        saver = Backup(backup if team.leads else None, every=chunk)
        saver.restore(trained)
    with team.together(trained, lambda: build(None)[1]) as shared:
        start = count_steps(shared)
        # In this order: see History.
        observers = [History(history if team.leads else None, start, every=chunk), saver]
        if progress and team.leads:
            observers.append(ProgressBar(f"{record['phase']} {record['sequences'][0]}", start, steps))
        if tensorboard and team.leads:
            observers.append(keras.callbacks.TensorBoard(folder / "tensorboard", update_freq=chunk))
        if start < steps:
            # Not shuffled by Keras: the pipeline's own order is the one that counts.
            shared.fit(make_dataset(start), callbacks=[*observers, *callbacks], shuffle=False, verbose=0)
    if team.leads:
        save_weights(model, finished)
        shutil.rmtree(backup, ignore_errors=True)
    team.agree(True)  # that it is written
    return model


def _start_folder(folder: Path, record: dict) -> None:
    """What another training left there goes."""
    if _read_record(folder) != record:
        shutil.rmtree(folder / "backup", ignore_errors=True)
        (folder / WEIGHTS_FILE).unlink(missing_ok=True)
        write_json(folder / "config.json", record)


def _check_one_size(frames: Sequence[Path]) -> None:
    """See that frames can share a batch; each process of a team sees its own rows of it only."""
    sizes = {image_size(path): path for path in frames}
    if len(sizes) > 1:
        raise DataError(
            f"frames of different sizes cannot share a batch: {', '.join(map(str, sizes.values()))}. Train "
            "on sequences of one size, or on one machine with --batch 1."
        )


def _load_intact(folder: Path) -> keras.Model | None:
    """The finished network, if there is one; weights that are damaged are set aside."""
    finished = folder / WEIGHTS_FILE
    try:
        return load_finished(folder) if finished.is_file() else None
    except WeightsError as error:
        set_aside(finished, error)
        return None


def load_finished(folder: str | Path) -> keras.Model:
    """The network that a finished training left in `folder`."""
    folder = resolve_output(folder)
    return build_osvos(folder / WEIGHTS_FILE, policy=_read_record(folder)["policy"])


def _read_record(folder: Path) -> dict | None:
    try:
        return json.loads((folder / "config.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def _explain(davis: Davis, sequences: Sequence[str], error: Exception) -> DataError:
    """Find the file that made the input pipeline fail."""
    problems = [problem for name in sequences for problem in verify(davis, name) if not problem.harmless]
    if problems:
        return DataError("the training data cannot be read:\n" + "\n".join(map(str, problems[:10])))
    return DataError(
        f"the training data cannot be batched ({str(error).splitlines()[0]}). Frames of different sizes "
        "cannot share a batch: use batch = 1."
    )
