"""One job of a batch: a notebook for a sequence, skipped where it is finished and nothing has changed.

    <RUN_DIR>/notebooks/<notebook>_<sequence>.ipynb        the executed notebook
    <RUN_DIR>/notebooks/<notebook>_<sequence>.json         its scores, written by the notebook itself
    <RUN_DIR>/notebooks/<notebook>_<sequence>.done.json    what decided the result; written last

No TensorFlow in here: a driver or worker that only waits for kernels should not hold its memory.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osvos_keras.batch import default_output, run_notebook
from osvos_keras.davis import Davis
from osvos_keras.errors import ConfigError
from osvos_keras.files import find_input, resolve_output, sha256, write_json
from osvos_keras.parameters import check_parameters, find_notebook, read_parameters

PLACES = {
    "DAVIS_ROOT": find_input,
    "RUN_DIR": resolve_output,
}  # where things lie, not what they are: may change without a rerun


@dataclass(frozen=True)
class Job:
    """A notebook to run for one sequence.

    Attributes:
        sequence: its name.
        notebook: the notebook's file.
        parameters: values for its `parameters` cell; paths are absolute, since a worker may have
            another working folder.
        output: the executed notebook.
        record: all that decides the result: notebook, parameters, and checksums of what it reads.
    """

    sequence: str
    notebook: Path
    parameters: Mapping[str, Any]
    output: Path
    record: Mapping[str, Any]

    @property
    def done(self) -> Path:
        """The file that says that the job is finished, and with what."""
        return self.output.with_suffix(".done.json")

    @property
    def masks(self) -> Path:
        """Where the masks of the sequence lie."""
        return Path(self.parameters["RUN_DIR"]) / "masks" / self.sequence


def plan_jobs(notebook: str | Path, sequences: str, given: Mapping[str, Any]) -> list[Job]:
    """The jobs for a split (`"val"`) or for names joined by commas.

    Raises:
        ConfigError: unknown notebook or parameter, a value of the wrong type, or a notebook
            that is not about one sequence.
        DataError: unknown sequence, or a first frame or annotation is missing.
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
    values = {**defaults, **given}
    davis = Davis(values["DAVIS_ROOT"], values.get("RESOLUTION", "480p"))
    shared = {"notebook_sha256": sha256(notebook), "weights_sha256": _weights_sha256(values)}
    return [_plan_job(notebook, davis, name, values, shared) for name in davis.select(sequences)]


def _plan_job(notebook: Path, davis: Davis, sequence: str, values: dict, shared: dict) -> Job:
    parameters = {**values, "SEQUENCE": sequence}
    record = {
        **shared,
        "inputs_sha256": _inputs_sha256(davis, sequence),
        "parameters": {name: value for name, value in parameters.items() if name not in PLACES},
    }
    return Job(sequence, notebook, parameters, default_output(notebook, parameters), record)


def _weights_sha256(values: Mapping[str, Any]) -> str | None:
    """The weights that a notebook starts from, if it has that parameter: a path alone says too little."""
    if "WEIGHTS" not in values:
        return None
    from osvos_keras.weights import find_weights  # not at the top: it brings Keras

    return sha256(find_weights(values["WEIGHTS"]))


def _inputs_sha256(davis: Davis, sequence: str) -> str:
    """What training reads, by content; what is predicted and scored, by name and size, which is quick."""
    frames = davis.frames(sequence)
    annotations = davis.known_annotations(sequence).values()
    listing = "".join(f"{path.name} {path.stat().st_size}\n" for path in [*frames, *annotations])
    return hashlib.sha256((sha256(*davis.first_files(sequence)) + listing).encode()).hexdigest()


def is_finished(job: Job) -> bool:
    """Whether the job was run to its end with the same record, and what it left is still there."""
    try:
        done = json.loads(job.done.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    return (
        done["record"] == job.record
        and job.output.is_file()
        and all((job.masks / name).is_file() for name in done["masks"])
    )


def run_job(job: Job, **options) -> dict[str, Any]:
    """Run the job unless it is finished; return its scores, as `read_scores` does.

    Args:
        job: what to run.
        **options: `on_kernel` and `progress`, as in `run_notebook`.

    Raises:
        NotebookError: the notebook failed.
        FolderError: the run folder cannot be written.
    """
    if not is_finished(job):
        job.done.unlink(missing_ok=True)
        run_notebook(job.notebook, job.parameters, job.output, **options)
        masks = sorted(path.name for path in job.masks.glob("*.png"))
        write_json(job.done, {"record": job.record, "masks": masks})
    return read_scores(job)


def read_scores(job: Job) -> dict[str, Any]:
    """What the notebook wrote beside the executed one (`J_mean`, …); empty if it writes nothing."""
    path = job.output.with_suffix(".json")
    return json.loads(path.read_text()) if path.is_file() else {}
