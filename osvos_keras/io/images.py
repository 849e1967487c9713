"""The one reader of image files: it returns a frame as image viewers show it, or raises a DataError.

It uses Pillow, because OpenCV returns a truncated file as if it were whole, and TensorFlow reads fewer
formats, each by its own rules. `io.masks` reads masks, and uses this module.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from osvos_keras.errors import DataError
from osvos_keras.io.files import require_file

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")  # Pillow reads more, some through other programs
SUFFIXES = (  # names of image files; a file of a format that is not read is refused, not left out
    *(".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"),
    *(".jfif", ".jpe", ".jp2", ".heic", ".avif", ".ppm", ".pgm", ".tga", ".exr", ".dng"),
)
ORIENTATION = 0x0112  # EXIF's tag
SAVE_8_BIT = "Save the frames as 8-bit, all frames of the sequence scaled by one factor."
OTHER_FILES = {  # the first bytes of files that often have an image's name
    b"version https://git-lfs": "a Git LFS pointer, not the file itself; run `git lfs pull`",
    b"<!doctype html": "a web page; download the image itself",
    b"<html": "a web page; download the image itself",
}


def open_image(path: str | Path, decode: bool = True) -> Image.Image:
    """Open an image file; its pixels are as stored in the file, not turned upright (see `turn_upright`).

    Args:
        path: the file.
        decode: whether to decode the pixels; otherwise only the header is read (of a TIFF, all is decoded).

    Raises:
        DataError: the file is missing, not a regular file, not an image, truncated, too large to be a
            frame, or holds several pictures.
    """
    require_file(path)
    try:
        with Image.open(path, formats=FORMATS) as image:
            _require_one_frame(path, image)
            note_depth(image)
            if decode or image.format == "TIFF":  # Pillow turns a TIFF upright while decoding it
                image.load()
            orientation(image)  # read it now, so that the image keeps it; some PNGs store it after the pixels
        return image
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(
            f"{path}: not an image but {_describe(path)}. Put the image there ({', '.join(FORMATS)}), or "
            "remove the file."
        ) from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: {_too_large()}") from error
    except Exception as error:  # a damaged file makes decoders raise exceptions of many kinds
        if isinstance(error, OSError) and error.errno:  # of the system, not of a decoder
            raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
        reason = str(error) or type(error).__name__
        raise DataError(
            f"{path}: unreadable or truncated ({reason}). Copy the file again, or make it again."
        ) from error


def _require_one_frame(path: str | Path, image: Image.Image) -> None:
    if image.width * image.height > Image.MAX_IMAGE_PIXELS:
        raise DataError(f"{path}: {image.width}×{image.height} pixels, {_too_large()}")
    if getattr(image, "is_animated", False) and image.format != "MPO":  # MPO: a photograph and its preview
        raise DataError(
            f"{path}: holds {image.n_frames} pictures ({image.format}), but a frame or mask is one picture. "
            "Save each picture as a file of its own."
        )


def _too_large() -> str:
    return f"more than {Image.MAX_IMAGE_PIXELS // 10**6} million pixels, the limit. Make the image smaller."


def _describe(path: str | Path) -> str:
    """What a file that is not an image holds, judged by its first bytes."""
    with Path(path).open("rb") as file:
        start = file.read(32)
    if not start:
        return "an empty file (0 bytes)"
    for beginning, kind in OTHER_FILES.items():
        if start.lstrip().lower().startswith(beginning):
            return kind
    if start.isascii() and start.decode().replace("\n", " ").isprintable():
        return f"text that starts with {start.decode()!r}"
    return f"a file that starts with the bytes {start[:8].hex(' ')}"


def note_depth(image: Image.Image) -> None:
    """Note in `image.info`, before decoding, whether a channel has 16 bits (for `is_too_dark`)."""
    image.info["deep"] = any(";16" in str(tile[3]) for tile in image.tile)


def turn_upright(image: Image.Image) -> Image.Image:
    """The image as viewers show it: rotated or mirrored according to its EXIF orientation."""
    return ImageOps.exif_transpose(image) if orientation(image) > 1 else image


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8: 1 is upright; from 5 on, width and height are swapped."""
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged metadata, which viewers ignore
        return 1
    return found if found in range(1, 9) else 1


def image_size(path: str | Path) -> tuple[int, int]:
    """Height and width of an upright image. Raises as `open_image`, but may miss a truncated end."""
    return upright_size(open_image(path, decode=False))


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Height and width that an opened image has once it is turned upright."""
    return image.size if orientation(image) >= 5 else image.size[::-1]


def read_frame(path: str | Path) -> np.ndarray:
    """A frame as (H, W, 3) uint8, RGB, upright.

    Grey, 1-bit, palette and CMYK files become RGB. Of 16-bit values, the upper eight bits are used.

    Raises:
        DataError: the file cannot be opened (see `open_image`), or its pixels are ambiguous: 32-bit or
            floating-point numbers, 16-bit numbers only in the lower half of their range, transparency.
    """
    return frame_pixels(path, open_image(path))


def frame_pixels(path: str | Path, image: Image.Image) -> np.ndarray:
    """As `read_frame`, for an image opened from `path`; call `note_depth` on it first."""
    image = turn_upright(image)
    if image.mode in ("I", "F"):
        kind = "floating-point" if image.mode == "F" else "32-bit"
        raise DataError(f"{path}: holds {kind} numbers, and the value of white is not known. {SAVE_8_BIT}")
    if opacity(image).min() < 255:
        raise DataError(
            f"{path}: partly transparent, so its colours depend on an unknown background. Save the frames "
            "without transparency, as JPEG."
        )
    frame = np.asarray(convert(image, "RGB"))
    if is_too_dark(image, frame):
        raise DataError(
            f"{path}: 16-bit, but all values lie in the lower half of the range. The file holds values of "
            f"fewer bits or a very dark picture, and nothing in it says which. {SAVE_8_BIT}"
        )
    return frame


def opacity(image: Image.Image) -> np.ndarray:
    """The opacity of each pixel, (H, W) uint8; (1, 1) of 255 if the file has no transparency."""
    if not image.has_transparency_data or image.mode.startswith("I"):
        return np.full((1, 1), 255, np.uint8)
    return np.asarray(convert(image, "RGBA").getchannel("A"))


def convert(image: Image.Image, mode: str) -> Image.Image:
    """The image as `"RGB"` or `"RGBA"`; of 16-bit values, the upper eight bits are used."""
    if image.mode.startswith("I;16"):  # Pillow's own conversion would clip the values at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image if image.mode == mode else image.convert(mode)


def is_too_dark(image: Image.Image, upper: np.ndarray) -> bool:
    """Whether all 16-bit values lie in the lower half of their range; `upper` holds their upper eight bits.

    Cameras store values of 10, 12 or 14 bits in 16 bits. Dividing these by 256 would make the frame nearly
    black, and scaling each file by its own maximum would make the sequence flicker.
    """
    return image.info["deep"] and upper.max() < 128
