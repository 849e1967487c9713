"""A whole job, from the start of the process to masks and scores on disk, and where its time goes.

    python -m tests.benchmarks.job --davis ROOT [--sequence blackswan] [--other CHECKOUT] [--brief]
        [--json FILE] [NAME=VALUE …]

It is the user's command, `osvos run 04_online_training -p SEQUENCE=…`, in a process of its own and a
fresh run folder; further parameters of the notebook may follow. With `--other` the code of another
checkout runs first. `--brief` leaves out the cells that only teach, as every batch does; the other checkout
may not know it, and runs whole. Nothing here fails on a slow result.
"""

import argparse
import json
import tempfile
from pathlib import Path

import nbformat
import pandas as pd

from osvos_keras.io.paths import PROJECT
from tests.benchmarks.commands import run_osvos

NOTEBOOK = "04_online_training"
PARTS = {
    "training": "network = train_online",
    "masks": "masks = segment_sequence",
    "scores": "scores = evaluate",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--davis", type=Path, required=True)
    parser.add_argument("--sequence", default="blackswan")
    parser.add_argument("--other", type=Path, help="another checkout, to time beside this one")
    parser.add_argument("--brief", action="store_true", help="without the cells that only teach")
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "parameters", nargs="*", metavar="NAME=VALUE", help="more of the notebook's parameters"
    )
    args = parser.parse_args()
    given = [f"DAVIS_ROOT={args.davis.resolve()}", f"SEQUENCE={args.sequence}", *args.parameters]
    results = {"other": _run(args.other, given)} if args.other else {}
    results["this"] = _run(PROJECT, given, *["--brief"] * args.brief)
    print(pd.DataFrame(results).to_string(float_format="{:.3f}".format))
    if args.json:
        args.json.write_text(json.dumps(results["this"], indent=2) + "\n")


def _run(checkout: Path, given: list[str], *options: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as run_dir:
        pairs = [word for pair in [*given, f"RUN_DIR={run_dir}"] for word in ("-p", pair)]
        used = run_osvos(checkout, "run", NOTEBOOK, *options, *pairs)
        executed = next(Path(run_dir, "notebooks").glob("*.ipynb"))
        scores = json.loads(executed.with_suffix(".json").read_text())
        whole = {"job_seconds": used.seconds, "job_cpu_seconds": used.cpu_seconds}
        return whole | _seconds_of_parts(executed) | scores


def _seconds_of_parts(executed: Path) -> dict[str, float]:
    """What papermill noted of the cells that do the work; the rest is start, figures and the failure."""
    cells = [cell for cell in nbformat.read(executed, 4).cells if cell.cell_type == "code"]
    return {
        f"{part}_seconds": next(cell.metadata.papermill.duration for cell in cells if line in cell.source)
        for part, line in PARTS.items()
    }


if __name__ == "__main__":
    main()
