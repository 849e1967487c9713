"""Text in Markdown: read from notebooks, and escaped where it goes into a page."""

import re

from markdown_it import MarkdownIt
from markdown_it.token import Token

BREAKS = ("softbreak", "hardbreak")  # of a line


def list_inlines(source: str) -> list[Token]:
    """Headings, paragraphs and items of a Markdown text."""
    return [token for token in MarkdownIt().parse(source) if token.type == "inline"]


def first_paragraph(source: str) -> str:
    """The text of the first block, if that is a paragraph."""
    tokens = MarkdownIt().parse(source)
    return plain_text(tokens[1]) if tokens and tokens[0].type == "paragraph_open" else ""


def plain_text(inline: Token) -> str:
    """The text of a paragraph or heading, without its marks."""
    return "".join(" " if child.type in BREAKS else child.content for child in inline.children)


def escape_markdown(text: str) -> str:
    """Text that reads as it stands in Markdown, on one line: no HTML, link, table or emphasis."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", join_lines(text))


def join_lines(text: str) -> str:
    return " ".join(text.split())
