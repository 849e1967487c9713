"""Records: what decided a result, and when it is used again."""

import dataclasses

import pytest

from osvos_keras.config import OnlineConfig
from osvos_keras.io import records
from osvos_keras.io.files import write_json
from osvos_keras.io.records import dict_in, read_record, write_record


def test_the_same_settings_find_the_result_and_others_do_not(tmp_path):
    made_with = {"config": dataclasses.asdict(OnlineConfig()), "sizes": (1, 2)}
    path = write_record(tmp_path / "a.json", made_with, masks=["00000.png"])
    assert read_record(path, made_with)["masks"] == ["00000.png"]
    assert read_record(path)["made_with"]["sizes"] == [1, 2]
    assert read_record(path, {**made_with, "sizes": (1, 3)}) is None


def test_another_version_of_the_library_makes_it_again(tmp_path, monkeypatch):
    path = write_record(tmp_path / "a.json", {"a": 1})
    monkeypatch.setattr(records, "__version__", "0.0.1")
    assert read_record(path, {"a": 1}) is None


@pytest.mark.parametrize("content", [{}, {"made_with": 3}, {"made_with": None}, [1]])
def test_anything_unexpected_is_no_record(tmp_path, content):
    assert read_record(write_json(tmp_path / "a.json", content)) is None
    assert read_record(tmp_path / "nope.json", {"a": 1}) is None


@pytest.mark.parametrize("record", [None, {}, {"files": None}, {"files": ["a"]}])
def test_a_dict_that_is_not_there_is_empty(record):
    assert dict_in(record, "files") == {}
    assert dict_in({"files": {"a": None}}, "files") == {"a": None}
