"""Data sets that hold no more than OSVOS's very task: one sequence, and its first annotation."""

import json
import subprocess
import sys

import nbformat
import pytest

from tests.conftest import write_sequence

pytestmark = pytest.mark.slow
EXECUTED = "notebooks/04_online_training_only"
SMALL = ("-p", "HEIGHT=48", "-p", "SEQUENCE=only")


@pytest.fixture(params=[4, 1], ids=["every annotation", "the first annotation only"])
def root(request, tmp_path):
    """One sequence of four frames, without lists."""
    write_sequence(tmp_path / "set", "only", size=(90, 122))
    for index in range(request.param, 4):
        (tmp_path / f"set/Annotations/480p/only/{index:05d}.png").unlink()
    return tmp_path / "set"


def osvos(root, *arguments):
    """Run the command; its output with its errors."""
    command = [sys.executable, "-m", "osvos_keras.cli", *arguments]
    if arguments[0] == "run":
        command += ["-p", f"DAVIS_ROOT={root}", "-p", f"RUN_DIR={root.parent / 'run'}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_notebook_01(root):
    osvos(root, "run", "01_data_preparation", *SMALL)  # without lists
    osvos(root, "data", "lists", "--davis", str(root), "--val", "only")
    osvos(root, "run", "01_data_preparation", *SMALL)
    (result,) = (root.parent / "run" / "notebooks").glob("01*.json")
    assert json.loads(result.read_text())["errors"] == 0


@pytest.mark.parametrize("how", ["singly", "each sequence"])
def test_notebook_04(root, how):
    select = SMALL if how == "singly" else ("-p", "HEIGHT=48", "--each-sequence", "only")
    osvos(root, "run", "04_online_training", *select, "-p", "ONLINE_STEPS=2", "-p", "SNAP=False")
    run = root.parent / "run"
    assert len(list((run / "masks" / "only").glob("*.png"))) == 4
    complete = len(list((root / "Annotations" / "480p" / "only").iterdir())) == 4
    assert ("J_mean" in json.loads((run / f"{EXECUTED}.json").read_text())) == complete
    cells = nbformat.read(run / f"{EXECUTED}.ipynb", as_version=4).cells
    texts = [output.get("text", "") for cell in cells for output in cell.get("outputs", [])]
    assert any("There is nothing to score" in text for text in texts) != complete
