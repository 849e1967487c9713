"""Files: listed as a person sees them, read with care, written so that a kill leaves whole files."""

import codecs
import errno
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from osvos_keras.errors import DataError, FolderError, OsvosError
from osvos_keras.io.paths import TEMPORARY, resolve_output

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
UNWRITABLE = (
    *FULL,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EIO,
)


def list_files(folder: str | Path, *suffixes: str) -> list[Path]:
    """The files of a folder that a person would see, in the order of the numbers in their names.

    `frame2.jpg` comes before `frame10.jpg`. Hidden files (macOS's `._0001.jpg`, a `.tmp-` file of a run that
    was killed) and folders are left out, as is what is no regular file: a FIFO would be waited for.

    Args:
        folder: where to look; one that does not exist has no files.
        suffixes: kinds of files, such as `".png"`, in lower case; a file's own may be in upper case. None
            given means all.
    """
    folder = Path(folder)
    if not folder.is_dir():
        return []
    return sorted(
        (
            path
            for path in folder.iterdir()
            if not path.name.startswith(".")
            and (not suffixes or path.suffix.lower() in suffixes)
            and path.is_file()
        ),
        key=natural_key,
    )


def natural_key(path: str | Path) -> list:
    """A key to sort names by, in which numbers count as numbers."""
    parts = re.split(r"([0-9]+)", Path(path).name)
    return [[(int(part), "") if part.isdecimal() else (-1, part) for part in parts], parts]


def require_file(path: str | Path) -> None:
    """Raise a DataError unless a path is a regular file, before anything opens it."""
    try:
        found = Path(path).stat()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file.") from error
    except (OSError, ValueError) as error:  # no permission; a NUL
        raise DataError(f"{path}: cannot be read ({getattr(error, 'strerror', error)}).") from error
    if not stat.S_ISREG(found.st_mode):  # a FIFO would be waited for
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe or a device"
        raise DataError(f"{path}: {kind}, not a file.")


def read_lines(path: str | Path) -> list[str]:
    """The lines of a text file as people's programs write it: UTF-8, UTF-16 or Latin-1, any end of line.

    Raises:
        DataError: the file cannot be read, or is no text.
    """
    require_file(path)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    if "\0" in text:
        raise DataError(f"{path}: not a text file. Write one sequence per line, as UTF-8.")
    return re.split(r"\r\n|\r|\n", text)


def clear_temporaries(folder: str | Path) -> None:
    """Remove what a killed process left half written in a folder; only for who holds the folder."""
    for path in Path(folder).glob(f"{TEMPORARY}*"):
        path.unlink(missing_ok=True)


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
def lock_folder(folder: str | Path, wait: float = 0, name: str = ".lock") -> Iterator[Path]:
    """Hold a folder, so that no second run writes there; the system lets go of it with the process.

    Args:
        folder: what to hold; made if need be.
        wait: seconds to wait for another run that may be ending.
        name: of the file that is locked; another one for a part of the folder.

    Raises:
        FolderError: another run holds it, or it cannot be written.
    """
    folder = make_folder(resolve_output(folder))
    try:
        with FileLock(folder / name, timeout=wait):
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

    Raises:
        FolderError: the disk is full, or the file cannot be written there.
    """
    path = Path(path)
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.errno not in UNWRITABLE or isinstance(error, OsvosError):
            raise
        raise FolderError(f"{path}: cannot be written ({_why_unwritable(path.parent, error)}).") from error
    finally:
        with suppress(OSError):  # never made, or its folder was not
            temporary.unlink()


def _why_unwritable(folder: Path, error: OSError) -> str:
    if error.errno not in FULL:
        return f"{error.strerror}. Choose another place"
    try:
        free = f"{shutil.disk_usage(folder).free:,} bytes are free in {folder}"
    except OSError:
        free = f"no room in {folder}"
    return f"{error.strerror}; {free}. Make room, and run the same command again"


def write_json(path: str | Path, data: Any) -> Path:
    """Write `data` as readable JSON, whole or not at all; return the path."""
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    return Path(path)


def read_json(path: str | Path) -> dict[str, Any] | None:
    """The JSON object in a file that a run left; None where there is none that can be read.

    No file, a folder of that name, another encoding, half a file, a list: each of them is no record, so
    that what it would describe is made again.
    """
    try:
        if not Path(path).is_file():  # a FIFO would be waited for
            return None
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def sha256(*paths: str | Path) -> str:
    """The SHA-256 of files, one after the other, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for path in paths:
        with Path(path).open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()
