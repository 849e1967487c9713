"""An executed notebook as a page of the site: its title, its pictures' alt texts, its videos."""

import textwrap
from dataclasses import dataclass

from bs4 import BeautifulSoup
from markdown_it import MarkdownIt
from markdown_it.token import Token
from nbformat import NotebookNode

ALT_LENGTH = 250


@dataclass(frozen=True)
class Lesson:
    """What the front page shows of a notebook."""

    page: str
    title: str
    goal: str
    picture: str  # relative to the notebook
    alt: str
    repeats: bool  # the same lesson with another sequence


def read_lesson(notebook: NotebookNode, page: str, sequence: str, repeats: bool) -> Lesson:
    """A lesson from the notebook's first cell: its title, picture and first "you will be able to".

    All of it is plain text, to be escaped where it is shown.
    """
    lines = _inlines(notebook.cells[0].source) if notebook.cells else []
    images = [child for line in lines for child in line.children if child.type == "image"]
    goals = [_plain(line).rstrip(";.") for line in lines if line.level > 1]  # in a list
    return Lesson(
        page,
        title=(_plain(lines[0]) if lines else page) + (f" ({sequence})" if sequence else ""),
        goal=goals[0] if goals else "",
        picture=images[0].attrs["src"] if images else "",
        alt=images[0].content if images else "",
        repeats=repeats,
    )


def describe_pictures(notebook: NotebookNode) -> None:
    """Give every cell's output pictures the sentence around them as alt text.

    The notebooks say after a picture what it shows, and before its code what it is to show; the
    sentence after is taken where there is one.
    """
    cells = notebook.cells
    for index, cell in enumerate(cells):
        if cell.cell_type == "code":
            alt = _text_after(cells[index + 1 :]) or _text_before(cells[:index])
            alt = textwrap.shorten(alt, ALT_LENGTH, placeholder=" …")
            cell.metadata.setdefault("mystnb", NotebookNode()).image = {"alt": alt}


def relink_videos(notebook: NotebookNode, find_page_path) -> None:
    """Point every video that is not embedded to its copy beside the pages.

    Args:
        notebook: changed in place.
        find_page_path: from the `src` of a video to the one that the page shall have.
    """
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        html = BeautifulSoup(output.get("data", {}).get("text/html", ""), "html.parser")
        videos = [tag for tag in html.select("video[src], video source[src]") if ":" not in tag["src"]]
        for video in videos:
            video["src"] = find_page_path(video["src"])
        if videos:
            output["data"]["text/html"] = str(html)


def _text_after(cells: list[NotebookNode]) -> str:
    """The first paragraph of the next cell, if that begins with a paragraph."""
    if not cells or cells[0].cell_type != "markdown":
        return ""
    tokens = MarkdownIt().parse(cells[0].source)
    if not tokens or tokens[0].type != "paragraph_open":
        return ""
    text = _plain(tokens[1])
    # A last sentence that ends in a colon announces the next picture.
    return text.rpartition(". ")[0] if text.endswith(":") else text


def _text_before(cells: list[NotebookNode]) -> str:
    """The last text above."""
    texts = (_inlines(cell.source) for cell in reversed(cells) if cell.cell_type == "markdown")
    return next((_plain(lines[-1]) for lines in texts if lines), "")


def _inlines(source: str) -> list[Token]:
    """Headings, paragraphs and items of a Markdown text."""
    return [token for token in MarkdownIt().parse(source) if token.type == "inline"]


def _plain(inline: Token) -> str:
    """The text of a paragraph or heading, without its marks."""
    return "".join(" " if child.type == "softbreak" else child.content for child in inline.children)
