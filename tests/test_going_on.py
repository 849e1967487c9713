"""Going on without an exercise: the library's function stands in, all cells run, and no point is given."""

import re

import nbformat
import pytest

from osvos_keras.batch.notebooks import run_notebook
from osvos_keras.batch.parameters import read_notebook
from osvos_keras.course import checks
from osvos_keras.course.checks import compare
from osvos_keras.errors import CheckError, NotebookError
from osvos_keras.io.paths import NOTEBOOKS
from tests.exercises import EXERCISES


@pytest.fixture(autouse=True)
def nothing_right_yet(monkeypatch):
    monkeypatch.setattr(compare, "_right", set())


@pytest.mark.parametrize("key", EXERCISES)
def test_a_borrowed_function_passes_its_check_and_says_so(key, capsys):
    exercise = EXERCISES[key]
    borrowed = checks.borrow(getattr(checks, exercise.check_name))
    assert capsys.readouterr() == ("", "")
    exercise.run_check(borrowed)
    said = capsys.readouterr()
    assert said.out == "" and "stands in for yours" in said.err


@pytest.mark.parametrize("given", ["upsample", None])
def test_borrowing_a_name_names_the_call(given):
    with pytest.raises(CheckError, match=r"without quotes: checks\.borrow\(checks\.upsample\)"):
        checks.borrow(given)


def test_what_is_right_is_counted_once(capsys):
    exercise = EXERCISES["region-similarity"]
    for _ in range(2):
        exercise.run_check(exercise.function())
    exercise.run_check(checks.borrow(checks.region_similarity))
    EXERCISES["cosine-rate"].run_check(EXERCISES["cosine-rate"].function())
    counts = re.findall(r"right since this notebook was started: (\d)", capsys.readouterr().out)
    assert counts == ["1", "1", "2"]


@pytest.fixture
def student(tmp_path):
    """Notebook 02 of the student edition, and small parameters for it."""
    pytest.importorskip("nbgrader")
    from osvos_keras.course.student import blank

    path = tmp_path / "02.ipynb"
    nbformat.write(blank(read_notebook(NOTEBOOKS / "02_network_and_loss.ipynb")), path)
    return path, {"RUN_DIR": str(tmp_path / "run"), "HEIGHT": 48, "ONLINE_STEPS": 2}


def test_run_all_stops_at_a_blank_exercise_with_its_task(student, tmp_path):
    with pytest.raises(
        NotebookError, match=r"prepare_by_hand is still blank\. Your task: Reverse the channels"
    ):
        run_notebook(*student, tmp_path / "out.ipynb", progress=False)


@pytest.mark.slow
def test_with_all_functions_borrowed_run_all_goes_through_and_gives_no_point(student, tmp_path):
    from nbgrader.utils import determine_grade

    path, parameters = student
    edition = read_notebook(path)
    for cell in edition.cells:
        cell.source = re.sub(r"^# (.+)  # stuck\? .+$", r"\1", cell.source, flags=re.MULTILINE)
    nbformat.write(edition, path)
    out = run_notebook(path, parameters, tmp_path / "out.ipynb", progress=False)
    graded = [cell for cell in read_notebook(out).cells if cell.source.startswith("checks.")]
    assert [determine_grade(cell) for cell in graded] == [(0, 1)] * 4
