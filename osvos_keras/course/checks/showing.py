"""Values as a student reads them: small ones as they are, large ones by what is in them."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

FEW = 9  # values that fit on one line
SMALL = 100  # values that are still shown one by one, row by row
INDENT = 16
NEW_ROW = f"\n{' ' * INDENT}"


@dataclass(frozen=True)
class Raised:
    """What came of a function that raised an error instead of returning."""

    error: Exception


def as_array(value: object) -> np.ndarray | None:
    """`value` as an array of numbers, or None."""
    try:
        array = np.asarray(value)
    except ValueError:  # a list of lists of different lengths
        return None
    return array if array.dtype.kind in "biuf" else None


def show(value: object) -> str:
    """An answer on one line."""
    if isinstance(value, Raised):
        return f"{type(value.error).__name__}: {value.error}"
    array = as_array(value)
    if array is None:
        return repr(value)[:80]
    return _show_few(array) if array.size <= FEW else _describe(array)


def _show_few(array: np.ndarray) -> str:
    if array.ndim == 0:  # NumPy prints up to 17 digits of a single number
        return str(array) if array.dtype.kind in "bi" else f"{array:.6g}"
    with np.printoptions(precision=4, suppress=True):
        return " ".join(str(array).split())


def _describe(array: np.ndarray) -> str:
    if array.dtype != bool:
        return f"{array.shape} {array.dtype}, from {array.min():.4g} to {array.max():.4g}"
    if array.ndim != 2 or not array.any():
        return f"{array.shape} bool, True in {array.sum()}"
    rows, columns = np.nonzero(array)
    place = f"rows {rows.min()} to {rows.max()} and columns {columns.min()} to {columns.max()}"
    return f"{array.shape} bool, True in {len(rows)}, in {place}"


def show_inputs(arguments: tuple, function: Callable) -> Iterator[tuple[str, str]]:
    """(name of the parameter, its value) for each argument of the student's function."""
    try:
        names = list(inspect.signature(function).parameters)
    except ValueError:  # a function written in C
        names = []
    if len(names) != len(arguments):
        names = [f"input {number}" for number in range(1, len(arguments) + 1)]
    return zip(names, map(_show_input, arguments), strict=True)


def _show_input(value: object) -> str:
    if isinstance(value, Path):
        with Image.open(value) as image:
            values = ", ".join(map(str, np.unique(image)))
            return f"{value.name}, {image.height} × {image.width} pixels, mode {image.mode}, values {values}"
    if isinstance(value, dict):
        shown = {name: show(one) for name, one in value.items()}
        if len(set(shown.values())) == 1:
            return f"{', '.join(shown)}: each {next(iter(shown.values()))}"
        return NEW_ROW.join(f"{name}: {one}" for name, one in shown.items())
    if isinstance(value, list | tuple):
        return NEW_ROW.join(map(show, value))
    array = as_array(value)
    if array is None or array.ndim in (0, 4) or array.size > SMALL:
        return show(value)
    return _show_rows(array)


def _show_rows(array: np.ndarray) -> str:
    """A small array, row below row; True is 1."""
    numbers = array.astype(np.uint8) if array.dtype == bool else array
    text = np.array2string(numbers, precision=4, suppress_small=True, max_line_width=110)
    lines = [line for line in text.splitlines() if line.strip()]
    return f"{NEW_ROW.join(lines)} {array.dtype}"
