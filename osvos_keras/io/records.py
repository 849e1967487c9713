"""Records: JSON files that say what decided a result, so that a later run knows whether to make it again.

A record is written last, beside the result: `{"made_with": {…}, …}`. `made_with` holds the settings, the
checksums of the inputs and this library's version; other keys hold anything else worth keeping. A result is
used again if its record has the same `made_with`. A file that cannot be read as a record counts as absent.

Put into `made_with` what decides the result (a checksum), not where it was (a path).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from osvos_keras import __version__
from osvos_keras.io.files import read_json, write_json


def write_record(path: str | Path, made_with: Mapping[str, Any], **results: Any) -> Path:
    """Write a record, atomically: `made_with` decided the result, and `results` are further keys."""
    return write_json(path, {"made_with": _complete(made_with), **results})


def read_record(path: str | Path, made_with: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
    """The record in a file; None if there is none, or if its `made_with` differs from the one given."""
    record = read_json(path)
    if record is None or not isinstance(record.get("made_with"), dict):
        return None
    return record if made_with is None or record["made_with"] == _complete(made_with) else None


def dict_in(record: Mapping[str, Any] | None, key: str) -> dict[str, Any]:
    """The dict that a record holds under a key; {} if there is no record, or something else in it."""
    found = (record or {}).get(key)
    return found if isinstance(found, dict) else {}


def _complete(made_with: Mapping[str, Any]) -> dict[str, Any]:
    """`made_with` and the library's version, after a round trip through JSON (tuples become lists).

    The version is raised whenever the same settings give another result.
    """
    return json.loads(json.dumps({"osvos_keras": __version__, **made_with}))
