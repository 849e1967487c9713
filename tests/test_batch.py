"""Notebooks run headless, and the `osvos` command over them."""

import re
import subprocess
import sys
import time

import nbformat
import pytest

from osvos_keras.batch import notebooks as batch
from osvos_keras.batch.notebooks import plan_course, run_alone, run_course, run_notebook
from osvos_keras.dataset.lists import write_lists
from osvos_keras.davis import Davis
from osvos_keras.errors import ConfigError, DataError, FolderError, NotebookError
from osvos_keras.io.paths import NOTEBOOKS, PROJECT
from tests.batches import write_notebook
from tests.conftest import call, files_up_to

PARAMETERS = """
SEQUENCE = "cat"  # which sequence
STEPS = 3  # how many
RATE = 0.5  # how fast
DEEP = True  # whether
RUN_DIR = "runs/course"  # where
"""


@pytest.fixture
def notebook(tmp_path):
    """A notebook with one parameter of each type; it divides by STEPS."""
    work = "print(SEQUENCE, 6 / STEPS, RATE, DEEP)"
    return write_notebook(tmp_path / "example.ipynb", PARAMETERS, work)


def test_notebook_runs_with_its_parameters_and_is_kept(notebook, tmp_path):
    output = run_notebook(notebook, {"STEPS": "2"}, tmp_path / "out" / "done.ipynb")
    executed = nbformat.read(output, 4)
    assert executed.cells[-1].outputs[0].text == "cat 3.0 0.5 True\n"


def test_failing_cell_is_reported_and_the_notebook_kept(notebook, tmp_path):
    output = tmp_path / "done.ipynb"
    with pytest.raises(NotebookError, match=r"ZeroDivisionError: .*\n.*done\.ipynb"):
        run_notebook(notebook, {"STEPS": 0}, output)
    assert output.is_file()


def test_a_notebook_without_kernelspec_or_parameters_runs(tmp_path):
    cell = nbformat.v4.new_code_cell("print(6 * 7)")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "plain.ipynb")
    executed = nbformat.read(run_notebook(tmp_path / "plain.ipynb", {}, tmp_path / "done.ipynb"), 4)
    assert executed.cells[-1].outputs[0].text == "42\n"


def test_braces_in_a_path_are_a_name_like_any_other(notebook, tmp_path):
    source = notebook.rename(tmp_path / "{STEPS}.ipynb")
    assert run_notebook(source, {"STEPS": 2}, tmp_path / "{out" / "{}.ipynb").is_file()


def test_a_hint_that_papermill_does_not_read_causes_no_warning(notebook, tmp_path, caplog):
    text = notebook.read_text().replace("STEPS = 3 ", "STEPS: int | None = 3 ")
    notebook.write_text(text)
    run_notebook(notebook, {"STEPS": "2", "SEQUENCE": 'a "cat"'}, tmp_path / "done.ipynb")
    assert not [record for record in caplog.records if record.name == "papermill"]


@pytest.fixture
def in_project(monkeypatch):
    """The project as the working folder; its notebooks as they were, or the test fails."""
    before = {path: path.read_bytes() for path in NOTEBOOKS.iterdir() if path.is_file()}
    monkeypatch.chdir(PROJECT)
    yield
    assert before == {path: path.read_bytes() for path in NOTEBOOKS.iterdir() if path.is_file()}


