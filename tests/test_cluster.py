"""Workers: how many, with what share of the machine, and who can reach them; on a cluster, certificates."""

import asyncio
import socket
import ssl
from pathlib import Path

import pandas as pd
import psutil
import pytest
from distributed.comm import connect
from distributed.security import Security

from osvos_keras.batch import cluster
from osvos_keras.errors import ClusterError, ConfigError
from tests.batches import Dask, Driver, write_notebook
from tests.conftest import free_port

PARAMETERS = """
DAVIS_ROOT = "data/sample"  # data set
RUN_DIR = "runs/course"  # where results go
SEQUENCE = "cat"  # the sequence
"""
WORK = """
import time
from pathlib import Path
Path(RUN_DIR, f"at_{SEQUENCE}").touch()
while Path(RUN_DIR, "hold").exists():
    time.sleep(0.01)
"""


@pytest.fixture(scope="module", autouse=True)
def nothing_left_behind():
    yield
    Driver.end_all()


def start(folder: Path, *arguments: str) -> Driver:
    """A batch over two sequences in a run folder; each waits as long as there is a file `hold`."""
    folder.mkdir(exist_ok=True)
    notebook = write_notebook(folder / "waiting.ipynb", PARAMETERS, WORK)
    sequences = ("-p", f"RUN_DIR={folder}", "--each-sequence", "cat,cup")
    return Driver(notebook, folder / "log", *sequences, *arguments)


@pytest.fixture(scope="module")
def standing(tmp_path_factory) -> Driver:
    """A batch with two workers and two kernels that wait."""
    run = tmp_path_factory.mktemp("standing")
    (run / "hold").touch()
    driver = start(run, "--workers", "2")
    driver.await_files(run / "at_cat", run / "at_cup")
    yield driver
    (run / "hold").unlink()
    assert driver.finish() == 0, driver.output


def list_listeners(process: psutil.Process) -> list:
    """Addresses at which a process can be reached over a network."""
    return [
        connection.laddr
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN or (connection.laddr and not connection.raddr)
    ]


def test_every_process_of_a_batch_listens_on_this_machine_alone(standing):
    processes = [standing.tree, *standing.tree.children(recursive=True)]
    kernels = standing.descendants("ipykernel_launcher")
    workers = {kernel.parent() for kernel in kernels}
    listeners = {process: list_listeners(process) for process in processes}
    assert {address.ip for addresses in listeners.values() for address in addresses} == {"127.0.0.1"}
    # scheduler, dashboard, a nanny for each worker; a worker and its HTTP server without pages
    assert len(listeners[standing.tree]) == 4
    assert len(workers) == 2 and [len(listeners[worker]) for worker in workers] == [2, 2]
    # Its channels are sockets in a folder. ipykernel takes what forks of it print by TCP, with a secret.
    assert len(kernels) == 2 and [len(listeners[kernel]) for kernel in kernels] == [1, 1]


