"""Checks of the exercises on data: reading an annotation, warping it, choosing how much to scale."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from osvos_keras import augment, davis
from osvos_keras.course.checks.compare import compare


def _blob(height: int, width: int, row: float, column: float, radius: float) -> np.ndarray:
    """A half disk with a flat lower edge, (height, width) bool: no mirror image of itself upside down."""
    y, x = np.mgrid[:height, :width]
    return ((y - row) ** 2 + (x - column) ** 2 < radius**2) & (y < row + radius / 3)


def read_annotation(student: Callable) -> None:
    """`student(path)` reads an annotation as (H, W) bool, as `davis.read_annotation` does."""
    annotation = _blob(8, 10, 3, 4, 3)

    def grey(path):
        return np.array(Image.open(path).convert("L"))

    mistakes = {
        "the pixels are still numbers, such as 0 and 255; compare them with 0.": grey,
        "rows and columns are swapped; the shape of an image is (height, width).": lambda path: (
            grey(path).T > 0
        ),
        "object and background are exchanged; the object is what is above 0.": lambda path: grey(path) == 0,
        "one channel is wanted: .convert('L') before np.array makes one of four.": (
            lambda path: np.array(Image.open(path)) > 0
        ),
        "only bright pixels count, but some files hold 1 for the object; all above 0 is object.": (
            lambda path: grey(path) > 127
        ),
    }
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        black_and_white, ones, four = (Path(folder) / f"{name}.png" for name in ("255", "1", "rgba"))
        Image.fromarray(annotation.astype(np.uint8) * 255).save(black_and_white)
        Image.fromarray(annotation.astype(np.uint8)).save(ones)
        Image.fromarray(annotation.astype(np.uint8) * 255).convert("RGBA").save(four)
        cases = {
            "a file of 0 and 255": (black_and_white,),
            "a file of 0 and 1": (ones,),
            "a file with four channels, as DAVIS has one": (four,),
        }
        compare("read_annotation", student, davis.read_annotation, cases, mistakes)


def _positions(annotation, transform, order="xy", whole=np.rint):
    """Where each pixel of the new image lies in the old one: old_x and old_y."""
    y, x = np.mgrid[: annotation.shape[0], : annotation.shape[1]]
    (a0, a1, a2), (b0, b1, b2) = transform
    if order == "yx":
        x, y = y, x
    return [whole(p).astype(int) for p in (a0 * x + a1 * y + a2, b0 * x + b1 * y + b2)]


def _look_up(annotation, transform, *, order="xy", whole=np.rint, mode="symmetric"):
    """Warping step by step, with the steps open in which mistakes are made."""
    old_x, old_y = _positions(annotation, transform, order, whole)
    margin = 3 * max(annotation.shape)  # more than any of the cases reaches out
    return np.pad(annotation, margin, mode=mode)[old_y + margin, old_x + margin]


def warp(student: Callable) -> None:
    """`student(annotation, transform)` warps (H, W) uint8 of 0 and 1, as `augment.warp` does."""
    small = np.uint8([[1, 0, 0, 0, 1, 0], [1, 1, 0, 0, 0, 0], [0, 1, 0, 0, 1, 1], [0, 0, 0, 1, 1, 0]])
    blocks = np.random.default_rng(0).integers(0, 2, (6, 9), np.uint8)  # at the borders, too
    annotation = np.kron(blocks, np.ones((6, 6), np.uint8))[:, 1:]
    height, width = annotation.shape

    def by_library(annotation, transform, interpolation=cv2.INTER_NEAREST):
        return augment.warp(annotation[..., None], np.asarray(transform), interpolation)[..., 0]

    def bilinear(annotation, transform):
        return by_library(annotation.astype(np.float32), transform, cv2.INTER_LINEAR)

    mistakes = {
        "neighbours are mixed (bilinear); an annotation takes the nearest pixel.": bilinear,
        "neighbours are mixed and all above 0 kept, so the object grew; take the nearest pixel.": (
            lambda *given: bilinear(*given) > 0
        ),
        "rows and columns are swapped; x counts columns, y counts rows.": (
            lambda *given: _look_up(*given, order="yx")
        ),
        "rows and columns are swapped; an array is looked up as [row, column], that is [y, x].": (
            lambda annotation, _: annotation[tuple(np.mgrid[tuple(map(slice, annotation.shape))][::-1])]
        ),
        "the transform is used the wrong way; it leads from a pixel of the new image to one of the old.": (
            lambda annotation, transform: by_library(annotation, cv2.invertAffineTransform(transform))
        ),
        "places outside the old image are looked up as they are; reflect them first.": (
            lambda annotation, transform: annotation[tuple(_positions(annotation, transform)[::-1])]
        ),
        "the positions are fractions; round them to the nearest whole number, and make them int.": (
            lambda annotation, _: annotation[np.float32([0])]
        ),
        "outside the old image there is background; it should be reflected.": (
            lambda *given: _look_up(*given, mode="constant")
        ),
        "outside the old image its border is repeated; it should be reflected.": (
            lambda *given: _look_up(*given, mode="edge")
        ),
        "outside the old image it starts again at the other side; it should be reflected.": (
            lambda *given: _look_up(*given, mode="wrap")
        ),
        "the mirror stands on the border's pixels; they should come twice: 1 0 | 0 1.": (
            lambda *given: _look_up(*given, mode="reflect")
        ),
        "positions are rounded down; take the nearest whole number.": lambda *given: _look_up(
            *given, whole=np.floor
        ),
    }
    cases = {
        "nothing moves": (small, np.float32([[1, 0, 0], [0, 1, 0]])),
        "a shift by 2 columns and 1 row": (small, np.float32([[1, 0, 2], [0, 1, 1]])),
        "a shift by 14 columns and 9 rows": (annotation, np.float32([[1, 0, 14], [0, 1, 9]])),
        **{
            f"a random transform, seed {seed}": (
                annotation,
                augment.random_transform((seed, 0), height, width).numpy(),
            )
            for seed in (1, 2, 3)
        },
    }
    compare("warp", student, by_library, cases, mistakes, may_differ=0.01)


def choose_scale(student: Callable) -> None:
    """`student(annotations)` gives the least and the greatest size of the object, relative to the first.

    Sizes are lengths, so they go with the square root of the area; frames without the object are left out.
    """
    growing = [_blob(48, 60, 22, 28, radius) for radius in (8, 10, 13, 11)]
    shrinking = [_blob(48, 60, 22, 28, radius) for radius in (16, 13, 9, 10)]
    hidden = [*growing[:2], np.zeros_like(growing[0]), growing[2]]

    def areas(annotations):
        return np.array([annotation.sum() for annotation in annotations if annotation.any()], float)

    def widths(annotations, axis=0):
        return np.array([annotation.any(axis).sum() for annotation in annotations if annotation.any()])

    def heights(annotations):
        return widths(annotations, axis=1)

    def ends(values):
        return values.min(), values.max()

    def right(annotations):
        return ends(np.sqrt(areas(annotations) / areas(annotations)[0]))

    def steps(annotations):
        found = areas(annotations)
        return ends(np.sqrt(found[1:] / found[:-1]))

    mistakes = {
        "areas are compared; a scale is a length, so take the square root of the ratio of areas.": (
            lambda annotations: ends(areas(annotations) / areas(annotations)[0])
        ),
        "the ratio is upside down; divide each frame's area by that of the first frame.": (
            lambda annotations: ends(np.sqrt(areas(annotations)[0] / areas(annotations)))
        ),
        "frames without the object are counted, as scale 0; leave them out.": (
            lambda annotations: ends(np.sqrt([a.sum() / annotations[0].sum() for a in annotations]))
        ),
        "widths are compared; the square root of the area is the length that is meant.": (
            lambda annotations: ends(widths(annotations) / widths(annotations)[0])
        ),
        "heights are compared; the square root of the area is the length that is meant.": (
            lambda annotations: ends(heights(annotations) / heights(annotations)[0])
        ),
        "the first frame is left out; its own size, 1, counts too.": (
            lambda annotations: ends(np.sqrt(areas(annotations)[1:] / areas(annotations)[0]))
        ),
        "areas are compared with the largest or the mean; compare all with the first.": (
            lambda annotations: ends(np.sqrt(areas(annotations) / areas(annotations).max()))
        ),
        "a frame's share of the object is not relative yet; divide by that of the first frame.": (
            lambda annotations: ends(np.sqrt([a.mean() for a in annotations if a.any()]))
        ),
        "these are lengths in pixels; divide each by that of the first frame.": (
            lambda annotations: ends(np.sqrt(areas(annotations)))
        ),
        "each frame is compared with the one before; compare all with the first.": steps,
        "the two are in the other order; give the least first.": lambda annotations: right(annotations)[::-1],
    }
    cases = {
        "the object comes nearer": (growing,),
        "it moves away": (shrinking,),
        "it is hidden in one frame": (hidden,),
    }
    compare("choose_scale", student, right, cases, mistakes)
