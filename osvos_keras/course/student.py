"""The student edition: the notebooks with every solution taken out, by nbgrader's own preprocessors.

A solution stands between `### BEGIN SOLUTION: what to fill in` and `### END SOLUTION`. nbgrader puts one
stub in place of all solutions; here the stub says what stands behind the colon.
"""

import copy
import json
import re
from pathlib import Path

import nbformat

from osvos_keras.batch.parameters import read_notebook
from osvos_keras.course.copies import read_course, write_copies
from osvos_keras.errors import ConfigError
from osvos_keras.io.paths import NOTEBOOKS

try:
    from nbgrader.preprocessors import CheckCellMetadata, ClearOutput, ClearSolutions, LockCells
except ImportError as error:
    raise ConfigError("The student edition needs nbgrader: pip install nbgrader") from error


class SayWhatToFillIn(ClearSolutions):
    """nbgrader's preprocessor, with a stub that names the task of its cell."""

    def preprocess_cell(self, cell, resources, cell_index):
        task = re.search(rf"{self.begin_solution_delimeter}: (.+)", cell.source)
        words = json.dumps(task[1], ensure_ascii=False) if task else ""
        self.code_stub = {"python": f"raise NotImplementedError({words})"}
        return super().preprocess_cell(cell, resources, cell_index)


PREPROCESSORS = (CheckCellMetadata, SayWhatToFillIn, LockCells, ClearOutput)


def blank(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A copy of a notebook without solutions and outputs, the cells with checks locked."""
    notebook = copy.deepcopy(notebook)
    for preprocessor in PREPROCESSORS:
        notebook, _ = preprocessor()(notebook, {})
    return notebook


def write_student_edition(folder: str | Path) -> list[Path]:
    """Write the student edition of all notebooks, with their figures, into `folder`.

    Returns:
        the notebooks written.

    Raises:
        ConfigError, FolderError: as `write_copies`.
    """
    contents = read_course()
    for name in contents:
        if name.suffix == ".ipynb":
            contents[name] = encode(blank(read_notebook(NOTEBOOKS / name)))
    return write_copies(folder, contents)


def list_figures(notebook: nbformat.NotebookNode) -> list[str]:
    """The figures that a notebook shows, as paths from its folder."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return re.findall(r"\((figures/[^()\s]+)\)", text)


def encode(notebook: nbformat.NotebookNode) -> bytes:
    """The content of a notebook's file."""
    return f"{nbformat.writes(notebook)}\n".encode()
