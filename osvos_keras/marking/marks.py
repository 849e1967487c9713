"""The first mask, which defines the objects to segment: read from a file, or made from a polygon or a box.

Several objects are one map (H, W) uint8: 0 is background, 1…N are the objects. Nothing here needs a screen;
`marking.tool` draws with the mouse.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.path import Path as Polygon
from matplotlib.transforms import Bbox

from osvos_keras.errors import MaskError
from osvos_keras.io.masks import read_numbers, read_values, size_message, write_map
from osvos_keras.io.paths import find_input
from osvos_keras.plots.figures import COLOURS, SKY
from osvos_keras.refinement import grab_cut

FARTHEST = 1e12  # pixels from the frame's corner; larger numbers cannot be meant as pixels
BORDER = 8192  # pixels outside the frame at which polygons are cut; rounding there does not show in the frame
MAX_OBJECTS = 254  # 255 means "object" in a mask of one object, and "not annotated" in several data sets
OBJECT_COLOURS = [SKY, *(colour for colour in COLOURS[:-1] if colour != SKY)]  # all but black


def read_objects(path: str | Path, size: Sequence[int]) -> np.ndarray:
    """The objects painted in an image file, as (H, W) uint8: 0 is background, 1…N are the objects.

    If the file has one grey value or colour beside the background (0 or black), that is the object: 0/255,
    0/1 and white paint on black mean the same. Several objects are numbered 1…N in a palette or grey PNG.

    Args:
        path: a PNG, or any other lossless image.
        size: (H, W) of its frame.

    Raises:
        DataError: the file is missing, unreadable, truncated or partly transparent.
        MaskError: the mask has another size, or several colours that are not the numbers of objects.
    """
    values = _read_sized(path, size)
    found = np.unique(values[values != 0])
    if len(found) <= 1:
        return (values != 0).astype(np.uint8)
    if not _are_object_numbers(found):
        raise MaskError(
            f"{path}: holds {len(found)} values or colours beside the background's. Paint one object in one "
            "colour on black, with a hard brush and saved as PNG (soft edges and JPEG add colours); number "
            "several objects 1, 2, 3 … in a palette PNG."
        )
    return values.astype(np.uint8)


def _read_sized(path: str | Path, size: Sequence[int], read: Callable = read_values) -> np.ndarray:
    values = read(path)
    if values.shape != tuple(size):
        raise MaskError(size_message(path, values.shape, size))
    return values


def write_objects(path: str | Path, objects: np.ndarray) -> None:
    """Write objects (H, W) uint8 as a PNG, atomically, so that `read_objects` returns the same objects.

    One object is written as 0 and 255, as in DAVIS 2016; several as their numbers, with DAVIS 2017's palette.

    Raises:
        MaskError: the numbers are not 1…N without a gap.
    """
    found = np.unique(objects[objects != 0])
    if not _are_object_numbers(found):
        raise MaskError(
            f"{path}: objects {', '.join(map(str, found))} are marked; number them 1, 2, 3 … without a gap."
        )
    write_map(path, objects, several=objects.max() > 1)


def _are_object_numbers(found: np.ndarray) -> bool:
    return len(found) <= MAX_OBJECTS and np.array_equal(found, np.arange(1, len(found) + 1))


def object_palette(count: int) -> np.ndarray:
    """The colours of the background (black) and of `count` objects, (count + 1, 3) uint8 RGB."""
    colours = [(0, 0, 0), *map(to_rgb, islice(cycle(OBJECT_COLOURS), count))]
    return (255 * np.array(colours)).round().astype(np.uint8)


def check_mask(mask: np.ndarray, source: str | Path) -> None:
    """Raise a MaskError that names `source` if a mask, (H, W) bool or uint8, is empty or covers the frame."""
    if not mask.any():
        raise MaskError(f"{source}: the mask is empty, so there is no object to follow. Mark the object.")
    if mask.all():
        raise MaskError(
            f"{source}: the mask covers the whole frame, so there is no background to tell the object from. "
            "Mark the object alone; 0 (black) is background."
        )


def polygon_mask(points: Sequence[Sequence[float]], size: Sequence[int]) -> np.ndarray:
    """A filled polygon, its outline included, as (H, W) bool.

    Args:
        points: corners (x, y) in pixels of the frame, in order; (0, 0) is the centre of the pixel at
            the top left. The part outside the frame is cut off.
        size: (H, W) of the frame.

    Raises:
        MaskError: there are fewer than three corners, or they are not pairs of numbers up to `FARTHEST`.
    """
    check_polygon(points)
    mask = np.zeros(tuple(size), np.uint8)
    # Cut off far parts first: OpenCV visits every row of a polygon, and stores coordinates in 32 bits.
    near = Bbox([[-BORDER, -BORDER], [size[1] + BORDER, size[0] + BORDER]])
    corners = Polygon(np.round(points)).clip_to_bbox(near).vertices
    if len(corners):
        cv2.fillPoly(mask, [corners.round().astype(np.int32)], 1)
    return mask.astype(bool)


def check_polygon(points: Sequence[Sequence[float]]) -> None:
    """Raise a MaskError unless `points` are at least three corners (x, y)."""
    if len(points) < 3 or any(len(point) != 2 for point in points) or not _are_near(points):
        raise MaskError(f"polygon {points}: give at least three corners (x, y), in pixels of the frame.")


def check_box(box: Sequence[float]) -> None:
    """Raise a MaskError unless `box` is (x0, y0, x1, y1), the upper left corner first."""
    if len(box) != 4 or not _are_near(box) or box[0] > box[2] or box[1] > box[3]:
        raise MaskError(f"box {tuple(box)}: give its upper left and lower right corner, (x0, y0, x1, y1).")


def _are_near(numbers: Sequence) -> bool:
    return bool((np.abs(numbers) <= FARTHEST).all())  # False for NaN


def box_region(box: Sequence[float], size: Sequence[int]) -> np.ndarray:
    """The pixels (H, W) bool inside a box (x0, y0, x1, y1); x1 and y1 are exclusive.

    Raises:
        MaskError: the box is not four numbers, the upper left corner first.
    """
    check_box(box)
    x0, y0, x1, y1 = np.maximum(np.round(box), 0).astype(int)
    region = np.zeros(tuple(size), bool)
    region[y0:y1, x0:x1] = True
    return region


def box_mask(frame: np.ndarray, box: Sequence[float], strokes: np.ndarray | None = None) -> np.ndarray:
    """The object in a rough box, cut out by GrabCut, as (H, W) bool; see `refinement.grab_cut`.

    Args:
        frame: (H, W, 3) uint8 RGB.
        box: (x0, y0, x1, y1) in pixels; x1 and y1 are exclusive. All pixels outside it are background.
        strokes: hints, (H, W) int8: 1 is certainly object, -1 certainly background, 0 unknown.

    Raises:
        MaskError: the box is not valid (see `check_box`), holds no pixel of the frame, or leaves no
            background.
    """
    inside = box_region(box, frame.shape[:2])
    place = f"box {tuple(box)} in a frame of {frame.shape[1]}×{frame.shape[0]} pixels"
    if not inside.any():
        raise MaskError(f"{place}: holds no pixel of it. Draw the box around the object.")
    labels = np.where(inside, np.uint8(cv2.GC_PR_FGD), np.uint8(cv2.GC_BGD))
    if strokes is not None:
        labels[strokes > 0] = cv2.GC_FGD
        labels[strokes < 0] = cv2.GC_BGD
    objects = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    check_mask(objects, place)
    return grab_cut(frame, labels, iterations=5)  # after many, the object may be lost


def given_objects(
    frame: np.ndarray,
    masks: Sequence[str | Path] = (),
    boxes: Sequence[Sequence[float]] = (),
    polygons: Sequence[Sequence[Sequence[float]]] = (),
) -> np.ndarray:
    """The objects that a person marked in a frame, as a map (H, W) uint8.

    Objects are numbered in the order masks, boxes, polygons. Where marks overlap, the first one counts.

    Args:
        frame: (H, W, 3) uint8 RGB.
        masks: image files; each may hold several objects.
        boxes: (x0, y0, x1, y1) in pixels; GrabCut finds the object in each.
        polygons: the corners (x, y) of each, in pixels.

    Raises:
        MaskError: nothing is marked, or more than `MAX_OBJECTS`; or a mask has another size, is empty, or
            covers the whole frame.
        DataError: a file is missing or unreadable.
    """
    size = frame.shape[:2]
    marked = [
        *((str(path), read_objects(find_input(path), size)) for path in masks),
        *((f"what GrabCut finds in the box {tuple(box)}", box_mask(frame, box)) for box in boxes),
        *((f"polygon {polygon}", polygon_mask(polygon, size)) for polygon in polygons),
    ]
    if not marked:
        raise MaskError("no object is marked: give a mask, a box or a polygon.")
    objects = np.zeros(size, int)
    for source, mask in marked:
        check_mask(mask, source)
        free = (mask > 0) & (objects == 0)
        objects[free] = mask[free] + objects.max()
        if not free.any():
            raise MaskError(f"{source}: another object is already marked there. Mark a different object.")
    for number in range(1, objects.max() + 1):
        check_mask(objects == number, f"object {number}")
    _check_count(int(objects.max()))
    return objects.astype(np.uint8)


def number_objects(marked: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
    """Maps of different objects in different frames, with one numbering from 1 for all of them.

    Args:
        marked: index of a frame → map (H, W) uint8 of its own objects, numbered from 1.

    Returns:
        The same maps in the same order; those of the second frame are numbered on from the first, and so on.

    Raises:
        MaskError: there are more than `MAX_OBJECTS`.
    """
    numbered, count = {}, 0
    for index, objects in marked.items():
        numbered[index] = np.where(objects > 0, objects.astype(int) + count, 0)
        count += int(objects.max())
    _check_count(count)
    return {index: objects.astype(np.uint8) for index, objects in numbered.items()}


def _check_count(count: int) -> None:
    if count > MAX_OBJECTS:
        raise MaskError(f"{count} objects are marked; mark at most {MAX_OBJECTS}.")


def read_correction(path: str | Path, size: Sequence[int], count: int) -> np.ndarray:
    """The objects of a corrected frame, (H, W) uint8 of 0…count; objects may be absent.

    Of several objects, the colours that `write_correction` gives them are read too: most paint programs keep
    those, and not the numbers.

    Raises:
        DataError: the file is missing or unreadable, or holds other colours.
        MaskError: the mask has another size, or an object that is not marked elsewhere.
    """
    objects = read_objects(path, size) if count == 1 else _read_sized(path, size, read_numbers)
    _check_marked(path, objects, count)
    return objects.astype(np.uint8)


def write_correction(path: str | Path, objects: np.ndarray, count: int) -> None:
    """Write the objects of a corrected frame, (H, W) uint8, atomically; `read_correction` returns the same.

    Raises:
        MaskError: there is an object that is not marked elsewhere.
    """
    _check_marked(path, objects, count)
    write_map(path, objects, several=count > 1)


def _check_marked(path: str | Path, objects: np.ndarray, count: int) -> None:
    if objects.max() > count:
        raise MaskError(
            f"{path}: holds object {objects.max()}, but {count} are marked. Number the objects as they are "
            "marked."
        )
