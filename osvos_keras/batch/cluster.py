"""Many jobs at once: Dask distributed on this machine or on a cluster.

The driver (this process) plans, submits and reports. A worker runs one job at a time: it starts a
Jupyter kernel, in which the notebook trains, and waits for it. Threads and GPUs reach the kernel
through the worker's environment. When a driver is gone, its local workers end with it, and
each kernel ends with its worker; on a cluster's workers, `StopKernels` ends the kernels.

Whoever can talk to a scheduler or a worker can run code there. So the processes of this machine listen
on its loopback alone and know each other by a certificate that lives as long as the batch: other users
of the machine are kept out too. For a cluster, certificates of its own are passed on.
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
EVENTS = "osvos"  # the Dask topic on which workers say what they are doing
KERNELS = {}  # in a worker: the running jobs' keys → their kernels
QUIET = logging.CRITICAL  # Dask's own log: what goes wrong is told once, in our words
TIMEOUT = 10  # seconds in which a scheduler answers
HOST = "127.0.0.1"
DASHBOARD = f"{HOST}:8787"  # or, if that port is taken, another one
CERTIFICATES = "--tls-ca-file, --tls-cert and --tls-key"


def find_gpus() -> list[str]:
    """The GPUs that a run may use, as CUDA_VISIBLE_DEVICES names them."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [gpu for gpu in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if gpu not in ("", "-1")]
    try:
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return [str(index) for index in range(len(listed.stdout.splitlines()))]


def count_workers(jobs: int) -> int:
    """As many as there are GPUs; without one, as many as the cores and the memory allow."""
    places = len(find_gpus()) or min(CPU_COUNT, MEMORY_LIMIT // JOB_MEMORY)
    return max(1, min(places, jobs))


def worker_environments(workers: int) -> list[dict[str, str]]:
    """Each worker's share of the machine: its threads and, where there are GPUs, its own one.

    (dask-cuda does the same for GPUs, but pins one version of Dask and manages memory that is not
    the worker's here but its kernel's.)
    """
    threads = str(max(1, CPU_COUNT // workers))
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    gpus = find_gpus()
    return [
        dict.fromkeys(names, threads) | ({"CUDA_VISIBLE_DEVICES": gpus[index % len(gpus)]} if gpus else {})
        for index in range(workers)
    ]


def start_cluster(workers: int) -> SpecCluster:
    """A scheduler in this process and worker processes with one job each at a time, closed to all others."""
    shared = {"host": HOST, "protocol": "tls", "security": Security.temporary()}
    options = {
        **shared,
        "nthreads": 1,
        "memory_limit": 0,  # it would count the worker's own memory, while the job's is in its kernel
        "silence_logs": QUIET,
        # Ctrl-C reaches every process of the terminal; the driver alone answers, and ends the workers.
        "preload": ["import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"],
        "config": {"distributed.worker.http.routes": []},  # no pages; their server cannot be left out
    }
    specs = {
        index: {"cls": Nanny, "options": {**options, "env": environment}}
        for index, environment in enumerate(worker_environments(workers))
    }
    options = {**shared, "port": 0, "dashboard": True, "dashboard_address": DASHBOARD}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Port .* is already in use")  # the real one is printed
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
        workers: how many of these, though no more than `jobs`; None is as many as fit.
        jobs: how many there are to run.
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
    """See that a Dask process answers; the client itself would wait for ever for one that says nothing."""
    options = security.get_connection_args("client")
    comm = await asyncio.wait_for(connect(scheduler, timeout=TIMEOUT, **options), TIMEOUT)
    await comm.close()


def read_certificates(
    scheduler: str | None, ca_file: str | None, cert: str | None, key: str | None
) -> Security | None:
    """What we show to a `tls://` scheduler, from files in PEM format; None where there is no need of any.

    Where no file is named, those of Dask's own configuration are taken.

    Raises:
        ConfigError: the scheduler needs them and they are not there, or the other way round.
        ClusterError: a file is missing, or the three do not belong together.
    """
    given = {"tls_ca_file": ca_file, "tls_client_cert": cert, "tls_client_key": key}
    given = {name: str(find_input(path)) for name, path in given.items() if path is not None}
    encrypted = str(scheduler).startswith("tls://")
    if given and not encrypted:
        raise ConfigError(f"{CERTIFICATES} are for a scheduler whose address begins with tls://.")
    if not encrypted:
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
        raise ConfigError(f"{scheduler}: give the cluster's certificates by {CERTIFICATES}.")
    return security


class StopKernels(WorkerPlugin):
    """Ends the kernels of jobs that nobody waits for any more: their driver or the scheduler is gone.

    Only the kernel's process; the thread that waits for it notices, and cleans up.
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
    """What a worker does with a job: run it, say when it starts and whether an attempt fails."""
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
    """What an exception says, never nothing, in letters that can be sent."""
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
    """Run every job, one a thread of the workers at a time; as each ends, yield its index, its
    future, and what the function returned.

    Args:
        client: of the cluster to run on.
        function: what to do with a job; importable by the workers.
        jobs: its arguments.
        names: what to call each on the dashboard and in events.
        retries: how often to try again after an exception. (After the death of a worker Dask tries
            again by itself, three times: `distributed.scheduler.allowed-failures`.)
        on_event: called, from another thread, with the name, the state and a text, when a
            worker starts a job and when an attempt fails.
    """
    run = uuid.uuid4().hex[:8]  # a key must not meet that of an earlier run on the same scheduler
    indices = {}

    def tell(event):
        message = event[1]
        if message["key"] in indices:
            on_event(names[indices[message["key"]]], message["state"], message["text"])

    client.subscribe_topic(EVENTS, tell)
    client.register_plugin(StopKernels())
    waiting, ended = iter(enumerate(jobs)), as_completed(with_results=True, raise_errors=False)

    def submit_to_free_workers():
        # Not all at once: Dask deals jobs out ahead, and one could wait behind a long one while
        # another worker is idle.
        free = max(1, sum(client.nthreads().values())) - ended.count()
        for index, job in islice(waiting, max(0, free)):
            key = f"{names[index]}-{run}"
            indices[key] = index
            ended.add(client.submit(function, job, key=key, retries=retries))

    submit_to_free_workers()
    for future, result in ended:
        yield indices[future.key], future, result
        submit_to_free_workers()
