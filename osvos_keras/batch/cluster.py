"""Many jobs at once, by Dask distributed, on this machine or on a cluster.

The driver (this process) plans, submits and reports. A worker runs one job at a time: it starts a Jupyter
kernel, in which the notebook trains, and waits for it. The kernel inherits its number of threads and its GPU
from the worker's environment. When a driver ends, its local workers end with it, and each kernel ends with
its worker. On the workers of a cluster, `StopKernels` ends the kernels.

Anyone who can connect to a scheduler or a worker can run code there. So the processes of this machine listen
on the loopback address only, and authenticate each other by a certificate that is valid for one batch; this
keeps other users of the machine out too. For a cluster, the user gives the cluster's own certificates.
"""

import asyncio
import logging
import os
import ssl
import subprocess
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any

from dask.system import CPU_COUNT
from distributed import Client, Future, Nanny, Scheduler, SpecCluster, WorkerPlugin, as_completed, get_worker
from distributed.comm import connect
from distributed.security import Security
from distributed.system import MEMORY_LIMIT
from jupyter_core.utils import run_sync

from osvos_keras.batch.jobs import Job, run_job
from osvos_keras.errors import ClusterError, ConfigError
from osvos_keras.io.paths import find_input

JOB_MEMORY = 3 * 2**30  # bytes that a kernel needs on a CPU at 480p
EVENTS = "osvos"  # the Dask topic on which workers report the states of jobs
KERNELS = {}  # in a worker: the key of each running job → its kernel
QUIET = logging.CRITICAL  # for Dask's own log: this project reports each failure itself
TIMEOUT = 10  # seconds to wait for a scheduler's answer
HOST = "127.0.0.1"
DASHBOARD = f"{HOST}:8787"  # Dask chooses another port if this one is in use
CERTIFICATES = "--tls-ca-file, --tls-cert and --tls-key"


