"""The mask tool in a JupyterLab of its own, for a person who has no notebook open."""

import os
import subprocess
import sys
import webbrowser
from contextlib import suppress
from pathlib import Path

import nbformat

from osvos_keras.errors import ConfigError

SCREENS = "DISPLAY", "WAYLAND_DISPLAY", "BROWSER"  # on Linux one of them is set where a browser can open
STEPS = (
    "# Mark the objects\n\nClick into the cell below and press Shift+Enter: the frame appears. Draw, press "
    "**Save**, and end JupyterLab by *File* → *Shut Down*."
)


def can_show() -> bool:
    """Whether a browser can open on this machine."""
    if sys.platform == "linux" and not any(os.environ.get(name) for name in SCREENS):
        return False
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True


def tool_code(frame: Path, mask: Path, count: int | None = None) -> str:
    """The lines that open the mask tool in a notebook; the arguments are those of `open_tool`."""
    correction = "" if count is None else f", count={count}"
    return (
        "from osvos_keras.io.images import read_frame\n"
        "from osvos_keras.marking.tool import MaskTool\n\n"
        f"MaskTool(read_frame({str(frame)!r}), {str(mask)!r}{correction})"
    )


def open_tool(frame: Path, mask: Path, folder: Path, count: int | None = None) -> None:
    """Open the mask tool in JupyterLab, and return when the person has ended JupyterLab.

    Args:
        frame: the frame's file.
        mask: the PNG to save to.
        folder: an empty folder for the notebook.
        count: as in `MaskTool`.

    Raises:
        ConfigError: JupyterLab could not run.
    """
    code = tool_code(frame, mask, count)
    cells = [nbformat.v4.new_markdown_cell(STEPS), nbformat.v4.new_code_cell(code)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, folder / "mark.ipynb")
    lab = subprocess.Popen([sys.executable, "-m", "jupyterlab", str(folder / "mark.ipynb")], stdout=2)
    status = None
    try:
        while status is None:
            with suppress(KeyboardInterrupt):  # JupyterLab receives it too, and asks whether to end
                status = lab.wait()
    finally:
        if lab.poll() is None:
            lab.terminate()
    if status:
        raise ConfigError(
            f"JupyterLab ended with status {status}; its own message is above. Give --box, --polygon or "
            "--mask instead."
        )
