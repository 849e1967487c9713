"""A Jupyter kernel for one run: this Python, and a temporary folder that goes with it."""

import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_core.utils import run_sync

SCRATCH = "osvos-"  # how the name of a run's temporary folder starts
STARTING = 60  # seconds after which a folder that nobody holds is nobody's


class ThisPython(KernelSpecManager):
    """Knows one kernel: the Python that runs this. What is installed as `python3` may be another one."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())


@contextmanager
def open_kernel(log: Path) -> Iterator[AsyncKernelManager]:
    """A running kernel, gone when the block ends. What it writes past the notebook is added to `log`.

    Jupyter draws TCP ports at random and lets go of them before the kernel takes them, so that of
    many kernels started at once two may meet on a port. Sockets in a folder of the kernel's own
    cannot meet (Windows has none; there it stays TCP). What the notebook makes with `tempfile` lies there
    too, and goes with it.
    """
    with open_scratch() as scratch, log.open("a") as file:
        # Asynchronous, though we are not: only so does papermill's client notice that a kernel died.
        kernel = AsyncKernelManager(
            kernel_spec_manager=ThisPython(),
            transport="tcp" if os.name == "nt" else "ipc",
            connection_file=str(scratch / "kernel.json"),  # the sockets lie beside it
        )
        # Not captured: TensorFlow's remarks on the processor would end up in the notebook.
        arguments = ["--IPKernelApp.capture_fd_output=False"]
        environment = {**os.environ, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))}
        run_sync(kernel.start_kernel)(extra_arguments=arguments, env=environment, stdout=file, stderr=file)
        try:
            yield kernel
        finally:
            run_sync(kernel.shutdown_kernel)(now=True)


@contextmanager
def open_scratch() -> Iterator[Path]:
    """A temporary folder for this process. What a killed one left goes when the next one starts.

    The path is short, since that of a socket may have 107 bytes.
    """
    for lock in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*/.lock"):
        with suppress(OSError, Timeout):  # somebody else's, or gone meanwhile; held
            if time.time() - lock.stat().st_mtime > STARTING:
                with FileLock(lock, timeout=0):
                    shutil.rmtree(lock.parent, ignore_errors=True)
    with (
        tempfile.TemporaryDirectory(prefix=SCRATCH, ignore_cleanup_errors=True) as folder,
        FileLock(Path(folder) / ".lock"),
    ):
        yield Path(folder)


@contextmanager
def keep_signals() -> Iterator[None]:
    """Give back the handlers of signals at the end; nbclient, which sets its own, does not."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler or signal.SIG_DFL)
