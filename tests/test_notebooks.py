"""Every notebook: its style, and that it runs through papermill at smoke size."""

import ast
import json
import re

import nbformat
import numpy as np
import pandas as pd
import pytest

from osvos_keras.batch import COURSE, NOTEBOOKS, read_parameters, run_course
from osvos_keras.davis import Davis, read_annotation
from osvos_keras.files import PROJECT

PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
SHARED_PARAMETERS = {  # name → type and default, the same in every notebook that has it
    "DAVIS_ROOT": "data/sample",
    "RUN_DIR": "runs/course",
    "HEIGHT": 240,
    "SEED": 0,
    "PRESET": "default",
}


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def test_the_course_is_all_there():
    assert set(COURSE) <= {path.stem for path in PATHS}


def test_opening_and_ending(notebook):
    opening = notebook.cells[0].source
    assert opening.startswith("# ")
    for part in ("![", "**You will be able to**", "**Read first:**", "**Minutes:**"):
        assert part in opening
    headings = [
        line for cell in notebook.cells if cell.cell_type == "markdown" for line in cell.source.splitlines()
    ]
    for heading in ("## Result", "## A failure on purpose", "## Questions", "## References"):
        assert heading in headings


def test_figures_exist_and_have_alternative_text(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for text, target in re.findall(r"!\[(.*?)\]\((.*?)\)", cell.source):
                assert len(text) > 10 and (NOTEBOOKS / target).is_file()


def test_one_cell_of_parameters_literals_only_each_explained(notebook):
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    for line in cell.source.splitlines():
        assert "#" in line and len(line.split("#", 1)[1]) > 8, f"no help: {line}"
    for statement in ast.parse(cell.source).body:
        assert isinstance(statement, ast.Assign)
        (name,) = statement.targets
        value = ast.literal_eval(statement.value)
        assert name.id.isupper()
        assert value == SHARED_PARAMETERS.get(name.id, value)


def test_no_outputs_in_git_and_short_cells(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None
            assert len(cell.source.splitlines()) <= 25


def test_every_code_cell_is_led_by_prose(notebook):
    """After the set-up cells at the top, two code cells in a row are rare: claim, code, picture, sentence."""
    kinds = [cell.cell_type for cell in notebook.cells]
    prose = sum(kind == "markdown" for kind in kinds)
    assert prose >= 0.8 * (len(kinds) - prose)


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """The whole course at smoke size: small frames, few steps, one epoch."""
    folder = tmp_path_factory.mktemp("course")
    small = {"HEIGHT": "48", "ONLINE_STEPS": "2", "PARENT_EPOCHS": "1", "STEPS": "0,2", "SNAP": "False"}
    run_course("data/sample", str(folder), small)
    return folder


def test_course_leaves_executed_notebooks_masks_scores_and_gallery(course):
    davis = Davis("data/sample")
    for sequence in davis.sequences("val"):
        masks = sorted((course / "masks" / sequence).iterdir())
        assert [mask.name for mask in masks] == [path.name for path in davis.annotations(sequence)]
        assert read_annotation(masks[0]).shape == (480, 854)
    per_sequence = pd.read_csv(course / "evaluation" / "per_sequence.csv")
    assert per_sequence["sequence"].tolist() == davis.sequences("val")
    assert list(per_sequence.columns) == [
        "sequence", "J_mean", "J_recall", "J_decay", "F_mean", "F_recall", "F_decay", "J&F"
    ]  # fmt: skip
    per_frame = pd.read_csv(course / "evaluation" / "per_frame.csv")
    means = per_frame.groupby("sequence", sort=False)["J"].mean()
    np.testing.assert_allclose(per_sequence["J_mean"], means)
    assert (course / "evaluation" / "global.csv").is_file()
    assert (course / "evaluation" / "gallery.png").stat().st_size > 50_000
    executed = {path.stem for path in (course / "notebooks").glob("*.ipynb")}
    assert len(executed) == len(COURSE) - 1 + len(davis.sequences("val"))


def test_executed_notebooks_show_pictures_and_write_their_scores(course):
    for path in (course / "notebooks").glob("*.ipynb"):
        pictures = [
            output
            for cell in nbformat.read(path, as_version=4).cells
            if cell.cell_type == "code"
            for output in cell.outputs
            if "image/png" in output.get("data", {})
        ]
        assert len(pictures) >= 3, path.stem
        assert json.loads(path.with_suffix(".json").read_text())


def test_notebooks_work_from_any_working_folder(tmp_path, monkeypatch):
    """Paths in parameters count from the project where they do not exist below the working folder."""
    monkeypatch.chdir(tmp_path)
    assert (
        Davis(read_parameters(NOTEBOOKS / f"{COURSE[1]}.ipynb")["DAVIS_ROOT"]).root == PROJECT / "data/sample"
    )
