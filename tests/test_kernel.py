"""Kernels of runs: this Python's, and nothing of theirs is left in the temporary folder."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

import nbformat
import psutil
import pytest

from osvos_keras.batch import kernel
from osvos_keras.batch.notebooks import run_notebook
from osvos_keras.io.paths import PROJECT
from tests.batches import write_notebook

CELL = """
import sys, tempfile, time
from pathlib import Path
open(tempfile.mkdtemp() + "/big", "w").close()
(Path(RUN_DIR) / "started").write_text(tempfile.gettempdir())
while (Path(RUN_DIR) / "hold").exists():
    time.sleep(0.02)
print(sys.executable)
"""


@pytest.fixture
def notebook(tmp_path):
    return write_notebook(tmp_path / "example.ipynb", f"RUN_DIR = {str(tmp_path)!r}", CELL)


@pytest.fixture
def scratches(tmp_path, monkeypatch):
    """The system's temporary folder, as this test's processes see it: a short path, for the sockets in it."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(kernel.tempfile, "tempdir", None)
    yield folder
    subprocess.run(["rm", "-r", folder], check=True)


def test_another_pythons_kernel_named_python3_is_not_taken(notebook, tmp_path, monkeypatch):
    spec = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(
        json.dumps({"argv": ["/bin/false"], "display_name": "Another Python", "language": "python"})
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    executed = nbformat.read(run_notebook(notebook, {}, tmp_path / "done.ipynb"), 4)
    assert executed.cells[-1].outputs[0].text == f"{sys.executable}\n"


def test_what_the_kernel_makes_temporarily_goes_with_it(notebook, tmp_path, scratches):
    run_notebook(notebook, {}, tmp_path / "done.ipynb")
    inside = Path((tmp_path / "started").read_text())
    assert inside.parent == scratches and inside.name.startswith(kernel.SCRATCH)
    assert list(scratches.iterdir()) == []


def start(notebook, tmp_path) -> subprocess.Popen:
    """The command, once its notebook waits."""
    (tmp_path / "hold").touch()
    (tmp_path / "started").unlink(missing_ok=True)
    command = [sys.executable, "-m", "osvos_keras.cli", "run", notebook, "--out", tmp_path / "done.ipynb"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=PROJECT,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a shell's background ignores it
    )
    end = time.monotonic() + 120
    while not (tmp_path / "started").exists():
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.02)
    return process


def test_a_worker_can_run_any_number_of_notebooks(notebook, tmp_path):
    def count_open() -> tuple[int, int]:
        run_notebook(notebook, {}, tmp_path / "out.ipynb", progress=False)
        return psutil.Process().num_fds(), threading.active_count()

    assert count_open() == count_open()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_asked_to_end_leaves_nothing(notebook, tmp_path, scratches, number):
    process = start(notebook, tmp_path)
    process.send_signal(number)
    _, messages = process.communicate(timeout=60)
    assert process.returncode != 0 and b"Traceback" not in messages
    assert list(scratches.iterdir()) == []


def test_what_a_killed_run_left_goes_when_the_next_one_starts(notebook, tmp_path, scratches):
    process = start(notebook, tmp_path)
    process.kill()
    process.communicate(timeout=60)
    (left,) = scratches.iterdir()
    os.utime(left / ".lock")
    with kernel.open_scratch():
        assert left.exists()  # just made: who makes one has a minute to lock it
    os.utime(left / ".lock", (0, 0))
    with kernel.open_scratch() as mine:
        assert list(scratches.iterdir()) == [mine]


def test_what_a_living_run_holds_stays(scratches):
    with kernel.open_scratch() as other:
        os.utime(other / ".lock", (0, 0))
        with kernel.open_scratch():
            assert other.exists()
    assert list(scratches.iterdir()) == []


def test_handlers_of_signals_are_given_back():
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with kernel.keep_signals():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
