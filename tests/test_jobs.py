"""Jobs of a batch: what is planned, what counts as finished, who holds a run folder, what a worker gets."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from osvos_keras import cluster
from osvos_keras.batch import run_notebook
from osvos_keras.cli import main
from osvos_keras.davis import Davis, write_mask
from osvos_keras.errors import ClusterError, ConfigError, DataError, FolderError, NotebookError
from osvos_keras.files import lock_folder
from osvos_keras.jobs import is_finished, plan_jobs, run_job

PARAMETERS = """
DAVIS_ROOT = "data/sample"  # data set
RUN_DIR = "runs/course"  # where results go
SEQUENCE = "cat"  # the sequence
SCORE = 0.5  # J to claim
BAD = "none"  # the sequence that fails
"""
WORK = """
import json, os
from pathlib import Path
assert SEQUENCE != BAD
masks = Path(RUN_DIR, "masks", SEQUENCE)
masks.mkdir(parents=True, exist_ok=True)
(masks / "00000.png").touch()
scores = {"J_mean": SCORE, "F_mean": SCORE}
Path(RUN_DIR, "notebooks", f"quick_{SEQUENCE}.json").write_text(json.dumps(scores))
print(os.environ["OMP_NUM_THREADS"])
"""


@pytest.fixture
def quick(tmp_path) -> Path:
    """A notebook that claims a score within a second."""
    cells = [
        nbformat.v4.new_code_cell(PARAMETERS.strip(), metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(WORK),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path = tmp_path / "quick.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
    return path


@pytest.fixture
def given(tiny, tmp_path) -> dict[str, str]:
    return {"DAVIS_ROOT": str(tiny.root), "RUN_DIR": str(tmp_path / "run")}


@pytest.fixture
def finished(quick, given, monkeypatch):
    """The job of one sequence, run."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (job,) = plan_jobs(quick, "cow", given)
    assert not is_finished(job)
    assert run_job(job, progress=False) == {"J_mean": 0.5, "F_mean": 0.5}
    return job


def run_each(quick, given, *arguments) -> int:
    parameters = [word for name, value in given.items() for word in ("-p", f"{name}={value}")]
    with pytest.raises(SystemExit) as exit_:
        main(["run", str(quick), *parameters, *arguments])
    return exit_.value.code


def test_a_job_for_every_sequence_with_absolute_paths(quick, given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    jobs = plan_jobs(quick, "ant,cow", {**given, "DAVIS_ROOT": "tiny", "SCORE": "1"})
    assert [job.parameters for job in jobs] == [
        {**given, "SEQUENCE": name, "SCORE": 1.0, "BAD": "none"} for name in ("ant", "cow")
    ]
    assert [job.output.name for job in jobs] == ["quick_ant.ipynb", "quick_cow.ipynb"]
    assert [job.sequence for job in plan_jobs(quick, "train", given)] == ["ant", "bee"]


@pytest.mark.parametrize(
    ("changes", "sequences", "error", "message"),
    [
        ({"SEQUENCE": "cow"}, "val", ConfigError, "SEQUENCE=cow and --each-sequence exclude each other"),
        ({"SCORES": "1"}, "val", ConfigError, r"no parameter SCORES; did you mean SCORE\?"),
        ({}, "cow,unicorn", DataError, "unicorn: no such sequence"),
    ],
)
def test_mistakes_are_found_before_anything_runs(quick, given, changes, sequences, error, message):
    with pytest.raises(error, match=message):
        plan_jobs(quick, sequences, {**given, **changes})


def test_notebook_that_is_not_about_one_sequence(given):
    with pytest.raises(ConfigError, match=r"05_evaluation\.ipynb has no parameter SEQUENCE.*leave --each"):
        plan_jobs("05_evaluation", "val", given)


def test_finished_job_is_not_run_again(finished, monkeypatch):
    monkeypatch.setattr("osvos_keras.jobs.run_notebook", lambda *_, **__: pytest.fail("ran again"))
    assert is_finished(finished) and run_job(finished) == {"J_mean": 0.5, "F_mean": 0.5}


def test_moved_run_and_data_stay_finished(finished, quick, given, tmp_path):
    for name, place in given.items():
        shutil.move(place, tmp_path / f"moved_{name}")
    moved = {name: str(tmp_path / f"moved_{name}") for name in given}
    (job,) = plan_jobs(quick, "cow", moved)
    assert is_finished(job)


def change_annotation(davis, job, quick):
    path = davis.annotations("cow")[0]
    write_mask(path, ~(davis.first("cow")[1]))


def add_frame(davis, job, quick):
    for folder, suffix in (("JPEGImages", "jpg"), ("Annotations", "png")):
        path = davis.root / folder / "480p" / "cow"
        shutil.copy(path / f"00003.{suffix}", path / f"00004.{suffix}")


def change_notebook(davis, job, quick):
    quick.write_text(quick.read_text().replace("assert SEQUENCE", "assert  SEQUENCE"))


def lose_mask(davis, job, quick):
    (job.masks / "00000.png").unlink()


def break_record(davis, job, quick):
    os.truncate(job.done, 10)


@pytest.mark.parametrize("change", [change_annotation, add_frame, change_notebook, lose_mask, break_record])
def test_what_has_changed_is_not_finished(tiny, finished, quick, given, change):
    change(tiny, finished, quick)
    (job,) = plan_jobs(quick, "cow", given)
    assert not is_finished(job)


def test_changed_parameter_or_weights_are_not_finished(finished, quick, given, tmp_path):
    (job,) = plan_jobs(quick, "cow", {**given, "SCORE": "0.6"})
    assert not is_finished(job)
    weights = tmp_path / "some.weights.h5"
    records = []
    for content in (b"one", b"other"):
        weights.write_bytes(content)
        (job,) = plan_jobs("04_online_training", "cow", {**given, "WEIGHTS": str(weights)})
        records.append(job.record)
    assert records[0] != records[1]


def test_folder_is_held_by_one_run_and_free_after_it(tmp_path):
    code = f"from osvos_keras.files import lock_folder\nwith lock_folder({str(tmp_path)!r}): print('held')"
    with (
        lock_folder(tmp_path),
        pytest.raises(FolderError, match=f"{tmp_path}: another run is writing there.*RUN_DIR"),
        lock_folder(tmp_path),
    ):
        pass
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "held\n"


def test_command_runs_every_sequence_reports_the_bad_one_and_goes_on(quick, given, capfd):
    given = {**given, "BAD": "bee"}
    assert run_each(quick, given, "--each-sequence", "ant,bee,cow", "--workers", "2", "--retries", "1") == 1
    out, err = capfd.readouterr()
    assert "dashboard: http://127.0.0.1:" in out and "1 failed" in out
    assert f"{out}{err}".count("attempt failed") == 2
    table = pd.read_csv(Path(given["RUN_DIR"], "notebooks", "quick.csv"))
    assert table["sequence"].tolist() == ["ant", "bee", "cow"]
    assert table["state"].tolist() == ["finished", "failed", "finished"]
    assert table["J_mean"].dropna().tolist() == [0.5, 0.5] and "AssertionError" in table["error"][1]
    executed = nbformat.read(Path(given["RUN_DIR"], "notebooks", "quick_ant.ipynb"), 4)
    assert executed.cells[-1].outputs[0].text == f"{max(1, os.cpu_count() // 2)}\n"  # its share of threads

    assert run_each(quick, given, "--each-sequence", "ant,cow") == 0
    assert "2 finished before, 0 to run" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "2"], "belong to --each-sequence"),
        (["--each-sequence", "val", "--out", "a.ipynb"], "--out names one notebook"),
        (["--each-sequence", "val", "--workers", "0"], "--workers 0: it must be at least 1"),
        (["--each-sequence", "val", "--workers", "1", "--scheduler", "tcp://127.0.0.1:9"], "has its own"),
    ],
)
def test_options_that_do_not_go_together(quick, given, arguments, message):
    assert message in run_each(quick, given, *arguments)


