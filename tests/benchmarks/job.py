"""A whole job, from the start of the process to masks and scores on disk, and where its time goes.

    python -m tests.benchmarks.job --davis ROOT [--sequence blackswan] [--json FILE] [NAME=VALUE …]

It is the user's command, `osvos run 04_online_training -p SEQUENCE=…`, in a process of its own and a
fresh run folder; further parameters of the notebook may follow. Nothing here fails on a slow result.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat

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
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "parameters", nargs="*", metavar="NAME=VALUE", help="more of the notebook's parameters"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as run_dir:
        given = [f"DAVIS_ROOT={args.davis.resolve()}", f"SEQUENCE={args.sequence}", f"RUN_DIR={run_dir}"]
        command = [sys.executable, "-m", "osvos_keras.cli", "run", NOTEBOOK]
        command += [word for pair in [*given, *args.parameters] for word in ("-p", pair)]
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        result = {"job_seconds": time.perf_counter() - start}
        executed = Path(run_dir, "notebooks", f"{NOTEBOOK}_{args.sequence}.ipynb")
        result |= _seconds_of_parts(executed) | json.loads(executed.with_suffix(".json").read_text())
    for name, value in result.items():
        print(f"{name:32} {value:.3f}" if isinstance(value, float) else f"{name:32} {value}")
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


def _seconds_of_parts(executed: Path) -> dict[str, float]:
    """What papermill noted of the cells that do the work; the rest is start, figures and the failure."""
    cells = [cell for cell in nbformat.read(executed, 4).cells if cell.cell_type == "code"]
    return {
        f"{part}_seconds": next(cell.metadata.papermill.duration for cell in cells if line in cell.source)
        for part, line in PARTS.items()
    }


if __name__ == "__main__":
    main()
