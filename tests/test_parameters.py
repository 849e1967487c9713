"""What a notebook says about its parameters, and what a person may give for them."""

import json

import nbformat
import pytest

from osvos_keras.batch.parameters import check_parameters, find_notebook, inspect_parameters, read_parameters
from osvos_keras.cli.run import EXAMPLE
from osvos_keras.errors import ConfigError, DataError, NotebookError
from osvos_keras.io.literals import parse_pairs
from osvos_keras.io.paths import NOTEBOOKS

ONLINE = NOTEBOOKS / "04_online_training.ipynb"
PARAMETERS = '''
SEQUENCE = "cat"  # which = sequence
STEPS = 3  # how many
RATE = 0.5  # how fast
DEEP = True  # whether
LINES: int | None = None  # how tall
LIMIT: int = None  # a hint that forgets None
EPOCHS: float | None = 1  # how long
SIZES: list[int] = [1, 2]  # a hint that is not understood
ANY = None
TEXT = """two
lines"""
'''


def write(path, *cells, **metadata):
    """A notebook with a parameters cell for each text."""
    tags = {"tags": ["parameters"]}
    cells = [nbformat.v4.new_code_cell(source.strip(), metadata=tags) for source in cells]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)
    return path


@pytest.fixture
def notebook(tmp_path):
    return write(tmp_path / "example.ipynb", PARAMETERS)


def test_parameters_are_read_with_their_defaults(notebook):
    expected = {"SEQUENCE": "cat", "STEPS": 3, "RATE": 0.5, "DEEP": True, "LINES": None, "EPOCHS": 1}
    expected |= {"LIMIT": None, "SIZES": [1, 2], "ANY": None, "TEXT": "two\nlines"}
    assert read_parameters(notebook) == expected


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SEQUENCE", "12", "12"), ("STEPS", "7", 7), ("STEPS", 7, 7), ("RATE", "1", 1.0),
        ("DEEP", "False", False), ("LINES", "None", None), ("LINES", None, None), ("LINES", "0", 0),
        ("LIMIT", None, None), ("LIMIT", "5", 5),
        ("EPOCHS", "2", 2.0), ("EPOCHS", "None", None), ("SIZES", "[3]", [3]), ("ANY", "3", 3),
        ("ANY", "three", "three"), ("SEQUENCE", "None", "None"), ("TEXT", 'a "b"\n', 'a "b"\n'),
    ],
)  # fmt: skip
def test_values_take_the_type_of_the_hint_or_the_default(notebook, name, value, expected):
    (found,) = check_parameters(notebook, {name: value}).values()
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("STEPS", "many", "a whole number"), ("STEPS", "2.5", "a whole number"),
        ("STEPS", "None", "a whole number"), ("STEPS", "True", "a whole number"),
        ("DEEP", "1", "True or False"), ("RATE", "x", "a finite number"),
        ("RATE", "1e999", "a finite number"), ("LINES", "2.5", "a whole number or None"),
        ("LINES", "full", "a whole number or None"), ("EPOCHS", "", "a finite number or None"),
        ("SEQUENCE", 3, "text"),
    ],
)  # fmt: skip
def test_value_of_another_type_is_an_error(notebook, name, value, wanted):
    with pytest.raises(ConfigError, match=rf"example\.ipynb: {name} is .*; it must be {wanted}\."):
        check_parameters(notebook, {name: value})


def test_unknown_parameter_is_an_error_with_a_hint(notebook):
    with pytest.raises(
        ConfigError, match=r"no parameter SEQUENZE; did you mean SEQUENCE\? There are: SEQUENCE, STEPS"
    ):
        check_parameters(notebook, {"SEQUENZE": "dog"})
    with pytest.raises(ConfigError, match=r"has no parameter STEPS\. There are: none\."):
        check_parameters(write(notebook), {"STEPS": "3"})


def test_unknown_notebook_names_those_there_are():
    with pytest.raises(ConfigError, match=r"06_nothing: no such notebook.*04_online_training"):
        find_notebook("06_nothing")


def test_pairs_are_checked():
    assert parse_pairs(["A=1", "B=x=y", "C="], EXAMPLE) == {"A": "1", "B": "x=y", "C": ""}
    assert parse_pairs(["A = 1", " B=x y "], EXAMPLE) == {"A": "1", "B": "x y"}
    with pytest.raises(ConfigError, match="'A' is not NAME=VALUE, as in -p ONLINE_STEPS=50"):
        parse_pairs(["A"], EXAMPLE)
    with pytest.raises(ConfigError, match="A is given twice: '1' and '2'"):
        parse_pairs(["A=1", "B=1", "A=2"], EXAMPLE)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../../evil", "/etc", "a/b", "a\\b", ".hidden", "a\nb", "\udcff"]
)
@pytest.mark.parametrize("parameter", ["SEQUENCE", "RESOLUTION"])
def test_what_becomes_a_folders_name_is_a_name(parameter, name):
    with pytest.raises(ConfigError, match=f"{parameter} is .*; it must be a name alone"):
        check_parameters(ONLINE, {parameter: name})