def test_scheduler_that_does_not_answer(monkeypatch):
    with (
        pytest.raises(ClusterError, match=r"tcp://127\.0\.0\.1:9: no Dask scheduler answers there"),
        cluster.open_client("tcp://127.0.0.1:9", None, 1),
    ):
        pass


def test_each_worker_has_its_own_gpu_and_its_share_of_threads(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    monkeypatch.setattr(cluster, "CPU_COUNT", 16)
    assert cluster.count_workers(jobs=12) == 2
    first, second = cluster.worker_environments(2)
    assert (first["CUDA_VISIBLE_DEVICES"], second["CUDA_VISIBLE_DEVICES"]) == ("0", "3")
    assert first["TF_NUM_INTRAOP_THREADS"] == first["OMP_NUM_THREADS"] == "8"


@pytest.mark.parametrize(
    ("cores", "gigabytes", "jobs", "workers"),
    [(16, 128, 100, 16), (16, 12, 100, 4), (2, 1, 5, 1), (8, 64, 3, 3)],
)
def test_without_a_gpu_cores_memory_and_jobs_bound_the_workers(monkeypatch, cores, gigabytes, jobs, workers):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(cluster, "CPU_COUNT", cores)
    monkeypatch.setattr(cluster, "MEMORY_LIMIT", gigabytes * 2**30)
    assert cluster.count_workers(jobs) == workers


def test_kernels_started_together_use_no_ports(quick, given, monkeypatch):
    """Six at once, each connected through sockets in the file system of its own name."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    seen = []

    def run(name):
        output = Path(given["RUN_DIR"], "notebooks", f"{name}.ipynb")
        return run_notebook(
            quick,
            {**given, "SEQUENCE": name},
            output,
            on_kernel=lambda kernel: seen.append((kernel.transport, kernel.ip)),
            progress=False,
        )

    Path(given["RUN_DIR"], "notebooks").mkdir(parents=True)
    with ThreadPoolExecutor(6) as pool:
        outputs = list(pool.map(run, "abcdef"))
    assert all(path.is_file() for path in outputs)
    assert {transport for transport, _ in seen} == {"ipc"} and len(set(seen)) == 6
    assert not [ip for _, ip in seen if list(Path(ip).parent.glob(f"{Path(ip).name}*"))]  # cleaned up


def test_a_sequence_with_its_first_annotation_only_is_a_job(quick, given):
    davis = Davis(given["DAVIS_ROOT"])
    (before,) = plan_jobs(quick, "cow", given)
    for path in davis.annotations("cow")[1:]:
        path.unlink()
    (job,) = plan_jobs(quick, "cow", given)
    assert job.record != before.record
    davis.annotation_path(davis.frames("cow")[0]).unlink()
    with pytest.raises(DataError, match=r"cow/00000\.png: no such file. Mark the object"):
        plan_jobs(quick, "cow", given)


def test_kernel_that_dies_is_an_error_and_not_a_wait_for_ever(quick, given, tmp_path):
    quick.write_text(quick.read_text().replace("assert SEQUENCE != BAD", "os.kill(os.getpid(), 9)"))
    with pytest.raises(NotebookError, match="its kernel died"):
        run_notebook(quick, given, tmp_path / "out.ipynb", progress=False)
