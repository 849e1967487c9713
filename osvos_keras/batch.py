"""Notebooks run headless: papermill, with parameters that are checked first."""

import ast
import difflib
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import papermill
from jupyter_client import AsyncKernelManager
from jupyter_core.utils import run_sync
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from osvos_keras.davis import Davis
from osvos_keras.errors import ConfigError, DataError, NotebookError
from osvos_keras.files import PROJECT, find_input, make_folder, resolve_output

NOTEBOOKS = PROJECT / "notebooks"
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


def find_notebook(name: str | Path) -> Path:
    """The file of a notebook, from its path or its name in `notebooks/`.

    Raises:
        ConfigError: there is none.
    """
    for path in (find_input(name), NOTEBOOKS / f"{name}.ipynb"):
        if path.suffix == ".ipynb" and path.is_file():
            return path
    known = ", ".join(sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")))
    raise ConfigError(f"{name}: no such notebook. Give a path or one of: {known}.")


def read_parameters(notebook: Path) -> dict[str, Any]:
    """The parameters of a notebook and their defaults, from its cell tagged `parameters`."""
    return {
        name: ast.literal_eval(found["default"])
        for name, found in papermill.inspect_notebook(notebook).items()
    }


def check_parameters(notebook: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """`given`, each value brought to the type of its default; papermill alone would only warn.

    Raises:
        ConfigError: the notebook has no such parameter, or the value is of another type.
    """
    defaults = read_parameters(notebook)
    checked = {}
    for name, value in given.items():
        if name not in defaults:
            close = difflib.get_close_matches(name, defaults, n=1)
            hint = f"; did you mean {close[0]}?" if close else "."
            raise ConfigError(f"{notebook.name} has no parameter {name}{hint} It has: {', '.join(defaults)}.")
        checked[name] = _convert(notebook, name, value, defaults[name])
    return checked


def _convert(notebook: Path, name: str, value: Any, default: Any) -> Any:
    """A value from the command line as the type of the notebook's default."""
    wanted = type(default)
    if wanted is str:
        return str(value)
    try:
        literal = ast.literal_eval(value) if isinstance(value, str) else value
    except (ValueError, SyntaxError):
        literal = value
    if wanted is float and type(literal) is int:
        literal = float(literal)
    if type(literal) is not wanted:
        raise ConfigError(
            f"{notebook.name}: {name} = {value!r} is not {wanted.__name__}; its default is {default!r}."
        )
    return literal


@contextmanager
def open_kernel(log: Path) -> Iterator[AsyncKernelManager]:
    """A running kernel, gone when the block ends. What it writes past the notebook goes to `log`.

    Jupyter draws TCP ports at random and lets go of them before the kernel takes them, so that of
    many kernels started at once two may meet on a port. Sockets in a folder of the kernel's own
    cannot meet (Windows has none; there it stays TCP).
    """
    with (
        tempfile.TemporaryDirectory(prefix="osvos-", ignore_cleanup_errors=True) as sockets,
        log.open("w") as file,
    ):
        # Asynchronous, though we are not: only so does papermill's client notice that a kernel died.
        kernel = AsyncKernelManager(
            kernel_name="python3",
            transport="tcp" if os.name == "nt" else "ipc",
            connection_file=str(Path(sockets) / "kernel.json"),  # the sockets lie beside it
        )
        # Not captured: TensorFlow's remarks on the processor would end up in the notebook.
        arguments = ["--IPKernelApp.capture_fd_output=False"]
        run_sync(kernel.start_kernel)(extra_arguments=arguments, stdout=file, stderr=file)
        try:
            yield kernel
        finally:
            run_sync(kernel.shutdown_kernel)(now=True)


def run_notebook(
    notebook: str | Path,
    parameters: Mapping[str, Any],
    output: str | Path,
    *,
    on_kernel: Callable[[AsyncKernelManager], Any] = lambda kernel: None,
    progress: bool = True,
) -> Path:
    """Run a notebook through papermill and keep the executed one.

    Args:
        notebook: a path, or a name in `notebooks/`.
        parameters: names and values for its `parameters` cell.
        output: where the executed notebook goes; it is there also when a cell failed.
        on_kernel: called with the running kernel, for who may have to stop it from outside.
        progress: whether to show a bar over the cells.

    Raises:
        ConfigError: unknown notebook or parameter, or a value of the wrong type.
        NotebookError: a cell failed, or the kernel died.
    """
    notebook, output = find_notebook(notebook), resolve_output(output)
    parameters = check_parameters(notebook, parameters)
    make_folder(output.parent)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # inherited by the kernel
    try:
        with open_kernel(output.with_suffix(".log")) as kernel:
            on_kernel(kernel)
            papermill.execute_notebook(
                notebook,
                output,
                parameters,
                km=kernel,
                progress_bar=progress,
                coalesce_streams=True,  # a progress bar leaves its last state, not each
            )
    except DeadKernelError as error:
        raise NotebookError(
            f"{notebook.name}: its kernel died; it was killed, or memory ran out. Run the same command again "
            f"to go on, with fewer --workers if memory is short. The executed notebook so far: {output}"
        ) from error
    except PapermillExecutionError as error:
        raise NotebookError(
            f"{notebook.name} failed: {error.ename}: {error.evalue}\n"
            f"The executed notebook shows where: {output}"
        ) from error
    return output


def default_output(notebook: Path, parameters: Mapping[str, Any]) -> Path:
    """`<RUN_DIR>/notebooks/<name>[_<sequence>].ipynb`, from the parameters or the notebook's defaults."""
    values = {**read_parameters(notebook), **parameters}
    suffix = f"_{parameters['SEQUENCE']}" if "SEQUENCE" in parameters else ""
    return (
        resolve_output(values.get("RUN_DIR", "runs/course")) / "notebooks" / f"{notebook.stem}{suffix}.ipynb"
    )


def plan_course(davis_root: str, run_dir: str, given: Mapping[str, Any]) -> Iterator[tuple[str, dict, Path]]:
    """The jobs of the course: notebook, parameters, executed notebook.

    The online notebook is run once for every validation sequence. Of `given`, each notebook gets
    the parameters that it has; sequences of the sample that another data set lacks become its own.
    """
    davis = Davis(davis_root)
    given = {**given, "DAVIS_ROOT": davis_root, "RUN_DIR": run_dir}
    unknown = set(given) - {name for stem in COURSE for name in read_parameters(find_notebook(stem))}
    if unknown:
        raise ConfigError(f"no notebook of the course has a parameter {', '.join(sorted(unknown))}.")
    executed = resolve_output(run_dir) / "notebooks"
    for stem in COURSE:
        defaults = read_parameters(find_notebook(stem))
        parameters = {name: given[name] for name in defaults if name in given}
        if stem != ONLINE:
            yield stem, {**_own_sequences(davis, defaults), **parameters}, executed / f"{stem}.ipynb"
            continue
        for sequence in davis.sequences("val"):
            yield stem, {**parameters, "SEQUENCE": sequence}, executed / f"{stem}_{sequence}.ipynb"


def _own_sequences(davis: Davis, defaults: Mapping[str, Any]) -> dict[str, str]:
    """For each default that names what `davis` lacks: its first sequence for validation, or all of them."""
    own = {"SEQUENCE": davis.sequences("val")[0], "SEQUENCES": "val"}
    return {
        name: value
        for name, value in own.items()
        if "DAVIS_ROOT" in defaults and not _has(davis, defaults.get(name, value))
    }


def _has(davis: Davis, sequences: str) -> bool:
    try:
        return bool(davis.select(sequences))
    except DataError:
        return False


def run_course(davis_root: str, run_dir: str, given: Mapping[str, Any]) -> None:
    """Run every notebook in order, printing each one's time, and the scores at the end."""
    for stem, parameters, output in plan_course(davis_root, run_dir, given):
        start = time.perf_counter()
        print(f"{output.stem}", flush=True)
        run_notebook(stem, parameters, output)
        print(f"  {time.perf_counter() - start:.0f} s → {output}", flush=True)
    evaluation = resolve_output(run_dir) / "evaluation"
    print(pd.read_csv(evaluation / "per_sequence.csv").round(3).to_string(index=False))
    print(f"Look at {evaluation / 'gallery.png'}")


def parse_parameters(pairs: Iterable[str]) -> dict[str, str]:
    """`NAME=VALUE` strings as a dict.

    Raises:
        ConfigError: there is no `=` in one.
    """
    for pair in pairs:
        if "=" not in pair:
            raise ConfigError(f"{pair!r} is not NAME=VALUE, as in -p ONLINE_STEPS=50.")
    return dict(pair.split("=", 1) for pair in pairs)
