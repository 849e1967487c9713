"""How fast `osvos evaluate` is beside the two public programs: commands, in turns, on the same masks.

    python -m tests.benchmarks.evaluation --davis ROOT --masks MASKS [--json FILE]
        [--toolkit CLONE of davis2017-evaluation] [--vos-benchmark CLONE] [--python PYTHON]

The two are not on PyPI and need packages that this project does not; `--python` is that of an environment
which has them:

    python -m venv ENV
    ENV/bin/pip install numpy pillow opencv-python-headless scikit-image scipy pandas tqdm

They number objects where DAVIS 2016 has 255, so they get a private copy of annotations and masks. Each
command starts afresh; all take turns. Nothing here fails on a slow result.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from osvos_keras.davis import Davis
from osvos_keras.evaluation import evaluate
from osvos_keras.io.masks import read_annotation, read_mask

NEEDED = "numpy", "PIL", "cv2", "skimage", "scipy", "pandas", "tqdm"
OURS = {
    "tables": ["--no-pictures", "--no-stability"],
    "tables with T": ["--no-pictures"],
    "tables with T, pictures, report": [],
}


def main() -> None:
    args = _parse()
    davis = Davis(args.davis)
    names = davis.select(args.sequences)
    if args.memory_of:
        evaluate(args.masks, davis, names[: args.memory_of], workers=args.workers, progress=False)
        print(_peak_memory())
        return
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        commands = {name: _our_command(args, work, options) for name, options in OURS.items()}
        if args.toolkit or args.vos_benchmark:
            _copy_as_numbers(davis, args.masks, names, work)
        if args.toolkit:
            commands["davis2017-evaluation"] = _toolkit_command(args, work)
        if args.vos_benchmark:
            commands["vos-benchmark"] = _vos_command(args, work)
        seconds: dict[str, list[float]] = {"function": []} | {name: [] for name in commands}
        processor: dict[str, list[float]] = {name: [] for name in seconds}
        for _ in range(args.repeat):
            for name in seconds:
                _forget_results(work)
                command = commands.get(name)
                score = partial(_run, command) if command else partial(_score, args, davis, names)
                for kind, value in zip((seconds, processor), _seconds(score), strict=True):
                    kind[name].append(value)
        result = {
            "frames": sum(len(davis.frames(name)) - 2 for name in names),
            "cores": os.cpu_count(),
            "wall_seconds": seconds,
            "processor_seconds": processor,
            "ratios": _ratios(seconds),
            "processor_ratios": _ratios(processor),
            "largest_difference": _differences(work),
            "peak_memory_MiB": {count: _memory_of(count, args) for count in sorted({3, len(names)})},
        }
    text = json.dumps(result, indent=2)
    print(text)
    if args.json:
        args.json.write_text(text + "\n")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--davis", type=Path, required=True)
    parser.add_argument("--masks", type=Path, required=True)
    parser.add_argument("--sequences", default="val")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--toolkit", type=Path, help="a clone of davis2017-evaluation")
    parser.add_argument("--vos-benchmark", type=Path, help="a clone of vos-benchmark")
    parser.add_argument("--python", default=sys.executable, help="the Python that runs these two")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    for clone, file in ((args.toolkit, "evaluation_method.py"), (args.vos_benchmark, "benchmark.py")):
        if clone and not (clone / file).is_file():
            parser.error(f"{clone}: there is no {file} in it; give a clone of the repository.")
    if args.toolkit or args.vos_benchmark:
        missing = [name for name in NEEDED if _run([args.python, "-c", f"import {name}"], check=False)]
        if missing:
            parser.error(
                f"{args.python} lacks {', '.join(missing)}, which the public programs need. Make an "
                "environment as this file's docstring says, and give its --python."
            )
    return args


def _run(command: list, check: bool = True) -> int:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if check and done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode


def _score(args: argparse.Namespace, davis: Davis, names: list[str]) -> object:
    return evaluate(args.masks, davis, names, workers=args.workers, stability=False, progress=False)


def _our_command(args: argparse.Namespace, work: Path, options: list[str]) -> list:
    command = [sys.executable, "-m", "osvos_keras.cli", "evaluate", args.masks, "--davis", args.davis]
    command += ["--sequences", args.sequences, "--out", work / "ours", *options]
    return command + (["--workers", args.workers] if args.workers else [])


def _toolkit_command(args: argparse.Namespace, work: Path) -> list:
    command = [args.python, args.toolkit / "evaluation_method.py", "--task", "semi-supervised"]
    return [*command, "--set", "val", "--davis_path", work / "davis", "--results_path", work / "masks"]


def _vos_command(args: argparse.Namespace, work: Path) -> list:
    command = [args.python, args.vos_benchmark / "benchmark.py", "-g", work / "davis/Annotations/480p"]
    return [*command, "-m", work / "masks", "-n", args.workers or os.cpu_count()]


def _copy_as_numbers(davis: Davis, masks: Path, names: list[str], work: Path) -> None:
    """Annotations and masks of 0 and 1 in DAVIS 2017's layout, and links to the frames."""
    for name in names:
        frames = work / "davis/JPEGImages/480p" / name
        frames.parent.mkdir(parents=True, exist_ok=True)
        frames.symlink_to(davis.frames(name)[0].parent.resolve())
        for path in davis.annotations(name):
            _write_numbers(read_annotation(path), work / "davis/Annotations/480p" / name / path.name)
            _write_numbers(read_mask(masks / name / path.name), work / "masks" / name / path.name)
    lists = work / "davis/ImageSets/2017"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("\n".join(names) + "\n")


