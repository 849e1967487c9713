"""Notebooks for tests of batches: written on the spot, run by the real command in a process of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import nbformat
import psutil

from osvos_keras.batch.jobs import Job, _list_results
from osvos_keras.io.paths import PROJECT
from osvos_keras.io.records import write_record

DEADLINE = 300  # seconds that no event takes, even on a busy machine


def write_notebook(path: Path, parameters: str, work: str) -> Path:
    """A notebook of two cells: its parameters, and what it does."""
    cells = [
        nbformat.v4.new_code_cell(parameters.strip(), metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(work),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
    return path


def leave_results(job: Job) -> None:
    """What a run of the job leaves, beside its masks."""
    job.output.parent.mkdir(parents=True, exist_ok=True)
    job.output.write_text("{}")
    job.scores.write_text('{"J_mean": 0.5, "F_mean": 0.5}')
    write_record(job.done, job.made_with, **_list_results(job))


class Driver:
    """`osvos run NOTEBOOK --each-sequence …` in a process of its own, its output in a file."""

    started: ClassVar[list["Driver"]] = []

    def __init__(self, notebook: Path, log: Path, *arguments: str, **environment: str):
        self.log = log
        with log.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "osvos_keras.cli", "run", str(notebook), *arguments],
                stdout=file,
                stderr=file,
                env={**os.environ, "CUDA_VISIBLE_DEVICES": "", **environment},
                cwd=PROJECT,
                start_new_session=True,
            )
        self.tree = psutil.Process(self.process.pid)
        self.started.append(self)

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

    def await_files(self, *paths: Path) -> None:
        deadline = time.monotonic() + DEADLINE
        while not all(path.exists() for path in paths):
            assert self.process.poll() is None and time.monotonic() < deadline, self.output
            time.sleep(0.02)

    @classmethod
    def end_all(cls) -> None:
        """Kill those that still run; their workers and kernels end with them."""
        while cls.started:
            driver = cls.started.pop()
            if driver.process.poll() is None:
                driver.process.kill()
                driver.process.wait()


class Dask:
    """A scheduler and a worker, started with Dask's own commands."""

    def __init__(self, port: int, protocol: str = "tcp", options: Sequence[str] = ()):
        self.options = options
        self.address = f"{protocol}://127.0.0.1:{port}"
        places = ("--host", "127.0.0.1", "--protocol", protocol, "--no-dashboard", *options)
        self.scheduler = self._start("scheduler", *places, "--port", str(port))
        self.worker = self._start("worker", self.address, *places, "--nthreads", "1")

    def _start(self, *arguments: str) -> psutil.Popen:
        # The share of the only worker of a local run.
        names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
        environment = os.environ | dict.fromkeys(names, str(os.cpu_count())) | {"CUDA_VISIBLE_DEVICES": ""}
        return psutil.Popen([sys.executable, "-m", "dask", *arguments], env=environment, cwd=PROJECT)

    def stop(self) -> None:
        for process in (self.worker, self.scheduler):
            with suppress(psutil.NoSuchProcess):
                for child in process.children(recursive=True):
                    child.kill()
                process.kill()
                process.wait()


def await_death(processes: Iterable[psutil.Process]) -> None:
    """All end of their own accord, or fail."""
    deadline = time.monotonic() + 60
    while lingering := [process for process in processes if is_alive(process)]:
        assert time.monotonic() < deadline, lingering
        time.sleep(0.02)


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
