"""A data set checked as a whole: every file read and each wrong one named; lists written from folders."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from osvos_keras.davis import Davis, size_message
from osvos_keras.errors import DataError
from osvos_keras.files import write_atomically
from osvos_keras.images import open_image, read_frame
from osvos_keras.mask_files import read_annotation


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

    Empty annotations after the first frame and four-channel annotations occur in DAVIS itself;
    they are reported as harmless.
    """
    frames = davis.frames(sequence)
    for index, path in enumerate(frames):
        try:
            size = read_frame(path).shape[:2]
        except DataError as error:
            yield Problem(path, _without_path(error, path))
            size = None
        yield from _verify_annotation(davis.annotation_path(path), size, is_first=index == 0)
    expected = {frame.stem for frame in frames}
    for path in sorted((davis.annotation_path(frames[0]).parent).glob("*.png")):
        if path.stem not in expected:
            yield Problem(path, "an annotation without a frame.")


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
    channels = len(open_image(path).getbands())
    if channels > 1:
        yield Problem(path, f"{channels} channels instead of one; read as grey.", harmless=True)


def _without_path(error: object, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")


def write_lists(davis: Davis, validation: Iterable[str]) -> list[Path]:
    """Write `train.txt` and `val.txt` from the folders, in DAVIS's own format.

    Args:
        davis: the data set; every frame must have its annotation.
        validation: the sequences of `val`; all others become `train`.

    Raises:
        DataError: a name in `validation` is unknown, or an annotation is missing.
    """
    validation = davis.select(validation)

    def relative(path: Path) -> str:
        return f"/{path.relative_to(davis.root).as_posix()}"

    splits = {
        "train": [name for name in davis.all_sequences() if name not in validation],
        "val": validation,
    }
    written = []
    for split, sequences in splits.items():
        pairs = [
            (frame, annotation)
            for name in sequences
            for frame, annotation in zip(davis.frames(name), davis.annotations(name), strict=True)
        ]
        path = davis.root / "ImageSets" / davis.resolution / f"{split}.txt"
        with write_atomically(path) as temporary:
            temporary.write_text("".join(" ".join(map(relative, pair)) + "\n" for pair in pairs))
        written.append(path)
    return written
