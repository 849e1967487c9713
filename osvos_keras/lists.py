"""Lists of sequences: where the list of a split lies, and what its lines name.

Both kinds of list are read: a sequence per line, or a frame and its annotation per line, as DAVIS has it.
"""

import os
import re
from pathlib import Path

from osvos_keras.errors import DataError
from osvos_keras.io.files import read_lines


def read_list(path: str | Path, root: Path, frames: Path) -> list[str]:
    """The sequences that a list names, each once, in its order; none if nothing is in it.

    Args:
        path: of the list.
        root: the data set's folder; paths in the list count from it.
        frames: the folder that holds a folder of frames for each sequence.

    Raises:
        DataError: the list is no text, or a line names what does not exist or lies outside the root.
    """
    lines = {f"{path}, line {number}": line for number, line in enumerate(read_lines(path), start=1)}
    names = [_sequence_of(line, where, root, frames) for where, line in lines.items() if line.strip()]
    return list(dict.fromkeys(names))


def _sequence_of(line: str, where: str, root: Path, frames: Path) -> str:
    """The sequence that one line of a list names, every path on it checked."""
    line = line.strip().replace("\\", "/").rstrip("/")  # `ls -d */` lists folders as cat/
    if "/" in line:  # a frame and its annotation; there can be spaces in both
        named = [root / field.lstrip("/") for field in re.split(r"\s+(?=/|Annotations/)", line)]
    else:
        named = [frames / line]
    for path in named:
        if not Path(os.path.normpath(path)).is_relative_to(root):
            raise DataError(f"{where}: {path} lies outside {root}. Remove the line.")
        if not path.exists():
            raise DataError(f"{where}: {path} does not exist. Add it, or remove the line.")
    return named[0].name if named[0].is_dir() else named[0].parent.name
