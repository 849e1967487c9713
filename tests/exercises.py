"""The exercises as they stand in the notebooks: solutions, checks, and the definitions around them."""

import ast
import re
import textwrap
from dataclasses import dataclass
from functools import cache

import nbformat

from osvos_keras.io.paths import NOTEBOOKS


@dataclass(frozen=True)
class Exercise:
    """One exercise: its notebook, its solution cell, and the call `checks.NAME(FUNCTION)`."""

    notebook: str
    solution: str
    check: str

    def function(self, *edits: tuple[str, str], source: str = ""):
        """The student's function: the solution, with mistakes planted by replacing text in it."""
        source = source or self.solution
        for old, new in edits:
            assert old in source, f"{old!r} is no longer in the solution"
            source = source.replace(old, new)
        names = dict(_definitions(self.notebook))
        exec(source, names)
        return names[ast.parse(self.check).body[0].value.args[0].id]

    def answer(self, *parts: str):
        """The student's function with these parts of a body in place of the solution."""
        body = "\n".join(textwrap.dedent(part).strip() for part in parts)
        lines = textwrap.indent(body, "    ").replace("\\", "\\\\")
        source, found = re.subn(r"    ### BEGIN.+### END SOLUTION", lines, self.solution, flags=re.DOTALL)
        assert found == 1
        return self.function(source=source)

    @property
    def check_name(self) -> str:
        return ast.parse(self.check).body[0].value.func.attr

    def run_check(self, function) -> None:
        from osvos_keras.course import checks

        getattr(checks, self.check_name)(function)


@cache
def _definitions(notebook: str) -> dict:
    """What a notebook imports, and the functions that it defines."""
    names = {}
    for cell in read(notebook).cells:
        if cell.cell_type == "code":
            kept = [
                node
                for node in ast.parse(cell.source).body
                if isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef)
            ]
            exec(compile(ast.Module(kept, []), notebook, "exec"), names)
    return names


def read(notebook: str) -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOKS / f"{notebook}.ipynb", as_version=4)


def find_exercises() -> dict[str, Exercise]:
    """grade_id → exercise, over all notebooks."""
    found = {}
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        cells = {c.metadata.nbgrader.grade_id: c for c in read(path.stem).cells if "nbgrader" in c.metadata}
        for key, cell in cells.items():
            if cell.metadata.nbgrader.solution:
                found[key] = Exercise(path.stem, cell.source, cells[f"{key}-check"].source)
    return found


EXERCISES = find_exercises()
