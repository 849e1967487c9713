"""Checks of a whole data set, which read every file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from osvos_keras.davis import Davis
from osvos_keras.errors import DataError, OsvosError
from osvos_keras.io.files import list_files
from osvos_keras.io.images import open_image, orientation, read_frame
from osvos_keras.io.masks import read_annotation, size_message


@dataclass(frozen=True)
class Problem:
    """One finding of `verify`.

    Attributes:
        path: the file.
        what: what is wrong with it.
        harmless: whether training and evaluation work all the same.
    """

    path: Path
    what: str
    harmless: bool = False

    def __str__(self):
        return f"{'note ' if self.harmless else 'ERROR'}  {self.path}: {self.what}"


def verify(davis: Davis, sequence: str) -> Iterator[Problem]:
    """Read every file of a sequence and yield what is wrong with it.

    These findings are harmless notes: empty annotations after the first frame and four-channel annotations,
    which occur in DAVIS itself; missing annotations after the first frame, which only parent training and
    scores need; files that are not frames; and changes by the reader, such as turning a frame upright.
    """
    try:
        frames = davis.frames(sequence)
    except OsvosError as error:  # a ConfigError: the folder's name is not valid in a list
        path, _, what = str(error).partition(": ")
        yield Problem(Path(path), what)
        return
    known = davis.known_annotations(sequence)
    first = None
    for index, path in enumerate(frames):
        size = None
        try:
            size = read_frame(path).shape[:2]
            yield from _notes(path, open_image(path, decode=False))
            first = first or size
            if size != first:
                yield Problem(path, f"{_pixels(size)}, but the first frame has {_pixels(first)}.")
        except DataError as error:
            yield Problem(path, _without_path(error, path))
        if path in known or index == 0:
            yield from _verify_annotation(davis.annotation_path(path), size, is_first=index == 0)
    yield from _verify_listing(davis, frames, known)


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[1]}×{size[0]} pixels"


def _notes(path: Path, image: Image.Image) -> Iterator[Problem]:
    """The changes that the reader makes to a readable file."""
    if orientation(image) > 1:
        what = f"its EXIF orientation is {orientation(image)}; read upright, as viewers show it."
        yield Problem(path, what, harmless=True)
    named = Image.registered_extensions().get(path.suffix.lower())
    if image.format != named and image.format != "MPO":
        yield Problem(path, f"a {image.format} file in spite of its suffix; read as such.", harmless=True)


def _verify_annotation(path: Path, size: tuple[int, int] | None, is_first: bool) -> Iterator[Problem]:
    try:
        annotation = read_annotation(path)
    except DataError as error:
        yield Problem(path, _without_path(error, path))
        return
    if size and annotation.shape != size:
        yield Problem(path, _without_path(size_message(path, annotation.shape, size), path))
    if not annotation.any():
        yield Problem(path, "empty: no pixel of the object.", harmless=not is_first)
    image = open_image(path, decode=False)
    yield from _notes(path, image)
    if len(image.getbands()) > 1:
        what = f"{len(image.getbands())} channels instead of one; read as grey."
        yield Problem(path, what, harmless=True)


def _verify_listing(davis: Davis, frames: list[Path], known: dict[Path, Path]) -> Iterator[Problem]:
    """Files in a sequence's folders that belong to no frame, and the number of missing annotations."""
    missing = [path for path in frames[1:] if path not in known]
    if missing:
        yield Problem(
            davis.annotation_path(missing[0]),
            f"no such file; {len(missing)} of {len(frames)} frames have no annotation. Online training and "
            "segmentation need the first only; parent training and scores need one per frame.",
            harmless=True,
        )
    folder, annotations = frames[0].parent, davis.annotation_path(frames[0]).parent
    for path in sorted({*list_files(folder)} - {*frames}):
        yield Problem(path, "its suffix is not an image's; left out.", harmless=True)
    used = {path.name.casefold(): path for path in known.values()}
    for path in list_files(annotations):
        if path.samefile(used.get(path.name.casefold(), folder)):  # a file system may take 1.PNG for 1.png
            continue
        if path.suffix.lower() == ".png":
            yield Problem(path, "an annotation without a frame.")
        else:
            yield Problem(path, "its suffix is not an annotation's (.png); left out.", harmless=True)


def _without_path(error: object, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")
