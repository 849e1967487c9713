"""How good the masks are, at the notebooks' defaults: minutes long, so `pytest -m slow`."""

import json

import numpy as np
import pytest

from osvos_keras.batch.notebooks import run_notebook
from osvos_keras.davis import Davis

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def scores_of(davis: Davis, sequence: str, folder) -> dict:
    """What notebook 04 reports for a sequence: 100 steps from the bundled parent."""
    parameters = {"DAVIS_ROOT": str(davis.root), "RUN_DIR": str(folder), "SEQUENCE": sequence}
    run_notebook("04_online_training", parameters, folder / "out.ipynb")
    return json.loads((folder / "notebooks" / f"04_online_training_{sequence}.json").read_text())


def test_sample_is_segmented_well_and_is_not_too_easy(tmp_path):
    davis = Davis("data/sample")
    scores = [scores_of(davis, sequence, tmp_path) for sequence in davis.sequences("val")]
    reached = np.mean([score["J_mean"] for score in scores])
    repeated = np.mean([score["J_mean_repeat_first_mask"] for score in scores])
    assert reached >= 0.85
    assert reached - repeated >= 0.25


@pytest.mark.parametrize(("sequence", "least"), [("blackswan", 0.92), ("car-shadow", 0.78)])
def test_davis_sequence_from_one_frame(shared_davis, tmp_path, sequence, least):
    assert scores_of(shared_davis, sequence, tmp_path)["J_mean"] >= least
