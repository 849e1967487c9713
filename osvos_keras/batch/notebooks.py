"""Notebooks run headless by papermill, with parameters that are checked first."""

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import papermill
from jupyter_client import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from osvos_keras.backend import check_backend
from osvos_keras.batch.kernel import keep_signals, open_kernel
from osvos_keras.batch.parameters import TRAINING, check_parameters, find_notebook, read_parameters
from osvos_keras.davis import Davis
from osvos_keras.errors import ConfigError, DataError, FolderError, NotebookError
from osvos_keras.io.files import FULL, explain_unwritable, lock_folder, make_folder, read_json
from osvos_keras.io.literals import check_known
from osvos_keras.io.paths import resolve_output

COURSE = (
    "00_start_here",
    "01_data_preparation",
    "02_network_and_loss",
    "03_parent_training",
    "04_online_training",
    "05_evaluation",
    "06_your_video",
    "07_ablation",
)
ONLINE = "04_online_training"
LESSON = "lesson"  # the tag of cells that only teach: no other cell needs them
LONGEST_SUFFIX = ".done.json"  # the longest suffix of a file beside an executed notebook


def run_notebook(
    notebook: str | Path,
    parameters: Mapping[str, Any],
    output: str | Path,
    *,
    lesson: bool = True,
    on_kernel: Callable[[AsyncKernelManager], Any] = lambda kernel: None,
    progress: bool = True,
) -> Path:
    """Run a notebook through papermill and keep the executed one.

    Args:
        notebook: a path, or a name in `notebooks/`.
        parameters: names and values for its `parameters` cell.
        output: where the executed notebook goes; it is also written when a cell fails.
        lesson: whether to run the cells with the tag `lesson` too, which only teach.
        on_kernel: called with the running kernel, so that the caller can stop it from another thread.
        progress: whether to show a progress bar of the cells.

    Returns:
        The path of the executed notebook.

    Raises:
        ConfigError, FolderError, NotebookError: as `check_run`; or a cell failed, or the kernel died.
    """
    notebook, parameters, output = check_run(notebook, parameters, output)
    make_folder(output.parent)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # inherited by the kernel
    logging.getLogger("papermill").setLevel(logging.ERROR)  # what it warns of was checked
    source, target = (str(path).replace("{", "{{").replace("}", "}}") for path in (notebook, output))
    with (
        _explained(notebook, output),
        explain_unwritable(output, FULL),
        open_kernel(output.with_suffix(".log")) as kernel,
        keep_signals(),
    ):
        on_kernel(kernel)
        papermill.execute_notebook(
            source,  # papermill would substitute text in single braces
            target,
            parameters,
            kernel_name="python3",  # the notebook may name none
            language="python",
            km=kernel,
            **({} if lesson else {"skip_cells_with_tag": LESSON}),
            progress_bar=progress,
            coalesce_streams=True,  # a progress bar leaves its last state, not each
        )
    return output


@contextmanager
def _explained(notebook: Path, output: Path) -> Iterator[None]:
    """Turn papermill's errors into ones that say what to do."""
    try:
        yield
    except DeadKernelError as error:
        raise NotebookError(
            f"{notebook.name}: its kernel died: it was killed, or memory ran out. Run the same command again "
            f"to go on, with fewer --workers if memory is short. The executed part of the notebook: {output}"
        ) from error
    except RuntimeError as error:  # of Jupyter's client, which waits for the kernel's first answer
        raise NotebookError(
            f"{notebook.name}: its kernel did not start ({error}). Run the same command again; if it fails "
            f"too, see what the kernel wrote: {output.with_suffix('.log')}"
        ) from error
    except PapermillExecutionError as error:
        raise NotebookError(
            f"{notebook.name} failed: {error.ename}: {error.evalue}\n"
            f"The executed notebook shows where: {output}"
        ) from error


def check_run(
    notebook: str | Path, given: Mapping[str, Any], output: str | Path | None = None
) -> tuple[Path, dict[str, Any], Path]:
    """Check a run before a kernel starts.

    Args:
        notebook: a path, or a name in `notebooks/`.
        given: names and values for its `parameters` cell.
        output: where the executed notebook goes; None: `default_output`.

    Returns:
        The paths and values to run with: the notebook, its parameters, the executed notebook.

    Raises:
        ConfigError: unknown notebook or parameter, a value of the wrong type or out of range, or an output
            that is the notebook itself or not an `.ipynb` file.
        DataError, WeightsError: a parameter names data or weights that are not there.
        NotebookError: the notebook cannot be read.
        FolderError: the output exists and is not an executed notebook.
    """
    notebook = find_notebook(notebook)
    parameters = check_parameters(notebook, given)
    if TRAINING & read_parameters(notebook).keys():
        check_backend()
    output = default_output(notebook, parameters) if output is None else resolve_output(output)
    resolve_output(
        output.with_suffix(LONGEST_SUFFIX)
    )  # raises now, not after the work, if a name is too long
    if output.suffix != ".ipynb":
        raise ConfigError(f"{output}: the name of the executed notebook must end in .ipynb.")
    if output.exists():
        if output.samefile(notebook):
            raise ConfigError(
                f"{output}: the executed notebook would replace the one that is run. Choose another --out."
            )
        _check_replaceable(output)
    return notebook, parameters, output