OURS = "lies in the project's own notebooks folder"
NAME = "it must be a name alone"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "04_online_training", "-p", "RUN_DIR=."], OURS),
        (["run", "04_online_training", "-p", "RUN_DIR=", "-p", "SEQUENCE=cat"], "a path is empty"),
        (["run", "04_online_training", "-p", "RUN_DIR=.", "-p", "SEQUENCE=cat"], OURS),
        (["run", "04_online_training", "-p", "RUN_DIR=runs/../notebooks"], OURS),
        (["run", "04_online_training", "--out", "notebooks/new.ipynb"], OURS),
        (["run", "04_online_training", "--out", "notebooks/00_start_here.ipynb"], OURS),
        (["run", "04_online_training", "--out", ""], "a path is empty"),
        (["run", "04_online_training", "--out", "README.md"], "must end in .ipynb"),
        (["run", "04_online_training", "--each-sequence", "val", "-p", "RUN_DIR=."], OURS),
        (["run", "04_online_training", "--each-sequence", ""], "--each-sequence is empty"),
        (["run", "04_online_training", "--each-sequence", " , "], "--each-sequence is empty"),
        (["run", "04_online_training", "--each-sequence", "val", "--out", ""], "--out names one notebook"),
        (["run", "04_online_training", "-p", "SEQUENCE=../../evil", "-p", "RUN_DIR=/nowhere"], NAME),
        (["course", "--run-dir", "."], OURS),
        (["course", "--run-dir", ""], "a path is empty"),
        (
            ["course", "-p", "RUN_DIR=elsewhere"],
            "RUN_DIR: cannot be set with -p here. Use --davis, --resolution and",
        ),
        (["course", "-p", "SEQUENCE=../evil"], "../evil"),
        (["student", "--to", "notebooks"], OURS),
        (["student", "--to", "notebooks/mine"], OURS),
        (["parent", "--run-dir", ""], "a path is empty"),
    ],
)
def test_no_output_lands_among_the_projects_notebooks_or_nowhere(in_project, arguments, message):
    assert message in call(arguments)


@pytest.mark.parametrize("arguments", [["run", "04_online_training"], ["parent"], ["course"]])
def test_a_backend_that_is_not_there_is_one_sentence(monkeypatch, arguments):
    monkeypatch.setenv("KERAS_BACKEND", "nope")
    assert re.search("Keras's backend is to be 'nope' .* KERAS_BACKEND=tensorflow", call(arguments))


def test_the_notebook_that_is_run_is_never_the_output(notebook, tmp_path):
    before = notebook.read_bytes()
    (tmp_path / "link.ipynb").symlink_to(notebook)
    (tmp_path / "same.ipynb").hardlink_to(notebook)
    for output in (notebook, tmp_path / "link.ipynb", tmp_path / "same.ipynb"):
        with pytest.raises(ConfigError, match="would replace the one that is run"):
            run_notebook(notebook, {}, output)
    (tmp_path / "notebooks").mkdir()
    own = notebook.rename(tmp_path / "notebooks" / notebook.name)
    with pytest.raises(ConfigError, match="would replace the one that is run"):
        run_alone(own, {"RUN_DIR": str(tmp_path)})
    assert own.read_bytes() == before


def test_somebodys_work_is_never_written_over(notebook, tmp_path):
    work = tmp_path / "work.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("hours")]), work)
    before = work.read_bytes()
    with pytest.raises(
        FolderError, match="exists and is not an executed notebook, so it may be somebody's work"
    ):
        run_notebook(notebook, {}, work)
    assert work.read_bytes() == before
    (tmp_path / "folder.ipynb").mkdir()
    with pytest.raises(FolderError, match="is not an executed notebook"):
        run_notebook(notebook, {}, tmp_path / "folder.ipynb")
    done, log = tmp_path / "done.ipynb", tmp_path / "done.log"
    log.write_text("mine\n")
    done.write_text('{"cells": [')  # half of one, by a run that was killed
    run_notebook(notebook, {}, done)
    run_notebook(notebook, {}, done)  # an executed one gives way
    assert log.read_text().startswith("mine\n")


def test_too_long_a_name_is_refused_before_the_work(notebook, tmp_path):
    given = {"RUN_DIR": str(tmp_path / "run"), "SEQUENCE": "x" * 230}
    with pytest.raises(ConfigError, match=r"a name of \d+ bytes"):
        run_alone(notebook, given)
    assert not (tmp_path / "run").exists()


def test_a_full_disk_is_one_sentence(notebook, tmp_path):
    """Here, one that takes no more than 3 kB a file."""
    with files_up_to(3_000):
        run = start("run", notebook, "-p", f"RUN_DIR={tmp_path}")
    messages = run.communicate(timeout=120)[1]
    assert run.returncode == 1 and "Traceback" not in messages
    assert re.search(r"example\.ipynb: cannot be written \(File too large; .* Make room", messages)


