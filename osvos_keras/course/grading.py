"""A course folder for nbgrader: one assignment per notebook, and the settings that grading needs."""

import re
import symtable
from collections.abc import Iterator
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

from osvos_keras.batch.parameters import read_notebook
from osvos_keras.course.copies import list_notebooks, write_copies
from osvos_keras.course.student import SayWhatToFillIn, encode, list_figures
from osvos_keras.io.paths import NOTEBOOKS

from nbgrader.converters import GenerateAssignment  # isort: skip  # `student` says what to do without nbgrader
from nbgrader.preprocessors import ClearSolutions, NbGraderPreprocessor  # isort: skip

NOT_GRADED = "not-graded"
SETTINGS = f'''"""nbgrader's settings for the course. Run `nbgrader` in the folder of this file."""

from osvos_keras.course.grading import RELEASE

c = get_config()
c.CourseDirectory.course_id = "osvos"
# A blank exercise says what to fill in, in place of "YOUR CODE HERE".
c.GenerateAssignment.preprocessors = RELEASE
# Seconds per cell. nbgrader's own 30 are too few for a cell that trains.
c.Execute.timeout = 1200
# Grading runs the exercises, the checks and the cells that they need. To run every cell, delete this line.
c.Execute.skip_cells_with_tag = "{NOT_GRADED}"
# `nbgrader zip_collect` takes files that are named like ada_00_start_here.ipynb.
c.FileNameCollectorPlugin.named_regexp = r".*[/\\\\](?P<student_id>[^/\\\\]+)_(?P<file_id>[0-9][0-9]_\\w+)"
'''


class MarkUngraded(NbGraderPreprocessor):
    """Tags the code cells that neither an exercise nor its check needs, directly or through others."""

    def preprocess(self, nb, resources):
        cells = [cell for cell in nb.cells if cell.cell_type == "code"]
        names = [_names(cell.source) for cell in cells]
        needed, more = set(), {number for number, cell in enumerate(cells) if "nbgrader" in cell.metadata}
        while more:
            needed |= more
            used = set().union(*(names[number][1] for number in needed))
            more = {number for number, (bound, _) in enumerate(names) if bound & used} - needed
        for number, cell in enumerate(cells):
            if number not in needed:
                cell.metadata.setdefault("tags", []).append(NOT_GRADED)
        return nb, resources


def _names(source: str) -> tuple[set[str], set[str]]:
    """The global names that a cell sets, and those that it uses; none if it is no Python, as below %%bash."""
    source = TransformerManager().transform_cell(re.sub(r"\A\s*%%.*", "", source))  # %magic and !command
    try:
        table = symtable.symtable(source, "cell", "exec")
    except SyntaxError:
        return set(), set()
    bound = {one.get_name() for one in table.get_symbols() if one.is_assigned() or one.is_imported()}
    return bound, set(_used(table))


def _used(table: symtable.SymbolTable) -> Iterator[str]:
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (table.get_type() == "module" or symbol.is_global()):
            yield symbol.get_name()
    for inner in table.get_children():
        yield from _used(inner)


RELEASE = [
    MarkUngraded,
    *(SayWhatToFillIn if step is ClearSolutions else step for step in GenerateAssignment().preprocessors),
]


def write_course(folder: str | Path) -> list[Path]:
    """Write a course folder for nbgrader: its settings, and each notebook with its figure as an assignment.

    Returns:
        the notebooks written; they hold the solutions.

    Raises:
        ConfigError, FolderError: as `write_copies`.
    """
    contents = {Path("nbgrader_config.py"): SETTINGS.encode()}
    for path in list_notebooks():
        notebook, assignment = read_notebook(path), Path("source") / path.stem
        for figure in list_figures(notebook):
            contents[assignment / figure] = (NOTEBOOKS / figure).read_bytes()
        contents[assignment / path.name] = encode(_relink(notebook))
    return write_copies(folder, contents)


def _relink(notebook: NotebookNode) -> NotebookNode:
    """Links to other notebooks lead to their assignments' folders."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\]\(([0-9]\w+)\.ipynb", r"](../\1/\1.ipynb", cell.source)
    return notebook
