"""The scripts that no other test runs: they load, so a name that has moved is noticed."""

import runpy

import pytest


@pytest.mark.parametrize("path", ["data/make_parent.py", "notebooks/figures/make_figures.py"])
def test_loads(path):
    assert callable(runpy.run_path(path)["main"])
