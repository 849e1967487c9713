"""DAVIS's db_info.yml, where it lies in the official archive and elsewhere, and of every shape."""

import json

import pytest

from osvos_keras.errors import DataError
from osvos_keras.evaluation import evaluate
from osvos_keras.evaluation.db_info import SequenceInfo, read_db_info


def write(davis, text, folder="."):
    (davis.root / folder).mkdir(exist_ok=True)
    (davis.root / folder / "db_info.yml").write_text(text, encoding="latin-1")


@pytest.mark.parametrize("folder", [".", "Annotations", "Annotations/480p"])
def test_the_file_is_found_where_archives_have_it(davis, masks, folder):
    assert read_db_info(davis) == {}
    entries = [{"name": "bee", "attributes": ["FM"], "eval_t": True}, {"name": "cow", "attributes": []}]
    write(davis, json.dumps({"sequences": entries}), folder)
    assert read_db_info(davis) == {"bee": SequenceInfo(("FM",), True), "cow": SequenceInfo()}
    assert list(evaluate(masks, davis, progress=False).attributes["attribute"]) == ["FM"]


def test_the_official_file_is_understood(shared_davis):
    infos = read_db_info(shared_davis)
    assert sum(info.eval_t for info in infos.values()) > 10
    assert infos["bear"] == SequenceInfo(("DEF",), True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("DEF", ("DEF",)), ("DEF, OCC", ("DEF", "OCC")), ("[DEF, DEF]", ("DEF",)), ("", ()), ("[]", ())],
)
def test_one_text_of_attributes_is_not_taken_letter_by_letter(davis, text, expected):
    write(davis, f"sequences:\n- name: bee\n  attributes: {text}\n")
    assert read_db_info(davis)["bee"].attributes == expected


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{", "ParserError"),
        ("", "no list `sequences`"),
        ("- a", "no list `sequences`"),
        ("sequences: 3", "no list `sequences`"),
        ("sequences: {bee: [FM]}", "no list `sequences`"),
        ("sequences: [bee]", "entry 1 has no `name`"),
        ("sequences: [{name: 3, attributes: []}]", "entry 1 has no `name`"),
        ("sequences: [{name: bee}]", "the attributes of bee"),
        ("sequences: [{name: bee, attributes: 3}]", "the attributes of bee"),
        ("sequences: [{name: bee, attributes: [[FM]]}]", "the attributes of bee"),
        ("sequences: !!python/object/apply:os.getcwd []", "ConstructorError"),
        ("[" * 5000, "RecursionError"),
        ("sequences: [é]", "UnicodeDecodeError"),  # not UTF-8
    ],
)
def test_a_file_of_another_shape_is_named_with_what_was_found(davis, text, found):
    write(davis, text)
    with pytest.raises(DataError, match=rf"db_info\.yml: not DAVIS's.*{found}.*Restore or remove it"):
        read_db_info(davis)
