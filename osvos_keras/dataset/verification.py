"""A data set checked as a whole: every file read and each wrong one named; lists written from folders."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from PIL import Image

from osvos_keras.davis import Davis, size_message
from osvos_keras.errors import DataError, OsvosError
from osvos_keras.io.files import list_files, write_atomically
from osvos_keras.io.images import open_image, orientation, read_frame
from osvos_keras.io.masks import read_annotation


@dataclass(frozen=True)
class Problem:
    """One finding of `verify`: a file, what is the matter, and whether training can live with it."""

    path: Path
    what: str
    harmless: bool = False

    def __str__(self):
        return f"{'note ' if self.harmless else 'ERROR'}  {self.path}: {self.what}"


def verify(davis: Davis, sequence: str) -> Iterator[Problem]:
    """Read every file of a sequence and yield what is wrong with it.

    Some findings are harmless and reported as notes: empty annotations after the first frame and
    four-channel annotations, which occur in DAVIS itself; annotations that are missing after the first,
    which only the parent's training and the scores need; files that are no frames; and what the reader
    does to a file, such as turning it upright.
    """
    try:
        frames = davis.frames(sequence)
    except OsvosError as error:  # a ConfigError: the folder's name cannot stand in a list
        path, _, what = str(error).partition(": ")
        yield Problem(Path(path), what)
        return
    known = davis.known_annotations(sequence)
    sizes = []
    for index, path in enumerate(frames):
        size = None
        try:
            size = read_frame(path).shape[:2]
            yield from _notes(path, open_image(path, decode=False))
            sizes.append(size)
            if size != sizes[0]:
                yield Problem(path, f"{_pixels(size)}, but the first frame has {_pixels(sizes[0])}.")
        except DataError as error:
            yield Problem(path, _without_path(error, path))
        if path in known or index == 0:
            yield from _verify_annotation(davis.annotation_path(path), size, is_first=index == 0)
    yield from _verify_listing(davis, frames, known)


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[1]}×{size[0]} pixels"


def _notes(path: Path, image: Image.Image) -> Iterator[Problem]:
    """What the reader does to a file that can be read."""
    if orientation(image) > 1:
        what = f"its EXIF orientation is {orientation(image)}; read upright, as viewers show it."
        yield Problem(path, what, harmless=True)
    named = Image.registered_extensions().get(path.suffix.lower())
    if image.format != named and image.format != "MPO":
        yield Problem(path, f"a {image.format} file, whatever its name says; read as that.", harmless=True)


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
    """The files of a sequence that belong to nothing, and how many annotations are missing."""
    missing = [path for path in frames[1:] if path not in known]
    if missing:
        yield Problem(
            davis.annotation_path(missing[0]),
            f"no such file; {len(missing)} of {len(frames)} frames have no annotation. To train online "
            "and to segment, the first is enough; to train a parent and to score, every frame needs one.",
            harmless=True,
        )
    folder, annotations = frames[0].parent, davis.annotation_path(frames[0]).parent
    for path in sorted({*list_files(folder)} - {*frames}):
        yield Problem(path, "not an image by its name; left out.", harmless=True)
    for path in sorted({*list_files(annotations)} - {*known.values()}):
        if path.suffix.lower() == ".png":
            yield Problem(path, "an annotation without a frame.")
        else:
            yield Problem(path, "not an annotation (.png) by its name; left out.", harmless=True)


def _without_path(error: object, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")


def write_lists(davis: Davis, validation: str | Iterable[str]) -> dict[Path, Path | None]:
    """Write `train.txt` and `val.txt` from the folders, in DAVIS's own format.

    A line names a frame and its annotation; of a sequence with its first annotation only there is one line.
    A list that is there already and says something else is kept beside the new one.

    Args:
        davis: the data set.
        validation: the sequences of `val`; all others become `train`.

    Returns:
        Each list that was written, and where the old one is kept (None: there was none, or the same).

    Raises:
        DataError: `validation` is empty or names an unknown sequence, or a sequence has no annotation.
        FolderError: the lists cannot be written.
    """
    validation = davis.select(validation)
    splits = {
        "train": [name for name in davis.all_sequences() if name not in set(validation)],
        "val": validation,
    }
    texts = {split: "".join(_lines(davis, name) for name in names) for split, names in splits.items()}
    folder = davis.root / "ImageSets" / davis.resolution
    return {(path := folder / f"{split}.txt"): _replace(path, text) for split, text in texts.items()}


def _lines(davis: Davis, sequence: str) -> str:
    """The lines of one sequence, for each annotated frame one."""
    pairs = davis.known_annotations(sequence)
    if not pairs:
        first = davis.annotation_path(davis.frames(sequence)[0])
        raise DataError(f"{first}: no such annotation. Mark the object in the first frame, at least.")
    relative = [[path.relative_to(davis.root).as_posix() for path in pair] for pair in pairs.items()]
    return "".join(f"/{frame} /{annotation}\n" for frame, annotation in relative)


def _replace(path: Path, text: str) -> Path | None:
    """Write a list; return where the old one is kept, if it said something else."""
    kept = None
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
        if path.is_file() and path.read_bytes() != temporary.read_bytes():
            names = (path.with_name(f"{path.name}.old{number}") for number in count(1))
            kept = path.rename(next(name for name in names if not name.exists()))
    return kept
