"""Jobs of a batch: what is planned, what counts as finished, who holds a run folder, what a worker gets."""

import errno
import itertools
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import psutil
import pytest

from osvos_keras import __version__
from osvos_keras.batch.cluster import CPU_COUNT
from osvos_keras.batch.jobs import find_finished, plan_jobs, read_scores, run_job
from osvos_keras.batch.notebooks import run_notebook
from osvos_keras.davis import Davis
from osvos_keras.errors import ConfigError, DataError, NotebookError
from osvos_keras.io.masks import write_mask
from osvos_keras.weights import find_weights
from tests.batches import await_death, leave_results, write_notebook
from tests.conftest import call, refuse, write_sequence

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
    return write_notebook(tmp_path / "quick.ipynb", PARAMETERS, WORK)


@pytest.fixture
def given(tiny, tmp_path) -> dict[str, str]:
    return {"DAVIS_ROOT": str(tiny.root), "RUN_DIR": str(tmp_path / "run")}


@pytest.fixture
def finished(quick, given, monkeypatch):
    """The job of one sequence, with the results that a run of it leaves."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (job,) = plan_jobs(quick, "cow", given)
    job.masks.mkdir(parents=True)
    (job.masks / "00000.png").touch()
    leave_results(job)
    return job


def run_each(quick, given, *arguments) -> int:
    parameters = [word for name, value in given.items() for word in ("-p", f"{name}={value}")]
    return call(["run", str(quick), *parameters, *arguments])


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
        ({}, "", DataError, "'' names no sequence"),
        ({}, " ,,", DataError, "' ,,' names no sequence"),
        ({}, "cow,ant,cow", DataError, "cow"),
        ({"RUN_DIR": ""}, "val", ConfigError, "a path is empty"),
    ],
)
def test_mistakes_are_found_before_anything_runs(quick, given, changes, sequences, error, message):
    with pytest.raises(error, match=message):
        plan_jobs(quick, sequences, {**given, **changes})


WORDS = ("fspath", "text_encoding")  # of the modules that call the system, but only about names


def count_calls(function) -> tuple[int, int]:
    """How many functions `function` calls, and how many of these calls are the file system's."""
    called = []
    sys.setprofile(lambda frame, event, what: called.append(what) if event in ("call", "c_call") else None)
    try:
        function()
    finally:
        sys.setprofile(None)
    system = [what.__name__ for what in called if getattr(what, "__module__", "") in ("posix", "nt", "_io")]
    system = [name for name in system if name not in WORDS and not name.startswith("_path")]
    return len(called), len(system)


@pytest.mark.parametrize("split", [True, False])
def test_planning_and_skipping_cost_the_same_for_each_sequence(quick, given, tiny, split):
    """Seconds depend on the machine; calls do not. The bounds have room for other versions of Python."""
    names = [f"s{index:03}" for index in range(100, 160)]
    write_sequence(tiny.root, "s100", size=(3, 3), frames=1)
    for name, folder in itertools.product(names[1:], ("JPEGImages", "Annotations")):
        (tiny.root / folder / "480p" / name).symlink_to(tiny.root / folder / "480p" / "s100")
    tiny.list_path("val").write_text("\n".join(names))
    for job in plan_jobs(quick, "val", given):
        leave_results(job)

    def plan_and_skip(count):
        tiny.list_path("val").write_text("\n".join(names[:count]))
        jobs = plan_jobs(quick, "val" if split else ",".join(names[:count]), given)
        assert all(find_finished(job) == {"J_mean": 0.5, "F_mean": 0.5} for job in jobs)

    few, some, many = (np.array(count_calls(partial(plan_and_skip, count))) for count in (20, 40, 60))
    calls, system = (some - few) / 20
    np.testing.assert_allclose(many - some, some - few, rtol=0.02)
    assert calls < 1_500 and system < 30


def test_notebook_that_is_not_about_one_sequence(given):
    with pytest.raises(ConfigError, match=r"05_evaluation\.ipynb has no parameter SEQUENCE.*leave --each"):
        plan_jobs("05_evaluation", "val", given)


