"""Paths and names as people type them: the place that each one means, and checks of their validity."""

import os
import shlex
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from osvos_keras.errors import ConfigError

PACKAGE = Path(__file__).resolve().parents[1]
INSTALLED = PACKAGE / "bundled"  # where a wheel holds the project's data/ and notebooks/; see pyproject.toml
PROJECT = INSTALLED if INSTALLED.is_dir() else PACKAGE.parent
NOTEBOOKS = PROJECT / "notebooks"
BUNDLED = ("data", "notebooks")  # folders of the project whose files are found from anywhere
TEMPORARY = ".tmp-"  # the start of the name of a file that is still being written
LONGEST_NAME = 255 - len(f"{TEMPORARY}1234567-")  # bytes; every common file system allows names of 255


def working_folder() -> Path:
    """The folder that relative paths count from: the process's own.

    JupyterLab starts a kernel in the notebook's folder. For the notebooks of a checkout, paths count from
    the checkout, so that they mean the same there as for `osvos run` in the checkout. For notebooks that
    `osvos notebooks` wrote, paths count from their own folder, where `osvos run` finds them too.
    """
    try:
        here = Path.cwd().resolve()  # of a drive that stands for a folder elsewhere
    except FileNotFoundError as error:
        raise ConfigError("the working folder is gone: it was removed. Change to another one.") from error
    return PROJECT if here == NOTEBOOKS and PROJECT != INSTALLED else here


def find_input(path: str | Path) -> Path:
    """The absolute path of an input: below the working folder, or bundled with the project.

    `data/sample` and the notebooks are found from any working folder, unless that folder has its own. For a
    path that does not exist, the result lies below the working folder.

    Raises:
        ConfigError: the path is not valid; see `resolve_output`.
    """
    found = _resolve(path)
    relative = Path(path)
    if found.exists() or relative.is_absolute() or relative.parts[0] not in BUNDLED:
        return found
    bundled = PROJECT / relative
    return bundled if bundled.exists() else found


def resolve_output(path: str | Path) -> Path:
    """The absolute path of an output. A relative path starts from the working folder.

    Raises:
        ConfigError: the path is empty, names an unknown user, holds a NUL character or a name too long for a
            file system, is a loop of links, or lies in the project's own notebooks folder.
    """
    full = _resolve(path)
    if full.is_relative_to(NOTEBOOKS):
        raise ConfigError(
            f"{full}: lies in the project's own notebooks folder, whose files nothing may write over. Choose "
            "another place, such as runs/mine."
        )
    return full


def _resolve(path: str | Path) -> Path:
    if not str(path).strip():
        raise ConfigError("a path is empty (an unset variable?). Write '.' for the working folder.")
    if "\0" in str(path):
        raise ConfigError(f"{str(path)!r}: a path cannot hold a NUL character.")
    try:
        full = Path(path).expanduser()
        full = full if full.is_absolute() else working_folder() / full
        for name in full.parts:
            check_length(name)
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            full.stat()  # finds a loop of links; `resolve` does not in Python 3.13
        return full.resolve()
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"{str(path)!r}: a path that this system cannot encode ({error.reason})."
        ) from error
    except (RuntimeError, OSError) as error:  # no home folder of that user; links in a circle
        raise ConfigError(f"{path}: not a path that can be followed ({error}).") from error


def join_command(words: Sequence[str]) -> str:
    """The words of a command as a person types them here: cmd.exe of Windows knows no single quotes."""
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def check_length(name: str) -> None:
    """Check that a name is not too long for a file system.

    Raises:
        ConfigError: it is.
    """
    if len(os.fsencode(name)) > LONGEST_NAME:
        raise ConfigError(
            f"{name[:40]}…: a name of {len(os.fsencode(name))} bytes. Use at most {LONGEST_NAME}."
        )


def check_name(name: str, what: str) -> None:
    """Check that a name can be the name of one folder or file. Call it before making a path of the name.

    Args:
        name: the name.
        what: the setting that holds the name, such as `"SEQUENCE"`; the message says it.

    Raises:
        ConfigError: it cannot.
    """
    strange = set(name) & set("/\\") or not name.isprintable()
    if not name.strip() or name.startswith(".") or strange or len(name.encode()) > LONGEST_NAME:
        raise ConfigError(
            f"{what} is {name[:60]!r}; it must be a name alone, without / or \\ or control characters, "
            f"with no dot first, and of {LONGEST_NAME} bytes at the most."
        )
