"""The student edition: no solution is left, nothing else changes, and nbgrader takes the notebooks."""

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import nbformat
import pytest

from osvos_keras.errors import CheckError, FolderError
from osvos_keras.io.paths import PROJECT
from tests.conftest import call, files_up_to
from tests.exercises import EXERCISES, read

nbgrader = pytest.importorskip("nbgrader", reason="needs nbgrader: pip install nbgrader")
NOTEBOOKS = sorted({exercise.notebook for exercise in EXERCISES.values()})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What `make student` writes."""
    folder = tmp_path_factory.mktemp("student")
    assert call(["student", "--to", str(folder)]) == 0
    return folder


@pytest.fixture(params=NOTEBOOKS)
def editions(request, folder):
    """A notebook as it is, and its student edition."""
    return read(request.param), nbformat.read(folder / f"{request.param}.ipynb", as_version=4)


def is_solution(cell) -> bool:
    return cell.metadata.get("nbgrader", {}).get("solution", False)


def test_no_solution_is_left(editions):
    source, student = editions
    assert "SOLUTION" not in nbformat.writes(student).replace("RESOLUTION", "")
    everything = "\n".join(cell.source for cell in student.cells)
    blanks = [cell.source for cell in student.cells if is_solution(cell)]
    solved = [cell.source for cell in source.cells if is_solution(cell)]
    for blank, solution in zip(blanks, solved, strict=True):
        task, body = re.search(r"### BEGIN SOLUTION: ([^\n]+)\n(.+)\n *### END", solution, re.DOTALL).groups()
        assert f'raise NotImplementedError("{task}")' in blank
        for line in body.splitlines():
            assert line not in blank.splitlines()
            assert len(line) < 40 or line.strip() not in everything


def test_all_else_is_the_same(editions):
    source, student = editions
    for one, other in zip(source.cells, student.cells, strict=True):
        assert (one.id, one.cell_type) == (other.id, other.cell_type)
        if not is_solution(one):
            assert one.source == other.source


def test_figures_come_along(folder):
    for name in NOTEBOOKS:
        for figure in re.findall(r"\((figures/.*?)\)", (folder / f"{name}.ipynb").read_text()):
            assert (folder / figure).stat().st_size > 1000


def test_cells_with_checks_are_locked(editions):
    for cell in editions[1].cells:
        if cell.source.startswith("checks."):
            assert cell.metadata.editable is False and cell.metadata.deletable is False


@pytest.mark.parametrize("key", EXERCISES)
def test_the_blank_exercise_fails_with_its_task(key, folder):
    exercise = EXERCISES[key]
    cells = nbformat.read(folder / f"{exercise.notebook}.ipynb", as_version=4).cells
    (blank,) = [cell.source for cell in cells if cell.metadata.get("nbgrader", {}).get("grade_id") == key]
    (task,) = re.findall(r"### BEGIN SOLUTION: (.+)", exercise.solution)
    with pytest.raises(CheckError, match=re.escape(f"is still blank. Your task: {task}")):
        exercise.run_check(exercise.function(source=blank))


def test_answers_are_never_overwritten(folder, tmp_path):
    from osvos_keras.course.student import write_student_edition

    write_student_edition(tmp_path)
    write_student_edition(tmp_path)  # the same again does no harm
    answered = tmp_path / f"{NOTEBOOKS[2]}.ipynb"
    answered.write_text(answered.read_text().replace("raise NotImplementedError", "return 1 or "))
    before = answered.read_text()
    with pytest.raises(FolderError, match=r"02_network_and_loss.* may hold somebody's work"):
        write_student_edition(tmp_path)
    assert answered.read_text() == before


def test_where_nothing_can_be_written_it_says_so(tmp_path):
    """A folder that takes none, and a disk that is full: here, files of more than 20 kB."""
    assert re.search(
        r"cannot write there \(.*\)\. Choose another folder", call(["student", "--to", "/proc/nowhere"])
    )
    command = [sys.executable, "-m", "osvos_keras.cli", "student", "--to", tmp_path]
    with files_up_to(20_000):
        done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert re.search(r"osvos: error: .*: cannot be written \(.* bytes are free", done.stderr)
    assert not list(tmp_path.rglob(".tmp-*"))


def test_nbgrader_accepts_the_notebooks_as_they_are(tmp_path, monkeypatch):
    """Its own metadata validation, then `nbgrader generate_assignment`, database and all."""
    from nbgrader.apps import NbGraderAPI
    from nbgrader.nbgraderformat import MetadataValidator
    from traitlets.config import Config

    programs = Path(sysconfig.get_path("scripts"))  # nbgrader calls `alembic`, by its name
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    for name in NOTEBOOKS:
        MetadataValidator().validate_nb(read(name))
        path = tmp_path / "source" / "course" / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(read(name), path)
    config = Config({"CourseDirectory": {"root": str(tmp_path), "course_id": "osvos"}})
    result = NbGraderAPI(config=config).generate_assignment("course")
    assert result["success"], result
    api = NbGraderAPI(config=config)
    with api.gradebook as gradebook:
        points = sum(notebook.max_score for notebook in gradebook.find_assignment("course").notebooks)
    assert points == len(EXERCISES)
    released = (tmp_path / "release" / "course" / f"{NOTEBOOKS[2]}.ipynb").read_text()
    assert "SOLUTION" not in released.replace("RESOLUTION", "") and "raise NotImplementedError" in released