def test_a_job_is_finished_when_it_was_run(quick, given, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (job,) = plan_jobs(quick, "cow", given)
    assert find_finished(job) is None
    assert run_job(job, progress=False) == find_finished(job) == {"J_mean": 0.5, "F_mean": 0.5}


def test_finished_job_is_not_run_again(finished, monkeypatch):
    monkeypatch.setattr("osvos_keras.batch.jobs.run_notebook", refuse("ran"))
    assert find_finished(finished) == run_job(finished) == {"J_mean": 0.5, "F_mean": 0.5}


def test_moved_run_and_data_stay_finished(finished, quick, given, tmp_path):
    for name, place in given.items():
        shutil.move(place, tmp_path / f"moved_{name}")
    moved = {name: str(tmp_path / f"moved_{name}") for name in given}
    (job,) = plan_jobs(quick, "cow", moved)
    assert find_finished(job) is not None


def add_frame(davis, job, quick):
    for folder, suffix in (("JPEGImages", "jpg"), ("Annotations", "png")):
        path = davis.root / folder / "480p" / "cow"
        shutil.copy(path / f"00003.{suffix}", path / f"00004.{suffix}")


def change_later_frame(davis, job, quick):
    path = davis.frames("cow")[2]
    content = bytearray(path.read_bytes())
    content[-10] ^= 1  # of the same size
    path.write_bytes(content)


def replace_in(path, old, new):
    path.write_text(path.read_text().replace(old, new))


CHANGES = {
    "annotation": lambda davis, *_: write_mask(davis.annotations("cow")[0], ~(davis.first("cow")[1])),
    "more frames": add_frame,
    "notebook": lambda davis, job, quick: replace_in(quick, "assert SEQUENCE", "assert  SEQUENCE"),
    "lost mask": lambda davis, job, quick: (job.masks / "00000.png").unlink(),
    "later frame": change_later_frame,
    "lost later annotation": lambda davis, *_: davis.annotations("cow")[2].unlink(),
    # Another run of the notebook, by itself, left other results in the same place.
    "scores": lambda davis, job, quick: job.scores.write_text('{"J_mean": 0.9}'),
    "version": lambda davis, job, quick: replace_in(job.done, f'"{__version__}"', '"0.0"'),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_has_changed_is_not_finished(tiny, finished, quick, given, change):
    change(tiny, finished, quick)
    (job,) = plan_jobs(quick, "cow", given)
    assert find_finished(job) is None


DAMAGES = {
    "empty": lambda path: path.write_text(""),
    "truncated": lambda path: os.truncate(path, 10),
    "a list": lambda path: path.write_text("[1, 2]"),
    "no keys": lambda path: path.write_text("{}"),
    "strange values": lambda path: path.write_text(
        '{"made_with": [], "masks": {"a": null}, "scores": 3, "J_mean": "high"}'
    ),
    "another encoding": lambda path: path.write_text(path.read_text(), encoding="utf-16"),
    "nested": lambda path: path.write_text('{"made_with":' * 100_000),
    "a folder": lambda path: (path.unlink(), (path / "inner").mkdir(parents=True)),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
}


@pytest.mark.parametrize("name", ["done", "scores"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_state_is_no_record_and_the_job_is_run_again(finished, monkeypatch, damage, name):
    scores = finished.scores.read_text()

    def run_notebook(notebook, parameters, output, **options):
        assert not finished.scores.exists()  # those of an earlier run could be mistaken for this run's
        finished.scores.write_text(scores)

    monkeypatch.setattr("osvos_keras.batch.jobs.run_notebook", run_notebook)
    DAMAGES[damage](getattr(finished, name))
    assert find_finished(finished) is None
    assert run_job(finished) == {"J_mean": 0.5, "F_mean": 0.5} and find_finished(finished)
    aside = list(finished.done.parent.glob("quick_cow*-1.json"))
    assert len(aside) == (damage in ("a folder", "a pipe"))  # not deleted: it is not ours


def test_scores_that_are_no_numbers_are_left_out(finished):
    finished.scores.write_text(f'{{"J_mean": "high", "F_mean": NaN, "seconds": 1{"0" * 400}, "other": 2.5}}')
    assert read_scores(finished) == {"other": 2.5}


def test_moved_weights_stay_finished_and_are_found_by_a_worker_elsewhere(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(find_weights("parent"), "one.weights.h5")
    (before,) = plan_jobs("04_online_training", "cow", {**given, "WEIGHTS": "one.weights.h5"})
    assert before.parameters["WEIGHTS"] == str(tmp_path / "one.weights.h5")
    Path("one.weights.h5").rename("other.weights.h5")
    (after,) = plan_jobs("04_online_training", "cow", {**given, "WEIGHTS": "other.weights.h5"})
    assert before.made_with == after.made_with


def test_a_notebook_may_start_from_no_weights(given, tmp_path):
    notebook = write_notebook(tmp_path / "random.ipynb", f"{PARAMETERS}WEIGHTS: str | None = None", WORK)
    (job,) = plan_jobs(notebook, "cow", given)
    assert job.parameters["WEIGHTS"] is job.made_with["weights_sha256"] is None


def test_temporary_files_are_no_masks(finished):
    (finished.masks / ".tmp-123-00001.png").touch()
    assert find_finished(finished) is not None


def test_changed_parameter_or_weights_are_not_finished(finished, quick, given, tmp_path):
    (job,) = plan_jobs(quick, "cow", {**given, "SCORE": "0.6"})
    assert find_finished(job) is None
    weights = tmp_path / "some.weights.h5"
    records = []
    for other in ("imagenet", "parent"):
        shutil.copy(find_weights(other), weights)
        (job,) = plan_jobs("04_online_training", "cow", {**given, "WEIGHTS": str(weights)})
        records.append(job.made_with)
    assert records[0] != records[1]


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
    assert executed.cells[-1].outputs[0].text == f"{max(1, CPU_COUNT // 2)}\n"  # its share of threads

    assert run_each(quick, given, "--each-sequence", "ant,cow") == 0
    assert "2 finished before, 0 to run" in capfd.readouterr().out


def test_sequences_with_wrong_data_and_strange_names_among_good_ones(tiny, quick, given, capfd):
    """One that cannot be run has its row; the others end with masks, also with a first annotation only."""
    strange = ["<img src=x onerror=alert(1)>", "a|b"]
    for name in (*strange, "lost"):
        write_sequence(tiny.root, name)
    tiny.annotations("lost")[0].unlink()
    for path in tiny.annotations("cow")[1:]:
        path.unlink()
    names = [strange[0], "lost", strange[1], "cow"]
    assert run_each(quick, given, "--each-sequence", ",".join(names), "--workers", "1") == 1
    out, err = capfd.readouterr()
    assert "4 sequences: 0 finished before, 3 to run, 1 with mistakes" in out and "Traceback" not in out + err
    table = pd.read_csv(Path(given["RUN_DIR"], "notebooks", "quick.csv"))
    assert table["sequence"].tolist() == names
    assert table["state"].tolist() == ["finished", "failed", "finished", "finished"]
    assert "lost/00000.png: no such " in table["error"][1]
    for name in (*strange, "cow"):
        assert Path(given["RUN_DIR"], "masks", name, "00000.png").is_file()
        assert Path(given["RUN_DIR"], "notebooks", f"quick_{name}.ipynb").is_file()


def test_name_too_long_for_its_files_is_found_before_computing(tiny, quick, given):
    long = "w" * 238
    write_sequence(tiny.root, long)
    jobs = plan_jobs(quick, f"{long},cow", given)
    assert "Use at most" in jobs[0].mistake and not jobs[1].mistake


def test_batch_of_nothing_but_mistakes_starts_no_worker(tiny, quick, given, capfd):
    tiny.annotations("cow")[0].unlink()
    assert run_each(quick, given, "--each-sequence", "cow") == 1
    out, _ = capfd.readouterr()
    assert "1 failed" in out and "dashboard" not in out


def test_sequence_without_scores_says_so(quick, given, capfd):
    quick.write_text(quick.read_text().replace('Path(RUN_DIR, \\"notebooks', "#"))
    assert run_each(quick, given, "--each-sequence", "cow") == 0
    out, _ = capfd.readouterr()
    assert "nothing to score, " in out and "mean J" not in out


def test_nobody_reads_on(quick, given, tmp_path):
    """`osvos run … | head -1`: it stops at the next line, and leaves no process behind."""
    quick.write_text(
        quick.read_text().replace("assert SEQUENCE", "import time; time.sleep(2); assert SEQUENCE")
    )
    parameters = [word for name, value in given.items() for word in ("-p", f"{name}={value}")]
    command = [sys.executable, "-m", "osvos_keras.cli", "run", str(quick), *parameters]
    command += ["--each-sequence", "ant,bee,cow", "--workers", "1"]
    batch = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    assert batch.stdout.readline() == b"3 sequences: 0 finished before, 3 to run\n"
    while not (processes := psutil.Process(batch.pid).children(recursive=True)):
        time.sleep(0.05)
    batch.stdout.close()
    assert batch.wait(60) == 1
    await_death(processes)
    assert not Path(given["RUN_DIR"], "notebooks", "quick_cow.ipynb").exists()


def test_full_disk_under_the_table_is_told_after_the_summary(finished, quick, given, monkeypatch, capfd):
    def fail(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", fail)
    message = run_each(quick, given, "--each-sequence", "cow")
    assert (
        "quick.csv: cannot be written (No space left on device; " in message and "bytes are free" in message
    )
    assert "1 finished before in 0 s; mean J 0.500" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "2"], "--workers belongs to --each-sequence"),
        (["--tls-ca-file", "a.pem"], "--tls-ca-file belongs to --each-sequence"),
        (["--each-sequence", "val", "--out", "a.ipynb"], "--out names one notebook"),
        (["--each-sequence", "val", "--workers", "0"], "--workers is 0; it must be above zero"),
        (["--each-sequence", "val", "--retries", "-1"], "--retries is -1"),
        (["--each-sequence", "val", "--tls-cert", "a.pem"], "address begins with tls://"),
        (["--each-sequence", "val", "--workers", "1", "--scheduler", "tcp://127.0.0.1:9"], "has its own"),
    ],
)
def test_options_that_do_not_go_together(quick, given, arguments, message):
    assert message in run_each(quick, given, *arguments)


def test_kernels_started_together_use_no_ports(tiny, quick, given, monkeypatch):
    """Six at once, each connected through sockets in the file system of its own name."""
    for name in "abcdef":
        write_sequence(tiny.root, name, frames=1)
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
    assert job.made_with != before.made_with and not job.mistake
    davis.annotation_path(davis.frames("cow")[0]).unlink()
    (job,) = plan_jobs(quick, "cow", given)
    assert "cow/00000.png: no such file. Mark the object" in job.mistake


def test_kernel_that_dies_is_an_error_and_not_a_wait_for_ever(quick, given, tmp_path):
    quick.write_text(quick.read_text().replace("assert SEQUENCE != BAD", "os.kill(os.getpid(), 9)"))
    with pytest.raises(NotebookError, match="its kernel died"):
        run_notebook(quick, given, tmp_path / "out.ipynb", progress=False)


def test_kernel_that_dies_at_its_start_is_an_error_that_names_its_log(quick, given, tmp_path, monkeypatch):
    start = tmp_path / "profile_default" / "startup" / "end.py"
    start.parent.mkdir(parents=True)
    start.write_text("import os; os._exit(3)")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    with pytest.raises(NotebookError, match=r"its kernel did not start .*out\.log$"):
        run_notebook(quick, given, tmp_path / "out.ipynb", progress=False)
