"""Runs over many sequences that are killed, starved and interrupted, for real, and then run again.

The notebook here is a short one that trains and predicts with the library's own functions. At a
given step or frame it writes a file `at_<where>` and waits for as long as there is a file
`hold_<where>`: so a test knows where a kill falls, and waits for nothing but events. In the same way any
process stops, where a test wants it, when half of a file is written.
"""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from osvos_keras.dataset.lists import write_lists
from osvos_keras.davis import Davis
from osvos_keras.trained import WEIGHTS_FILE
from tests.batches import Dask, Driver, await_death, write_notebook
from tests.conftest import contents, free_port, write_sequence

SEQUENCES = ("cow", "dog")
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
import tensorflow as tf
from osvos_keras import inference
from osvos_keras.config import OnlineConfig
from osvos_keras.davis import Davis
from osvos_keras.dataset.lists import write_lists
from osvos_keras.io.files import write_json
from osvos_keras.training import train_online

tf.config.experimental.enable_op_determinism()
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
config = OnlineConfig(height=0, steps=STEPS, frozen_blocks=0)  # the largest backups
model = train_online(davis, SEQUENCE, config, run / "online" / SEQUENCE,
                     policy="float32", chunk=4, callbacks=[Pause()], progress=False)
inference.segment_sequence(model, davis, SEQUENCE, run / "masks", progress=False)
write_json(run / "notebooks" / f"short_{SEQUENCE}.json", {"J_mean": 0.5})
"""

# As sitecustomize it runs in every process of a batch.
PAUSING = """
import os, time
from contextlib import contextmanager
from pathlib import Path
from osvos_keras.io import files

write_whole = files.write_atomically

