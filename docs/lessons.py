"""An executed notebook as a page of the site: its name, its title, its links, its folded solutions."""

import itertools
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell
from site_text import escape_markdown, list_inlines, plain_text

from osvos_keras.course.student import blank
from osvos_keras.io.files import list_files

SOLUTION = re.compile(r"^ *### BEGIN SOLUTION.*\n((?:.*\n)*?) *### END SOLUTION", re.MULTILINE)
FOLDED = "::::{dropdown} Solution\n:class-container: solution\n\n`````python\n%s\n`````\n::::"


@dataclass(frozen=True)
class Page:
    """Where an executed notebook goes."""

    executed: Path
    stem: str  # the notebook's name in the project
    name: str  # the page's
    sequence: str  # empty where the notebook ran once

    @property
    def repeats(self) -> bool:
        """Whether it is the same lesson as an earlier page, with another sequence."""
        return self.name != self.stem


@dataclass(frozen=True)
class Lesson:
    """What the front page shows of a notebook. All of it is plain text, to be escaped where it is shown."""

    page: Page
    title: str
    goal: str
    picture: str  # relative to the notebook
    alt: str


def plan_pages(executed: Path, stems: Sequence[str]) -> list[Page]:
    """A page for every executed notebook.

    Of a notebook that ran once per sequence, the first is the page that the others link to. Letters, digits,
    `_` and `-` make the name of a page, whatever its sequence is called.
    """
    pages, names = [], set()
    for stem in stems:
        for path in list_executed(executed, stem):
            name = _make_page_name(path.stem, names) if stem in names else stem
            names.add(name)
            pages.append(Page(path, stem, name, path.stem[len(stem) + 1 :]))
    return pages


def list_executed(folder: Path, stem: str) -> list[Path]:
    """The executed copies of a notebook, one for each sequence where it ran for several."""
    return [path for path in list_files(folder, ".ipynb") if path.stem.startswith(stem)]


def read_lesson(notebook: NotebookNode, page: Page) -> Lesson:
    """A lesson from the notebook's first cell: its title, picture and first "you will be able to"."""
    lines = list_inlines(notebook.cells[0].source) if notebook.cells else []
    images = [child for line in lines for child in line.children if child.type == "image"]
    goals = [plain_text(line).rstrip(";.") for line in lines if line.level > 1]  # in a list
    return Lesson(
        page,
        title=plain_text(lines[0]) if lines else page.name,
        goal=goals[0] if goals else "",
        picture=images[0].attrs["src"] if images else "",
        alt=images[0].content if images else "",
    )


def name_sequence(notebook: NotebookNode, sequence: str) -> None:
    """Add the sequence to the title of a notebook that ran once per sequence."""
    for first in notebook.cells[:1] if sequence else ():
        first.source = re.sub(
            r"^# .*", lambda title: f"{title[0]}: {escape_markdown(sequence)}", first.source, count=1
        )


def add_links(notebook: NotebookNode, page: Page, pages: Sequence[Page]) -> None:
    """Below the opening: the notebook as a file, and the pages of the other sequences."""
    text = (
        f'**Download:** <a href="{page.stem}.ipynb" download>this notebook</a>, or '
        f'<a href="../exercises/{page.stem}.ipynb" download>the same without its solutions</a>. '
        "Both run with [the project](../index.md#two-commands)."
    )
    others = [other for other in pages if other.stem == page.stem and other is not page]
    if others:
        links = ", ".join(f"[{escape_markdown(other.sequence)}]({other.name}.ipynb)" for other in others)
        text += f"\n\n**Sequence:** {escape_markdown(page.sequence)}. The same notebook with {links}."
    notebook.cells.insert(1, new_markdown_cell(text))


def fold_solutions(notebook: NotebookNode) -> None:
    """Show every exercise as a student gets it, and its solution folded below it."""
    cells = []
    for cell, exercise in zip(notebook.cells, blank(notebook).cells, strict=True):
        cells.append(cell)
        if cell.source != exercise.source:
            solution = "\n".join(textwrap.dedent(lines).rstrip() for lines in SOLUTION.findall(cell.source))
            cells.append(new_markdown_cell(FOLDED % solution))
            cell.source = exercise.source
    notebook.cells = cells


def _make_page_name(name: str, taken: set[str]) -> str:
    """A name for a page that needs no quoting anywhere, other than those that are taken."""
    plain = re.sub(r"[^\w-]+", "-", name)
    candidates = itertools.chain([plain], (f"{plain}-{number}" for number in itertools.count(2)))
    return next(candidate for candidate in candidates if candidate not in taken)
