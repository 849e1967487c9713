"""Masks of a sequence: seconds per frame from files to PNGs, beside those of another version of the library.

    python -m tests.benchmarks.masks --davis ROOT [--sequence blackswan] [--other CHECKOUT] [--json FILE]

It is `segment_sequence` of the bundled parent network, which finds several objects, or of `--weights`; each
version looks at frames as its own preset says. Each run is a process of its own, and the versions take turns,
so that both see the same machine; the first pass over the frames, in which graphs are traced, does not count.
Nothing here fails on a slow result.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from osvos_keras.davis import Davis
from osvos_keras.io.paths import PROJECT

RUN = """
import sys, tempfile, time
from osvos_keras import Davis, build_osvos, segment_sequence
from osvos_keras.config import PRESETS
from osvos_keras.device import choose_policy
root, sequence, preset, weights, policy = sys.argv[1:]
davis, network = Davis(root), build_osvos(weights, policy=choose_policy(policy))
network.inference = PRESETS[preset]["online"].inference
for _ in range(2):
    start, busy = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as masks:
        segment_sequence(network, davis, sequence, masks, progress=False)
    seconds = time.perf_counter() - start, time.process_time() - busy
print(*(one / len(davis.frames(sequence)) for one in seconds))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--davis", type=Path, required=True)
    parser.add_argument("--sequence", default="blackswan")
    parser.add_argument("--frames", type=int, default=20, help="the first so many (%(default)s)")
    parser.add_argument("--other", type=Path, help="a checkout of another version")
    parser.add_argument("--presets", default="default", help="how to look, comma-separated (%(default)s)")
    parser.add_argument("--weights", default="parent", help="of the network (%(default)s)")
    parser.add_argument("--policy", default="auto")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    result = {}
    with tempfile.TemporaryDirectory() as root:
        _link(Davis(args.davis), args.sequence, args.frames, Path(root))
        for preset in args.presets.split(","):
            given = [root, args.sequence, preset, args.weights, args.policy]
            result[preset] = _compare(given, args.other, args.rounds)
            print(preset, json.dumps(result[preset]), flush=True)
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


def _link(davis: Davis, sequence: str, count: int, root: Path) -> None:
    """A data set of the first frames of one sequence."""
    frames = davis.frames(sequence)[:count]
    for path in [*frames, *map(davis.annotation_path, frames)]:
        link = root / path.resolve().relative_to(davis.root.resolve())
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())


def _compare(given: list[str], other: Path | None, rounds: int) -> dict[str, float]:
    """Medians over the rounds; the ratio is that of the rounds' ratios."""
    versions = {"this": PROJECT, **({"other": other} if other else {})}
    runs = [{name: _time(checkout, given) for name, checkout in versions.items()} for _ in range(rounds)]
    found = {}
    for index, kind in enumerate(("seconds", "cpu_seconds")):
        for name in versions:
            found[f"{name}_{kind}"] = statistics.median(run[name][index] for run in runs)
        if other:
            found[f"{kind}_ratio"] = statistics.median(
                run["this"][index] / run["other"][index] for run in runs
            )
    return {name: round(value, 4) for name, value in found.items()}


def _time(checkout: Path, given: list[str]) -> tuple[float, ...]:
    """Seconds per frame, on the clock and of the processor."""
    environment = {**os.environ, "PYTHONPATH": str(checkout.resolve())}
    command = [sys.executable, "-c", RUN, *given]
    ran = subprocess.run(command, env=environment, cwd=checkout, check=True, capture_output=True, text=True)
    return tuple(map(float, ran.stdout.split()))


if __name__ == "__main__":
    main()
