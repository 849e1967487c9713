"""Keras callbacks of a training: backup and history, so that it can be killed; progress bar; observers.

A training is one `fit` over a finite data set. The optimizer counts the steps, one per batch. Its counter is
saved with the weights, so a backup is one file and cannot disagree with itself. (Keras's own
BackupAndRestore writes weights and epoch into two files, neither of them atomically.)
"""

import math
import time
from collections.abc import Callable, Container
from contextlib import suppress
from pathlib import Path

import keras
import pandas as pd
from tqdm import tqdm

from osvos_keras.compilation import count_steps
from osvos_keras.errors import DataError, TrainingError, WeightsError
from osvos_keras.io.files import write_csv
from osvos_keras.weights import load_weights, save_state, set_aside


def _is_due(step: int, last: int, every: int) -> bool:
    """Whether a multiple of `every` lies after `last`, up to `step`.

    Steps need not meet the multiples: a call may have several, and a resumed training begins anywhere.
    """
    return step // every > last // every


class Backup(keras.callbacks.Callback):
    """Every `every` steps, the weights and the optimizer's state into `folder`.

    A folder of None writes and reads nothing, for the processes after the first; the loss is
    watched in any case.
    """

    def __init__(self, folder: Path | None, every: int):
        super().__init__()
        self.path = folder and folder / "latest.weights.h5"
        self.every = every

    def on_train_begin(self, logs=None):
        self.last = count_steps(self.model)

    def restore(self, model: keras.Model) -> None:
        """Load the backup, if there is one, into a compiled model.

        A damaged backup is set aside, and training starts over.
        """
        model.optimizer.build(model.trainable_variables)
        if self.path and self.path.is_file():
            variables = [*model.variables, *model.optimizer.variables]
            before = [keras.ops.convert_to_numpy(variable) for variable in variables]
            try:
                load_weights(model, self.path)
            except WeightsError as error:
                for variable, value in zip(variables, before, strict=True):
                    variable.assign(value)  # some may have been loaded
                set_aside(self.path, error)

    def on_train_batch_end(self, batch, logs=None):
        step = count_steps(self.model)
        if not math.isfinite(logs["loss"]):
            raise TrainingError(f"the loss is {logs['loss']} at step {step}. Lower the learning rate.")
        if _is_due(step, self.last, self.every):
            self.save(self.model)
            self.last = step

    def save(self, model: keras.Model) -> None:
        """Write the backup now."""
        if self.path:
            # Keras makes variables to save: with a distribution, every process would have to make them.
            distribution = keras.distribution.distribution()
            keras.distribution.set_distribution(None)
            save_state(model, self.path)
            keras.distribution.set_distribution(distribution)

    def remove(self) -> None:
        """Delete the backup of a finished training; a damaged one that was set aside stays."""
        if self.path:
            self.path.unlink(missing_ok=True)
            with suppress(OSError):  # not empty, or absent
                self.path.parent.rmdir()

    def keep(self, model: keras.Model, steps: int) -> str:
        """Make a backup at Ctrl-C. TensorFlow does a step as a whole, so weights and counter agree."""
        self.save(model)
        return f"{count_steps(model)} of {steps} training steps are done and kept in {self.path.parent}"


class History(keras.callbacks.Callback):
    """A row of `history.csv` every `every` steps: step, seconds per step, mean losses since the last row.

    It is written before the backup, so that after a kill in between, the resumed run finds one row
    too many and drops it, rather than one too few. A path of None writes nothing.
    """

    def __init__(self, path: Path | None, start: int, every: int):
        super().__init__()
        self.path, self.every, self.last = path, every, start
        self.rows = []
        if start and path and path.exists():
            try:
                history = read_history(path)
                self.rows = history[history["step"] <= start].to_dict("records")
            except DataError as error:
                tqdm.write(f"{error} It starts anew at step {start}.")

    def on_train_begin(self, logs=None):
        self.since, self.due = time.perf_counter(), False

    def on_train_batch_begin(self, batch, logs=None):
        if self.due:  # not right after the row: Keras reads the metrics again at the end of the epoch
            self.model.reset_metrics()  # in every process, or their means would differ
            self.due = False

    def on_train_batch_end(self, batch, logs=None):
        step = count_steps(self.model)
        if _is_due(step, self.last, self.every):
            self._add_row(step, logs)

    def on_train_end(self, logs=None):
        step = count_steps(self.model)
        if logs and step > self.last:
            self._add_row(step, logs)

    def _add_row(self, step: int, logs: dict):
        now = time.perf_counter()
        seconds_per_step = (now - self.since) / (step - self.last)
        self.rows.append({"step": step, "seconds_per_step": seconds_per_step, **logs})
        self.since, self.last, self.due = now, step, True
        if self.path:
            write_csv(self.path, pd.DataFrame(self.rows))


def read_history(path: str | Path) -> pd.DataFrame:
    """The history of a training: columns `step`, `seconds_per_step`, `loss`, `fused_loss`, …

    Raises:
        DataError: there is none, or it is damaged.
    """
    try:
        history = pd.read_csv(path)
        return history.astype({"step": int, "seconds_per_step": float, "loss": float})
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path}: no history of a training that can be read ({error}).") from error


class AtSteps(keras.callbacks.Callback):
    """Calls `observe(model, step, seconds)` at chosen steps, 0 before the first, with the clock stopped.

    `seconds` are those of training alone. Where several steps are executed at once, only the last
    of them can be chosen.
    """

    def __init__(self, steps: Container[int], observe: Callable[[keras.Model, int, float], None]):
        super().__init__()
        self.steps, self.observe = steps, observe

    def on_train_begin(self, logs=None):
        self.began = time.perf_counter()
        self._visit()

    def on_train_batch_end(self, batch, logs=None):
        self._visit()

    def _visit(self):
        step = count_steps(self.model)
        if step in self.steps:
            stopped = time.perf_counter()
            self.observe(self.model, step, stopped - self.began)
            self.began += time.perf_counter() - stopped


class ProgressBar(keras.callbacks.Callback):
    """A bar over the steps, with the loss and the seconds per step."""

    def __init__(self, name: str, start: int, steps: int):
        super().__init__()
        self.options = {"desc": name, "initial": start, "total": steps, "unit": "step", "mininterval": 0.5}

    def on_train_begin(self, logs=None):
        self.bar = tqdm(**self.options)

    def on_train_batch_end(self, batch, logs=None):
        self.bar.set_postfix(loss=f"{logs['loss']:.4f}", refresh=False)
        self.bar.update(count_steps(self.model) - self.bar.n)

    def on_train_end(self, logs=None):
        self.bar.close()