def _write_numbers(mask: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8)).save(path)


def _forget_results(work: Path) -> None:
    """The toolkit takes tables that are there as its result, though only after measuring nothing."""
    for path in (work / "masks").glob("*.csv"):
        path.rename(work / path.name)


def _seconds(work: Callable) -> tuple[float, float]:
    """Wall seconds, and those of processors, here and in what is started: less a matter of load."""
    start, used = time.perf_counter(), sum(os.times()[:4])
    work()
    return time.perf_counter() - start, sum(os.times()[:4]) - used


def _ratios(seconds: dict[str, list[float]]) -> dict[str, float]:
    """Of the medians: each of our commands over the function and over each public program."""
    median = {name: statistics.median(values) for name, values in seconds.items()}
    others = ["function", *(name for name in median if name not in OURS and name != "function")]
    return {f"{ours} / {other}": round(median[ours] / median[other], 3) for ours in OURS for other in others}


def _differences(work: Path) -> dict[str, float]:
    """Our overall means less those in the other programs' files, which have three decimals or one."""
    _forget_results(work)
    ours = pd.read_csv(work / "ours/global.csv").iloc[0]
    found = {}
    if (work / "global_results-val.csv").is_file():
        theirs = pd.read_csv(work / "global_results-val.csv").iloc[0]
        theirs = theirs.rename(lambda name: "J&F" if "&" in name else f"{name[0]}_{name[2:].lower()}")
        found["davis2017-evaluation"] = float((ours - theirs).abs().max())
    if (work / "results.csv").is_file():
        row = (work / "results.csv").read_text().splitlines()[1].split(",")
        theirs = pd.Series([float(value) / 100 for value in row[2:]], ["J&F", "J_mean", "F_mean"])
        found["vos-benchmark"] = float((ours - theirs).abs().max())
    return found


def _memory_of(count: int, args: argparse.Namespace) -> float:
    """Peak memory in MiB of a process of its own that evaluates the first `count` sequences."""
    command = [sys.executable, "-m", "tests.benchmarks.evaluation", "--memory-of", str(count)]
    command += ["--davis", args.davis, "--masks", args.masks, "--sequences", args.sequences]
    command += ["--workers", str(args.workers)] if args.workers else []
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _peak_memory() -> float:
    """From /proc, since getrusage's figure includes the parent process's."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return float("nan")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
