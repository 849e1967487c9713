"""A folder of masks on disk, as methods really write them: checked, paired and read.

DAVIS result layout: `<masks>/<sequence>/00000.png`, named as the frames are. Other habits are understood too:
nested folders, names with the frame's number, JPEGs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from osvos_keras.davis import Davis
from osvos_keras.errors import DataError
from osvos_keras.io.files import last_number, list_files, make_folder
from osvos_keras.io.images import open_image
from osvos_keras.io.masks import read_mask, write_mask
from osvos_keras.io.paths import find_input

SUFFIXES = (".png", ".jpg", ".jpeg")
MIDDLE_GREY = 128
STRAY_SHARE = 0.1  # of a JPEG's pixels: blurred outlines are far fewer


@dataclass(frozen=True)
class Pair:
    """One frame: its name, annotation and mask (None where missing); whether J and F are of it."""

    frame: str
    annotation: Path
    mask: Path | None
    scored: bool = True


def why_unscorable(davis: Davis, sequence: str) -> str | None:
    """Why a sequence cannot be scored at all, although nothing in it is wrong; None if it can."""
    paths = [davis.annotation_path(frame) for frame in davis.frames(sequence)]
    if len(paths) < 3:
        return (
            f"{paths[0].parent}: {len(paths)} frames; the first and the last are not scored, "
            "so a sequence needs at least 3."
        )
    if paths[0].is_file() and not any(path.is_file() for path in paths[1:]):
        return f"{paths[0].parent}: it has its first annotation only, so there is nothing to score masks by."
    return None


def plan_sequence(
    masks: Path,
    davis: Davis,
    sequence: str,
    *,
    allow_missing: bool = False,
    first_and_last: bool = False,
    notes: list[str] | None = None,
) -> list[Pair]:
    """The frames to score, after a look at which files are there; nothing is decoded yet.

    Args:
        masks: the folder of masks, as `find_masks` returns it.
        davis, sequence: the data set and the sequence.
        allow_missing: take a mask that is not there as None.
        first_and_last: plan the first and the last frame too.
        notes: gets a sentence for what is read in another way than by its plain name.

    Raises:
        DataError: there is nothing to score, a mask is missing, or one has no frame.
    """
    if reason := why_unscorable(davis, sequence):
        raise DataError(f"{reason} Leave it out with --sequences.")
    annotations = davis.annotations(sequence)
    inner = annotations[1:-1]
    asked = annotations if first_and_last else inner
    there = masks_by_frame(masks / sequence, annotations, [] if notes is None else notes)
    absent = [path.stem for path in asked if path.stem not in there]
    if absent and not allow_missing:
        raise DataError(
            f"{masks / sequence / absent[0]}.png: no such mask ({len(absent)} of {len(asked)} are missing). "
            "Write it, or count missing masks as empty with --allow-missing (allow_missing=True)."
        )
    return [Pair(path.stem, path, there.get(path.stem), path in inner) for path in asked]


def require_folder(masks: Path) -> None:
    """Raise a DataError that says what to give, unless there is a folder `masks`."""
    if not masks.is_dir():
        raise DataError(f"{masks}: no such folder. Give the folder that holds <sequence>/00000.png.")


def find_masks(masks: str | Path, sequences: Sequence[str]) -> Path:
    """The folder that holds a folder of masks for each sequence: `masks` itself, or the only one in it.

    Archives of results nest (`osmn/osmn/…`, `Annotations/480p/…`) and bring `__MACOSX`. As long as a folder
    holds none of the sequences and a single folder, that one is entered.

    Raises:
        DataError: no such folder, or a sequence has no masks in it; the message says what to give instead.
    """
    masks = found = find_input(masks)
    require_folder(masks)
    for _ in range(4):
        if any((found / sequence).is_dir() for sequence in sequences):
            break
        inside = _folders(found)
        if len(inside) != 1 or inside[0].is_symlink():
            break
        found = inside[0]
    for sequence in sequences:
        if not (found / sequence).is_dir():
            raise DataError(_no_masks_message(masks, found, sequence))
    return found


def _folders(folder: Path) -> list[Path]:
    return [
        path
        for path in sorted(folder.iterdir())
        if path.is_dir() and not path.name.startswith((".", "__MACOSX"))
    ]


def _no_masks_message(masks: Path, found: Path, sequence: str) -> str:
    if masks.name == sequence and list_files(masks, *SUFFIXES):
        return f"{masks}: these are the masks of one sequence. Give the folder that holds it, {masks.parent}."
    inside = _folders(masks)
    inside += [inner for folder in inside for inner in _folders(folder)]
    for folder in inside:
        if (folder / sequence).is_dir():
            return (
                f"{masks / sequence}: no such folder, but {folder / sequence} exists. Give {folder} instead."
            )
    return (
        f"{found / sequence}: no masks of this sequence. Make them, or name the sequences to score with "
        "--sequences."
    )


def masks_by_frame(folder: Path, annotations: Sequence[Path], notes: list[str]) -> dict[str, Path]:
    """The masks in a folder by the name of their frame: the same name, or else the same number.

    Args:
        folder: of the masks of one sequence.
        annotations: its annotations, or its frames; their names count.
        notes: as for `plan_sequence`.

    Raises:
        DataError: a mask has no frame, or a frame has two.
    """
    files = list_files(folder, ".png") or list_files(folder, ".jpg", ".jpeg")
    frames = {path.stem for path in annotations}
    found = [path.stem if path.stem in frames else None for path in files]
    if None in found:
        numbers = {last_number(path.stem): path.stem for path in annotations}
        by_number = [numbers.get(last_number(path.stem)) for path in files]
        if len(numbers) == len(annotations) and None not in by_number:
            found = by_number
            notes.append(f"{folder}: masks are matched to frames by number ({files[0].name} and so on).")
    there = {}
    for path, frame in zip(files, found, strict=True):
        if frame is None:
            raise DataError(
                f"{path}: a mask without a frame ({found.count(None)} such). Name masks like their frames, "
                f"{annotations[0].stem}.png to {annotations[-1].stem}.png, and remove the others."
            )
        if frame in there:
            raise DataError(
                f"{path}: a second mask of frame {frame}, beside {there[frame].name}. Remove one of them."
            )
        there[frame] = path
    if files and files[0].suffix.lower() != ".png":
        notes.append(f"{folder}: masks are JPEGs; an object is where they are lighter than middle grey.")
    return there


def read_any_mask(path: Path) -> np.ndarray:
    """A mask as `read_mask` reads it; a JPEG, whose values are blurred, as what is lighter than middle grey.

    Raises:
        DataError: as `read_mask`, or the JPEG is no mask but a picture or probabilities.
    """
    if path.suffix.lower() == ".png":
        return read_mask(path)
    grey = np.asarray(open_image(path).convert("L"))
    if np.mean((grey > MIDDLE_GREY // 2) & (grey < 255 - MIDDLE_GREY // 2)) > STRAY_SHARE:
        raise DataError(f"{path}: a JPEG with many greys, so not a mask. Write 0 and 255, as PNG.")
    return grey >= MIDDLE_GREY


def repeat_first_mask(davis: Davis, sequences: str | Iterable[str], out: str | Path) -> Path:
    """Write the baseline "the first annotation, again in every frame" as masks into the folder `out`.

    Any method that learns something must score above it. Returns `out`.

    Raises:
        DataError: unknown sequence, or a first frame or annotation that cannot be used.
        FolderError: `out` cannot be written.
    """
    out = make_folder(out)
    for sequence in davis.select(sequences):
        _, annotation = davis.first(sequence)
        for frame in davis.frames(sequence):
            write_mask(out / sequence / f"{frame.stem}.png", annotation)
    return out