def _check_replaceable(output: Path) -> None:
    """Check that the file to overwrite is an executed notebook, or a half-written one of a killed run."""
    found = read_json(output)
    if not output.is_file() or (found is not None and "papermill" not in (found.get("metadata") or {})):
        raise FolderError(
            f"{output}: exists and is not an executed notebook, so it may be somebody's work. Choose another "
            "--out or RUN_DIR, or move the file."
        )


def run_alone(
    notebook: str | Path, given: Mapping[str, Any], output: str | Path | None = None, *, lesson: bool = True
) -> Path:
    """`run_notebook` with locks, so that no other run writes to the same RUN_DIR or executed notebook.

    Raises:
        ConfigError, FolderError, NotebookError: as `run_notebook`, or another run is writing there.
    """
    notebook, parameters, output = check_run(notebook, given, output)
    run_dir = {**read_parameters(notebook), **parameters}.get("RUN_DIR")
    with ExitStack() as locks:
        if run_dir is not None:
            locks.enter_context(lock_folder(run_dir))
        if run_dir is None or not output.is_relative_to(resolve_output(run_dir)):
            locks.enter_context(lock_folder(output.parent, name=f".{output.stem}.lock"))
        return run_notebook(notebook, parameters, output, lesson=lesson)


def default_output(notebook: Path, parameters: Mapping[str, Any]) -> Path:
    """`<RUN_DIR>/notebooks/<name>[_<sequence>].ipynb`; RUN_DIR may be the notebook's default.

    Raises:
        ConfigError: as `resolve_output`.
    """
    values = {**read_parameters(notebook), **parameters}
    suffix = f"_{parameters['SEQUENCE']}" if "SEQUENCE" in parameters else ""
    run_dir = resolve_output(values.get("RUN_DIR", "runs/course"))
    return resolve_output(run_dir / "notebooks" / f"{notebook.stem}{suffix}.ipynb")


def plan_course(
    davis_root: str, run_dir: str, given: Mapping[str, Any], resolution: str = "480p"
) -> list[tuple[str, dict, Path]]:
    """The runs of the course, in order: notebook, parameters, executed notebook.

    The online notebook runs once per validation sequence. Each notebook gets those parameters of `given`
    that it has. Where a default names a sequence of the sample that the data set lacks, a sequence of the
    data set takes its place.

    Raises:
        ConfigError, FolderError, NotebookError: as `check_run`, of any of them.
        DataError: the data set lacks a list or a sequence.
    """
    davis = Davis(davis_root, resolution)
    places = {"DAVIS_ROOT": davis_root, "RESOLUTION": resolution, "RUN_DIR": run_dir}
    if twice := places.keys() & given.keys():
        names = ", ".join(sorted(twice))
        raise ConfigError(f"{names}: cannot be set with -p here. Use --davis, --resolution and --run-dir.")
    own = {stem: read_parameters(find_notebook(stem)) for stem in COURSE}
    known = list(dict.fromkeys(name for defaults in own.values() for name in defaults))
    for name in given:
        check_known(name, known, "no notebook of the course has a parameter")
    executed, jobs = resolve_output(run_dir) / "notebooks", []
    for stem, defaults in own.items():
        parameters = _choose(davis, defaults, {**given, **places})
        several = {f"{stem}_{name}": {"SEQUENCE": name} for name in davis.sequences("val")}
        for name, more in several.items() if stem == ONLINE else [(stem, {})]:
            _, checked, output = check_run(stem, {**parameters, **more}, executed / f"{name}.ipynb")
            jobs.append((stem, checked, output))
    return jobs


def _choose(davis: Davis, defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The given parameters that a notebook has, and sequences of `davis` in place of those that it lacks."""
    chosen = {name: value for name, value in given.items() if name in defaults}
    if "DAVIS_ROOT" not in defaults:  # its SEQUENCE is not one of `davis`
        chosen.pop("SEQUENCE", None)
        return chosen
    own = {"SEQUENCE": davis.sequences("val")[0], "SEQUENCES": "val"}
    lacking = {name: own[name] for name in own if name in defaults and not _has(davis, defaults[name])}
    return lacking | chosen


def _has(davis: Davis, sequences: str) -> bool:
    try:
        return bool(davis.select(sequences))
    except DataError:
        return False


def run_course(davis_root: str, run_dir: str, given: Mapping[str, Any], resolution: str = "480p") -> None:
    """Run every notebook in order; print the time of each one, and the scores at the end.

    A notebook that runs several times teaches in its first run only.

    Raises:
        ConfigError, DataError, FolderError, NotebookError: as `plan_course` and `run_notebook`, or another
            run is writing there.
    """
    jobs, taught = plan_course(davis_root, run_dir, given, resolution), set()
    with lock_folder(run_dir):
        for stem, parameters, output in jobs:
            start = time.perf_counter()
            print(f"{output.stem}", flush=True)
            run_notebook(stem, parameters, output, lesson=stem not in taught)
            taught.add(stem)
            print(f"  {time.perf_counter() - start:.0f} s → {output}", flush=True)
    evaluation = resolve_output(run_dir) / "evaluation"
    print(pd.read_csv(evaluation / "per_sequence.csv").round(3).to_string(index=False))
    print(f"Gallery: {evaluation / 'gallery.png'}")
