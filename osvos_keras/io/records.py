"""What decided a result, kept beside it: the one way to tell that something is finished and still right.

A record is a JSON file that is written last, `{"made_with": {…}, …}`: the settings, the checksums of what
was read and this library's version, and then whatever else is worth keeping. A result is used again if a
record says that it was made with the same. A file that cannot be understood is no record.

Record what decides the result (a checksum), not where it lay (a path).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from osvos_keras import __version__
from osvos_keras.io.files import read_json, write_json


def write_record(path: str | Path, made_with: Mapping[str, Any], **results: Any) -> Path:
    """Write a record, whole or not at all: what decided the result, and `results` beside it."""
    return write_json(path, {"made_with": _complete(made_with), **results})


def read_record(path: str | Path, made_with: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
    """The record in a file; None if there is none, or it was made with something other than `made_with`."""
    record = read_json(path)
    if record is None or not isinstance(record.get("made_with"), dict):
        return None
    return record if made_with is None or record["made_with"] == _complete(made_with) else None


def _complete(made_with: Mapping[str, Any]) -> dict[str, Any]:
    """With the version, which is raised whenever the same settings give another result; as JSON has it."""
    return json.loads(json.dumps({"osvos_keras": __version__, **made_with}))
