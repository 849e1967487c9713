"""What a person, or another run, has put where a run would write: refused or kept, never written over."""

import warnings
from collections.abc import Iterable
from itertools import count
from pathlib import Path

from osvos_keras.errors import FolderError, VideoWarning


def require_absent(paths: Iterable[Path]) -> None:
    """Raise a FolderError if one of these files is there: a run would write over what it did not write."""
    for path in sorted(paths):
        if path.exists():
            raise FolderError(
                f"{path}: lies where this run would write, but no run of this clip wrote it, or it was "
                "changed since. Move it elsewhere, or choose another folder (--run-dir)."
            )


def set_aside(path: str | Path, reason: str) -> None:
    """Give a file or a folder the first free name of `<name>-1`, `<name>-2` …

    Warns:
        VideoWarning: what it is called now, and the reason.
    """
    path = Path(path)
    names = (f"{path.stem}-{number}{path.suffix}" for number in count(1))
    kept = path.rename(next(other for name in names if not (other := path.with_name(name)).exists()))
    warnings.warn(f"{path}: {reason}; it is kept as {kept.name}.", VideoWarning, stacklevel=3)
