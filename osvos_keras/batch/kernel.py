"""A Jupyter kernel for one run, with this Python and a temporary folder that is deleted with it."""

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
from jupyter_client import AsyncKernelClient, AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_core.utils import run_sync

SCRATCH = "osvos-"  # the start of the name of a run's temporary folder
LONGEST = 80  # bytes of the folder of sockets, whose paths may have 103 on macOS and 107 on Linux
STARTING = 60  # seconds; an older folder without a lock was left by a killed run


class _Kernel(AsyncKernelManager):
    """A kernel that knows its client, which papermill opens and, as the kernel is ours, leaves open."""

    opened: AsyncKernelClient | None = None

    def client(self, **options) -> AsyncKernelClient:
        self.opened = super().client(**options)
        return self.opened


@contextmanager
def open_kernel(log: Path) -> Iterator[AsyncKernelManager]:
    """Start a kernel and stop it when the block ends. Its own stdout and stderr are appended to `log`.

    Jupyter draws TCP ports at random and releases them before the kernel binds them, so that two of many
    kernels started at once may get the same port. Unix sockets in a folder of the kernel's own cannot
    collide (Windows has none, and a long TMPDIR leaves no room for their names; there it stays TCP).
    Temporary files of the notebook go to the same folder and are deleted with it.
    """
    with open_scratch() as scratch, log.open("a") as file:
        # The asynchronous manager, because only with it papermill's client notices that a kernel died.
        kernel = _Kernel(
            # No folders: `python3` is then this Python. The installed kernel of that name may be another one.
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
            transport="ipc" if os.name != "nt" and len(os.fsencode(scratch)) < LONGEST else "tcp",
            connection_file=str(scratch / "kernel.json"),  # the sockets lie beside it
        )
        # Do not capture file descriptors: TensorFlow's log lines would end up in the notebook. And keep no
        # history: many kernels would share its file in a person's home folder.
        arguments = ["--IPKernelApp.capture_fd_output=False", "--HistoryManager.enabled=False"]
        environment = {**os.environ, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))}
        run_sync(kernel.start_kernel)(extra_arguments=arguments, env=environment, stdout=file, stderr=file)
        try:
            yield kernel
        finally:
            run_sync(kernel.shutdown_kernel)(now=True)
            if kernel.opened and kernel.opened.channels_running:
                kernel.opened.stop_channels()  # a worker of many runs would have too many files open


@contextmanager
def open_scratch() -> Iterator[Path]:
    """A temporary folder for this process. First it deletes the folders that killed processes left."""
    for lock in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*/.lock"):
        with suppress(OSError, Timeout):  # of another user, or deleted meanwhile; in use
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
    """Restore the signal handlers at the end; nbclient sets its own and does not restore them."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler or signal.SIG_DFL)
