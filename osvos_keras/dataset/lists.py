"""Lists of sequences written from the folders of a data set."""

from collections.abc import Iterable
from itertools import count
from pathlib import Path

from osvos_keras.davis import Davis
from osvos_keras.errors import DataError
from osvos_keras.io.files import write_atomically


def write_lists(davis: Davis, validation: str | Iterable[str]) -> dict[Path, Path | None]:
    """Write `train.txt` and `val.txt` from the folders, in DAVIS's own format.

    Each line names a frame and its annotation; frames without an annotation get no line. An existing list
    with other content is renamed and kept.

    Args:
        davis: the data set.
        validation: the sequences of `val`; all others become `train`.

    Returns:
        The path of each written list → the path of the old list (None: there was none, or it was equal).

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
    """The lines of one sequence: one line per annotated frame."""
    pairs = davis.known_annotations(sequence)
    if not pairs:
        first = davis.annotation_path(davis.frames(sequence)[0])
        raise DataError(f"{first}: no such annotation. Mark the object at least in the first frame.")
    relative = [[path.relative_to(davis.root).as_posix() for path in pair] for pair in pairs.items()]
    return "".join(f"/{frame} /{annotation}\n" for frame, annotation in relative)


def _replace(path: Path, text: str) -> Path | None:
    """Write a list; return the path under which an old list with other content is kept."""
    kept = None
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
        if path.is_file() and path.read_bytes() != temporary.read_bytes():
            names = (path.with_name(f"{path.name}.old{number}") for number in count(1))
            kept = path.rename(next(name for name in names if not name.exists()))
    return kept
