"""How fast `evaluate` is beside the public DAVIS functions, on the same masks in the same run.

    python -m tests.benchmarks.evaluation --davis ROOT --masks MASKS [--json FILE]

The other side is davis2017-evaluation's `db_eval_iou` and `db_eval_boundary`, called once a
sequence on stacked frames, reading included, as its own command does, if `davis2017` can be
imported (it is not on PyPI; `--toolkit FOLDER` names a clone). Otherwise a stand-in written here
does the same array operations in the same number: its scores agree, and its cost is close, but it
is not the public code; the output says which of the two ran. Nothing here fails on a slow result.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from osvos_keras.davis import Davis
from osvos_keras.evaluation import evaluate


def main() -> None:
    args = _parse()
    davis = Davis(args.davis)
    names = davis.select(args.sequences)
    if args.memory_of:
        evaluate(args.masks, davis, names[: args.memory_of], workers=args.workers, progress=False)
        print(_peak_memory())
        return
    if args.toolkit:
        sys.path.insert(0, str(args.toolkit))
    iou, boundary, toolkit = _toolkit_functions()
    times = {"ours": [], "toolkit": []}
    for _ in range(args.repeat):
        scores = _timed(
            times["ours"],
            lambda: evaluate(args.masks, davis, names, workers=args.workers, progress=False),
        )
        theirs = _timed(times["toolkit"], lambda: _toolkit_scores(args.masks, davis, names, iou, boundary))
    ours = scores.per_frame[["J", "F"]].to_numpy().T
    result = {
        "toolkit": toolkit,
        "frames": len(scores.per_frame),
        "workers": scores.arguments["workers"],
        "wall_and_cpu_seconds": times,
        "wall_ratio": _ratio(times, 0),
        "cpu_ratio": _ratio(times, 1),  # steadier where other programs run
        "largest_difference": float(np.abs(ours - theirs).max()),
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
    parser.add_argument("--json", type=Path)
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def _toolkit_functions() -> tuple[Callable, Callable, str]:
    try:
        from davis2017.metrics import db_eval_boundary, db_eval_iou
    except ImportError:
        return _stand_in_iou, _stand_in_boundary, "stand-in for davis2017-evaluation (not importable here)"
    return db_eval_iou, db_eval_boundary, "davis2017-evaluation"


def _toolkit_scores(
    masks: Path, davis: Davis, names: list[str], iou: Callable, boundary: Callable
) -> np.ndarray:
    """J and F of every scored frame, (2, frames)."""
    columns = []
    for name in names:
        paths = davis.annotations(name)[1:-1]
        annotations = _read_stack(paths)
        found = _read_stack([masks / name / path.name for path in paths])
        columns.append(np.stack([iou(annotations, found), boundary(annotations, found)]))
    return np.concatenate(columns, axis=1)


def _read_stack(paths: list[Path]) -> np.ndarray:
    return np.stack([np.array(Image.open(path)) > 0 for path in paths])


def _stand_in_iou(annotations: np.ndarray, masks: np.ndarray) -> np.ndarray:
    ignored = np.zeros_like(masks)
    both = np.sum(masks & annotations & np.logical_not(ignored), axis=(-2, -1))
    either = np.sum((masks | annotations) & np.logical_not(ignored), axis=(-2, -1))
    with np.errstate(invalid="ignore"):
        return np.where(either == 0, 1.0, both / either)


def _stand_in_boundary(annotations: np.ndarray, masks: np.ndarray) -> np.ndarray:
    return np.array([_stand_in_f(*pair) for pair in zip(masks, annotations, strict=True)])


def _stand_in_f(mask: np.ndarray, annotation: np.ndarray) -> float:
    radius = int(np.ceil(0.008 * np.linalg.norm(mask.shape)))
    ignored = np.zeros_like(mask)
    edges = [_stand_in_edge(region * np.logical_not(ignored)) for region in (mask, annotation)]
    reached = [cv2.dilate(edge.astype(np.uint8), _stand_in_disk(radius)) for edge in edges]
    matches = [np.sum(edge * reach) for edge, reach in zip(edges, reached[::-1], strict=True)]
    lengths = [np.sum(edge) for edge in edges]
    if not all(lengths):
        return float(not any(lengths))
    precision, recall = (match / length for match, length in zip(matches, lengths, strict=True))
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _stand_in_edge(region: np.ndarray) -> np.ndarray:
    """Pixels that differ from the right, lower or lower right one; the frame's edge repeats itself."""
    region = region.astype(bool)
    region[region > 0] = True  # the public code makes sure of it once more, which takes its time
    right, lower, both = (np.zeros_like(region) for _ in range(3))
    right[:, :-1], lower[:-1], both[:-1, :-1] = region[:, 1:], region[1:], region[1:, 1:]
    edge = region ^ right | region ^ lower | region ^ both
    edge[-1], edge[:, -1] = region[-1] ^ right[-1], region[:, -1] ^ lower[:, -1]
    edge[-1, -1] = False
    return edge


def _stand_in_disk(radius: int) -> np.ndarray:
    rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return (rows**2 + columns**2 <= radius**2).astype(np.uint8)


def _timed(times: list, work: Callable) -> object:
    """The result of `work`; its wall and CPU seconds go onto `times`."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    times.append((time.perf_counter() - wall, time.process_time() - cpu))
    return result


def _ratio(times: dict[str, list], clock: int) -> float:
    ours, toolkit = (statistics.median(pair[clock] for pair in times[side]) for side in ("ours", "toolkit"))
    return ours / toolkit


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
