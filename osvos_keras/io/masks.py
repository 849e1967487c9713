"""The one reader and writer of masks and annotations, of one object or of several.

A mask is (H, W) bool; its file holds 0 and 255, as in DAVIS 2016. A map of objects is (H, W) uint8: 0 is
background, 1…N are the objects; its file holds these numbers and a palette, as in DAVIS 2017.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from osvos_keras.errors import DataError
from osvos_keras.io.files import write_atomically
from osvos_keras.io.images import convert, is_too_dark, opacity, open_image, turn_upright

OBJECT = (1, 255, 65535)  # the values that mean "object" in an annotation of one object
COLOUR_NUMBERS = np.array([1 << 16, 1 << 8, 1], np.uint32)  # a colour @ these is 0xRRGGBB


def read_values(path: str | Path) -> np.ndarray:
    """An image as (H, W) unsigned integers: 0 is background, and each other value or colour has one number.

    Grey, 1-bit and 16-bit files: 0 is background. Palette files: index 0 is background if it is black;
    otherwise the file is read as a colour file. Colour files: black is background. The image is turned
    upright, as frames are.

    Raises:
        DataError: the file cannot be opened (see `open_image`), its transparent area is not its background,
            or it holds 16-bit colours in the lower half of their range only.
    """
    image = turn_upright(open_image(path))
    values = _numbers(path, image)
    opaque = opacity(image)
    if opaque.min() < 255 and ((opaque == 255) != (values != 0)).any():
        raise DataError(
            f"{path}: partly transparent, so the object is not clear. Write 0 and 255, without transparency."
        )
    return values


def _numbers(path: str | Path, image: Image.Image) -> np.ndarray:
    by_index = image.mode == "P" and not any(image.getpalette()[:3])
    if by_index or (len(image.getbands()) == 1 and image.mode != "P"):
        return np.asarray(image) * np.uint8(1)  # 1-bit files come as bool
    colours = np.asarray(convert(image, "RGB"))
    if is_too_dark(image, colours):  # Pillow has dropped the lower eight bits, where an object may be
        raise DataError(
            f"{path}: a mask of 16-bit colours, all in the lower half of the range and perhaps all black: "
            "the object is not clear. Write 0 (background) and 255 (object) with 8 bits."
        )
    if (colours == colours[..., :1]).all():  # grey
        return colours[..., 0]
    return colours @ COLOUR_NUMBERS


def read_numbers(path: str | Path) -> np.ndarray:
    """The numbers of objects in a file, (H, W) uint8; DAVIS's colours stand for their numbers.

    Raises:
        DataError: the file is unreadable, or holds other colours.
    """
    values = read_values(path)
    if values.dtype == np.uint8:
        return values
    numbers = {code: number for number, code in enumerate((davis_palette() @ COLOUR_NUMBERS).tolist())}
    found, places = np.unique(values, return_inverse=True)
    for code in found.tolist():
        if code not in numbers:
            raise DataError(
                f"{path}: holds #{code:06x} among other values, which are no numbers or "
                "colours of DAVIS's objects. Write each object's number, as a grey or palette PNG."
            )
    return np.uint8([numbers[code] for code in found.tolist()])[places].reshape(values.shape)


def read_mask(path: str | Path) -> np.ndarray:
    """A mask as (H, W) bool, from any image file that holds the background and one object.

    Raises:
        DataError: as for `read_values`, or the file holds several objects or grey levels.
    """
    return _one_object(path, read_values(path))


def read_annotation(path: str | Path) -> np.ndarray:
    """An annotation as (H, W) bool. As `read_mask`, but the object's value must be in `OBJECT`.

    In a file of several objects, each other value stands for another object.

    Raises:
        DataError: as for `read_mask`, or the object has another value.
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
            "object per sequence: merge the objects or select one, and write it as 255."
        )
    return (
        f"{path}: holds {count} grey levels or colours, not a mask. Write 255 where the probability is at "
        "least one half and 0 elsewhere, as PNG (JPEG blurs values)."
    )


def read_indexed(path: str | Path) -> np.ndarray:
    """The map of objects (H, W) uint8 in a mask file of this project, of one object or of several."""
    values = read_values(path)
    return np.where(values == 255, 1, values).astype(np.uint8)


def write_mask(path: str | Path, mask: np.ndarray) -> None:
    """Write a mask (H, W) bool as a PNG of 0 and 255, atomically."""
    write_png(path, Image.fromarray(np.asarray(mask, bool).astype(np.uint8) * 255))


def write_indexed(path: str | Path, objects: np.ndarray) -> None:
    """Write a map of objects (H, W) uint8 as an indexed PNG with DAVIS 2017's palette, atomically."""
    image = Image.fromarray(objects).convert("P")
    image.putpalette(davis_palette().tobytes())
    write_png(path, image)


def write_map(path: str | Path, objects: np.ndarray, several: bool) -> None:
    """Write a map of objects (H, W) uint8 by `write_indexed` if there are several, else by `write_mask`."""
    (write_indexed if several else write_mask)(path, objects)


def write_png(path: str | Path, image: Image.Image) -> None:
    """Write an image as a PNG, atomically."""
    with write_atomically(path) as temporary:
        image.save(temporary, format="PNG")


def davis_palette() -> np.ndarray:
    """DAVIS 2017's colours for objects, which are PASCAL VOC's colour map: (256, 3) uint8 RGB.

    The bits of an object's number, from the lowest up, fill red, green and blue in turn, from the highest
    bit down.
    """
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
    return np.stack([np.packbits(bits[:, channel::3], axis=1)[:, 0] for channel in range(3)], axis=1)


def size_message(path: Path, found: Sequence[int], expected: Sequence[int]) -> str:
    """What to say of an annotation whose size (H, W) is not its frame's."""
    return (
        f"{path}: {found[1]}×{found[0]} pixels, but its frame has {expected[1]}×{expected[0]}. "
        "Make it again at the frame's size."
    )
