"""Every notebook: its style, and that it runs through papermill at smoke size."""

import ast
import json
import re
from types import NoneType

import nbformat
import numpy as np
import pandas as pd
import pytest

from osvos_keras.batch.notebooks import COURSE, LESSON, run_course, run_notebook
from osvos_keras.batch.parameters import inspect_parameters, read_parameters
from osvos_keras.config import get_config
from osvos_keras.davis import Davis
from osvos_keras.errors import ConfigError
from osvos_keras.io.files import list_files
from osvos_keras.io.masks import read_annotation
from osvos_keras.io.paths import NOTEBOOKS
from tests.exercises import read

pytestmark = pytest.mark.timeout(2400)  # the whole course, perhaps on a busy machine
PATHS = list_files(NOTEBOOKS, ".ipynb")
SHARED_PARAMETERS = {  # name → default, and types if not the default's: the same in every notebook with it
    "DAVIS_ROOT": ("data/sample",),
    "RESOLUTION": ("480p",),
    "RUN_DIR": ("runs/course",),
    "HEIGHT": (None, int, NoneType),
    "SEED": (0,),
    "PRESET": ("default",),
    "SETTINGS": ("",),
}
QUICK = {"00_start_here": {"HEIGHT": 240}, "07_ablation": {"HEIGHT": 240}}  # what differs there, to be quick
# Parameters of which None leaves what the preset has; the default is None, or a number that is quick.
PRESETS_OWN = {"HEIGHT": int, "ONLINE_STEPS": int, "PARENT_EPOCHS": float}


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


def test_the_times_at_the_top_are_honest(notebook):
    """Reading: 120 words and 20 lines of code a minute; ten minutes an exercise; to the nearest five."""
    words = sum(len(cell.source.split()) for cell in notebook.cells if cell.cell_type == "markdown")
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    lines = sum(bool(line.strip()) for line in code.splitlines())
    exercises = code.count("### BEGIN SOLUTION")
    read, do = re.search(r"about (\d+) to read, (\d+) for the exercises?", notebook.cells[0].source).groups()
    assert abs(int(read) - words / 120 - lines / 20) < 5
    assert int(do) == 10 * exercises


def test_exercises_are_headings_and_one_can_go_on_without_them(notebook):
    """Each is numbered in the table of contents; a line borrows the library's function, before the check."""
    solutions = [i for i, cell in enumerate(notebook.cells) if "### BEGIN SOLUTION" in cell.source]
    assert solutions
    for number, index in enumerate(solutions, start=1):
        text, solution, check = (cell.source for cell in notebook.cells[index - 1 : index + 2])
        assert re.search(rf"^### Exercise {number} of {len(solutions)}: \w", text, re.MULTILINE)
        name, function = re.fullmatch(r"(checks\.\w+)\((\w+)\)", check).groups()
        borrowed = f"# {function} = checks.borrow({name})  # stuck? Uncomment this line to go on."
        assert solution.splitlines()[-1] == borrowed


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
        target = statement.target if isinstance(statement, ast.AnnAssign) else statement.targets[0]
        assert target.id.isupper()
        ast.literal_eval(statement.value)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_parameter_means_the_same_in_every_notebook(path):
    parameters = inspect_parameters(path)
    for name, found in parameters.items():
        default, *kinds = SHARED_PARAMETERS.get(name, (found.default,))
        default = QUICK.get(path.stem, {}).get(name, default)
        assert found.default == default and found.kinds == tuple(kinds or found.kinds)
        if name in PRESETS_OWN:
            assert found.kinds == (PRESETS_OWN[name], NoneType)
    assert ("RESOLUTION" in parameters) == ("DAVIS_ROOT" in parameters)
    assert ("SETTINGS" in parameters) == ("PRESET" in parameters)


def config_of(stem, **given):
    """The settings that a notebook's own line makes of its parameters."""
    code = "\n".join(cell.source for cell in read(stem).cells if cell.cell_type == "code")
    (line,) = re.findall(r"^ *(config = get_config\(.*\))", code, re.MULTILINE)
    names = {
        "get_config": get_config,
        "moments": [0, 5],
        **read_parameters(NOTEBOOKS / f"{stem}.ipynb"),
        **given,
    }
    exec(line, names)
    return names["config"]


