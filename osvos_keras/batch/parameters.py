"""Notebooks and their parameters: finding and reading them, and checking the values that a person gives."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

import nbformat

from osvos_keras.config import get_config
from osvos_keras.davis import Davis
from osvos_keras.errors import ConfigError, NotebookError, first_line
from osvos_keras.io.files import list_files
from osvos_keras.io.literals import check_known, check_type, read_literal
from osvos_keras.io.paths import NOTEBOOKS, check_name, find_input
from osvos_keras.weights import find_conventions

# Parameters that set a field of a training's config, and all parameters that decide that config.
SETTINGS = {"HEIGHT": "height", "SEED": "seed", "ONLINE_STEPS": "steps", "PARENT_EPOCHS": "epochs"}
TRAINING = {*SETTINGS, "PRESET", "SETTINGS"}
DATA = {"DAVIS_ROOT", "RESOLUTION", "SEQUENCE", "SEQUENCES"}
NAMES = ("SEQUENCE", "RESOLUTION")  # parameters that become the name of a folder
HINTS = {kind.__name__: kind for kind in (int, float, str, bool)} | {"None": NoneType}


@dataclass(frozen=True)
class Parameter:
    """A parameter of a notebook: its default, and the types that it may have (empty: any type)."""

    default: Any
    kinds: tuple[type, ...]


def find_notebook(name: str | Path) -> Path:
    """The file of a notebook, from its path, its name in the working folder, or its name in `notebooks/`.

    The working folder comes first: there may lie a copy that a person changed.

    Raises:
        ConfigError: there is none.
    """
    for path in (find_input(name), find_input(f"{name}.ipynb"), NOTEBOOKS / f"{name}.ipynb"):
        if path.suffix == ".ipynb" and path.is_file():
            return path
    known = ", ".join(path.stem for path in list_files(NOTEBOOKS, ".ipynb"))
    raise ConfigError(f"{name}: no such notebook. Give a path or one of: {known}.")


def read_parameters(notebook: Path) -> dict[str, Any]:
    """The parameters of a notebook and their defaults; raises as `inspect_parameters`."""
    return {name: parameter.default for name, parameter in inspect_parameters(notebook).items()}


def inspect_parameters(notebook: Path) -> dict[str, Parameter]:
    """The parameters of a notebook, from its first cell tagged `parameters`; empty if there is none.

    (papermill's own function does not understand hints such as `int | None`.)

    Raises:
        NotebookError: the file is not a Python notebook, or a value in the cell is not a literal.
    """
    cells = [cell for cell in read_notebook(notebook).cells if "parameters" in cell.metadata.get("tags", ())]
    try:
        statements = ast.parse(cells[0].source).body if cells else []
    except (SyntaxError, ValueError) as error:
        raise NotebookError(
            f"{notebook}: the cell tagged `parameters` is not Python ({error}). Write one "
            "NAME = VALUE on each line."
        ) from error
    found = {}
    for statement in statements:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=hint, value=ast.expr() as value):
                found[name] = _make_parameter(notebook, value, ast.unparse(hint))
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                found[name] = _make_parameter(notebook, value, None)
    return found


def _make_parameter(notebook: Path, value: ast.expr, hint: str | None) -> Parameter:
    try:
        default = ast.literal_eval(value)
    except (ValueError, TypeError) as error:
        raise NotebookError(
            f"{notebook}: in the cell tagged `parameters`, {ast.unparse(value)[:60]} is no literal, such as "
            '3, "cat" or None. Write a literal there, and compute values from it in the next cell.'
        ) from error
    if hint is None:
        return Parameter(default, () if default is None else (type(default),))
    parts = [part.strip() for part in hint.split("|")]
    if default is None and "None" not in parts:  # STEPS: int = None
        parts.append("None")
    return Parameter(default, tuple(HINTS[part] for part in parts) if set(parts) <= set(HINTS) else ())


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """A notebook in format 4.

    Raises:
        NotebookError: the file is empty, damaged, in a newer format, or in another language than Python.
    """
    try:
        notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
        language = notebook.metadata.get("kernelspec", {}).get("language", "python")
        for cell in notebook.cells:
            cell.source.splitlines(), cell.metadata.get("tags")
    except Exception as error:  # nbformat raises exceptions of many kinds
        reason = first_line(error)[:100]
        raise NotebookError(
            f"{path}: not a notebook of format 4 that can be read ({reason}). Restore the file, or save it "
            "again with JupyterLab."
        ) from error
    if language.lower() != "python":
        raise NotebookError(f"{path}: a notebook in {language}. Only those in Python can be run.")
    return notebook


def check_parameters(notebook: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """`given`, each value converted to the type of its hint or default; papermill alone would only warn.

    Raises:
        ConfigError: the notebook has no such parameter, or the value has another type, is out of range, or
            is not a valid name where a name is needed.
        DataError, WeightsError: the value names a data set, a sequence or weights that do not exist.
        NotebookError: as `inspect_parameters`.
    """
    parameters = inspect_parameters(notebook)
    checked = {}
    for name, value in given.items():
        check_known(name, parameters, f"{notebook.name} has no parameter")
        kinds = parameters[name].kinds
        value = read_literal(value, kinds)
        checked[name] = check_type(f"{notebook.name}: {name}", value, kinds) if kinds else value
        if name in NAMES:
            check_name(str(checked[name]), f"{notebook.name}: {name}")
    values = {name: one.default for name, one in parameters.items()} | checked
    if TRAINING & checked.keys():
        _check_training(values)
    if DATA & checked.keys() and "DAVIS_ROOT" in values:
        _check_data(values, checked)
    if "WEIGHTS" in checked:
        find_conventions(checked["WEIGHTS"])
    return checked


def _check_training(values: Mapping[str, Any]) -> None:
    """Check now, before a kernel runs, that the notebook's own call of `get_config` will succeed."""
    phase = "parent" if "PARENT_EPOCHS" in values else "online"
    changes = {field: values[name] for name, field in SETTINGS.items() if name in values}
    get_config(phase, values.get("PRESET", "default"), values.get("SETTINGS", ""), **changes)


def _check_data(values: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Check that the data set exists and has the given sequences."""
    davis = Davis(values["DAVIS_ROOT"], values.get("RESOLUTION", "480p"))
    if "SEQUENCE" in given:
        davis.frames(given["SEQUENCE"])
    if "SEQUENCES" in given:
        davis.select(given["SEQUENCES"])
