"""Files of a person, or of another run, in a place where this run would write: refuse or rename them."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path

from osvos_keras.errors import FolderError, VideoWarning
from osvos_keras.io.files import sha256


def require_absent(paths: Iterable[Path]) -> None:
    """Raise a FolderError if one of these paths exists: the run would overwrite a file of someone else."""
    for path in sorted(paths):
        if path.exists():
            raise FolderError(
                f"{path}: lies where this run would write, but no run of this clip wrote it, or it was "
                "changed since. Move it elsewhere, or choose another folder (--run-dir)."
            )


def rename_aside(path: Path) -> Path:
    """Rename a file or a folder to the first free name of `<name>-1`, `<name>-2` …; return its new path."""
    others = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(1))
    return path.rename(next(other for other in others if not other.exists()))


def set_aside(path: str | Path, reason: str) -> None:
    """As `rename_aside`, with a warning.

    Warns:
        VideoWarning: the reason and the new name.
    """
    kept = rename_aside(Path(path))
    warnings.warn(f"{path}: {reason}; it is kept as {kept.name}.", VideoWarning, stacklevel=3)


def checksums(files: Sequence[Path]) -> dict[str, str]:
    """The SHA-256 of each of these files that exists, by its path."""
    return {str(path): sha256(path) for path in files if path.is_file()}


def keep_others(files: Sequence[Path], written: Mapping[str, str | None]) -> None:
    """Rename each file that no earlier run wrote, or that was changed since.

    Args:
        files: where this run will write.
        written: the checksums of the files that earlier runs wrote, by path; None where that was only begun.

    Warns:
        VideoWarning: a file was renamed.
    """
    for path, checksum in checksums(files).items():
        if written.get(path, "another's") not in (checksum, None):
            set_aside(path, "no earlier run of this clip wrote it")
