"""A folder of masks on disk, as methods really write them: checked, paired and read.

DAVIS result layout: `<masks>/<sequence>/00000.png`, named as the frames are.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from osvos_keras.davis import Davis
from osvos_keras.errors import DataError
from osvos_keras.files import make_folder
from osvos_keras.mask_files import read_annotation, read_mask, write_mask


@dataclass(frozen=True)
class Pair:
    """One frame to score: its name, its annotation, its mask (None where missing)."""

    frame: str
    annotation: Path
    mask: Path | None

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Mask and annotation, (H, W) bool each."""
        annotation = read_annotation(self.annotation)
        if self.mask is None:
            return np.zeros_like(annotation), annotation
        mask = read_mask(self.mask)
        if mask.shape != annotation.shape:
            raise DataError(
                f"{self.mask}: {mask.shape[1]}×{mask.shape[0]} pixels, but its annotation has "
                f"{annotation.shape[1]}×{annotation.shape[0]}. Write masks at the frame's own size."
            )
        return mask, annotation


def plan_sequence(
    masks: Path,
    davis: Davis,
    sequence: str,
    *,
    allow_missing: bool = False,
    first_and_last: bool = False,
) -> list[Pair]:
    """The frames to score, after a look at which files are there; nothing is decoded yet."""
    annotations = davis.annotations(sequence)
    if len(annotations) < 3:
        raise DataError(
            f"{annotations[0].parent}: {len(annotations)} frames; the first and the last are not scored, "
            "so a sequence needs at least 3. Leave it out with --sequences."
        )
    scored = annotations if first_and_last else annotations[1:-1]
    there = _list_masks(masks, sequence)
    extra = sorted(there.keys() - {path.stem for path in annotations})
    if extra:
        raise DataError(
            f"{there[extra[0]]}: a mask without a frame ({len(extra)} such). Name masks like their frames, "
            f"{annotations[0].stem}.png to {annotations[-1].stem}.png, and remove the others."
        )
    absent = [path.stem for path in scored if path.stem not in there]
    if absent and not allow_missing:
        raise DataError(
            f"{masks / sequence / absent[0]}.png: no such mask ({len(absent)} of {len(scored)} are missing). "
            "Write it, or count missing masks as empty with --allow-missing (allow_missing=True)."
        )
    return [Pair(path.stem, path, there.get(path.stem)) for path in scored]


def require_folder(masks: Path) -> None:
    """Raise a DataError that says what to give, unless there is a folder `masks`."""
    if not masks.is_dir():
        raise DataError(f"{masks}: no such folder. Give the folder that holds <sequence>/00000.png.")


def _list_masks(masks: Path, sequence: str) -> dict[str, Path]:
    """The masks of a sequence by the name of their frame."""
    folder = masks / sequence
    if folder.is_dir():
        return {path.stem: path for path in folder.glob("*.png")}
    require_folder(masks)
    deeper = next(masks.glob(f"*/{sequence}"), None)
    if deeper:
        raise DataError(f"{folder}: no such folder, but {deeper} exists. Give {deeper.parent} instead.")
    raise DataError(
        f"{folder}: no masks of this sequence. Make them, or name the sequences to score with --sequences."
    )


def repeat_first_mask(davis: Davis, sequences: str | Iterable[str], out: str | Path) -> Path:
    """Write the baseline "the first annotation, again in every frame" as masks into the folder `out`.

    Any method that learns something must score above it. Returns `out`.

    Raises:
        DataError: unknown sequence, or a first frame or annotation that cannot be used.
        OSError: `out` cannot be written.
    """
    out = make_folder(out)
    for sequence in davis.select(sequences):
        _, annotation = davis.first(sequence)
        for frame in davis.frames(sequence):
            write_mask(out / sequence / f"{frame.stem}.png", annotation)
    return out
