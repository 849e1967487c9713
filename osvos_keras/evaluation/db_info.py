"""DAVIS's `db_info.yml`: what is known of each sequence beside its frames."""

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from osvos_keras.davis import Davis
from osvos_keras.errors import DataError, first_line


@dataclass(frozen=True)
class SequenceInfo:
    """One entry: the attributes, such as `DEF` and `OCC`, and whether T is defined (no occlusions)."""

    attributes: tuple[str, ...] = ()
    eval_t: bool = False


def read_db_info(davis: Davis) -> dict[str, SequenceInfo]:
    """What `db_info.yml` says of each sequence; {} without the file.

    Raises:
        DataError: the file cannot be understood; the message says what was found.
    """
    folders = (davis.root, davis.root / "Annotations", davis.root / "Annotations" / davis.resolution)
    path = next((path for folder in folders if (path := folder / "db_info.yml").is_file()), None)
    if path is None:
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, OSError, RecursionError) as error:
        raise _not_understood(path, f"{type(error).__name__}: {first_line(error)}") from error
    entries = content.get("sequences") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise _not_understood(path, "no list `sequences`")
    infos = {}
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise _not_understood(path, f"entry {number} has no `name` that is a text")
        infos[entry["name"]] = SequenceInfo(_attributes(path, entry), entry.get("eval_t") is True)
    return infos


def _attributes(path: Path, entry: dict) -> tuple[str, ...]:
    """A list of names; one text of names (`attributes: DEF`) is read as such."""
    attributes = entry.get("attributes", 0)
    if attributes is None:
        return ()
    if isinstance(attributes, str):
        attributes = [name for name in re.split(r"[,\s]+", attributes) if name]
    if not isinstance(attributes, list) or not all(isinstance(name, str) for name in attributes):
        raise _not_understood(path, f"the attributes of {entry['name']} are no list of names")
    return tuple(dict.fromkeys(attributes))


def _not_understood(path: Path, found: str) -> DataError:
    return DataError(f"{path}: not DAVIS's db_info.yml ({found}). Restore or remove it.")
