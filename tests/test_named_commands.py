"""Every command that a page, a notebook or a message names exists, with its options and parameters."""

import argparse
import re
import shlex
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest

from osvos_keras.batch.notebooks import COURSE
from osvos_keras.batch.parameters import read_parameters
from osvos_keras.cli import make_parser
from osvos_keras.io.files import list_files
from osvos_keras.io.paths import NOTEBOOKS, PROJECT

PAGES = [
    *PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md"), *PROJECT.glob("data/**/*.md"),
    *PROJECT.glob("osvos_keras/**/*.py"), *PROJECT.glob("tests/benchmarks/*.py"), *PROJECT.glob("data/*.py"),
    *list_files(NOTEBOOKS, ".ipynb"),
]  # fmt: skip
# On a line of its own to its end, or inside backticks, where it may go on in the next line.
COMMAND = re.compile(
    r"^ *(?:\.venv/bin/)?osvos( [^\n`|;>#]+)|`(?:\.venv/bin/)?osvos( [^`|;>#]+)[^`]*`", re.MULTILINE
)
BENCHMARK = re.compile(r"python -m (tests\.benchmarks\.\w+)([^`|;>#\n]*)")


@cache
def prose(path: Path) -> str:
    """The text of a page; broken lines of a shell command are one."""
    text = path.read_text()
    if path.suffix == ".ipynb":
        text = "\n".join(cell.source for cell in nbformat.read(path, 4).cells)
    return re.sub(r"\\\n\s*", " ", text)


def named(pattern: re.Pattern) -> list:
    matches = ((path, match) for path in PAGES for match in pattern.finditer(prose(path)))
    found = {(path, *(group for group in match.groups() if group is not None)) for path, match in matches}
    return [pytest.param(*case, id=f"{case[0].name}:{''.join(case[1:])[:60]}") for case in sorted(found)]


def split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # an apostrophe of the sentence around it
        return text.split()


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    return {name for action in parser._actions for name in action.option_strings}


def choices_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    several = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return several[0].choices if several else {}


@pytest.mark.parametrize(("path", "text"), named(COMMAND))
def test_a_named_command_is_one_of_osvos(path, text):
    parser, words = make_parser(), split(text)
    while (choices := choices_of(parser)) and words and words[0].isalpha():
        assert words[0] in choices, f"{path}: osvos{text}"
        parser = choices[words.pop(0)]
    given = {word.partition("=")[0] for word in words if re.fullmatch(r"--?[a-z][\w-]*(=.*)?", word)}
    assert given <= options_of(parser), f"{path}: osvos{text}"


def test_commands_are_found():
    assert len(named(COMMAND)) > 100 and len(named(BENCHMARK)) > 10


@pytest.mark.parametrize(("path", "text"), [case for case in named(COMMAND) if " -p " in case.values[1]])
def test_a_named_parameter_is_one_of_the_notebook(path, text):
    words = split(text)
    given = [after.partition("=")[0] for word, after in pairwise(words) if word == "-p"]
    notebooks = [word for word in words if word in COURSE] or COURSE
    known = {name for notebook in notebooks for name in read_parameters(NOTEBOOKS / f"{notebook}.ipynb")}
    assert {name for name in given if name.isupper() and name != "NAME"} <= known, f"{path}: osvos{text}"


@pytest.mark.parametrize(("path", "module", "text"), named(BENCHMARK))
def test_a_named_benchmark_is_there_with_its_options(path, module, text):
    source = Path(find_spec(module).origin).read_text()
    for option in re.findall(r"--[a-z][\w-]*", text):
        assert f'"{option}"' in source, f"{path}: {module}{text}"
