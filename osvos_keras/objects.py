"""Several objects in one sequence: a network each, merged per pixel, in DAVIS 2017's files.

A map of objects is (H, W) uint8: 0 is background, 1…N are the objects.
"""

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from osvos_keras.davis import Davis
from osvos_keras.errors import MaskError
from osvos_keras.files import find_input, make_folder, resolve_output
from osvos_keras.first_mask import box_mask, check_mask, polygon_mask, read_objects
from osvos_keras.inference import THRESHOLD, predict_sequence
from osvos_keras.mask_files import read_values, write_indexed


def given_objects(
    frame: np.ndarray,
    masks: Sequence[str | Path] = (),
    boxes: Sequence[Sequence[float]] = (),
    polygons: Sequence[Sequence[Sequence[float]]] = (),
) -> np.ndarray:
    """The objects that a person marked in a frame, numbered in the order given; the first keeps a pixel.

    Args:
        frame: (H, W, 3) uint8 RGB.
        masks: image files; one alone may hold several objects.
        boxes: (x0, y0, x1, y1) in pixels; GrabCut finds the object in each.
        polygons: corners (x, y) in pixels.

    Raises:
        MaskError: none is given; or one is of another size, empty, or covers the whole frame.
        DataError: a file is missing or unreadable.
    """
    size = frame.shape[:2]
    marked = [
        *((str(path), read_objects(find_input(path), size)) for path in masks),
        *((f"box {tuple(box)}", box_mask(frame, box)) for box in boxes),
        *((f"polygon {polygon}", polygon_mask(polygon, size)) for polygon in polygons),
    ]
    if not marked:
        raise MaskError("no object is marked: give a mask, a box or a polygon.")
    objects = np.zeros(size, np.uint8)
    for source, mask in marked:
        check_mask(mask, source)
        free = (mask > 0) & (objects == 0)
        objects[free] = mask[free] + objects.max()
        if not free.any():
            raise MaskError(f"{source}: all of it is marked as another object already. Mark another object.")
    for number in range(1, objects.max() + 1):
        check_mask(objects == number, f"object {number}")
    return objects


def read_correction(path: str | Path, size: Sequence[int], count: int) -> np.ndarray:
    """A later frame's objects, (H, W) uint8 of 0…count; not all of them need be there.

    Raises:
        DataError: the file is missing or unreadable.
        MaskError: it has another size, or holds an object that the first mask does not.
    """
    if count == 1:
        objects = read_objects(path, size)
    else:
        objects = read_values(path)
        if objects.shape != tuple(size):
            return read_objects(path, size)  # which says what is wrong
    if objects.max() > count:
        raise MaskError(
            f"{path}: holds object {objects.max()}, but the first mask has {count}. Number the objects as in "
            "the first mask."
        )
    return objects.astype(np.uint8)


def merge_probabilities(probabilities: Sequence[np.ndarray]) -> np.ndarray:
    """One map from the probabilities of each object, (H, W) float32 each.

    A pixel belongs to the object of the largest probability, if that is above one half.
    """
    stacked = np.stack(probabilities)  # (N, H, W)
    return np.where(stacked.max(axis=0) > THRESHOLD, stacked.argmax(axis=0) + 1, 0).astype(np.uint8)


def segment_objects(
    models: Sequence[keras.Model],
    davis: Davis,
    sequence: str,
    folder: str | Path,
    height: int = 0,
    progress: bool = True,
    *,
    learned_shares: Sequence[float],
    snap: bool = True,
    **options,
) -> Path:
    """As `segment_sequence`, for several objects: a network and a learned share for each, in their order.

    The masks are written by `write_indexed`. One batch of frames is in memory at a time.
    """
    masks, frames = make_folder(resolve_output(folder) / sequence), davis.frames(sequence)
    predictions = [
        predict_sequence(model, frames, height, progress=False, learned_share=share, snap=snap, **options)
        for model, share in zip(models, learned_shares, strict=True)
    ]
    bar = tqdm(frames, f"masks {sequence}", unit="frame", disable=not progress)
    for path, *found in zip(bar, *predictions, strict=True):
        objects = merge_probabilities([probability for _, probability in found])
        write_indexed(masks / f"{path.stem}.png", objects)
    return masks
