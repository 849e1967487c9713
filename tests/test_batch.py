"""Notebooks run headless, and the `osvos` command over them."""

import subprocess
import sys

import nbformat
import pytest

from osvos_keras import batch
from osvos_keras.batch import check_parameters, find_notebook, plan_course, read_parameters, run_notebook
from osvos_keras.cli import main
from osvos_keras.errors import ConfigError, NotebookError

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
    cells = [
        nbformat.v4.new_code_cell(PARAMETERS.strip(), metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("print(SEQUENCE, 6 / STEPS, RATE, DEEP)"),
    ]
    path = tmp_path / "example.ipynb"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
    return path


def test_parameters_are_read_with_their_types(notebook):
    expected = {"SEQUENCE": "cat", "STEPS": 3, "RATE": 0.5, "DEEP": True, "RUN_DIR": "runs/course"}
    assert read_parameters(notebook) == expected


def test_values_take_the_type_of_the_default(notebook):
    given = {"SEQUENCE": "12", "STEPS": "7", "RATE": "1", "DEEP": "False"}
    assert check_parameters(notebook, given) == {"SEQUENCE": "12", "STEPS": 7, "RATE": 1.0, "DEEP": False}


def test_unknown_parameter_is_an_error_with_a_hint(notebook):
    with pytest.raises(ConfigError, match=r"no parameter SEQUENZE; did you mean SEQUENCE\?"):
        check_parameters(notebook, {"SEQUENZE": "dog"})


@pytest.mark.parametrize(
    ("name", "value"), [("STEPS", "many"), ("STEPS", "2.5"), ("DEEP", "1"), ("RATE", "x")]
)
def test_value_of_another_type_is_an_error(notebook, name, value):
    with pytest.raises(ConfigError, match=f"{name} = '{value}' is not "):
        check_parameters(notebook, {name: value})


def test_notebook_runs_with_its_parameters_and_is_kept(notebook, tmp_path):
    output = run_notebook(notebook, {"STEPS": "2"}, tmp_path / "out" / "done.ipynb")
    executed = nbformat.read(output, 4)
    assert executed.cells[-1].outputs[0].text == "cat 3.0 0.5 True\n"


def test_failing_cell_is_reported_and_the_notebook_kept(notebook, tmp_path):
    output = tmp_path / "done.ipynb"
    with pytest.raises(NotebookError, match=r"ZeroDivisionError: .*\n.*done\.ipynb"):
        run_notebook(notebook, {"STEPS": 0}, output)
    assert output.is_file()


def test_unknown_notebook_names_those_there_are():
    with pytest.raises(ConfigError, match=r"06_nothing: no such notebook.*04_online_training"):
        find_notebook("06_nothing")


def test_course_runs_online_training_once_for_every_validation_sequence(tiny, tmp_path):
    jobs = list(plan_course(str(tiny.root), str(tmp_path / "run"), {"ONLINE_STEPS": "3"}))
    assert [stem for stem, _, _ in jobs] == list(batch.COURSE)
    online = {stem: parameters for stem, parameters, _ in jobs}[batch.ONLINE]
    assert (online["SEQUENCE"], online["ONLINE_STEPS"], online["RUN_DIR"]) == (
        "cow",
        "3",
        str(tmp_path / "run"),
    )


def test_course_on_other_data_takes_its_own_sequences(tiny, tmp_path):
    jobs = {stem: parameters for stem, parameters, _ in plan_course(str(tiny.root), str(tmp_path), {})}
    assert jobs["00_start_here"]["SEQUENCE"] == "cow" and jobs["07_ablation"]["SEQUENCES"] == "val"
    assert "SEQUENCE" not in jobs["06_your_video"]  # it has no DAVIS_ROOT: the sample's own clip
    assert "SEQUENCES" not in jobs["05_evaluation"]  # "val" is there already
    for _, parameters, _ in plan_course("data/sample", str(tmp_path), {}):
        assert parameters.get("SEQUENCE") in (None, "cat", "flower", "motorcycle")
        assert "SEQUENCES" not in parameters


def test_course_refuses_a_parameter_that_no_notebook_has(tiny, tmp_path):
    with pytest.raises(ConfigError, match="no notebook of the course has a parameter ONLINE_STEP"):
        list(plan_course(str(tiny.root), str(tmp_path), {"ONLINE_STEP": "3"}))


def test_run_command_writes_beside_the_run(notebook, tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["run", str(notebook), "-p", f"RUN_DIR={tmp_path}", "-p", "SEQUENCE=dog"])
    assert exit_.value.code == 0
    assert (tmp_path / "notebooks" / "example_dog.ipynb").is_file()
    assert "example_dog.ipynb" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "no_such_notebook"], "no such notebook"),
        (["run", "04_online_training", "-p", "NONSENSE=1"], "has no parameter NONSENSE"),
        (["run", "04_online_training", "-p", "ONLINE_STEPS"], "is not NAME=VALUE"),
        (["data", "verify", "--davis", "/nowhere"], "/nowhere/JPEGImages/480p: no such folder"),
        (["data", "verify", "--sequences", "unicorn"], "unicorn: no such sequence"),
        (["data", "download", "--to", "/proc/nowhere"], "cannot write there"),
    ],
)
def test_command_ends_with_one_clear_line(arguments, message):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert str(exit_.value.code).startswith("osvos: error: ") and message in str(exit_.value.code)


def test_verify_command_tells_good_from_bad(tiny, capsys):
    def verify():
        with pytest.raises(SystemExit) as exit_:
            main(["data", "verify", "--davis", str(tiny.root)])
        return exit_.value.code, capsys.readouterr().out

    assert verify() == (0, "3 sequences, 12 frames, 0 errors\n")
    tiny.annotations("bee")[2].unlink()
    code, out = verify()
    assert code == 1 and "bee/00002.png: no such file" in out


def test_lists_command_writes_both_lists(tiny):
    with pytest.raises(SystemExit) as exit_:
        main(["data", "lists", "--davis", str(tiny.root), "--val", "ant"])
    assert exit_.value.code == 0
    assert (tiny.sequences("train"), tiny.sequences("val")) == (["bee", "cow"], ["ant"])


def test_help_and_data_commands_do_not_wait_for_tensorflow():
    code = "import sys, osvos_keras.cli as cli; cli.make_parser(); print('tensorflow' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
