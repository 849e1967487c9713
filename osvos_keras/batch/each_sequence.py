"""`osvos run NOTEBOOK --each-sequence …`: plan, lock the run folder, run what is not finished, report."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from distributed import Client, Future
from distributed.security import Security
from tqdm import tqdm

from osvos_keras.batch.cluster import describe, open_client, run_on, work
from osvos_keras.batch.jobs import Job, find_finished, make_way, plan_jobs
from osvos_keras.errors import ClusterError, ConfigError
from osvos_keras.io.files import clear_temporaries, lock_folder, write_csv

FINISHED, SKIPPED, FAILED = "finished", "finished before", "failed"
COLUMNS = ["sequence", "state", "J_mean", "F_mean", "seconds", "worker", "error"]


def run_each_sequence(
    notebook: str | Path,
    sequences: str,
    given: Mapping[str, Any],
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    retries: int = 2,
    security: Security | None = None,
) -> pd.DataFrame:
    """Run a notebook once per sequence, several at a time, and print the progress.

    A sequence that fails is tried again and then reported, while the others go on. A sequence whose data are
    wrong is reported without a try. A second call skips the sequences that are finished and unchanged.

    Args:
        notebook: a path, or a name in `notebooks/`, with parameters SEQUENCE, DAVIS_ROOT, RUN_DIR.
        sequences: a split, or names joined by commas.
        given: values for other parameters of the notebook.
        scheduler: address of a Dask scheduler; None starts workers on this machine.
        workers: the most workers on this machine; None: as many as fit.
        retries: new attempts after a failure.
        security: certificates for a `tls://` scheduler, from `cluster.read_certificates`.

    Returns:
        A table with `COLUMNS` and a row per sequence; also written to `<RUN_DIR>/notebooks/<notebook>.csv`.

    Raises:
        ConfigError: unknown notebook or parameter, a value of the wrong type, or options that exclude each
            other.
        DataError: the data set lacks a sequence, or none is named.
        WeightsError, NotebookError: as `plan_jobs`.
        FolderError: another run writes to RUN_DIR, or it cannot be written.
        ClusterError: the scheduler does not answer, or the connection was lost.
    """
    if workers is not None and scheduler:
        raise ConfigError(f"--workers {workers}: leave it out with --scheduler, which has its own workers.")
    jobs = plan_jobs(notebook, sequences, given)
    path = jobs[0].output.with_name(f"{jobs[0].notebook.stem}.csv")
    with lock_folder(jobs[0].parameters["RUN_DIR"]):
        make_way(path)
        rows = _known_rows(jobs)
        todo = [job for job in jobs if job.sequence not in rows]
        start = time.perf_counter()
        if todo:
            with open_client(scheduler, workers, len(todo), security) as client:
                rows |= _run(client, todo, retries)
        table = pd.DataFrame([rows[job.sequence] for job in jobs], columns=COLUMNS)
        _print_summary(table, time.perf_counter() - start)
        clear_temporaries(path.parent)  # left by killed processes
        write_csv(path, table)
    print(path)
    return table


def _known_rows(jobs: Sequence[Job]) -> dict[str, dict[str, Any]]:
    """The rows of the jobs that are finished or cannot run; prints them."""
    rows = {job.sequence: _row(job, FAILED, {}, error=job.mistake) for job in jobs if job.mistake}
    for row in rows.values():
        print(f"{row['sequence']}: {row['error']}", flush=True)
    wrong = f", {len(rows)} with mistakes" if rows else ""
    finished = {
        job.sequence: _row(job, SKIPPED, scores) for job in jobs if (scores := find_finished(job)) is not None
    }
    todo = len(jobs) - len(rows) - len(finished)
    print(f"{len(jobs)} sequences: {len(finished)} finished before, {todo} to run{wrong}", flush=True)
    return rows | finished


def _row(job: Job, state: str, scores: Mapping[str, Any], **more) -> dict[str, Any]:
    return {**scores, **more, "sequence": job.sequence, "state": state}


def _run(client: Client, jobs: Sequence[Job], retries: int) -> dict[str, dict[str, Any]]:
    """Run the jobs and return the row of each one; print a progress bar, and a line above it per event."""
    print(f"dashboard: {client.dashboard_link}", flush=True)
    rows = {}
    with tqdm(total=len(jobs), desc=jobs[0].notebook.stem, unit="sequence") as bar:

        def tell(name, state, text):
            bar.write(f"{time.strftime('%H:%M:%S')}  {name:<20} {state:<14} {text.splitlines()[0]}")

        names = [job.sequence for job in jobs]
        for index, future, result in run_on(client, work, jobs, names, retries=retries, on_event=tell):
            row = rows[jobs[index].sequence] = _finish(jobs[index], future, result, tell)
            bar.update()
            failed = sum(row["state"] == FAILED for row in rows.values())
            bar.set_postfix(failed=failed, last=row["sequence"])
    return rows


def _finish(job: Job, future: Future, result: Any, tell) -> dict[str, Any]:
    """The row of a job that has ended; prints it."""
    if future.status in ("cancelled", "lost"):
        raise ClusterError(
            "The connection to the Dask scheduler was lost. When the scheduler runs again, run the same "
            "command to go on: what is finished is kept."
        )
    if future.status == "error":
        error = describe(future.exception())
        tell(job.sequence, FAILED, error)
        return _row(job, FAILED, {}, error=error)
    row = _row(job, FINISHED, result["scores"], seconds=result["seconds"], worker=result["worker"])
    score = f"J {row['J_mean']:.3f}" if "J_mean" in row else "nothing to score"
    tell(job.sequence, FINISHED, f"{score}, {row['seconds']:.0f} s")
    return row


def _print_summary(table: pd.DataFrame, seconds: float) -> None:
    short = table.drop(columns=["worker", "error"])
    print(short.to_string(index=False, float_format="{:.3f}".format, na_rep=""))
    for _, row in table[table["state"] == FAILED].iterrows():
        print(f"{row['sequence']}: {row['error']}")
    counts = ", ".join(f"{count} {state}" for state, count in table["state"].value_counts().items())
    mean = f"; mean J {table['J_mean'].mean():.3f}" if table["J_mean"].notna().any() else ""
    print(f"{counts} in {seconds:.0f} s{mean}")
