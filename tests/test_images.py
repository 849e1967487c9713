"""The reader of image files: each kind of file enters as viewers show it, or is named."""

import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from osvos_keras.errors import DataError
from osvos_keras.io.images import FORMATS, image_size, open_image, read_frame
from osvos_keras.pipeline import load_frame

HEIGHT, WIDTH = 6, 8
GREY = (np.arange(HEIGHT * WIDTH, dtype=np.uint8) * 5).reshape(HEIGHT, WIDTH)  # 0 to 235
COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=-1)
AS_GREY = np.repeat(GREY[..., None], 3, axis=-1)
ORIENTATION = 0x0112


def deep(values, factor=257):
    return values.astype(np.uint16) * factor


def in_bgr(values):
    return values[..., ::-1]


def pil(image, **options):
    return lambda path: image.save(path, **options)


def cv(image):
    return lambda path: cv2.imwrite(str(path), image)


def data(content):
    return lambda path: path.write_bytes(content)


RIGHT = {  # how the file is written, its name, what a viewer shows
    "RGB": (pil(Image.fromarray(COLOUR)), "f.png", COLOUR),
    "grey": (pil(Image.fromarray(GREY)), "f.png", AS_GREY),
    "1 bit": (pil(Image.fromarray(GREY > 99)), "f.png", (AS_GREY > 99) * np.uint8(255)),
    "palette": (pil(Image.fromarray(COLOUR).quantize(256)), "f.png", COLOUR),
    "opaque RGBA": (pil(Image.fromarray(COLOUR).convert("RGBA")), "f.png", COLOUR),
    "opaque grey and alpha": (pil(Image.fromarray(GREY).convert("LA")), "f.png", AS_GREY),
    "16-bit grey PNG": (cv(deep(GREY)), "f.png", AS_GREY),
    "16-bit grey TIFF": (cv(deep(GREY)), "f.tif", AS_GREY),
    "16-bit colour PNG": (cv(in_bgr(deep(COLOUR))), "f.png", COLOUR),
    "16-bit colour TIFF": (cv(in_bgr(deep(COLOUR))), "f.tif", COLOUR),
    "CMYK": (pil(Image.fromarray(255 - COLOUR).convert("CMYK")), "f.tif", 255 - COLOUR),
    "BMP": (pil(Image.fromarray(COLOUR)), "f.bmp", COLOUR),
    "GIF of one picture": (pil(Image.fromarray(GREY)), "f.gif", AS_GREY),
    "WebP named .jpg": (pil(Image.fromarray(COLOUR), format="WEBP", lossless=True), "f.jpg", COLOUR),
    "PNG named .jpg": (pil(Image.fromarray(COLOUR), format="PNG"), "f.jpg", COLOUR),
    "name with a space and no ASCII": (pil(Image.fromarray(COLOUR)), "é 1.png", COLOUR),
}


@pytest.mark.parametrize(("write", "name", "expected"), RIGHT.values(), ids=RIGHT)
def test_a_frame_enters_as_viewers_show_it(write, name, expected, tmp_path):
    write(tmp_path / name)
    found = read_frame(tmp_path / name)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)
    assert image_size(tmp_path / name) == (HEIGHT, WIDTH)
    np.testing.assert_array_equal(load_frame(str(tmp_path / name)), found)  # what trainings and masks see


