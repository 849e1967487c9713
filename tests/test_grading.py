"""Teachers: the course folder for nbgrader, from the release to the points, and slides."""

import os
import re
import subprocess
import sysconfig
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from osvos_keras.errors import FolderError
from osvos_keras.io.paths import NOTEBOOKS, PROJECT
from tests.conftest import call
from tests.exercises import EXERCISES, read

pytest.importorskip("nbgrader", reason='needs nbgrader: pip install -e ".[student]"')
ASSIGNMENT = "00_start_here"
RIGHT = """either = mask | annotation
    return (mask & annotation).sum() / either.sum() if either.any() else 1"""
WRONG = "return 2 * (mask & annotation).sum() / (mask.sum() + annotation.sum())"


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """What `osvos student --nbgrader` writes."""
    folder = tmp_path_factory.mktemp("course")
    assert call(["student", "--nbgrader", "--to", str(folder)]) == 0
    return folder


def test_each_notebook_is_an_assignment_with_its_own_figure(course):
    names = [path.stem for path in sorted(NOTEBOOKS.glob("*.ipynb"))]
    assert {path.relative_to(course).as_posix() for path in course.rglob("*") if path.is_file()} == {
        "nbgrader_config.py",
        *(f"source/{name}/{name}.ipynb" for name in names),
        *(f"source/{name}/figures/{name}.png" for name in names),
    }
    start = nbformat.read(course / "source" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb", as_version=4)
    for name in names[1:]:
        assert any(f"](../{name}/{name}.ipynb)" in cell.source for cell in start.cells)


def test_a_course_folder_is_never_overwritten(course, tmp_path):
    from osvos_keras.course.grading import write_course

    list(write_course(course))  # the same again does no harm
    (tmp_path / "nbgrader_config.py").write_text("c = get_config()")
    with pytest.raises(FolderError, match=r"nbgrader_config\.py: is there and differs"):
        list(write_course(tmp_path))
    assert len(list(tmp_path.rglob("*"))) == 1


@pytest.mark.parametrize("path", ["in/ada_00_start_here.ipynb", r"in\ada_00_start_here.ipynb"])
def test_a_submission_names_its_student(course, path):
    from traitlets.config import PyFileConfigLoader

    config = PyFileConfigLoader("nbgrader_config.py", path=str(course)).load_config()
    found = re.match(config.FileNameCollectorPlugin.named_regexp, path)
    assert found.groupdict() == {"student_id": "ada", "file_id": ASSIGNMENT}


def generate(course: Path) -> nbformat.NotebookNode:
    """`nbgrader generate_assignment` with the folder's settings, in this process."""
    from nbgrader.apps import NbGraderAPI
    from traitlets.config import PyFileConfigLoader

    config = PyFileConfigLoader("nbgrader_config.py", path=str(course)).load_config()
    config.CourseDirectory.root = str(course)
    result = NbGraderAPI(config=config).generate_assignment(ASSIGNMENT)
    assert result["success"], result
    return nbformat.read(course / "release" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb", as_version=4)


@pytest.fixture(scope="module")
def released(course):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", sysconfig.get_path("scripts"), prepend=os.pathsep)  # it calls `alembic`
        return generate(course)


def test_what_is_released_keeps_the_hints(course, released):
    blanks = [cell.source for cell in released.cells if "NotImplementedError" in cell.source]
    (task,) = re.findall(r"### BEGIN SOLUTION: (.+)", EXERCISES["region-similarity"].solution)
    assert [re.findall(r'NotImplementedError\("(.+)"\)', blank) for blank in blanks] == [[task]]
    assert "YOUR CODE HERE" not in nbformat.writes(released)
    files = [path for path in (course / "release").rglob("*") if path.is_file()]
    assert sorted(path.name for path in files) == [f"{ASSIGNMENT}.ipynb", f"{ASSIGNMENT}.png"]


def graded(notebook: nbformat.NotebookNode) -> list:
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [cell for cell in cells if "not-graded" not in cell.metadata.get("tags", [])]


def test_grading_runs_what_exercises_need_and_nothing_that_trains(released):
    assert [cell.source.splitlines()[0] for cell in graded(released)] == [
        "import matplotlib.pyplot as plt",
        "def region_similarity_by_hand(mask, annotation):",
        "checks.region_similarity(region_similarity_by_hand)",
    ]


@pytest.mark.parametrize("name", sorted({exercise.notebook for exercise in EXERCISES.values()}))
def test_the_cells_that_grading_runs_are_enough(name, capsys):
    """With our solutions they give every point, and train nothing."""
    from osvos_keras.course.grading import MarkUngraded

    cells = graded(MarkUngraded().preprocess(read(name), {})[0])
    names = {}
    for cell in cells:
        exec(cell.source, names)
    points = sum(exercise.notebook == name for exercise in EXERCISES.values())
    assert capsys.readouterr().out.count("✓") == points
    assert not any("train_online(" in cell.source or "train_parent(" in cell.source for cell in cells)


@pytest.mark.parametrize(
    ("source", "runs"),
    [
        ("%matplotlib inline\nstudent = print", True),
        ("%%time\nstudent = print", True),
        ("!pip list\nother = print", False),
        ("%%bash\nls -l | wc", False),
    ],
)
def test_a_teacher_s_own_cell_may_hold_magic(source, runs):
    from nbformat.v4 import new_code_cell, new_notebook

    from osvos_keras.course.grading import MarkUngraded

    check = new_code_cell("student()", metadata={"nbgrader": {}})
    notebook, _ = MarkUngraded().preprocess(new_notebook(cells=[new_code_cell(source), check]), {})
    assert [cell.source for cell in graded(notebook)] == [*([source] if runs else []), "student()"]


@pytest.mark.slow
def test_autograde_gives_the_points(course, released):
    """Released, collected from files as a learning platform gives them, graded, exported."""
    archive = course / "downloaded" / ASSIGNMENT / "archive"
    archive.mkdir(parents=True)
    for student, body in (("ada", RIGHT), ("bob", WRONG), ("eve", "raise NotImplementedError()")):
        submission = nbformat.from_dict(released)
        for cell in submission.cells:
            cell.source = re.sub(r"raise NotImplementedError.+", body, cell.source)
        nbformat.write(submission, archive / f"{student}_{ASSIGNMENT}.ipynb")
    programs = sysconfig.get_path("scripts")
    environment = os.environ | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(PROJECT),
    }
    for step in (["zip_collect", ASSIGNMENT], ["autograde", ASSIGNMENT], ["export"]):
        done = subprocess.run(
            [f"{programs}/nbgrader", *step], cwd=course, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    grades = pd.read_csv(course / "grades.csv").set_index("student_id")
    assert grades["score"].to_dict() == {"ada": 1, "bob": 0, "eve": 0}
    assert set(grades["max_score"]) == {1}
    bob = (course / "autograded" / "bob" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb").read_text()
    assert "Most likely: this is the Dice coefficient" in bob


def test_a_heading_begins_a_slide():
    from nbconvert import SlidesExporter

    exporter = SlidesExporter(preprocessors=["osvos_keras.course.slides.SlidePerHeading"])
    notebook = read(ASSIGNMENT)
    html, _ = exporter.from_notebook_node(notebook)
    headings = sum(
        bool(re.search("^#+ ", cell.source, re.MULTILINE))
        for cell in notebook.cells
        if cell.cell_type == "markdown"
    )
    assert html.count("<section><section") == headings > 5


def count_questions(text: str) -> int:
    return len(
        re.findall(r"^[0-9]\. ", text.split("## Questions")[1].split("## References")[0], re.MULTILINE)
    )


def test_every_question_has_an_answer():
    answers = (PROJECT / "docs" / "answers.md").read_text()
    parts = re.split(r"^## (\d\d)", answers, flags=re.MULTILINE)
    found = {
        name: len(re.findall(r"^[0-9]\. ", text, re.MULTILINE))
        for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }
    asked = {
        path.stem[:2]: count_questions("\n".join(cell.source for cell in read(path.stem).cells))
        for path in sorted(NOTEBOOKS.glob("*.ipynb"))
    }
    assert found == asked and sum(asked.values()) == 24
