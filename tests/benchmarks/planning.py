"""What `osvos run --each-sequence` does before its first job, and for a batch that is finished already.

    python -m tests.benchmarks.planning [--sequences 2000] [--other CHECKOUT] [--to FOLDER]

It makes a data set of sequences of one frame (1 × 1 pixel; each is a link to one folder), and the files
that a finished batch of them leaves. Then it times the user's command, which selects, plans and skips every
sequence, in a process of its own. With `--other` it also times the code of another checkout on the same
files. Nothing here fails on a slow result.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from osvos_keras.batch.jobs import plan_jobs
from osvos_keras.io.masks import write_mask
from osvos_keras.io.paths import PROJECT
from tests.batches import leave_results, write_notebook
from tests.benchmarks.commands import run_osvos

PARAMETERS = """
DAVIS_ROOT = "data/sample"  # data set
RUN_DIR = "runs/course"  # where results go
SEQUENCE = "cat"  # the sequence
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sequences", type=int, default=2_000)
    parser.add_argument("--other", type=Path, help="another checkout, to time beside this one")
    parser.add_argument("--to", type=Path, help="a folder to keep the files in (default: a temporary one)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        # In a folder for this number, and with a whole path: the command runs in the other checkout too.
        folder = (args.to or Path(temporary)).resolve() / str(args.sequences)
        command = _make_finished_batch(folder, args.sequences)
        for name, checkout in {"this": PROJECT, "other": args.other}.items():
            if checkout:
                used = run_osvos(checkout, *command)
                assert ", 0 to run" in used.output, used.output
                print(f"{name:6} {used}", flush=True)


def _make_finished_batch(folder: Path, count: int) -> list[str]:
    """The files of a data set and of a finished batch; returns the arguments of the command."""
    davis, run, image = folder / "davis", folder / "run", folder / "one" / "00000.png"
    notebook = folder / "quick.ipynb"
    given = {"DAVIS_ROOT": str(davis), "RUN_DIR": str(run)}
    if not notebook.exists():
        write_mask(image, np.ones((1, 1), bool))
        write_notebook(notebook, PARAMETERS, "pass")
        names = [f"sequence{index}" for index in range(count)]
        for parent in (davis / "JPEGImages" / "480p", davis / "Annotations" / "480p", run / "masks"):
            parent.mkdir(parents=True)
            for name in names:
                (parent / name).symlink_to(image.parent)
        (davis / "ImageSets" / "480p").mkdir(parents=True)
        (davis / "ImageSets" / "480p" / "val.txt").write_text("\n".join(names))
        for job in plan_jobs(notebook, "val", given):
            leave_results(job)
    pairs = [word for name, value in given.items() for word in ("-p", f"{name}={value}")]
    return ["run", str(notebook), "--each-sequence", "val", *pairs]


if __name__ == "__main__":
    main()
