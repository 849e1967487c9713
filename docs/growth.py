"""The mask of a later frame after ever more online steps: pictures of the run, for a slider.

The camera of notebook 04 took the masks during the training. Their scores are in a JSON file beside it.

Why no network that runs in the browser? ONNX Runtime's WebAssembly (onnxruntime-web 1.30.0) has 14 MB. One
network in half precision has 30 MB, and every stage changes half of them. A page that is opened from a folder
may not even read such files. Eighteen pictures have half a megabyte.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from lessons import Page
from PIL import Image

from osvos_keras.batch.parameters import read_notebook
from osvos_keras.davis import Davis
from osvos_keras.errors import DataError
from osvos_keras.io.files import make_folder, read_json
from osvos_keras.io.images import read_frame
from osvos_keras.io.masks import read_mask
from osvos_keras.plots.frames import shrink
from osvos_keras.video.overlay import draw_objects

WIDTH = 480  # pixels of a picture
MOST = 3  # sequences


@dataclass(frozen=True)
class Stage:
    step: int
    score: float  # J of the mask
    picture: Path  # in the site


@dataclass(frozen=True)
class Growth:
    page: Page
    frame: str  # the frame's name
    stages: list[Stage]


def draw_growth(run_dir: Path, pages: Sequence[Page], site: Path) -> Iterator[Growth]:
    """Draw the stages of the first sequences whose frames and masks are there, into `site`/growth."""
    for page in [page for page in pages if page.sequence][:MOST]:
        masks = _find_masks(run_dir / "online" / page.sequence / "snapshots", page.executed)
        frame = _find_last_frame(page)
        if masks and frame:
            folder = make_folder(site / "growth" / page.name)
            picture = shrink(read_frame(frame), WIDTH)
            stages = [
                Stage(step, score, _draw_stage(picture, mask, folder / f"{step}.jpg").relative_to(site))
                for step, (score, mask) in masks.items()
            ]
            yield Growth(page, frame.stem, stages)


def _find_masks(snapshots: Path, executed: Path) -> dict[int, tuple[float, Path]]:
    """By the step: J and path of each mask that was scored."""
    scores = read_json(executed.with_suffix(".json")) or {}
    found = ((re.fullmatch(r"J_last_frame_step_(\d+)", name), score) for name, score in scores.items())
    masks = {int(name[1]): (score, snapshots / f"{int(name[1]):05d}.png") for name, score in found if name}
    return {step: masks[step] for step in sorted(masks) if masks[step][1].is_file()}


def _find_last_frame(page: Page) -> Path | None:
    """The frame of which the masks are, if the data set is where it was when the notebook ran."""
    given = read_notebook(page.executed).metadata.get("papermill", {}).get("parameters", {})
    try:
        davis = Davis(given.get("DAVIS_ROOT", "data/sample"), given.get("RESOLUTION", "480p"))
        return davis.frames(page.sequence)[-1]
    except DataError:
        return None


def _draw_stage(picture: np.ndarray, mask: Path, to: Path) -> Path:
    size = picture.shape[1], picture.shape[0]
    large = cv2.resize(read_mask(mask).astype(np.float32), size, interpolation=cv2.INTER_LINEAR) > 0.5
    Image.fromarray(draw_objects(picture, large.astype(np.uint8))).save(to, quality=85)
    return to
