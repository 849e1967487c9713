"""Runs over many sequences that are killed, starved and interrupted, for real, and then run again.

The notebook here is a short one that trains and predicts with the library's own functions. At a
given step or frame it writes a file `at_<where>` and waits for as long as there is a file
`hold_<where>`: so a test knows where a kill falls, and waits for nothing but events.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import psutil
import pytest

from osvos_keras.davis import Davis, read_annotation, write_lists
from osvos_keras.files import PROJECT
from osvos_keras.training import WEIGHTS_FILE
from tests.conftest import write_sequence

SEQUENCES = ("cow", "dog")
DEADLINE = 120  # seconds that no event takes, even on a busy machine
PARAMETERS = """
DAVIS_ROOT = "data/sample"  # data set
RUN_DIR = "runs/course"  # where results go
SEQUENCE = "cat"  # the sequence
STEPS = 6  # of training
"""
WORK = """
import time
from pathlib import Path
import keras
from osvos_keras import inference
from osvos_keras.config import OnlineConfig
from osvos_keras.davis import Davis
from osvos_keras.files import write_json
from osvos_keras.training import train_online

run = Path(RUN_DIR)

def pause(where):
    if (run / f"hold_{where}").exists():
        (run / f"at_{where}").touch()
        while (run / f"hold_{where}").exists():
            time.sleep(0.01)

