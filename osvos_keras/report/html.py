"""`report.html`: scores, curves and every frame with its masks, in one file that loads nothing else."""

import base64
import io
import json
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from osvos_keras import __version__
from osvos_keras.davis import Davis
from osvos_keras.evaluation.folder import Pair
from osvos_keras.evaluation.measuring import in_threads
from osvos_keras.evaluation.mistakes import read_described, worst_frames
from osvos_keras.evaluation.objects import Reader
from osvos_keras.evaluation.results import Scores
from osvos_keras.evaluation.tables import mean_over_objects
from osvos_keras.io.files import write_atomically
from osvos_keras.io.images import orientation, read_frame

TEMPLATE = Path(__file__).with_name("template.html")
PLACE = "/*DATA*/"
WIDTH, QUALITY = 320, 60  # of the frames in the file: about 8 kB each
SMOOTHING = 0.7  # pixels that an outline may be off on the page


def write_html_report(
    scores: Mapping[str, Scores],
    davis: Davis,
    path: str | Path,
    progress: bool = True,
) -> Path:
    """Write the report of one method or several.

    Args:
        scores: by the name of the method, of the same sequences.
        davis: the data set.
        path: the file.
        progress: show a bar.
    """
    first = next(iter(scores.values()))
    tasks = [
        (frame, [one.plan[name][index] for one in scores.values()], first.readers[name])
        for name, plan in first.plan.items()
        for index, frame in enumerate(_frames(davis, name, plan))
    ]
    workers = first.arguments["workers"]
    found = in_threads(lambda task: _picture(*task), tasks, "report.html", "frame", progress, workers)
    pictures = iter(found)
    sequences = [
        {"name": name, "frames": [next(pictures) for _ in plan]} for name, plan in first.plan.items()
    ]
    for sequence in sequences:
        for one in scores.values():
            _add_scores(sequence, one)
    data = {
        "software": f"osvos-keras {__version__}",
        "davis": f"{davis.root}, {davis.resolution}",
        "methods": [_method(name, one) for name, one in scores.items()],
        "sequences": sequences,
    }
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    with write_atomically(path) as temporary:
        temporary.write_text(TEMPLATE.read_text(encoding="utf-8").replace(PLACE, text), encoding="utf-8")
    return Path(path)


def _frames(davis: Davis, sequence: str, plan: list[Pair]) -> list[Path]:
    """The frames of a plan."""
    known = {frame.stem: frame for frame in davis.frames(sequence)}
    return [known[pair.frame] for pair in plan]


def _method(name: str, scores: Scores) -> dict:
    return {
        "name": name,
        "overall": _records(scores.overall)[0],
        "rows": _records(scores.per_sequence),
        "worst": _records(worst_frames(scores.per_frame)),
        "notes": list(scores.notes),
        "missing": len(scores.missing),
    }


def _records(table: pd.DataFrame) -> list[dict]:
    """The rows for JSON, which knows no NaN."""
    return json.loads(table.to_json(orient="records", double_precision=6))


def _add_scores(sequence: dict, scores: Scores) -> None:
    """J and F of each frame, of several objects their means."""
    rows = scores.per_frame[scores.per_frame["sequence"] == sequence["name"]]
    means = mean_over_objects(rows).set_index("frame")[["J", "F"]].round(6).to_dict("index")
    for frame in sequence["frames"]:
        for measure in "JF":
            frame.setdefault(measure, []).append(means.get(frame["name"], {}).get(measure))


def _picture(frame: Path, pairs: list[Pair], reader: Reader) -> dict:
    """One frame: small, with the outlines of annotation and masks as SVG paths in its own pixels."""
    picture = {"name": pairs[0].frame, "image": _small_jpeg(frame), "masks": [], "wrong": []}
    for pair in pairs:
        mask, annotation, mistakes = read_described(pair, reader)
        picture["masks"].append(_svg_path(mask))
        picture["wrong"].append(mistakes)
    return picture | {"annotation": _svg_path(annotation), "size": annotation.shape[::-1]}


def _small_jpeg(path: Path) -> str:
    with Image.open(path) as image:
        if image.format == "JPEG" and orientation(image) == 1:
            image.draft("RGB", (WIDTH, 1))  # decodes no more than is needed
            image = image.convert("RGB")
        else:
            image = Image.fromarray(read_frame(path))
    image.thumbnail((WIDTH, 2 * WIDTH), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return base64.b64encode(file.getvalue()).decode()


def _svg_path(region: np.ndarray) -> str:
    contours, _ = cv2.findContours(region.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    lines = (cv2.approxPolyDP(contour, SMOOTHING, True)[:, 0].ravel().tolist() for contour in contours)
    return "".join(f"M{' '.join(map(str, line))}z" for line in lines)