WAITING = """
from pathlib import Path
import time
(Path(RUN_DIR) / f"started_{SEQUENCE}").touch()
while not (Path(RUN_DIR) / "go").exists():
    time.sleep(0.02)
"""


def start(*arguments) -> subprocess.Popen:
    command = [sys.executable, "-m", "osvos_keras.cli", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=PROJECT)


def wait_for(*paths, seconds=120):
    end = time.monotonic() + seconds
    while not all(path.exists() for path in paths):
        assert time.monotonic() < end, f"{paths} did not come"
        time.sleep(0.02)


@pytest.fixture
def waiting(notebook):
    """A notebook that waits for a file `go` in RUN_DIR."""
    content = nbformat.read(notebook, 4)
    content.cells.append(nbformat.v4.new_code_cell(WAITING.strip()))
    nbformat.write(content, notebook)
    return notebook


def test_one_run_folder_is_one_runs(waiting, tmp_path):
    """Two real processes; the second is refused at once, with another sequence, output or command too."""
    run, other = tmp_path / "run", tmp_path / "other"
    first = start("run", waiting, "-p", f"RUN_DIR={run}")
    wait_for(run / "started_cat")
    elsewhere = tmp_path / "elsewhere.ipynb"
    refused = [
        start("run", waiting, "-p", f"RUN_DIR={run}"),
        start("run", waiting, "-p", f"RUN_DIR={run}", "-p", "SEQUENCE=dog"),
        start("run", waiting, "-p", f"RUN_DIR={run}", "--out", elsewhere),
        start("course", "--run-dir", run),
    ]
    for second in refused:
        _, messages = second.communicate(timeout=120)
        assert second.returncode == 1 and "another run is writing there" in messages
    assert not elsewhere.exists()
    third = start("run", waiting, "-p", f"RUN_DIR={other}")  # another folder is free
    wait_for(other / "started_cat")
    for folder in (run, other):
        (folder / "go").touch()
    assert (first.wait(120), third.wait(120)) == (0, 0)
    executed = nbformat.read(run / "notebooks" / "example.ipynb", 4)
    assert executed.metadata.papermill.exception is None


def test_one_executed_notebook_is_one_runs(waiting, tmp_path):
    output = tmp_path / "out" / "same.ipynb"
    first = start("run", waiting, "-p", f"RUN_DIR={tmp_path / 'a'}", "--out", output)
    wait_for(tmp_path / "a" / "started_cat")
    second = start("run", waiting, "-p", f"RUN_DIR={tmp_path / 'b'}", "--out", output)
    assert "another run is writing there" in second.communicate(timeout=120)[1]
    (tmp_path / "a" / "go").touch()
    assert first.wait(120) == 0


def test_course_runs_online_training_once_for_every_validation_sequence(tiny, tmp_path):
    jobs = plan_course(str(tiny.root), str(tmp_path / "run"), {"ONLINE_STEPS": "3"})
    assert [stem for stem, _, _ in jobs] == list(batch.COURSE)
    online = {stem: parameters for stem, parameters, _ in jobs}[batch.ONLINE]
    assert online["SEQUENCE"] == "cow" and online["ONLINE_STEPS"] == 3
    assert online["RUN_DIR"] == str(tmp_path / "run")