@contextmanager
def write_atomically(path):
    with write_whole(path) as temporary:
        yield temporary
        hold = Path(os.environ["HOLD_WRITING"])
        if hold.exists() and str(path).endswith(hold.read_text()):
            os.truncate(temporary, temporary.stat().st_size // 2)
            hold.with_name("at_writing").touch()
            while hold.exists():
                time.sleep(0.01)

files.write_atomically = write_atomically
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A tiny data set, the short notebook, and a run that nothing disturbed."""
    home = tmp_path_factory.mktemp("faults")
    for seed, name in enumerate(("ant", *SEQUENCES)):
        write_sequence(home / "davis", name, seed=seed)
    write_lists(Davis(home / "davis"), SEQUENCES)
    write_notebook(home / "short.ipynb", PARAMETERS, WORK)
    (home / "pausing").mkdir()
    (home / "pausing" / "sitecustomize.py").write_text(PAUSING)
    driver = run_batch(home, home / "undisturbed")
    assert driver.finish() == 0, driver.output
    return home


def run_batch(home: Path, run: Path, *arguments: str, davis: Path | None = None) -> Driver:
    """`osvos run … --each-sequence val` over the short notebook.

    With one worker, unless told otherwise: the number of workers decides the threads of each, and
    those the last bits of a sum, which the tests compare.
    """
    return Driver(
        home / "short.ipynb",
        home / f"{run.name}-{time.monotonic_ns()}.log",
        *("--each-sequence", "val"),
        *("-p", f"DAVIS_ROOT={davis or home / 'davis'}", "-p", f"RUN_DIR={run}"),
        *(arguments or ("--workers", "1")),
        PYTHONPATH=os.pathsep.join([str(home / "pausing"), os.environ.get("PYTHONPATH", "")]),
        HOLD_WRITING=str(run / "hold_writing"),
    )


@pytest.fixture(autouse=True)
def nothing_left_behind():
    """A failing test must not leave its run going."""
    yield
    Driver.end_all()


def stand_still(home: Path, run: Path, *arguments: str, where: str = "dog_step5") -> Driver:
    """A run that stands still, by default in step 5 of dog's training, after the backup of step 4."""
    run.mkdir()
    (run / f"hold_{where}").touch()
    driver = run_batch(home, run, *arguments)
    driver.await_files(run / f"at_{where}")
    return driver


def release(run: Path) -> None:
    for path in run.glob("hold_*"):
        path.unlink()


def go_on(home: Path, run: Path, driver: Driver, victim: str) -> None:
    """Release a run; if its driver was killed, the same command finishes it, else the driver itself does."""
    release(run)
    if victim == "driver":
        assert driver.finish() == -signal.SIGKILL
        driver = run_batch(home, run)
    assert driver.finish() == 0, driver.output


def steps_done(run: Path, sequence: str) -> list[int]:
    """Every step that was ever computed for a sequence, in order, over all attempts."""
    return [int(line) for line in (run / f"{sequence}.steps").read_text().split()]


def assert_like_undisturbed(home: Path, run: Path) -> None:
    """All there, masks whole, weights and masks those of the undisturbed run, to the bit."""
    for sequence in SEQUENCES:
        assert contents(run / "masks" / sequence) == contents(home / "undisturbed" / "masks" / sequence)
        trained = [folder / "online" / sequence for folder in (run, home / "undisturbed")]
        np.testing.assert_equal(*(weights_of(folder / WEIGHTS_FILE) for folder in trained))
        tables = (pd.read_csv(folder / "history.csv").drop(columns="seconds_per_step") for folder in trained)
        pd.testing.assert_frame_equal(*tables)
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
    again = run_batch(home, run)
    assert again.finish() == 0 and "2 finished before, 0 to run" in again.output
    assert {name: steps_done(run, name) for name in SEQUENCES} == before
    assert {path: path.stat().st_mtime_ns for path in (run / "masks").rglob("*.png")} == stamps


def test_second_run_computes_nothing(home):
    assert steps_done(home / "undisturbed", "cow") == [1, 2, 3, 4, 5, 6]
    assert_rerun_computes_nothing(home, home / "undisturbed")


@pytest.mark.slow
@pytest.mark.parametrize("where", ["dog_step5", "dog_mask00001"])
@pytest.mark.parametrize("victim", ["driver", "worker", "kernel"])
def test_killed(home, tmp_path, victim, where):
    """cow is finished, dog is in the middle of training, or of writing masks."""
    run = tmp_path / "run"
    driver = stand_still(home, run, where=where)
    cow = steps_done(run, "cow")
    processes = driver.tree.children(recursive=True)
    (kernel,) = driver.descendants("ipykernel_launcher")
    target = {"driver": driver.tree, "worker": kernel.parent(), "kernel": kernel}[victim]
    target.kill()
    await_death(processes if victim == "driver" else [kernel])
    go_on(home, run, driver, victim)  # only now, or the kernel would do another step before it notices
    assert steps_done(run, "cow") == cow == [1, 2, 3, 4, 5, 6]
    again = [5, 6] if "step" in where else []  # from the backup after step 4; or trained already
    assert steps_done(run, "dog") == ([1, 2, 3, 4, 5] if again else [1, 2, 3, 4, 5, 6]) + again
    assert_like_undisturbed(home, run)
    assert_rerun_computes_nothing(home, run)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("victim", "file"),
    [
        ("kernel", "online/dog/config.json"),
        ("kernel", "online/dog/history.csv"),
        ("kernel", "online/dog/backup/latest.weights.h5"),
        ("kernel", "online/dog/osvos.weights.h5"),
        ("kernel", "masks/dog/00001.png"),
        ("worker", "masks/dog/00001.png"),
        ("driver", "masks/dog/00001.png"),
        ("kernel", "notebooks/short_dog.json"),
        ("worker", "notebooks/short_dog.done.json"),
        ("driver", "notebooks/short.csv"),
    ],
)
def test_killed_while_a_file_is_half_written(home, tmp_path, victim, file):
    """The half under its temporary name is no mask, no weights and no record, and goes with the next try."""
    run = tmp_path / "run"
    shutil.copytree(home / "undisturbed", run)  # only what comes after is done again, to save time
    (run / "notebooks" / "short_dog.done.json").unlink()
    for folder in ["masks", "online"] if "online" in file else ["masks"]:
        shutil.rmtree(run / folder / "dog")
    (run / "hold_writing").write_text(file)
    driver = run_batch(home, run)
    driver.await_files(run / "at_writing")
    path = run / file
    (half,) = path.parent.glob(f".tmp-*{path.name}")  # another thread may be writing the next mask
    workers, kernels = driver.descendants("spawn_main"), driver.descendants("ipykernel_launcher")
    target, dying = {
        "driver": ([driver.tree], [*workers, *kernels]),
        "worker": (workers, [*workers, *kernels]),
        "kernel": (kernels, kernels),
    }[victim]
    target[0].kill()
    await_death(dying)
    assert half.exists()
    go_on(home, run, driver, victim)
    assert list(run.rglob(".tmp-*")) == []
    assert steps_done(run, "cow") == [1, 2, 3, 4, 5, 6]
    assert_like_undisturbed(home, run)
    assert_rerun_computes_nothing(home, run)


def stop(driver: Driver, run: Path, send) -> int:
    """End a standing run by `send`; nothing of it may linger. Returns its exit status."""
    processes = driver.tree.children(recursive=True)
    send()
    status = driver.finish()
    await_death(processes)
    release(run)
    return status


@pytest.mark.slow
def test_ctrl_c(home, tmp_path):
    run = tmp_path / "run"
    driver = stand_still(home, run)
    assert stop(driver, run, lambda: os.killpg(driver.process.pid, signal.SIGINT)) == 130
    assert driver.output.splitlines()[-1] == "osvos: stopped; run the same command again to go on."
    assert "Traceback" not in driver.output  # of the driver or of a worker
    again = run_batch(home, run)
    assert again.finish() == 0 and "1 finished before, 1 to run" in again.output
    assert steps_done(run, "dog") == [1, 2, 3, 4, 5, 5, 6]
    assert_like_undisturbed(home, run)


