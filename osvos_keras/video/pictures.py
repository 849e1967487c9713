"""Clips made of pictures: a folder of images, or an image file with several (GIF, WebP, PNG, TIFF)."""

import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path

from PIL import Image, ImageSequence

from osvos_keras.errors import VideoError, VideoWarning
from osvos_keras.io.files import check_text, last_number, list_files, natural_key, require_regular
from osvos_keras.io.images import (
    FORMATS,
    SUFFIXES,
    frame_pixels,
    image_size,
    note_depth,
    open_image,
    upright_size,
)
from osvos_keras.io.paths import LONGEST_NAME
from osvos_keras.video.codec import TimedFrame, in_order

SIDES = 16, 65_500  # pixels of a side: the stride of the network's coarsest layer, and JPEG's largest side
UNTIMED = "TIFF"  # the one format whose pictures have no times
SHORTEST, USUAL = 0.01, 0.1  # seconds: browsers show a picture of at most the first for the second


def list_images(folder: Path) -> list[Path]:
    """The images of a folder as frames of a clip, sorted by the numbers in their names.

    Each frame keeps the name of its image, without the suffix.

    Raises:
        VideoError: the folder has no image or only one, two images would give frames of the same name, or a
            name is too long.
    """
    images = sorted(list_files(folder, *SUFFIXES), key=lambda path: natural_key(f"{path.stem}.jpg"))
    if not images:
        raise VideoError(
            f"{folder}: no image in this folder ({', '.join(SUFFIXES)}). Give a folder of frames, or a video."
        )
    if len(images) == 1:
        raise VideoError(f"{images[0]}: the only image of its folder; a clip needs at least two.")
    _check_names(images)
    return images


def check_images(folder: Path, images: Sequence[Path]) -> None:
    """Check by their headers that images can be the frames of one clip, and warn of what is unusual.

    Raises:
        DataError: a file is not an image.
        VideoError: sizes differ, or are too small or too large; or what is named like an image is no file.

    Warns:
        VideoWarning: the folder holds other files, numbers are missing, or an image differs from the others
            in the form of its name or in its kind of colour, as a mask may.
    """
    require_regular(folder, images, *SUFFIXES)
    kinds, expected = [], image_size(images[0])
    check_sides(images[0], expected)
    for path in images:
        image = open_image(path, decode=False)
        kinds.append(_kind(image))
        if (size := upright_size(image)) != expected:
            raise VideoError(
                f"{path}: {size[1]}×{size[0]} pixels, but {images[0].name} has {expected[1]}×{expected[0]}. "
                "Give all images one size, or move files that are not frames out of the folder."
            )
    oddities = (
        _left_out(folder, images),
        _named_unlike(images),
        _coloured_unlike(images, kinds),
        _left_out_numbers(images),
    )
    for oddity in filter(None, oddities):
        warnings.warn(f"{folder}: {oddity}", VideoWarning, stacklevel=4)


def check_sides(path: Path, size: Sequence[int]) -> None:
    """Raise a VideoError unless frames of a size (H, W) can be segmented and written."""
    if not SIDES[0] <= min(size) <= max(size) <= SIDES[1]:
        raise VideoError(
            f"{path}: {size[1]}×{size[0]} pixels; each side must have {SIDES[0]} to {SIDES[1]} pixels. Crop "
            "or resize the clip."
        )


def _kind(image: Image.Image) -> str:
    if len(image.getbands()) >= 3:
        return "in colour"
    return "of a palette" if image.mode in ("P", "PA") else "grey"


def _check_names(images: Sequence[Path]) -> None:
    before = {}
    for path in images:
        check_text(path)
        other = before.setdefault(path.stem.casefold(), path)  # names differ by more than upper case
        if other is not path:
            raise VideoError(
                f"{path}: {other.name} exists too, so two frames would be called {path.stem}. If one is a "
                "mask, move the masks out of the folder; otherwise rename it."
            )
        room = LONGEST_NAME - len(os.fsencode(f"{path.stem}.jpg"))
        if room < 0:
            raise VideoError(f"{path}: its name is {-room} bytes too long for a frame. Shorten it.")


def _left_out(folder: Path, images: Sequence[Path]) -> str:
    taken = {path.name for path in images}
    others = sorted(path.name for path in folder.iterdir() if path.name[0] != "." and path.name not in taken)
    return f"left out, because they are not images that are read here: {_listed(others)}." if others else ""


def _named_unlike(images: Sequence[Path]) -> str:
    patterns = Counter(_pattern(path) for path in images)
    usual, count = patterns.most_common(1)[0]
    if "#" not in usual or count == len(images) or 2 * count < len(images):
        return ""
    others = [path.name for path in images if _pattern(path) != usual]
    example = next(path.name for path in images if _pattern(path) == usual)
    return (
        f"used as frames, although their names differ in form from those of the other images, such as "
        f"{example}: {_listed(others)}. Move masks out of the folder."
    )


def _coloured_unlike(images: Sequence[Path], kinds: Sequence[str]) -> str:
    usual = Counter(kinds).most_common(1)[0][0]
    others = [f"{path.name} ({kind})" for path, kind in zip(images, kinds, strict=True) if kind != usual]
    return (
        f"most images are {usual}, but not {_listed(others)}. Move masks out of the folder." if others else ""
    )


def _pattern(path: Path) -> str:
    return re.sub(r"[0-9]+", "#", path.stem)


def _left_out_numbers(images: Sequence[Path]) -> str:
    """Name the places where the numbers in the names increase by more than the usual step."""
    numbers = [last_number(path.stem) for path in images]
    if None in numbers:
        return ""
    steps = [after - before for before, after in pairwise(numbers)]
    usual = Counter(steps).most_common(1)[0][0]
    gaps = [
        f"{a.name} … {b.name}" for step, (a, b) in zip(steps, pairwise(images), strict=True) if step > usual
    ]
    return f"numbers are missing; the clip has no frames for them: {_listed(gaps)}." if gaps else ""


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def open_pictures(path: Path) -> Image.Image | None:
    """An image file of one picture or several, not decoded; None if the file is not an image.

    Raises:
        VideoError: the pictures are too large to be frames.
    """
    try:
        return Image.open(path, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise VideoError(f"{path}: pictures too large to be frames ({error}). Make them smaller.") from error
    except Exception:  # a damaged file makes decoders raise exceptions of many kinds
        return None


def read_pictures(path: Path, pictures: Image.Image, fps: float) -> Iterator[TimedFrame]:
    """The pictures of an image file, in order, at the file's times; a TIFF has none, so `fps` is used.

    One picture is in memory at a time.

    Raises:
        DataError: a picture cannot be a frame; see `io.images.read_frame`.
        VideoError, Warns: as `video.codec.in_order`.
    """
    return in_order(path, _pictures(path, pictures, fps))


def _pictures(path: Path, pictures: Image.Image, fps: float) -> Iterator[TimedFrame]:
    start = 0.0
    hidden = int(pictures.info.get("default_image", False))  # a PNG's picture for viewers without animation
    one = pictures.format == "MPO"  # a photograph and its preview
    for picture in islice([pictures] if one else ImageSequence.Iterator(pictures), hidden, None):
        note_depth(picture)
        picture.load()  # Pillow turns a TIFF upright here
        image = frame_pixels(path, picture)
        duration = 1 / fps if pictures.format == UNTIMED else _duration(picture)
        yield TimedFrame(image, start, duration)
        start += duration


def _duration(picture: Image.Image) -> float:
    seconds = picture.info.get("duration", 0) / 1000
    return seconds if seconds > SHORTEST else USUAL
