"""How long a clip will take, from what its first steps and masks take on this machine."""

import time
from collections.abc import Sequence
from pathlib import Path

import keras
from tqdm import tqdm

from osvos_keras.compilation import count_steps
from osvos_keras.inference import predict_sequence

MEASURED = 3  # calls of a training that are timed, after the first one, which compiles


class Estimate(keras.callbacks.Callback):
    """Prints about how many seconds are left until the last mask, once the first steps were timed.

    It prints once, also where several trainings follow each other. After each of them set `steps` anew.

    Args:
        frames: the frames of the clip.
        networks: how many networks there are, one for each object; each looks at every frame.
        steps: of the training at work and of all after it.
    """

    def __init__(self, frames: Sequence[Path], networks: int, steps: int):
        super().__init__()
        self.frames, self.masks, self.steps = frames, networks * len(frames), steps
        self.timed = []

    def on_train_begin(self, logs=None):
        if len(self.timed) <= MEASURED:
            self.timed = []  # steps of one training alone are compared

    def on_train_batch_end(self, batch, logs=None):
        if len(self.timed) <= MEASURED:
            self.timed.append((count_steps(self.model), time.perf_counter()))
            if len(self.timed) > MEASURED:
                self._tell()

    def _tell(self):
        (first, began), *_, (step, now) = self.timed
        left = self.steps - step
        training, mask = (now - began) / (step - first), self._time_mask()
        tqdm.write(
            f"about {left * training + self.masks * mask:.0f} s to the last mask: {left} training steps of "
            f"{training:.2f} s, then {self.masks} masks of {mask:.2f} s, as measured now"
        )

    def _time_mask(self) -> float:
        """Seconds per mask, from two."""
        few = self.frames[:2]
        list(predict_sequence(self.model, few, progress=False))  # compiles the network
        began = time.perf_counter()
        list(predict_sequence(self.model, few, progress=False))
        return (time.perf_counter() - began) / len(few)