def find_gpus() -> list[str]:
    """The GPUs that a run may use, named as in CUDA_VISIBLE_DEVICES."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [gpu for gpu in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if gpu not in ("", "-1")]
    try:
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    count = sum(line.startswith("GPU ") for line in listed.stdout.splitlines())  # below one, its MIG parts
    return [str(index) for index in range(count)]


def count_workers(jobs: int) -> int:
    """The number of local workers: one per GPU; without a GPU, as many as cores and memory allow."""
    places = len(find_gpus()) or min(CPU_COUNT, MEMORY_LIMIT // JOB_MEMORY)
    return max(1, min(places, jobs))


def worker_environments(workers: int) -> list[dict[str, str]]:
    """The environment variables of each worker: its number of threads and, if there are GPUs, one GPU.

    TensorFlow takes only the GPU memory that it needs, so that more workers than GPUs can share them.
    (dask-cuda assigns GPUs too, but it pins one version of Dask and manages the worker's GPU memory, while
    here the kernel uses that memory.)
    """
    threads = str(max(1, CPU_COUNT // workers))
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    own = [{"CUDA_VISIBLE_DEVICES": gpu, "TF_FORCE_GPU_ALLOW_GROWTH": "true"} for gpu in find_gpus()] or [{}]
    return [dict.fromkeys(names, threads) | own[index % len(own)] for index in range(workers)]


def start_cluster(workers: int) -> SpecCluster:
    """A scheduler in this process, and worker processes that run one job at a time; closed to other users."""
    shared = {"host": HOST, "protocol": "tls", "security": Security.temporary()}
    options = {
        **shared,
        "nthreads": 1,
        "memory_limit": 0,  # off: it counts the worker's memory only, and the job's memory is in its kernel
        "silence_logs": QUIET,
        # Ctrl-C reaches every process of the terminal. Only the driver reacts to it, and ends the workers.
        "preload": ["import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"],
        "config": {"distributed.worker.http.routes": []},  # no pages; the HTTP server cannot be turned off
    }
    specs = {
        index: {"cls": Nanny, "options": {**options, "env": environment}}
        for index, environment in enumerate(worker_environments(workers))
    }
    options = {**shared, "port": 0, "dashboard": True, "dashboard_address": DASHBOARD}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Port .* is already in use")  # the actual port is printed
        return SpecCluster(
            workers=specs,
            scheduler={"cls": Scheduler, "options": options},
            security=shared["security"],
            silence_logs=QUIET,
        )


@contextmanager
def open_client(
    scheduler: str | None, workers: int | None, jobs: int, security: Security | None = None
) -> Iterator[Client]:
    """A client of the named scheduler, or of a cluster on this machine that ends with the block.

    Args:
        scheduler: its address; None starts workers on this machine.
        workers: the number of these, at most `jobs`; None: `count_workers`.
        jobs: the number of jobs to run.
        security: certificates for a `tls://` scheduler, from `read_certificates`.

    Raises:
        ClusterError: no scheduler answers at that address.
    """
    if scheduler:
        with _connect(scheduler, security) as client:
            yield client
        return
    with start_cluster(min(workers or count_workers(jobs), jobs)) as cluster, Client(cluster) as client:
        yield client


def _connect(scheduler: str, security: Security | None) -> Client:
    try:
        run_sync(_greet)(scheduler, security or Security())
        return Client(scheduler, timeout=TIMEOUT, security=security)
    except (OSError, ValueError, RuntimeError) as error:
        raise ClusterError(
            f"{scheduler}: no Dask scheduler answers there, or it refuses our certificate "
            f"({describe(error)}). Start one with `dask scheduler` and workers with `dask worker {scheduler} "
            "--nthreads 1`, or leave --scheduler out. The address of one with certificates begins with tls://."
        ) from error


async def _greet(scheduler: str, security: Security) -> None:
    """Check that a Dask process answers; the client itself has no time-out for a silent peer."""
    options = security.get_connection_args("client")
    comm = await asyncio.wait_for(connect(scheduler, timeout=TIMEOUT, **options), TIMEOUT)
    await comm.close()


def read_certificates(
    scheduler: str | None, ca_file: str | None, cert: str | None, key: str | None
) -> Security | None:
    """The certificates for a `tls://` scheduler, from PEM files; None for any other scheduler.

    Without files, Dask's own configuration is used.

    Raises:
        ConfigError: the scheduler needs certificates but none are given, or it needs none but some are given.
        ClusterError: a file is missing, or the files do not belong together.
    """
    given = {"tls_ca_file": ca_file, "tls_client_cert": cert, "tls_client_key": key}
    given = {name: str(find_input(path)) for name, path in given.items() if path is not None}
    if not str(scheduler).startswith("tls://"):
        if given:
            raise ConfigError(f"{CERTIFICATES} are for a scheduler whose address begins with tls://.")
        return None
    security = Security(require_encryption=True, **given)
    try:
        context = security.get_connection_args("client")["ssl_context"]
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(given.values()) or "the files in Dask's configuration"
        raise ClusterError(
            f"{files}: not a CA file, a certificate and its key in PEM format, as tls:// needs ({error})."
        ) from error
    if context is None:
        raise ConfigError(f"{scheduler}: give the cluster's certificates with {CERTIFICATES}.")
    return security


class StopKernels(WorkerPlugin):
    """Ends the kernels of jobs that nobody waits for any more, because the driver or the scheduler has ended.

    It kills the kernel's process only; the thread that waits for the kernel notices it and cleans up.
    """

    name = "osvos-stop-kernels"
    idempotent = True

    def transition(self, key, start, finish, **kwargs):
        if start == "executing" and finish in ("released", "cancelled") and key in KERNELS:
            KERNELS[key].provisioner.process.kill()

    def teardown(self, worker):
        for kernel in list(KERNELS.values()):
            kernel.provisioner.process.kill()


def work(job: Job) -> dict[str, Any]:
    """Run a job in a worker, and log an event when it starts and when an attempt fails."""
    worker, start = get_worker(), time.perf_counter()
    key = worker.get_current_task()
    worker.log_event(EVENTS, {"key": key, "state": "running", "text": worker.address})
    try:
        scores = run_job(job, on_kernel=partial(KERNELS.__setitem__, key), progress=False)
    except Exception as error:
        worker.log_event(EVENTS, {"key": key, "state": "attempt failed", "text": describe(error)})
        raise
    finally:
        KERNELS.pop(key, None)
    return {"scores": scores, "seconds": time.perf_counter() - start, "worker": worker.address}


def describe(error: BaseException) -> str:
    """The text of an exception, never empty, with characters that can be encoded."""
    text = str(error).strip() or type(error).__name__
    return text.encode(errors="backslashreplace").decode()


def run_on(
    client: Client,
    function: Callable[[Any], Any],
    jobs: Sequence[Any],
    names: Sequence[str],
    *,
    retries: int = 0,
    on_event: Callable[[str, str, str], None] = lambda name, state, text: None,
) -> Iterator[tuple[int, Future, Any]]:
    """Run every job, one at a time per worker thread.

    Args:
        client: the client of the cluster to run on.
        function: the function to call with each job; workers must be able to import it.
        jobs: the arguments of `function`.
        names: the name of each job on the dashboard and in events, no two alike.
        retries: new attempts after an exception. (After the death of a worker Dask itself tries again, three
            times: `distributed.scheduler.allowed-failures`.)
        on_event: called from another thread with the name, the state and a text, when a worker starts a job
            and when an attempt fails.

    Yields:
        As each job ends: its index, its future, and the result of `function`.
    """
    run = uuid.uuid4().hex[:8]  # makes the keys differ from those of an earlier run on the same scheduler
    indices = {f"{name}-{run}": index for index, name in enumerate(names)}

    def tell(event):
        message = event[1]
        if message["key"] in indices:
            on_event(names[indices[message["key"]]], message["state"], message["text"])

    client.subscribe_topic(EVENTS, tell)
    client.register_plugin(StopKernels())
    waiting = zip(indices, jobs, strict=True)
    ended = as_completed(with_results=True, raise_errors=False)

    def submit_to_free_workers():
        # Not all at once: Dask assigns jobs to workers in advance, so a job could wait behind a long one
        # while another worker is idle.
        free = max(1, sum(client.nthreads().values())) - ended.count()
        for key, job in islice(waiting, max(0, free)):
            ended.add(client.submit(function, job, key=key, retries=retries))

    submit_to_free_workers()
    for future, result in ended:
        yield indices[future.key], future, result
        submit_to_free_workers()
