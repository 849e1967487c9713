"""Paths and files: where the project lies, and writing so that a kill leaves whole files."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from osvos_keras.errors import FolderError

PROJECT = Path(__file__).resolve().parents[1]


def find_path(path: str | Path) -> Path:
    """`path` as an absolute path: from the working folder if it exists there, else from the project's.

    So a notebook's `data/sample` means the same in JupyterLab (working folder `notebooks/`),
    under papermill and in a test, while `-p DAVIS_ROOT ../DAVIS` still works from anywhere.
    """
    path = Path(path).expanduser()
    return path.resolve() if path.is_absolute() or path.exists() else (PROJECT / path).resolve()


def make_folder(folder: str | Path) -> Path:
    """`folder`, created if need be and known to be writable.

    Raises:
        FolderError: it cannot be created or written; the message names it and says what to do.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise FolderError(
            f"{folder}: cannot write there ({error.strerror}). Choose another folder (RUN_DIR, --out)."
        ) from error
    return folder


@contextmanager
def lock_folder(folder: str | Path, wait: float = 0) -> Iterator[Path]:
    """Hold a folder, so that no second run writes there; the system lets go of it with the process.

    Args:
        folder: what to hold; made if need be.
        wait: seconds to wait for another run that may be ending.

    Raises:
        FolderError: another run holds it, or it cannot be written.
    """
    folder = make_folder(find_path(folder))
    try:
        with FileLock(folder / ".lock", timeout=wait):
            yield folder
    except Timeout as error:
        raise FolderError(
            f"{folder}: another run is writing there. Wait for its end, or choose another folder (RUN_DIR)."
        ) from error


@contextmanager
def write_atomically(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block succeeds, rename it to `path`.

    A reader, or a rerun after a kill, finds the old file or the new one, never half of one.
    The suffix is kept, since Keras and OpenCV choose the format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | Path, data: Any) -> Path:
    """Write `data` as readable JSON, whole or not at all; return the path."""
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(data, indent=2) + "\n")
    return Path(path)


def is_recorded(path: str | Path, record: dict) -> bool:
    """Whether `path` holds `record`: written at the end, it tells that what it describes was done."""
    try:
        return json.loads(Path(path).read_text()) == record
    except (FileNotFoundError, json.JSONDecodeError):
        return False


def sha256(*paths: str | Path) -> str:
    """The SHA-256 of files, one after the other, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for path in paths:
        with Path(path).open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()
