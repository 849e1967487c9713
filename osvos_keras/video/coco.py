"""The masks of a clip as a JSON file in COCO's format for object instances, which annotation tools read.

Images are numbered from 1 in the order of the frames; each object is a category. A mask is run lengths (RLE).
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from osvos_keras.io.files import write_atomically
from osvos_keras.io.masks import read_indexed
from osvos_keras.io.paths import resolve_output
from osvos_keras.video.clip import Clip, count_marked
from osvos_keras.video.outputs import write_once


def encode_runs(mask: np.ndarray) -> dict[str, list[int]]:
    """A mask (H, W) bool as COCO's uncompressed RLE.

    Returns:
        `size`, [H, W]; and `counts`, the lengths of the runs down the columns, from the left: background
        first, then mask and background in turn.
    """
    pixels = mask.T.ravel()
    starts = [0, *(np.flatnonzero(pixels[1:] != pixels[:-1]) + 1).tolist(), pixels.size]
    counts = np.diff(starts).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if pixels[0] else counts}


def describe_masks(clip: Clip, masks: Path) -> dict[str, list[dict[str, Any]]]:
    """The contents of COCO's file: `images`, `annotations` and `categories`.

    There is one annotation for each object of each frame that shows it, and one category for each object that
    is marked, also if no mask shows it.
    """
    images, annotations, most = [], [], max(count_marked(clip), 1)
    for number, path in enumerate(clip.frames, start=1):
        objects = read_indexed(masks / f"{path.stem}.png")
        height, width = objects.shape
        images.append({"id": number, "file_name": path.name, "height": height, "width": width})
        annotations += [{"image_id": number, **found} for found in _describe_objects(objects)]
        most = max(most, int(objects.max()))
    return {
        "images": images,
        "annotations": [{"id": number, **one} for number, one in enumerate(annotations, start=1)],
        "categories": [{"id": number, "name": f"object_{number}"} for number in range(1, most + 1)],
    }


def _describe_objects(objects: np.ndarray) -> Iterator[dict[str, Any]]:
    for number in np.unique(objects[objects > 0]).tolist():
        mask = objects == number
        yield {
            "category_id": number,
            "segmentation": encode_runs(mask),
            "area": int(mask.sum()),
            "bbox": list(cv2.boundingRect(mask.astype(np.uint8))),
            "iscrowd": 0,
        }


def write_coco(clip: Clip, masks: Path, out: str | Path) -> Path:
    """Write the masks as a COCO file (see `describe_masks`) by `write_once`; return its path."""

    def write(path: Path) -> None:
        with write_atomically(path) as temporary:
            temporary.write_text(json.dumps(describe_masks(clip, masks)), encoding="utf-8")

    out = resolve_output(out)
    write_once(clip, masks, "coco", [out], write)
    return out
