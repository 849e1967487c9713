"""The scripts that no other test runs: they load, so a name that has moved is noticed; and the sample."""

import importlib
import re
import runpy
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from osvos_keras.davis import Davis
from osvos_keras.evaluation import evaluate
from osvos_keras.evaluation.folder import repeat_first_mask
from osvos_keras.io.masks import read_annotation
from osvos_keras.io.paths import PROJECT
from tests.benchmarks import folds, planning


@pytest.mark.parametrize("path", ["data/make_parent.py", "notebooks/figures/make_figures.py"])
def test_loads(path):
    assert callable(runpy.run_path(str(PROJECT / path))["main"])


@pytest.mark.parametrize("name", sorted(path.stem for path in (PROJECT / "tests/benchmarks").glob("*.py")))
def test_a_benchmark_loads(name):
    importlib.import_module(f"tests.benchmarks.{name}")


def test_the_table_of_one_sequence_has_no_interval():
    rows = [{"masks": masks, "J": j, "F": j} for masks, j in {"default": 0.8, "not snapped": 0.7}.items()]
    table = pd.DataFrame(rows).assign(parent="p", online="o", step=max(folds.MOMENTS), sequence="cat")
    table["CPU seconds"] = 1.0
    row = folds.compare(table, ("p", "o", "default")).set_index("masks").loc["not snapped"]
    assert round(row["gain"], 3) == -0.1 and np.isnan(row["from"])


def test_the_planning_benchmark_keeps_its_files_in_a_relative_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for number in (2, 3):
        monkeypatch.setattr(sys, "argv", ["planning", "--to", "kept", "--sequences", f"{number}"])
        planning.main()
        assert len(list(tmp_path.glob(f"kept/**/JPEGImages/480p/sequence{number - 1}"))) == 1
    assert capsys.readouterr().out.count("this") == 2


def test_the_sample_is_what_its_page_says(tmp_path):
    page = (PROJECT / "data/README.md").read_text()
    subprocess.run([sys.executable, PROJECT / "data/make_sample.py", "--check"], check=True)
    assert (PROJECT / "data/sample.sha256").read_text().split()[0] in page
    davis = Davis("data/sample")
    for name, frames, area in re.findall(r"\| `(\w+)` \| \w+ \| (\d+) \| (\d+) %", page):
        annotations = [read_annotation(path) for path in davis.annotations(name)]
        assert len(annotations) == int(frames) and f"{np.mean(annotations):.0%}" == f"{area}%"
    masks = repeat_first_mask(davis, "val", tmp_path / "masks")
    scores = evaluate(masks, davis, progress=False).per_sequence.set_index("sequence")["J_mean"]
    said = re.findall(r"([\d.]+) on `(\w+)`", " ".join(page.split()))
    assert {name: f"{scores[name]:.2f}" for name in scores.index} == {name: j for j, name in said}
