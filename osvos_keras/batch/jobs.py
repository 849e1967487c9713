"""One job of a batch: a notebook run for one sequence; skipped if it is finished and nothing has changed.

    <RUN_DIR>/notebooks/<notebook>_<sequence>.ipynb        the executed notebook
    <RUN_DIR>/notebooks/<notebook>_<sequence>.json         its scores, written by the notebook itself
    <RUN_DIR>/notebooks/<notebook>_<sequence>.done.json    the record of what decided the result, written last

This module does not import TensorFlow: a driver or worker only waits for kernels and should not hold its
memory.
"""

import dataclasses
import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from osvos_keras.batch.notebooks import LONGEST_SUFFIX, default_output, run_notebook
from osvos_keras.batch.parameters import check_parameters, find_notebook, read_parameters
from osvos_keras.davis import Davis
from osvos_keras.errors import ConfigError, OsvosError
from osvos_keras.io.files import list_files, read_json, require_file, sha256
from osvos_keras.io.kept import rename_aside
from osvos_keras.io.paths import check_length, find_input, resolve_output
from osvos_keras.io.records import read_record, write_record
from osvos_keras.weights import FILES, find_weights

# The parameters that are places. A result stays valid when they change.
PLACES = {"DAVIS_ROOT": find_input, "RUN_DIR": resolve_output}
WEIGHTS = "WEIGHTS"  # the parameter with a path or name of weights; their content decides the result


@dataclass(frozen=True)
class Job:
    """A notebook to run for one sequence.

    Attributes:
        sequence: its name.
        notebook: the notebook's file.
        parameters: values for its `parameters` cell; paths are absolute, because a worker may have
            another working folder.
        output: the executed notebook.
        made_with: all that decides the result: parameters, and checksums of the notebook and its inputs.
        mistake: why the job cannot run, if the sequence's data are wrong; else empty.
    """

    sequence: str
    notebook: Path
    parameters: Mapping[str, Any]
    output: Path
    made_with: Mapping[str, Any] = field(default_factory=dict)
    mistake: str = ""

    @property
    def done(self) -> Path:
        """The record: it says that the job is finished, and what decided the result."""
        return self.output.with_suffix(LONGEST_SUFFIX)

    @property
    def scores(self) -> Path:
        """The scores, which the notebook writes beside the executed notebook."""
        return self.output.with_suffix(".json")

    @property
    def masks(self) -> Path:
        """The folder of the sequence's masks."""
        return Path(self.parameters["RUN_DIR"]) / "masks" / self.sequence


def plan_jobs(notebook: str | Path, sequences: str, given: Mapping[str, Any]) -> list[Job]:
    """The jobs for a split (`"val"`) or for names joined by commas.

    A sequence whose data are wrong gets a job with a `mistake`, so that the others can run.

    Raises:
        ConfigError: unknown notebook or parameter, a value of the wrong type, or a notebook without the
            parameters SEQUENCE, DAVIS_ROOT and RUN_DIR.
        DataError: no sequence is named, one is named twice, or one is unknown.
        WeightsError: there are no such weights.
        NotebookError: the notebook cannot be read.
    """
    notebook = find_notebook(notebook)
    defaults = read_parameters(notebook)
    missing = {"SEQUENCE", *PLACES} - set(defaults)
    if missing:
        raise ConfigError(
            f"{notebook.name} has no parameter {', '.join(sorted(missing))}, so it cannot be run for each "
            "sequence; leave --each-sequence out."
        )
    if "SEQUENCE" in given:
        raise ConfigError(f"SEQUENCE={given['SEQUENCE']} and --each-sequence exclude each other.")
    given = check_parameters(notebook, given)
    for name, find in PLACES.items():
        given[name] = str(find(given.get(name, defaults[name])))
    values = {name: value for name, value in {**defaults, **given}.items() if name != "SEQUENCE"}
    davis = Davis(values["DAVIS_ROOT"], values.get("RESOLUTION", "480p"))
    made_with = {
        "notebook_sha256": sha256(notebook),
        "weights_sha256": _fix_weights(values),
        "parameters": {name: value for name, value in values.items() if name not in (*PLACES, WEIGHTS)},
    }
    output = default_output(notebook, values)
    return [
        _plan_job(
            Job(
                name,
                notebook,
                {**values, "SEQUENCE": name},
                output.with_name(f"{output.stem}_{name}.ipynb"),
                made_with,
            ),
            davis,
        )
        for name in davis.select(sequences)
    ]


def _plan_job(job: Job, davis: Davis) -> Job:
    """The job with the checksum of its sequence, or with its mistake."""
    try:
        inputs = {"sequence": job.sequence, "inputs_sha256": _inputs_sha256(davis, job.sequence)}
        check_length(job.done.name)  # the longest of the job's file names
    except (OsvosError, OSError) as error:
        return dataclasses.replace(job, mistake=str(error))
    return dataclasses.replace(job, made_with={**job.made_with, **inputs})


def _fix_weights(values: dict[str, Any]) -> str | None:
    """The checksum of the weights that a notebook starts from; None if it names none.

    A path to weights is made absolute in `values`, because a worker may have another working folder.
    """
    if values.get(WEIGHTS) is None:
        return None
    path = find_weights(values[WEIGHTS])
    if values[WEIGHTS] not in FILES:
        values[WEIGHTS] = str(path)
    return sha256(path)


def _inputs_sha256(davis: Davis, sequence: str) -> str:
    """A checksum over the names and contents of a sequence's files; the first annotation must exist."""
    files = davis.input_files(sequence)
    listing = "".join(f"{path.name} {require_file(path)}\n" for path in files)
    return hashlib.sha256((sha256(*files) + listing).encode(errors="surrogateescape")).hexdigest()


def find_finished(job: Job) -> dict[str, float] | None:
    """The scores of a finished job, as `read_scores` gives them; None if it is not finished.

    It is finished if it has run to its end, and neither its inputs nor its results have changed since.
    """
    record = read_record(job.done, job.made_with)
    if record is None or not job.output.is_file():
        return None
    same = record == {"made_with": record["made_with"], **_list_results(job)}
    return read_scores(job) if same else None


def _list_results(job: Job) -> dict[str, Any]:
    """The results of a finished job: the names of its masks, and its scores as text (then NaN equals NaN)."""
    masks = [path.name for path in list_files(job.masks, ".png")]
    return {"masks": masks, "scores": json.dumps(read_json(job.scores))}


def run_job(job: Job, **options) -> dict[str, float]:
    """Run the job unless it is finished, without the cells that only teach; return its scores.

    Args:
        job: what to run.
        **options: `on_kernel` and `progress`, as in `run_notebook`.

    Raises:
        NotebookError: the notebook failed.
        FolderError: the run folder cannot be written.
    """
    if (scores := find_finished(job)) is not None:
        return scores
    for path in (job.done, job.scores):  # those of an earlier run could be mistaken for this run's
        make_way(path)
        path.unlink(missing_ok=True)
    run_notebook(job.notebook, job.parameters, job.output, lesson=False, **options)
    write_record(job.done, job.made_with, **_list_results(job))
    return read_scores(job)


def make_way(path: Path) -> None:
    """Rename a folder, or anything else that is not a file, at a path where a file is to be written."""
    if path.exists() and not path.is_file():
        rename_aside(path)


def read_scores(job: Job) -> dict[str, float]:
    """The scores that the notebook wrote (`J_mean`, …), finite numbers only; empty if there are none."""
    return {
        name: value
        for name, value in (read_json(job.scores) or {}).items()
        if isinstance(value, int | float) and abs(value) <= sys.float_info.max  # False for NaN
    }