def no_certificate() -> dict:
    """How a stranger connects who does not care whose certificate the other shows."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return {"ssl_context": context}


@pytest.mark.parametrize(
    ("scheme", "make_options"),
    [
        ("tcp", dict),
        ("tls", no_certificate),
        ("tls", lambda: Security.temporary().get_connection_args("client")),  # a certificate of one's own
    ],
)
def test_strangers_are_kept_out_of_every_process_of_a_batch(standing, scheme, make_options):
    processes = [standing.tree, *{kernel.parent() for kernel in standing.descendants("ipykernel_launcher")}]
    ports = [address.port for process in processes for address in list_listeners(process)]
    assert len(ports) == 8

    async def greet(port):
        return await asyncio.wait_for(connect(f"{scheme}://127.0.0.1:{port}", 1, **make_options()), 2)

    for port in ports:
        with pytest.raises(OSError):
            asyncio.run(greet(port))


def write_certificates(folder: Path) -> list[str]:
    """A certificate and its key as the options that name them; it signs itself."""
    security = Security.temporary()
    folder.mkdir()
    (folder / "ca.pem").write_text(security.tls_ca_file)
    (folder / "cert.pem").write_text(security.tls_client_cert)
    (folder / "key.pem").write_text(security.tls_client_key)
    return [
        f"--tls-{option}={folder / name}.pem"
        for option, name in (("ca-file", "ca"), ("cert", "cert"), ("key", "key"))
    ]


@pytest.fixture
def dask(tmp_path):
    started = Dask(free_port(), "tls", write_certificates(tmp_path / "certificates"))
    yield started
    started.stop()


def test_cluster_with_certificates_runs_a_batch_and_refuses_those_of_others(dask, tmp_path):
    run = tmp_path / "run"
    driver = start(run, "--scheduler", dask.address, *dask.options)
    assert driver.finish() == 0, driver.output
    table = pd.read_csv(run / "notebooks" / "waiting.csv")
    assert table["state"].tolist() == ["finished"] * 2 and table["worker"].str.startswith("tls://").all()

    (run / "notebooks" / "waiting_cup.done.json").unlink()
    driver = start(run, "--scheduler", dask.address, *write_certificates(tmp_path / "others"))
    assert driver.finish() == 1
    assert f"{dask.address}: no Dask scheduler answers there, or it refuses" in driver.output
    assert "Traceback" not in driver.output


@pytest.mark.parametrize(
    ("scheduler", "names", "error", "message"),
    [
        ("tcp://127.0.0.1:9", ("ca", "cert", "key"), ConfigError, "address begins with tls://"),
        (None, (None, "cert", None), ConfigError, "address begins with tls://"),
        ("tls://127.0.0.1:9", (None, None, None), ConfigError, "certificates with --tls-ca"),
        ("tls://127.0.0.1:9", ("ca", None, None), ConfigError, "certificates with --tls-ca"),
        ("tls://127.0.0.1:9", ("ca", "lost", "key"), ClusterError, "lost.pem.*not a CA file, a certificate"),
        ("tls://127.0.0.1:9", ("ca", "ca", "cert"), ClusterError, "not a CA file, a certificate and its key"),
    ],
)
def test_certificates_that_cannot_be_used(tmp_path, scheduler, names, error, message):
    write_certificates(tmp_path / "some")
    files = [name and str(tmp_path / "some" / f"{name}.pem") for name in names]
    with pytest.raises(error, match=message):
        cluster.read_certificates(scheduler, *files)


def test_certificates_are_asked_for_only_where_the_address_says_so(tmp_path):
    write_certificates(tmp_path / "some")
    assert cluster.read_certificates("tcp://127.0.0.1:9", None, None, None) is None
    files = [str(tmp_path / "some" / f"{name}.pem") for name in ("ca", "cert", "key")]
    assert cluster.read_certificates("tls://127.0.0.1:9", *files).require_encryption


def test_scheduler_that_does_not_answer(monkeypatch):
    monkeypatch.setattr(cluster, "TIMEOUT", 1)
    with (
        pytest.raises(ClusterError, match=r"tcp://127\.0\.0\.1:9: no Dask scheduler answers there"),
        cluster.open_client("tcp://127.0.0.1:9", None, 1),
    ):
        pass


def test_server_that_says_nothing_is_not_waited_for(monkeypatch):
    """It may be no scheduler, or one with certificates that is called by tcp://."""
    monkeypatch.setattr(cluster, "TIMEOUT", 1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with (
            pytest.raises(ClusterError, match="no Dask scheduler answers there"),
            cluster.open_client(address, None, 1),
        ):
            pass


def test_gpus_are_those_that_the_driver_lists(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cluster.find_gpus() == []
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\necho 'GPU 0: one'\necho '  MIG 3g.20gb Device 0'\necho 'GPU 1: another'\n")
    driver.chmod(0o755)
    assert cluster.find_gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert cluster.find_gpus() == ["3", "5"]


def test_each_worker_has_its_own_gpu_and_its_share_of_threads(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    monkeypatch.setattr(cluster, "CPU_COUNT", 16)
    assert cluster.count_workers(jobs=12) == 2
    first, second, third = cluster.worker_environments(3)
    assert [one["CUDA_VISIBLE_DEVICES"] for one in (first, second, third)] == ["0", "3", "0"]
    assert first["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"  # or the third finds no memory
    assert first["TF_NUM_INTRAOP_THREADS"] == first["OMP_NUM_THREADS"] == "5"


@pytest.mark.parametrize(
    ("cores", "gigabytes", "jobs", "workers"),
    [(16, 128, 100, 16), (16, 12, 100, 4), (2, 1, 5, 1), (8, 64, 3, 3)],
)
def test_without_a_gpu_cores_memory_and_jobs_bound_the_workers(monkeypatch, cores, gigabytes, jobs, workers):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(cluster, "CPU_COUNT", cores)
    monkeypatch.setattr(cluster, "MEMORY_LIMIT", gigabytes * 2**30)
    assert cluster.count_workers(jobs) == workers


def test_no_more_workers_than_jobs_are_started():
    with cluster.open_client(None, workers=3, jobs=1) as client:
        client.wait_for_workers(1)
        assert len(client.nthreads()) == 1
