"""The student edition: the notebooks with every solution taken out, by nbgrader's own preprocessors.

A solution stands between `### BEGIN SOLUTION: what to fill in` and `### END SOLUTION`. nbgrader puts one
stub in place of all solutions; here the stub says what stands behind the colon.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat

from osvos_keras.batch.parameters import read_notebook
from osvos_keras.errors import ConfigError, FolderError
from osvos_keras.io.files import list_files, make_folder, write_atomically
from osvos_keras.io.paths import NOTEBOOKS, find_input, resolve_output

try:
    from nbgrader.preprocessors import CheckCellMetadata, ClearOutput, ClearSolutions, LockCells
except ImportError as error:
    raise ConfigError('The student edition needs nbgrader: pip install -e ".[student]".') from error


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
    for preprocessor in PREPROCESSORS:
        notebook, _ = preprocessor()(notebook, {})
    return notebook


def write_student_edition(folder: str | Path, notebooks: str | Path = NOTEBOOKS) -> Iterator[Path]:
    """Write the student edition of all notebooks, with their figures, into `folder`.

    Yields:
        each notebook written.

    Raises:
        ConfigError: the folder lies among the project's own notebooks.
        FolderError: a file there is another one, and so may hold somebody's answers; or nothing can be
            written there.
    """
    folder, notebooks = make_folder(resolve_output(folder)), find_input(notebooks)
    editions = {}
    for path in list_files(notebooks, ".ipynb"):
        notebook = blank(read_notebook(path))
        editions |= {folder / figure: (notebooks / figure).read_bytes() for figure in list_figures(notebook)}
        editions[folder / path.name] = encode(notebook)
    yield from write_new(editions)


def list_figures(notebook: nbformat.NotebookNode) -> list[str]:
    """The figures that a notebook shows, as paths from its folder."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return re.findall(r"\((figures/[^()\s]+)\)", text)


def encode(notebook: nbformat.NotebookNode) -> bytes:
    return f"{nbformat.writes(notebook)}\n".encode()


def write_new(files: dict[Path, bytes]) -> Iterator[Path]:
    """Write files, or none of them if one would take the place of another; yield the notebooks.

    Raises:
        FolderError: a file is there and differs, or nothing can be written there.
    """
    for path, content in files.items():
        if path.exists() and not (path.is_file() and path.read_bytes() == content):
            raise FolderError(
                f"{path}: is there and differs from the student edition, so it may hold somebody's answers. "
                "Nothing was written. Choose another folder (--to), or move this one away."
            )
    for path, content in files.items():
        with write_atomically(path) as temporary:
            temporary.write_bytes(content)
        if path.suffix == ".ipynb":
            yield path
