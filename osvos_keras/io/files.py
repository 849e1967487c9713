"""Files: listings in the order that a person expects, careful reading, atomic writing, and locks."""

import codecs
import errno
import hashlib
import json
import os
import re
import shutil
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from filelock import FileLock, Timeout

from osvos_keras.errors import DataError, FolderError, OsvosError
from osvos_keras.io.paths import TEMPORARY, resolve_output

if TYPE_CHECKING:
    import pandas as pd

WHERE = "RUN_DIR, --run-dir, --out or --to"  # what names a folder to write to
HELD = 20 if os.name == "nt" else 1  # tries, a tenth of a second apart
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
    """The visible files of a folder, sorted by the numbers in their names.

    `frame2.jpg` comes before `frame10.jpg`. The list leaves out folders, hidden files (macOS's `._0001.jpg`,
    the `.tmp-` file of a killed run) and everything that is not a regular file: opening a FIFO would block.

    Args:
        folder: the folder to list; a folder that does not exist has no files.
        suffixes: the kinds of files to list, such as `".png"`, in lower case; a file's own suffix may be in
            upper case. Without suffixes, all kinds are listed.
    """
    folder = Path(folder)
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:  # which know of most files what kind they are
        names = [
            entry.name
            for entry in entries
            if not entry.name.startswith(".")
            and (not suffixes or entry.name.lower().endswith(suffixes))
            and (entry.is_file(follow_symlinks=False) or Path(entry.path).is_file())
        ]
    return [folder / name for name in sorted(names, key=natural_key)]


def require_regular(folder: Path, files: Iterable[Path], *suffixes: str) -> None:
    """Raise a DataError if a folder holds such a name beside its `files`, as `list_files` gives them."""
    with os.scandir(folder) as entries:
        names = {entry.name for entry in entries} - {path.name for path in files}
    for name in sorted(names):
        if name.lower().endswith(suffixes) and name[0] != ".":
            raise DataError(
                f"{folder / name}: a broken link, a folder or a pipe, where a frame should be. Remove it."
            )


def check_text(path: Path) -> None:
    """Raise a DataError if a file's name is not text, as of an old archive: no table could hold it."""
    if not path.name.isascii() and any("\ud800" <= letter <= "\udfff" for letter in path.name):
        raise DataError(f"{str(path)!r}: its name is not UTF-8. Rename it.")


def natural_key(name: str) -> list:
    """A key for sorting names, in which numbers compare as numbers."""
    parts = re.split(r"([0-9]+)", name)
    return [[(int(part), "") if part.isdecimal() else (-1, part) for part in parts], parts]


def last_number(name: str) -> int | None:
    """The number that a file's name ends in, or the last one in it; None without one."""
    numbers = re.findall(r"[0-9]+", name)
    return int(numbers[-1]) if numbers else None


def require_file(path: str | Path) -> int:
    """The size of a regular file in bytes. Call it before opening the file.

    Raises:
        DataError: `path` is no regular file, or cannot be read.
    """
    try:
        found = Path(path).stat()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file.") from error
    except (OSError, ValueError) as error:  # no permission; a NUL
        raise DataError(f"{path}: cannot be read ({getattr(error, 'strerror', error)}).") from error
    if not stat.S_ISREG(found.st_mode):  # opening a FIFO would block
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe or a device"
        raise DataError(f"{path}: {kind}, not a file.")
    return found.st_size


def read_lines(path: str | Path) -> list[str]:
    """The lines of a text file in UTF-8, UTF-16 or Latin-1, with any line ending.

    Raises:
        DataError: the file cannot be read, or is not text.
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


def clear_temporaries(folder: str | Path, name: str | None = None) -> None:
    """Remove the half-written files of a killed process, or those that were to become `name`.

    The caller must hold the folder's lock, or be the only one that writes `name`.
    """
    for path in Path(folder).glob(f"{TEMPORARY}*"):
        _, _, becomes = path.name.removeprefix(TEMPORARY).partition("-")
        if name in (None, becomes):
            _remove(path)


def _remove(path: Path) -> None:
    """Remove a file or a folder, if there is one."""
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def make_folder(folder: str | Path) -> Path:
    """Create `folder` if it is absent, check that it is writable, and return its path.

    Raises:
        FolderError: the folder cannot be created or written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f"{TEMPORARY}{uuid4().hex}"  # `tempfile` tries two thousand million names on Windows
        probe.touch()
        probe.unlink(missing_ok=True)  # another run may have cleared the folder
    except OSError as error:
        raise FolderError(
            f"{folder}: cannot write there ({error.strerror}). Choose another folder ({WHERE})."
        ) from error
    return folder


