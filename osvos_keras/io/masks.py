"""THE reader and writer of masks and annotations, of one object or of several.

A mask is (H, W) bool, and its file holds 0 and 255, as DAVIS 2016's do. A map of objects is (H, W) uint8,
0 is background and 1…N are the objects; its file holds these numbers and a palette, as DAVIS 2017's do.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from osvos_keras.errors import DataError
from osvos_keras.io.files import write_atomically
from osvos_keras.io.images import convert, opacity, open_image, require_full_range, turn_upright

OBJECT = (1, 255, 65535)  # the numbers that mean "object" in an annotation of one


def read_values(path: str | Path) -> np.ndarray:
    """An image as (H, W) numbers, 0 where it is background, one number for each other value.

    Grey, 1-bit and 16-bit: 0 is background. Palette: index 0 is background if it is black, else the
    colours decide. Colour: black is background. The image is turned upright, as frames are.

    Raises:
        DataError: the file cannot be opened (see `open_image`), or transparency and colours tell different
            objects.
    """
    image = turn_upright(open_image(path))
    values = _numbers(path, image)
    opaque = opacity(image)
    if opaque.min() < 255 and ((opaque == 255) != (values != 0)).any():
        raise DataError(
            f"{path}: partly transparent, so what is object is not clear. Write 0 and 255, opaque."
        )
    return values


def _numbers(path: str | Path, image: Image.Image) -> np.ndarray:
    by_index = image.mode == "P" and not any(image.getpalette()[:3])
    if by_index or (len(image.getbands()) == 1 and image.mode != "P"):
        return np.asarray(image) * np.uint8(1)  # 1-bit files come as bool
    colours = np.asarray(convert(image, "RGB"))
    require_full_range(path, image, colours)
    if (colours == colours[..., :1]).all():  # grey
        return colours[..., 0]
    return colours @ np.array([1 << 16, 1 << 8, 1], np.uint32)


def read_mask(path: str | Path) -> np.ndarray:
    """A mask as (H, W) bool, from a file of any kind that holds the background and one object.

    Raises:
        DataError: as for `read_values`, or the file holds several objects or grey levels.
    """
    return _one_object(path, read_values(path))


def read_annotation(path: str | Path) -> np.ndarray:
    """An annotation as (H, W) bool: as a mask, but the object must be 255 (or 1), no other number.

    In a file of several objects another number would be another object.

    Raises:
        DataError: as for `read_mask`, or the object has another number.
    """
    values = read_values(path)
    if values.any() and values.max() not in OBJECT:
        found = ", ".join(_name(value) for value in np.unique(values)[:6])
        raise DataError(
            f"{path}: holds the values {found}; an annotation holds 0 (background) and 255 (object). A DAVIS "
            "2017 file numbers several objects: write one of them as 255."
        )
    return _one_object(path, values)


def _name(value: np.number) -> str:
    return f"#{value:06x}" if isinstance(value, np.uint32) else str(value)


def _one_object(path: str | Path, values: np.ndarray) -> np.ndarray:
    mask = values != 0
    if (mask & (values != values.max())).any():
        raise DataError(_not_binary_message(path, len(np.unique(values[mask]))))
    return mask


def _not_binary_message(path: str | Path, count: int) -> str:
    if count <= 16:
        return (
            f"{path}: holds {count} values beside the background's, so several objects. DAVIS 2016 has one "
            "object a sequence: merge them, or write one of them, as 255."
        )
    return (
        f"{path}: holds {count} grey levels or colours, not a mask. Write 255 where the probability is at "
        "least one half and 0 elsewhere, as PNG (JPEG blurs values)."
    )


def read_indexed(path: str | Path) -> np.ndarray:
    """The map of objects in a mask that this project wrote, of one object or of several."""
    values = read_values(path)
    return np.where(values == 255, 1, values).astype(np.uint8)


def write_mask(path: str | Path, mask: np.ndarray) -> None:
    """Write a mask (H, W) bool as a PNG of 0 and 255, whole or not at all."""
    _write_png(path, Image.fromarray(np.asarray(mask, bool).astype(np.uint8) * 255))


def write_indexed(path: str | Path, objects: np.ndarray) -> None:
    """Write a map of objects as a PNG of numbers with DAVIS 2017's palette; whole or not at all."""
    image = Image.fromarray(objects).convert("P")
    image.putpalette(davis_palette().tobytes())
    _write_png(path, image)


def _write_png(path: str | Path, image: Image.Image) -> None:
    with write_atomically(path) as temporary:
        image.save(temporary, format="PNG")


def davis_palette() -> np.ndarray:
    """The colours that DAVIS 2017's toolkit draws objects in, PASCAL VOC's map: (256, 3) uint8 RGB.

    The bits of a number, from the lowest, are dealt out to red, green and blue, from their highest.
    """
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
    return np.stack([np.packbits(bits[:, channel::3], axis=1)[:, 0] for channel in range(3)], axis=1)