@pytest.mark.parametrize("name", ["cat", "my cat", "Katze-ä", "dance.jump"])
def test_a_name_may_be_any_folders(tmp_path, name):
    notebook = write(tmp_path / "x.ipynb", 'SEQUENCE = "cat"')
    assert check_parameters(notebook, {"SEQUENCE": name}) == {"SEQUENCE": name}


@pytest.mark.parametrize(
    ("stem", "given", "message"),
    [
        ("04_online_training", {"SEQUENCE": "catt"}, "catt: no such sequence or split; did you mean cat"),
        ("04_online_training", {"DAVIS_ROOT": "/nowhere"}, "/nowhere/JPEGImages/480p: no such folder"),
        ("04_online_training", {"RESOLUTION": "1080p"}, "1080p: no such folder"),
        ("05_evaluation", {"SEQUENCES": "cat,cat"}, "named 2 times"),
        ("05_evaluation", {"SEQUENCES": ","}, "names no sequence"),
    ],
)
def test_data_are_looked_for_before_a_kernel_starts(stem, given, message):
    with pytest.raises(DataError, match=message):
        check_parameters(NOTEBOOKS / f"{stem}.ipynb", given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"PRESET": "papr"}, "PRESET is 'papr'; the presets are default, thorough, mindspore"),
        ({"SETTINGS": "balanc=1"}, r"no setting balanc; did you mean balance\?"),
        ({"SETTINGS": "height=240"}, "names height, which has a parameter"),
        ({"HEIGHT": "-1"}, "height is -1; it must not be negative"),
        ({"ONLINE_STEPS": "0"}, "steps is 0; it must be above zero"),
        ({"SEED": str(2**63)}, "seed is 9223372036854775808; it must lie between"),
    ],
)
def test_settings_are_checked_before_a_kernel_starts(given, message):
    with pytest.raises(ConfigError, match=message):
        check_parameters(ONLINE, given)
    check_parameters(ONLINE, {"PRESET": "paper", "SETTINGS": "balance=0.5", "ONLINE_STEPS": "None"})


BROKEN = {
    "empty": b"",
    "truncated": ONLINE.read_bytes()[:5000],
    "binary": bytes(range(256)),
    "a list": b"[1, 2]",
    "no cells": b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}',
    "newer": json.dumps({**json.loads(ONLINE.read_text()), "nbformat": 5}).encode(),
    "a word": b"null",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_notebook_is_named(tmp_path, kind):
    (tmp_path / "bad.ipynb").write_bytes(BROKEN[kind])
    with pytest.raises(
        NotebookError, match=r"bad\.ipynb: not a notebook of format 4 that can be read \(.+\)"
    ):
        inspect_parameters(tmp_path / "bad.ipynb")


def test_a_notebook_in_another_language_is_refused(tmp_path):
    spec = {"name": "ir", "display_name": "R", "language": "R"}
    with pytest.raises(NotebookError, match=r"a notebook in R\. Only those in Python"):
        inspect_parameters(write(tmp_path / "r.ipynb", "A = 1", kernelspec=spec))


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("A = 3 * 4", r"3 \* 4 is no literal"),
        ("from pathlib import Path\nA = Path('x')", r"Path\('x'\) is no literal"),
        ("A = 1\nA: int | None = None or 3", "None or 3 is no literal"),
        ("A = (", "is not Python"),
        ("%matplotlib inline\nA = 1", "is not Python"),
    ],
)
def test_parameters_that_are_no_literals_are_named(tmp_path, cell, message):
    with pytest.raises(NotebookError, match=rf"x\.ipynb: .*{message}"):
        inspect_parameters(write(tmp_path / "x.ipynb", cell))


def test_other_statements_among_the_parameters_do_no_harm(tmp_path):
    cell = '"""Help."""\nimport sys\nA = 1\nB: int\nC, D = 1, 2\nprint(A)'
    assert read_parameters(write(tmp_path / "x.ipynb", cell)) == {"A": 1}
    assert read_parameters(write(tmp_path / "y.ipynb", "A = 1", "B = 2")) == {"A": 1}  # the first cell