@pytest.mark.slow
def test_corrupt_backup(home, tmp_path):
    run = tmp_path / "run"
    driver = stand_still(home, run)
    assert stop(driver, run, driver.process.kill) == -signal.SIGKILL
    backup = run / "online" / "dog" / "backup" / "latest.weights.h5"
    os.truncate(backup, backup.stat().st_size // 2)
    assert run_batch(home, run).finish() == 0
    assert steps_done(run, "dog") == [1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 6]
    assert_like_undisturbed(home, run)


@pytest.mark.slow
def test_second_run_in_the_same_folder_is_refused_until_the_first_is_gone(home, tmp_path):
    run = tmp_path / "run"
    driver = stand_still(home, run)
    second = run_batch(home, run)
    assert second.finish() == 1
    assert f"osvos: error: {run}: another run is writing there." in second.output
    assert stop(driver, run, driver.process.kill) == -signal.SIGKILL  # and leaves no lock behind
    assert run_batch(home, run).finish() == 0
    assert_like_undisturbed(home, run)


@pytest.mark.slow
def test_sequence_that_always_fails_among_good_ones(home, tmp_path):
    root, run = tmp_path / "davis", tmp_path / "run"
    shutil.copytree(home / "davis", root)
    annotation = Davis(root).annotations("cow")[0]
    good = annotation.read_bytes()
    annotation.write_bytes(good[:40])
    driver = run_batch(home, run, "--workers", "1", "--retries", "1", davis=root)
    assert driver.finish() == 1
    assert driver.output.count("attempt failed") == 2 and "00000.png: " in driver.output
    table = pd.read_csv(run / "notebooks" / "short.csv").set_index("sequence")
    assert table["state"].to_dict() == {"cow": "failed", "dog": "finished"}
    assert "short_cow.ipynb" in table.loc["cow", "error"]
    annotation.write_bytes(good)
    again = run_batch(home, run, "--workers", "1", davis=root)
    assert again.finish() == 0 and "1 finished before, 1 to run" in again.output
    assert_like_undisturbed(home, run)


@pytest.fixture
def small_disk(tmp_path):
    """A disk with room for one sequence's training, but not for the second's final weights."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=270m", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a tmpfs: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.mark.slow
def test_full_disk(home, small_disk):
    driver = run_batch(home, small_disk / "run", "--workers", "1", "--retries", "0")
    assert driver.finish() == 1
    run = small_disk / "run"
    table = pd.read_csv(run / "notebooks" / "short.csv").set_index("sequence")
    assert table["state"].to_dict() == {"cow": "finished", "dog": "failed"}
    assert "No space left on device" in table.loc["dog", "error"]
    assert not list(run.rglob(".tmp-*"))
    subprocess.run(["mount", "-o", "remount,size=1g", small_disk], check=True)
    again = run_batch(home, run)
    assert again.finish() == 0 and "1 finished before, 1 to run" in again.output
    assert_like_undisturbed(home, run)


@pytest.fixture
def by_hand():
    port, clusters = free_port(), []

    def start() -> Dask:
        clusters.append(Dask(port))
        return clusters[-1]

    yield start
    for cluster in clusters:
        cluster.stop()


@pytest.mark.slow
def test_driver_killed_on_a_cluster_that_stays(home, tmp_path, by_hand):
    """The workers are not the driver's: they live on, but the job that nobody waits for must end."""
    run, cluster = tmp_path / "run", by_hand()
    driver = stand_still(home, run, "--scheduler", cluster.address)
    (kernel,) = [one for one in cluster.worker.children(recursive=True) if "ipykernel" in str(one.cmdline())]
    driver.process.kill()
    await_death([kernel])
    release(run)
    assert driver.finish() == -signal.SIGKILL and cluster.worker.is_running()
    again = run_batch(home, run, "--scheduler", cluster.address)
    assert again.finish() == 0, again.output
    assert steps_done(run, "dog") == [1, 2, 3, 4, 5, 5, 6]
    assert_like_undisturbed(home, run)


@pytest.mark.slow
def test_scheduler_goes_away_and_comes_back(home, tmp_path, by_hand):
    run, cluster = tmp_path / "run", by_hand()
    driver = stand_still(home, run, "--scheduler", cluster.address)
    (kernel,) = [one for one in cluster.worker.children(recursive=True) if "ipykernel" in str(one.cmdline())]
    cluster.scheduler.kill()
    assert driver.finish() == 1
    assert "connection to the Dask scheduler was lost" in driver.output.splitlines()[-1]
    await_death([kernel])
    release(run)
    cluster.stop()
    again = run_batch(home, run, "--scheduler", by_hand().address)
    assert again.finish() == 0, again.output
    assert steps_done(run, "dog") == [1, 2, 3, 4, 5, 5, 6]
    assert_like_undisturbed(home, run)