class Pause(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        with (run / f"{SEQUENCE}.steps").open("a") as file:
            print(int(self.model.optimizer.iterations), file=file)
        pause(f"{SEQUENCE}_step{int(self.model.optimizer.iterations)}")

write_mask = inference.write_mask
def write_mask_and_pause(path, mask):
    write_mask(path, mask)
    pause(f"{SEQUENCE}_mask{path.stem}")
inference.write_mask = write_mask_and_pause

davis = Davis(DAVIS_ROOT)
model = train_online(davis, SEQUENCE, OnlineConfig(height=0, steps=STEPS), run / "online" / SEQUENCE,
                     policy="float32", chunk=2, callbacks=[Pause()], progress=False)
inference.segment_sequence(model, davis, SEQUENCE, run / "masks", progress=False)
write_json(run / "notebooks" / f"short_{SEQUENCE}.json", {"J_mean": 0.5})
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A tiny data set, the short notebook, and a run that nothing disturbed."""
    home = tmp_path_factory.mktemp("faults")
    for seed, name in enumerate(("ant", *SEQUENCES)):
        write_sequence(home / "davis", name, seed=seed)
    write_lists(Davis(home / "davis"), SEQUENCES)
    cells = [
        nbformat.v4.new_code_cell(PARAMETERS.strip(), metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(WORK),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), home / "short.ipynb")
    driver = Driver(home, home / "undisturbed")
    assert driver.finish() == 0, driver.output
    return home


class Driver:
    """`osvos run … --each-sequence val` in a process of its own, its output in a file."""

    def __init__(self, home: Path, run: Path, *arguments: str):
        self.run, self.log = run, home / f"{run.name}-{time.monotonic_ns()}.log"
        command = [sys.executable, "-m", "osvos_keras.cli", "run", str(home / "short.ipynb")]
        command += ["--each-sequence", "val", "-p", f"DAVIS_ROOT={home / 'davis'}", "-p", f"RUN_DIR={run}"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, *arguments],
                stdout=log,
                stderr=log,
                # One thread, oneDNN's and TensorFlow's arithmetic the same each time: results to the bit.
                env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_DETERMINISTIC_OPS": "1"},
                cwd=PROJECT,
                start_new_session=True,
            )
        self.tree = psutil.Process(self.process.pid)

    @property
    def output(self) -> str:
        return self.log.read_text()

    def finish(self) -> int:
        return self.process.wait(DEADLINE)

    def descendants(self, *words: str) -> list[psutil.Process]:
        """The processes below the driver whose command line has all these words."""
        return [
            process
            for process in self.tree.children(recursive=True)
            if all(word in " ".join(process.cmdline()) for word in words)
        ]


def await_event(happened, driver: Driver) -> None:
    deadline = time.monotonic() + DEADLINE
    while not happened():
        assert time.monotonic() < deadline, driver.output
        time.sleep(0.02)


def hold(run: Path, where: str) -> None:
    run.mkdir(exist_ok=True)
    (run / f"hold_{where}").touch()


def await_pause(driver: Driver, where: str) -> None:
    await_event((driver.run / f"at_{where}").exists, driver)


def release(run: Path) -> None:
    for path in run.glob("hold_*"):
        path.unlink()


def steps_done(run: Path, sequence: str) -> list[int]:
    """Every step that was ever computed for a sequence, in order, over all attempts."""
    return [int(line) for line in (run / f"{sequence}.steps").read_text().split()]


def assert_like_undisturbed(home: Path, run: Path) -> None:
    """All there, masks whole, weights and masks those of the undisturbed run, to the bit."""
    for sequence in SEQUENCES:
        expected = sorted((home / "undisturbed" / "masks" / sequence).iterdir())
        found = sorted((run / "masks" / sequence).iterdir())
        assert [path.name for path in found] == [path.name for path in expected]
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(read_annotation(one), read_annotation(other))
        weights = [folder / "online" / sequence / WEIGHTS_FILE for folder in (run, home / "undisturbed")]
        assert weights_of(weights[0]).keys() == weights_of(weights[1]).keys()
        for name, value in weights_of(weights[0]).items():
            np.testing.assert_array_equal(value, weights_of(weights[1])[name])
    table = pd.read_csv(run / "notebooks" / "short.csv")
    assert table["sequence"].tolist() == list(SEQUENCES)
    assert set(table["state"]) <= {"finished", "finished before"}


def weights_of(path: Path) -> dict[str, np.ndarray]:
    import h5py

    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
        )
    return found


def assert_rerun_computes_nothing(home: Path, run: Path) -> None:
    before = {name: steps_done(run, name) for name in SEQUENCES}
    stamps = {path: path.stat().st_mtime_ns for path in (run / "masks").rglob("*.png")}
    again = Driver(home, run)
    assert again.finish() == 0 and "2 finished before, 0 to run" in again.output
    assert {name: steps_done(run, name) for name in SEQUENCES} == before
    assert {path: path.stat().st_mtime_ns for path in (run / "masks").rglob("*.png")} == stamps


def await_death(processes: list[psutil.Process]) -> None:
    """All gone, without anybody's help, or fail."""
    _, alive = psutil.wait_procs(processes, timeout=15)
    lingering = [process.cmdline() for process in alive]
    for process in alive:
        process.kill()
    assert not lingering


def test_second_run_computes_nothing(home):
    assert steps_done(home / "undisturbed", "cow") == [1, 2, 3, 4, 5, 6]
    assert_rerun_computes_nothing(home, home / "undisturbed")


@pytest.mark.slow
@pytest.mark.parametrize("where", ["dog_step5", "dog_mask00001"])
@pytest.mark.parametrize("victim", ["driver", "worker", "kernel"])
def test_killed(home, tmp_path, victim, where):
    """cow is finished, dog is in the middle of training, or of writing masks."""
    run = tmp_path / "run"
    hold(run, where)
    driver = Driver(home, run, "--workers", "1")
    await_pause(driver, where)
    cow = steps_done(run, "cow")
    processes = driver.tree.children(recursive=True)
    (kernel,) = driver.descendants("ipykernel_launcher")
    target = {"driver": driver.tree, "worker": kernel.parent(), "kernel": kernel}[victim]
    target.kill()
    await_death(processes if victim == "driver" else [kernel])
    release(run)  # only now, or the kernel would do another step before it notices
    if victim == "driver":
        assert driver.finish() == -signal.SIGKILL
        driver = Driver(home, run)
    assert driver.finish() == 0, driver.output
    assert steps_done(run, "cow") == cow == [1, 2, 3, 4, 5, 6]
    again = [5, 6] if "step" in where else []  # from the backup after step 4; or trained already
    assert steps_done(run, "dog") == ([1, 2, 3, 4, 5] if again else [1, 2, 3, 4, 5, 6]) + again
    assert_like_undisturbed(home, run)
    assert_rerun_computes_nothing(home, run)
