"""The course in a folder of a person's own: nothing of theirs is lost, and it runs there."""

import shutil

import pytest

from osvos_keras.batch.parameters import find_notebook
from osvos_keras.course.copies import read_course, write_copies
from osvos_keras.errors import FolderError
from osvos_keras.io.files import list_files
from osvos_keras.io.paths import NOTEBOOKS
from tests.conftest import call

ONLINE = "04_online_training"


def test_a_file_that_a_person_changed_is_kept_and_nothing_else_written(tmp_path):
    changed = tmp_path / f"{ONLINE}.ipynb"
    write_copies(tmp_path, read_course())
    assert changed in write_copies(tmp_path, read_course())  # the same again does no harm
    changed.write_text(changed.read_text().replace("ONLINE_STEPS", "MY_STEPS"))
    shutil.rmtree(tmp_path / "figures")
    before = changed.read_bytes()
    with pytest.raises(FolderError, match=rf"{ONLINE}\.ipynb: is there and differs .* Choose another folder"):
        write_copies(tmp_path, read_course())
    assert changed.read_bytes() == before and not (tmp_path / "figures").exists()


def test_a_person_s_own_notebooks_are_not_handed_out(tmp_path, monkeypatch):
    monkeypatch.setattr("osvos_keras.course.copies.NOTEBOOKS", tmp_path)
    names = [f"{ONLINE}.ipynb", f"{ONLINE}-Copy1.ipynb", f"{ONLINE} (1).ipynb", "Untitled.ipynb"]
    for name in names:
        shutil.copy(NOTEBOOKS / f"{ONLINE}.ipynb", tmp_path / name)
    assert [str(path) for path in read_course()] == names[:1]


def test_a_name_means_the_copy_in_the_working_folder_and_else_the_projects(tmp_path, monkeypatch):
    write_copies(tmp_path / "course", read_course())
    monkeypatch.chdir(tmp_path)
    assert find_notebook(ONLINE) == NOTEBOOKS / f"{ONLINE}.ipynb"
    monkeypatch.chdir("course")
    assert find_notebook(ONLINE) == tmp_path / "course" / f"{ONLINE}.ipynb"


def test_the_command_names_the_notebooks_and_refuses_the_projects_own_folder(tmp_path, capsys):
    assert call(["notebooks", "--to", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == [str(path) for path in list_files(tmp_path, ".ipynb")]
    assert "lies in the project's own notebooks folder" in call(["notebooks", "--to", str(NOTEBOOKS)])