def test_course_on_other_data_takes_its_own_sequences(tiny, tmp_path):
    jobs = {stem: parameters for stem, parameters, _ in plan_course(str(tiny.root), str(tmp_path), {})}
    assert jobs["00_start_here"]["SEQUENCE"] == "cow" and jobs["07_ablation"]["SEQUENCES"] == "val"
    assert "SEQUENCE" not in jobs["06_your_video"]  # it has no DAVIS_ROOT: the sample's own clip
    assert "SEQUENCES" not in jobs["05_evaluation"]  # "val" is there already
    for _, parameters, _ in plan_course("data/sample", str(tmp_path), {}):
        assert parameters.get("SEQUENCE") in (None, "cat", "flower", "motorcycle")
        assert "SEQUENCES" not in parameters


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (
            {"ONLINE_STEP": "3"},
            ConfigError,
            "no notebook of the course has a parameter ONLINE_STEP; did you mean",
        ),
        ({"PRESET": "papr"}, ConfigError, "PRESET is 'papr'"),
        ({"STEPS": 3}, ConfigError, r"07_ablation\.ipynb: STEPS is 3; it must be text"),
        ({"SEQUENCE": "unicorn"}, DataError, "unicorn: no such sequence"),
        ({"SEQUENCES": "cow,unicorn"}, DataError, "unicorn: no such sequence"),
        ({"DAVIS_ROOT": "x"}, ConfigError, "DAVIS_ROOT: cannot be set with -p here"),
    ],
)
def test_course_checks_every_notebook_before_the_first_one(tiny, tmp_path, given, error, message):
    with pytest.raises(error, match=message):
        run_course(str(tiny.root), str(tmp_path / "run"), given)
    assert not (tmp_path / "run").exists()


def test_course_takes_a_resolution(tiny, tmp_path):
    for kind in ("JPEGImages", "Annotations"):
        (tiny.root / kind / "480p").rename(tiny.root / kind / "1080p")
    write_lists(Davis(tiny.root, "1080p"), ["cow"])
    jobs = plan_course(str(tiny.root), str(tmp_path), {}, "1080p")
    assert {parameters.get("RESOLUTION", "none") for _, parameters, _ in jobs} == {"1080p", "none"}
    with pytest.raises(DataError, match="480p: no such folder"):
        plan_course(str(tiny.root), str(tmp_path), {})


def test_run_command_writes_beside_the_run(notebook, tmp_path, capsys):
    assert call(["run", str(notebook), "-p", f"RUN_DIR={tmp_path}", "-p", "SEQUENCE=dog"]) == 0
    assert (tmp_path / "notebooks" / "example_dog.ipynb").is_file()
    assert "example_dog.ipynb" in capsys.readouterr().out


@pytest.mark.parametrize("brief", [True, False])
def test_a_brief_run_leaves_out_the_cells_that_only_teach(notebook, tmp_path, brief):
    source = nbformat.read(notebook, 4)
    source.cells.insert(1, nbformat.v4.new_code_cell("STEPS = 2", metadata={"tags": ["lesson"]}))
    nbformat.write(source, notebook)
    assert call(["run", str(notebook), "-p", f"RUN_DIR={tmp_path}", *["--brief"] * brief]) == 0
    executed = nbformat.read(tmp_path / "notebooks" / "example.ipynb", 4)
    assert executed.cells[-1].outputs[0].text == f"cat {2.0 if brief else 3.0} 0.5 True\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "no_such_notebook"], "no such notebook"),
        (["run", "04_online_training", "-p", "NONSENSE=1"], "has no parameter NONSENSE"),
        (["run", "04_online_training", "-p", "ONLINE_STEPS"], "is not NAME=VALUE"),
        (["run", "04_online_training", "--workers", "0"], "--workers belongs to --each-sequence"),
        (["run", "04_online_training", "--retries", "1"], "--retries belongs to --each-sequence"),
        (["run", "04_online_training", "--scheduler", ""], "--scheduler belongs to --each-sequence"),
        (["data", "verify", "--davis", "/nowhere"], "/nowhere/JPEGImages/480p: no such folder"),
        (["data", "verify", "--sequences", "unicorn"], "unicorn: no such sequence"),
        (["data", "download", "--to", "/proc/nowhere"], "cannot write there"),
    ],
)
def test_command_ends_with_one_clear_line(arguments, message):
    said = call(arguments)
    assert said.startswith("osvos: error: ") and message in said


def test_verify_command_tells_good_from_bad(tiny, capsys):
    command = ["data", "verify", "--davis", str(tiny.root)]
    assert call(command) == 0 and capsys.readouterr().out == "3 sequences, 12 frames, 0 errors\n"
    tiny.annotations("bee")[0].unlink()
    assert call(command) == 1 and "bee/00000.png: no such file" in capsys.readouterr().out


def test_a_grammar_that_no_notebook_needs_is_not_read():
    code = "import sys, osvos_keras.batch.notebooks; print('lark' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"