@pytest.mark.parametrize("stem", ["04_online_training", "06_your_video"])
def test_a_preset_means_the_same_in_a_notebook_as_in_a_command(stem):
    assert (config_of(stem).height, config_of(stem).steps) == (480, 100)
    for preset in ("paper", "mindspore"):
        assert config_of(stem, PRESET=preset) == get_config("online", preset)
    assert config_of(stem, PRESET="paper", HEIGHT=240, ONLINE_STEPS=3) == get_config(
        "online", "paper", height=240, steps=3
    )
    more = config_of(stem, SETTINGS="learning_rate=3e-5 frozen_blocks=0")
    assert (more.learning_rate, more.frozen_blocks) == (3e-5, 0)
    with pytest.raises(ConfigError, match="steps is 0; it must be above zero"):
        config_of(stem, ONLINE_STEPS=0)


def test_the_parents_epochs_are_the_presets_where_none_is_given():
    stem = "03_parent_training"
    assert config_of(stem).epochs == 0.5  # so that the notebook is quick
    assert config_of(stem, PRESET="paper", PARENT_EPOCHS=None) == get_config("parent", "paper")
    assert config_of(stem, PARENT_EPOCHS=0.5, SETTINGS="batch=4").batch == 4


def test_the_ablations_steps_are_those_that_it_names():
    assert config_of("07_ablation").height == 240  # so that the notebook is quick
    assert config_of("07_ablation", PRESET="paper", HEIGHT=None).height == 0
    with pytest.raises(ConfigError, match=r"SETTINGS .* names steps"):
        config_of("07_ablation", SETTINGS="steps=3")


@pytest.mark.parametrize("stem", ["00_start_here", "01_data_preparation", "05_evaluation"])
def test_without_a_preset_the_default_one_counts(stem):
    assert config_of(stem).height == QUICK.get(stem, {}).get("HEIGHT", 480)
    assert config_of(stem, HEIGHT=None).height == 480
    assert config_of(stem, HEIGHT=0).height == 0


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


SMALL = {"HEIGHT": "48", "ONLINE_STEPS": "2", "SNAP": "False"}


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """The whole course at smoke size: small frames, few steps, one epoch."""
    folder = tmp_path_factory.mktemp("course")
    run_course("data/sample", str(folder), {**SMALL, "PARENT_EPOCHS": "1", "STEPS": "0,2"})
    return folder


def test_cells_that_only_teach_change_no_result(course, tmp_path):
    """The course runs notebook 04 with them for its first sequence, and without them for the others."""
    given = {**SMALL, "SEQUENCE": "flower", "RUN_DIR": str(tmp_path)}
    whole = run_notebook("04_online_training", given, tmp_path / "whole.ipynb", progress=False)
    brief = course / "notebooks" / "04_online_training_flower.ipynb"
    for path, taught in ((whole, True), (brief, False)):
        cells = [cell for cell in nbformat.read(path, 4).cells if LESSON in cell.metadata.get("tags", [])]
        assert len(cells) > 5 and all((cell.execution_count is not None) == taught for cell in cells)
    scores = tmp_path / "notebooks" / brief.with_suffix(".json").name
    assert json.loads(scores.read_text()) == json.loads(brief.with_suffix(".json").read_text())
    masks, of_brief = (list_files(folder / "masks" / "flower", ".png") for folder in (tmp_path, course))
    assert len(masks) == 28 and [mask.name for mask in masks] == [mask.name for mask in of_brief]
    assert [mask.read_bytes() for mask in masks] == [mask.read_bytes() for mask in of_brief]


def test_course_leaves_executed_notebooks_masks_scores_and_gallery(course):
    davis = Davis("data/sample")
    for sequence in davis.sequences("val"):
        masks = sorted((course / "masks" / sequence).iterdir())
        assert [mask.name for mask in masks] == [path.name for path in davis.annotations(sequence)]
        assert read_annotation(masks[0]).shape == (480, 854)
    per_sequence = pd.read_csv(course / "evaluation" / "per_sequence.csv")
    assert per_sequence["sequence"].tolist() == davis.sequences("val")
    assert list(per_sequence.columns) == [
        "sequence", "J_mean", "J_recall", "J_decay", "F_mean", "F_recall", "F_decay", "J&F", "T"
    ]  # fmt: skip
    per_frame = pd.read_csv(course / "evaluation" / "per_frame.csv")
    means = per_frame.groupby("sequence", sort=False)["J"].mean()
    np.testing.assert_allclose(per_sequence["J_mean"], means)
    assert (course / "evaluation" / "global.csv").is_file()
    assert (course / "evaluation" / "gallery.png").stat().st_size > 50_000
    trained = [course / "parent", *(course / "online" / name for name in davis.sequences("val"))]
    for folder in trained:
        assert {"osvos.weights.h5", "history.csv", "config.json"} <= {path.name for path in folder.iterdir()}
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
