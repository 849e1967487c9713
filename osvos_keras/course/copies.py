"""Copies of the notebooks and their figures, for a person's own folder."""

import re
from collections.abc import Mapping
from pathlib import Path

from osvos_keras.errors import FolderError
from osvos_keras.io.files import list_files, make_folder, write_atomically
from osvos_keras.io.paths import NOTEBOOKS, resolve_output


def list_notebooks() -> list[Path]:
    """The notebooks of the course, which have names like 00_start_here.

    A person's own beside them, such as JupyterLab's `Untitled` and `00_start_here-Copy1`, are left out.
    """
    return [path for path in list_files(NOTEBOOKS, ".ipynb") if re.fullmatch(r"[0-9]{2}_\w+", path.stem)]


def read_course() -> dict[Path, bytes]:
    """The content of every notebook and figure, by its path below the folder of the notebooks."""
    files = [*list_files(NOTEBOOKS / "figures", ".png"), *list_notebooks()]
    return {path.relative_to(NOTEBOOKS): path.read_bytes() for path in files}


def write_copies(folder: str | Path, contents: Mapping[Path, bytes]) -> list[Path]:
    """Write files into `folder`, unless one that is there differs: a person may have changed it.

    Args:
        folder: made if it is not there.
        contents: the content of each file, by its path below `folder`.

    Returns:
        the notebooks among them.

    Raises:
        ConfigError: the folder lies among the project's own notebooks.
        FolderError: a file there differs, and nothing was written; or nothing can be written there.
    """
    folder = make_folder(resolve_output(folder))
    copies = {folder / name: content for name, content in contents.items()}
    for path, content in copies.items():
        if path.exists() and not (path.is_file() and path.read_bytes() == content):
            raise FolderError(
                f"{path}: is there and differs from what would be written, so it may hold somebody's work. "
                "Nothing was written. Choose another folder (--to), or move this one away."
            )
    for path, content in copies.items():
        with write_atomically(path) as temporary:
            temporary.write_bytes(content)
    return [path for path in copies if path.suffix == ".ipynb"]