def test_a_16_bit_frame_is_turned_too(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(deep(GREY)).save(tmp_path / "f.png", exif=exif)
    np.testing.assert_array_equal(read_frame(tmp_path / "f.png"), np.rot90(AS_GREY, -1))


def test_interlaced_png(tmp_path):
    """Pillow writes none, so it is made by hand: one pixel of each of Adam7's passes that 1 × 1 has."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 1)
    pixels = zlib.compress(b"\0" + bytes([9, 99, 199]))
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    (tmp_path / "f.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    assert read_frame(tmp_path / "f.png").tolist() == [[[9, 99, 199]]]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_frames_are_turned_upright_as_their_size_is(kind, orientation, tmp_path):
    """OpenCV is the judge: it turns JPEGs by their EXIF orientation, as viewers do."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    picture = np.kron(COLOUR[:2, :3], np.ones((8, 8, 1), np.uint8))
    options = {"JPEG": {"quality": 100}, "WEBP": {"lossless": True}}.get(kind, {})
    Image.fromarray(picture).save(tmp_path / "f", format=kind, exif=exif, **options)
    Image.fromarray(picture).save(tmp_path / "judge.jpg", exif=exif, quality=100)
    judged = cv2.imread(str(tmp_path / "judge.jpg"))[..., ::-1]
    found = read_frame(tmp_path / "f")
    assert image_size(tmp_path / "f") == found.shape[:2] == judged.shape[:2]
    assert np.abs(found.astype(int) - judged).max() < 40 and np.abs(found.astype(int) - judged).mean() < 4


def test_orientation_that_stands_behind_the_pixels_of_a_png(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(COLOUR).save(tmp_path / "f.png", exif=exif)
    data = (tmp_path / "f.png").read_bytes()
    start = data.index(b"eXIf") - 4
    stop = start + 12 + int.from_bytes(data[start : start + 4], "big")
    end = data.index(b"IEND") - 4
    (tmp_path / "f.png").write_bytes(data[:start] + data[stop:end] + data[start:stop] + data[end:])
    assert image_size(tmp_path / "f.png") == read_frame(tmp_path / "f.png").shape[:2] == (WIDTH, HEIGHT)


def animated(path):
    pictures = [Image.fromarray(GREY), Image.fromarray(GREY[::-1].copy())]
    pictures[0].save(path, save_all=True, append_images=pictures[1:])


def transparent(path):
    alpha = np.where(GREY > 100, 255, 0).astype(np.uint8)
    Image.fromarray(np.dstack([COLOUR, alpha])).save(path)


def key_colour(path):
    Image.fromarray(GREY).save(path, transparency=0)


def bomb(path):
    """A PNG of a few bytes that declares 30 000 × 30 000 pixels."""
    Image.new("1", (30000, 30000)).save(path)


def truncated(path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


BAD = {
    "missing": (lambda path: None, "f.png", "no such file"),
    "empty": (lambda path: path.touch(), "f.png", "an empty file"),
    "a folder": (os.mkdir, "f.png", "a folder, not a file"),
    "a FIFO": (os.mkfifo, "f.png", "a pipe or a device, not a file"),
    "a broken link": (lambda path: path.symlink_to("nowhere"), "f.png", "no such file"),
    "text": (data(b"a note"), "f.jpg", "not an image but text.*'a note'"),
    "a web page": (data(b"<!DOCTYPE html>"), "f.jpg", "not an image but a web page"),
    "Git LFS": (data(b"version https://git-lfs.github.com/spec/v1"), "f.jpg", "git lfs pull"),
    "bytes": (data(b"\x00\x01\x02"), "f.jpg", "starts with the bytes 00 01 02"),
    "truncated": (truncated, "f.png", "truncated.*Copy the file again"),
    "truncated JPEG": (truncated, "f.jpg", "truncated.*Copy the file again"),
    "bomb": (bomb, "f.png", "more than 89 million pixels"),
    "animated GIF": (animated, "f.gif", "holds 2 pictures"),
    "animated WebP": (animated, "f.webp", "holds 2 pictures"),
    "animated PNG": (animated, "f.png", "holds 2 pictures"),
    "TIFF of two pages": (animated, "f.tif", "holds 2 pictures"),
    "partly transparent": (transparent, "f.png", "partly transparent.*without transparency"),
    "transparent colour": (key_colour, "f.png", "partly transparent"),
    "12 bits in 16, grey": (cv(deep(GREY, 16)), "f.png", "lower half.*8-bit"),
    "12 bits in 16, grey TIFF": (cv(deep(GREY, 16)), "f.tif", "lower half"),
    "12 bits in 16, colour": (cv(deep(COLOUR, 16)), "f.png", "lower half.*8-bit"),
    "8 bits in 16, colour": (cv(deep(COLOUR, 1)), "f.tif", "lower half"),
    "float": (cv(GREY.astype(np.float32) / 255), "f.tif", "floating-point.*8-bit"),
    "32-bit": (cv(GREY.astype(np.int32)), "f.tif", "32-bit numbers"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(("write", "name", "message"), BAD.values(), ids=BAD)
def test_what_is_no_frame_is_named_with_what_was_found(write, name, message, tmp_path):
    write(tmp_path / name)
    with pytest.raises(DataError, match=message) as error:
        read_frame(tmp_path / name)
    assert str(error.value).startswith(f"{tmp_path / name}: ") and "\n" not in str(error.value)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_flipped_or_missing_byte_gives_a_frame_or_a_data_error(kind, tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "f", format=kind)
    data = (tmp_path / "f").read_bytes()
    rng = np.random.default_rng(0)
    for position in rng.integers(0, len(data), 60):
        damaged = bytearray(data)
        damaged[position] ^= 1 << rng.integers(8)
        (tmp_path / "f").write_bytes(damaged if position % 2 else data[:position])
        for read in (read_frame, image_size, open_image):
            try:
                read(tmp_path / "f")
            except DataError as error:
                assert str(error).startswith(f"{tmp_path / 'f'}: ")
