"""Annotations of one object or of several: which it is, and masks read accordingly.

DAVIS 2017 numbers objects: 0 is background, 1…N are the objects, 255 is void, which is left out. As in its
evaluation of semi-supervised methods, the objects are those up to the highest number of the first annotation.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from osvos_keras.errors import DataError
from osvos_keras.evaluation.folder import read_any_mask
from osvos_keras.io.images import open_image
from osvos_keras.io.masks import read_annotation, read_numbers, read_values, size_message

VOID = 255
MOST_OBJECTS = 50  # more different values are grey levels


@dataclass(frozen=True)
class Reader:
    """Reads the masks and annotations of a sequence.

    Attributes:
        objects: how many there are; None for masks of one object without a number.
    """

    objects: int | None

    def annotation(self, path: Path) -> np.ndarray:
        """(H, W) bool, or uint8 of numbers where objects have them."""
        return read_annotation(path) if self.objects is None else read_numbers(path)

    def mask(self, path: Path) -> np.ndarray:
        """As `annotation`; the mask of a single object may be written in any way.

        Raises:
            DataError: it holds numbers of objects that the first annotation does not have.
        """
        if self.objects is None:
            return read_any_mask(path)
        if self.objects == 1:
            return read_any_mask(path).astype(np.uint8)
        numbers = read_numbers(path)
        if numbers.max() > self.objects:
            extra = [number for number in np.unique(numbers).tolist() if number > self.objects]
            named = ", ".join(map(str, extra[:6])) + (" …" if len(extra) > 6 else "")
            raise DataError(
                f"{path}: holds the values {named}, but the first annotation has the objects 1 to "
                f"{self.objects}. Write each object under its number there, and 0 elsewhere."
            )
        return numbers

    def mask_like(self, path: Path | None, annotation: np.ndarray) -> np.ndarray:
        """As `mask`, of the annotation's size; without a file it is empty.

        Raises:
            DataError: as `mask`, or the mask has another size.
        """
        if path is None:
            return np.zeros_like(annotation)
        mask = self.mask(path)
        if mask.shape != annotation.shape:
            raise DataError(size_message(path, mask.shape, annotation.shape))
        return mask

    def split(
        self, mask: np.ndarray, annotation: np.ndarray
    ) -> Iterator[tuple[int, tuple[np.ndarray, np.ndarray]]]:
        """Mask and annotation, (H, W) bool each, of every object; void is in neither."""
        if self.objects is None:
            yield 1, (mask, annotation)
            return
        if (annotation == VOID).any():
            mask = np.where(annotation == VOID, 0, mask)
        for number in range(1, self.objects + 1):
            yield number, (mask == number, annotation == number)


def find_reader(first_annotation: Path) -> Reader:
    """The reader for a sequence: with numbered objects if its first annotation holds numbers.

    Raises:
        DataError: the file is missing or unreadable.
    """
    values = np.unique(read_values(first_annotation))
    numbers = values[(values != 0) & (values != VOID)]
    if values.dtype != np.uint8 or not 0 < len(numbers) <= MOST_OBJECTS:
        return Reader(None)
    if len(numbers) == 1 and len(values) <= 2 and open_image(first_annotation, decode=False).mode != "P":
        return Reader(None)
    return Reader(int(numbers.max()))
