"""Commands in processes of their own: the user's, by the code of this checkout or another, and yardsticks."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Used:
    """What a command printed, and what it used, its child processes included.

    CPU seconds hardly depend on what else the machine does; seconds do.
    """

    output: str
    seconds: float
    cpu_seconds: float
    mebibytes: float  # the most that one of the processes held

    def __str__(self) -> str:
        return f"{self.seconds:7.1f} s {self.cpu_seconds:7.1f} CPU s {self.mebibytes:6.0f} MiB"


def run_osvos(checkout: Path, *arguments: str) -> Used:
    """`osvos …` with the code of a checkout; fails if the command does."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "osvos_keras.cli", *arguments],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout.resolve())},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output = process.stdout.read().decode()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{checkout}: {output[-2000:]}")
    seconds = time.perf_counter() - start
    return Used(output, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def last_json(command: list) -> dict:
    """What a command prints in its last line; fails if the command does."""
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])