@contextmanager
def lock_folder(folder: str | Path, wait: float = 0, name: str = ".lock") -> Iterator[Path]:
    """Lock a folder so that no second run writes there; the system releases the lock with the process.

    Args:
        folder: the folder to lock; created if it is absent.
        wait: seconds to wait for another run that may be ending.
        name: name of the lock file; a different name locks only a part of the folder.

    Raises:
        FolderError: another run holds the lock, or the folder cannot be written.
    """
    folder = make_folder(resolve_output(folder))
    lock = FileLock(folder / name, timeout=wait)
    try:
        lock.acquire()
    except Timeout as error:
        raise FolderError(
            f"{folder}: another run is writing there. Wait until it ends, or choose another folder ({WHERE})."
        ) from error
    except PermissionError as error:
        raise FolderError(
            f"{folder / name}: the lock of another person, which cannot be opened ({error.strerror}). Remove "
            f"it if no run of theirs is writing there, or choose another folder ({WHERE})."
        ) from error
    except OSError as error:  # some network drives have no locks
        raise FolderError(
            f"{folder}: its file system cannot lock a folder ({error.strerror}). Choose a folder of another "
            f"one ({WHERE})."
        ) from error
    try:
        yield folder
    finally:
        lock.release()


@contextmanager
def write_atomically(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block succeeds, rename it to `path`.

    A reader, or a rerun after a kill, finds the old file or the new one, never half a file.
    The temporary path has the suffix of `path`, because Keras and OpenCV choose the format by it.
    A folder is written in the same way, if there is none of that name yet.

    Raises:
        FolderError: the disk is full, or the file cannot be written there.
    """
    path = Path(path)
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    try:
        with explain_unwritable(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            replace(temporary, path)
    finally:
        with suppress(OSError):  # never made, or its folder was not
            _remove(temporary)


def replace(source: Path, target: Path) -> None:
    """Rename a file or a folder. Windows' virus scanners and indexes hold a new one for a moment: wait."""
    for left in reversed(range(HELD)):
        try:
            source.replace(target)
            break
        except PermissionError:
            if not left:
                raise
            time.sleep(0.1)


@contextmanager
def explain_unwritable(path: Path, reasons: Sequence[int] = UNWRITABLE) -> Iterator[None]:
    """Turn errors of the system for these reasons into a FolderError that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in reasons or isinstance(error, OsvosError):
            raise
        raise FolderError(f"{path}: cannot be written ({_why_unwritable(path.parent, error)}).") from error


def _why_unwritable(folder: Path, error: OSError) -> str:
    if error.errno not in FULL:
        return f"{error.strerror}. Choose another place"
    try:
        free = f"{shutil.disk_usage(folder).free:,} bytes are free in {folder}"
    except OSError:
        free = f"no room in {folder}"
    return f"{error.strerror}; {free}. Make room, and run the same command again"


def write_json(path: str | Path, data: Any) -> Path:
    """Write `data` as indented JSON, atomically; return the path."""
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    return Path(path)


def write_csv(path: str | Path, table: "pd.DataFrame", index: bool = False) -> None:
    """Write a table as CSV, atomically."""
    with write_atomically(path) as temporary:
        table.to_csv(temporary, index=index)


def read_json(path: str | Path) -> dict[str, Any] | None:
    """The JSON object in a file that a run left; None if no such object can be read.

    An absent file, a folder of that name, another encoding, half a file and a JSON list all give None. The
    caller then makes again what the file would describe.
    """
    path = Path(path)
    try:
        if not path.is_file():  # opening a FIFO would block
            return None
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def sha256(*paths: str | Path) -> str:
    """The SHA-256 of the concatenated files, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for path in paths:
        with Path(path).open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()
