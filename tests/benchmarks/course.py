"""The notebooks of the course on the bundled sample: CPU seconds of each, beside those of another checkout.

    python -m tests.benchmarks.course [--other CHECKOUT] [--float32] [--json FILE] [NOTEBOOK …]

They are the runs of `make course`, each the user's command, `osvos run`, in a process of its own; or only
those of the notebooks that are named. (The other checkout may not know `--brief`, and runs whole.)
`--float32` hides the processor's bfloat16 arithmetic, which most laptops do not have. Nothing here fails on
a slow result.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

import pandas as pd

from osvos_keras.batch.notebooks import COURSE, plan_course
from osvos_keras.io.paths import PROJECT
from tests.benchmarks.commands import run_osvos

HIDE = "from osvos_keras import device\ndevice._has_bfloat16 = lambda: False\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--other", type=Path, help="another checkout, to time beside this one")
    parser.add_argument("--float32", action="store_true", help="as on a processor without bfloat16")
    parser.add_argument("--json", type=Path)
    parser.add_argument("notebooks", nargs="*", metavar="NOTEBOOK", help=f"of {', '.join(COURSE)}")
    args = parser.parse_args()
    checkouts = {"other": args.other, "this": PROJECT}
    checkouts = {name: folder for name, folder in checkouts.items() if folder}
    with tempfile.TemporaryDirectory() as folder:
        if args.float32:
            _run_at_start(HIDE, Path(folder))
        used = _run(checkouts, args.notebooks or COURSE, Path(folder))
    table = pd.DataFrame(used).T
    table.loc["all"] = table.sum()
    print(table.to_string(float_format="{:.1f}".format))
    if args.json:
        args.json.write_text(json.dumps(used, indent=2) + "\n")


def _run_at_start(code: str, folder: Path) -> None:
    """Let every kernel run `code` before the first cell."""
    script = folder / "profile_default" / "startup" / "start.py"
    script.parent.mkdir(parents=True)
    script.write_text(code)
    os.environ["IPYTHONDIR"] = str(folder)


def _run(checkouts: dict[str, Path], notebooks: list[str], folder: Path) -> dict[str, dict[str, float]]:
    """CPU seconds by run and checkout; the checkouts take turns."""
    used: dict[str, dict[str, float]] = {}
    taught = set()
    for stem, parameters, output in plan_course("data/sample", "RUN_DIR", {}):
        if stem not in notebooks:
            continue
        used[output.stem] = {}
        for name, checkout in checkouts.items():
            given = {**parameters, "RUN_DIR": folder / name}
            pairs = [word for pair in given.items() for word in ("-p", "=".join(map(str, pair)))]
            brief = ["--brief"] if stem in taught and checkout == PROJECT else []
            used[output.stem][name] = run_osvos(checkout, "run", stem, *brief, *pairs).cpu_seconds
            print(f"{output.stem}, {name}: {used[output.stem][name]:.1f} CPU s", flush=True)
        taught.add(stem)
    return used


if __name__ == "__main__":
    main()
