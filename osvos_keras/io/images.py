"""THE reader of image files: a frame enters as every viewer shows it, or a DataError names the file.

By Pillow, not OpenCV or TensorFlow: OpenCV returns half of a truncated file as if whole, and TensorFlow
reads fewer kinds, each by its own rule. Masks are read by `io.masks`, which stands on this.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from osvos_keras.errors import DataError
from osvos_keras.io.files import require_file

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")  # Pillow reads more, some by other programs
SUFFIXES = (  # how files of frames are named; what cannot be read is then refused, not left out
    *(".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"),
    *(".jfif", ".jpe", ".jp2", ".heic", ".avif", ".ppm", ".pgm", ".tga", ".exr", ".dng"),
)
ORIENTATION = 0x0112  # EXIF's tag
SAVE_8_BIT = "Save the frames as 8-bit, all frames of the sequence scaled by one factor."
OTHER_FILES = {  # how files start that are often named as images
    b"version https://git-lfs": "a Git LFS pointer, not the file itself; run `git lfs pull`",
    b"<!doctype html": "a web page; download the image itself",
    b"<html": "a web page; download the image itself",
}


def open_image(path: str | Path, decode: bool = True) -> Image.Image:
    """An image file, decoded or only its header read, as it lies in the file: see `turn_upright`.

    Raises:
        DataError: the file is missing, no regular file, no image, truncated, too large to be a frame, or
            holds several pictures.
    """
    require_file(path)
    try:
        with Image.open(path, formats=FORMATS) as image:
            _require_one_frame(path, image)
            note_depth(image)
            if decode or image.format == "TIFF":  # which Pillow turns upright as it decodes
                image.load()
            orientation(image)  # kept in the image; some PNGs hold it behind the pixels
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
    except OSError as error:
        if error.errno:  # of the system, not of a decoder
            raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
        raise DataError(_damaged(path, error)) from error
    except Exception as error:  # decoders raise whatever a damaged file makes them stumble over
        raise DataError(_damaged(path, error)) from error


def _require_one_frame(path: str | Path, image: Image.Image) -> None:
    if image.width * image.height > Image.MAX_IMAGE_PIXELS:
        raise DataError(f"{path}: {image.width}×{image.height} pixels, {_too_large()}")
    if getattr(image, "is_animated", False) and image.format != "MPO":  # a photograph with its preview
        raise DataError(
            f"{path}: holds {image.n_frames} pictures ({image.format}), and a frame or mask is one. Save "
            "each as a file of its own."
        )


def _too_large() -> str:
    return f"more than {Image.MAX_IMAGE_PIXELS // 10**6} million pixels, so no frame. Make it smaller."


def _damaged(path: str | Path, error: Exception) -> str:
    reason = str(error) or type(error).__name__
    return f"{path}: unreadable or truncated ({reason}). Copy the file again, or make it again."


def _describe(path: str | Path) -> str:
    """What a file is that is no image, by its first bytes."""
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
    """Note in an image, before it is decoded, whether a channel has 16 bits; see `require_full_range`."""
    image.info["deep"] = any(";16" in str(tile[3]) for tile in image.tile)


def turn_upright(image: Image.Image) -> Image.Image:
    """The image as viewers show it, turned or mirrored by what EXIF says of how the camera was held."""
    return ImageOps.exif_transpose(image) if orientation(image) > 1 else image


def orientation(image: Image.Image) -> int:
    """EXIF's number for how the camera was held, 1 to 8; 1 is upright, from 5 on it lay on its side."""
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged metadata, of which viewers take no notice
        return 1
    return found if found in range(1, 9) else 1


def image_size(path: str | Path) -> tuple[int, int]:
    """Height and width of an image, turned upright. Raises as `open_image`, but may miss a truncated end."""
    image = open_image(path, decode=False)
    return image.size if orientation(image) >= 5 else image.size[::-1]


def read_frame(path: str | Path) -> np.ndarray:
    """A frame as (H, W, 3) uint8, RGB, upright.

    Grey, 1-bit, palette and CMYK files become RGB. Of 16 bits the upper eight count.

    Raises:
        DataError: the file cannot be opened (see `open_image`), or its pixels have no one meaning: numbers of
            32 bits or with a point, 16-bit numbers in the lower half of their range alone, transparency.
    """
    return frame_pixels(path, open_image(path))


def frame_pixels(path: str | Path, image: Image.Image) -> np.ndarray:
    """As `read_frame`, of an image that was opened from `path`, its depth noted."""
    image = turn_upright(image)
    if image.mode in ("I", "F"):
        kind = "floating-point" if image.mode == "F" else "32-bit"
        raise DataError(f"{path}: holds {kind} numbers, of which none is known to be white. {SAVE_8_BIT}")
    if opacity(image).min() < 255:
        raise DataError(
            f"{path}: partly transparent, and what lies behind is not known. Save the frames without "
            "transparency, as JPEG."
        )
    frame = np.asarray(convert(image, "RGB"))
    require_full_range(path, image, frame)
    return frame


def opacity(image: Image.Image) -> np.ndarray:
    """How opaque each pixel is, (H, W) uint8; a single 255 where the file has no transparency."""
    if not image.has_transparency_data or image.mode.startswith("I"):
        return np.full((1, 1), 255, np.uint8)
    return np.asarray(convert(image, "RGBA").getchannel("A"))


def convert(image: Image.Image, mode: str) -> Image.Image:
    """The image as `"RGB"` or `"RGBA"`; of 16 bits the upper eight count."""
    if image.mode.startswith("I;16"):  # which Pillow cuts off at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image if image.mode == mode else image.convert(mode)


def require_full_range(path: str | Path, image: Image.Image, upper: np.ndarray) -> None:
    """See that 16-bit values, of which `upper` are the upper eight bits, use the upper half of their range.

    Cameras put values of 10, 12 or 14 bits into 16: divided by 256 they would be nearly black. Scaled
    by the largest in each file, a sequence would flicker.

    Raises:
        DataError: they do not.
    """
    if image.info["deep"] and upper.max() < 128:
        raise DataError(
            f"{path}: 16-bit, but all values lie in the lower half of the range: values of fewer bits, or a "
            f"very dark picture, and which of them cannot be told. {SAVE_8_BIT}"
        )
