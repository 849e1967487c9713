"""One reader of masks and annotations, for the scores, the parent's training and the first mask alike."""

import os

import cv2
import numpy as np
import pytest
from PIL import Image

from osvos_keras.errors import DataError
from osvos_keras.io.masks import (
    read_annotation,
    read_indexed,
    read_mask,
    read_values,
    write_indexed,
    write_mask,
)
from osvos_keras.marking.marks import read_objects
from osvos_keras.pipeline import load_annotation

MASK = np.zeros((6, 8), bool)
MASK[1:4, 2:7] = True
BYTES = MASK.astype(np.uint8)


def palette(indices, colours, path, **options):
    image = Image.fromarray(indices.astype(np.uint8)).convert("P")
    image.putpalette(colours)
    image.save(path, **options)


def with_alpha(colours, alpha, path):
    image = np.dstack([colours, colours, colours, alpha]).astype(np.uint8)
    Image.fromarray(image).save(path)


def turned(values, path):
    """Lies on its side, and says so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(values).copy()).save(path, exif=exif)


def save(values, path, mode=None):
    image = Image.fromarray(values)
    (image.convert(mode) if mode else image).save(path)


BLACK_AND_RED, WHITE_AND_BLACK = (0, 0, 0, 128, 0, 0), (255, 255, 255, 0, 0, 0)
RIGHT = {  # how a mask (H, W) bool is written
    "0 and 255": lambda mask, path: save(mask * np.uint8(255), path),
    "0 and 1": lambda mask, path: save(mask * np.uint8(1), path),
    "1 bit": save,
    "16 bits": lambda mask, path: save(mask * np.uint16(65535), path),
    "16 bits, 0 and 255": lambda mask, path: save(mask * np.uint16(255), path),
    "16 bits, 0 and 1": lambda mask, path: save(mask * np.uint16(1), path),
    "16 bits a colour": lambda mask, path: cv2.imwrite(str(path), np.dstack([mask * np.uint16(65535)] * 3)),
    "palette": lambda mask, path: palette(mask, BLACK_AND_RED, path),
    "palette whose colour 0 is white": lambda mask, path: palette(~mask, WHITE_AND_BLACK, path),
    "palette with a transparent ground": lambda mask, path: palette(
        mask, BLACK_AND_RED, path, transparency=0
    ),
    "short palette, index 255": lambda mask, path: palette(mask * np.uint8(255), BLACK_AND_RED, path),
    "colour": lambda mask, path: save(mask * np.uint8(255), path, "RGB"),
    "opaque RGBA": lambda mask, path: save(mask * np.uint8(255), path, "RGBA"),
    "grey and alpha": lambda mask, path: save(mask * np.uint8(255), path, "LA"),
    "white paint on nothing": lambda mask, path: with_alpha(255 * mask, 255 * mask, path),
    "turned by EXIF": lambda mask, path: turned(mask * np.uint8(255), path),
}
LENIENT = {  # what scores are computed of, though it is no annotation
    "0 and 128": lambda mask, path: save(mask * np.uint8(128), path),
    "one colour": lambda mask, path: save(mask[..., None] * np.array([200, 9, 0], np.uint8), path),
}


KINDS = {"some": MASK, "empty": MASK & False, "full": MASK | True}
WRITTEN = [(name, kind) for name in (*RIGHT, *LENIENT) for kind in KINDS]
WRITTEN.remove(("16 bits a colour", "empty"))  # refused, as a dark picture is


@pytest.mark.parametrize(("name", "kind"), WRITTEN)
def test_all_readers_agree_on_a_mask_however_it_is_written(name, kind, tmp_path):
    path, mask = tmp_path / "mask.png", KINDS[kind]
    (RIGHT | LENIENT)[name](mask, path)
    readers = [read_mask]
    if name in RIGHT:
        readers += [
            read_annotation,
            lambda path: load_annotation(str(path))[..., 0].numpy() == 1,  # the parent's training
            lambda path: read_objects(path, MASK.shape) == 1,
            lambda path: read_values(path) != 0,
        ]
    for read in readers:
        found = read(path)
        assert found.dtype == bool
        np.testing.assert_array_equal(found, mask)


def grey(values):
    return lambda path: Image.fromarray(np.asarray(values)).save(path)


OBJECT_IN_ALPHA = BYTES * 255
RED_AND_BLUE = (255, 0, 0, 0, 0, 255)
BAD = {
    "object in alpha, all white": (
        lambda path: with_alpha(np.full_like(BYTES, 255), OBJECT_IN_ALPHA, path),
        "partly transparent",
    ),
    "object in alpha, all black": (
        lambda path: with_alpha(np.zeros_like(BYTES), OBJECT_IN_ALPHA, path),
        "partly transparent",
    ),
    "half transparent": (lambda path: with_alpha(BYTES * 255, BYTES * 99 + 9, path), "partly transparent"),
    "transparent object": (
        lambda path: palette(MASK, BLACK_AND_RED, path, transparency=1),
        "partly transparent",
    ),
    "8 bits in 16, colour": (
        lambda path: cv2.imwrite(str(path), np.dstack([BYTES.astype(np.uint16) * 255] * 3)),
        "a mask of 16-bit colours, all in the lower half of the range.* 0 .* and 255 .* with 8 bits",
    ),
    "16-bit colour, all black": (
        lambda path: cv2.imwrite(str(path), np.zeros((6, 8, 3), np.uint16)),
        "a mask of 16-bit colours, .* perhaps all black.* 0 .* and 255 .* with 8 bits",
    ),
    "two objects": (grey(BYTES + np.eye(6, 8, dtype=np.uint8)), "holds the values 0, 1, 2"),
    "object number 2": (grey(BYTES * 2), "holds the values 0, 2; an annotation holds"),
    "red and blue": (lambda path: palette(MASK, RED_AND_BLUE, path), "holds the values #0000ff, #ff0000"),
    "probabilities": (grey(np.arange(48, dtype=np.uint8).reshape(6, 8) * 5), "holds the values 0, 5"),
    "JPEG": (
        lambda path: Image.fromarray(BYTES * 255).save(path, format="JPEG", quality=50),
        "grey levels|holds the values",
    ),
    "a FIFO": (os.mkfifo, "a pipe or a device"),
}


@pytest.mark.parametrize(("write", "message"), BAD.values(), ids=BAD)
def test_what_is_no_annotation_is_named(write, message, tmp_path):
    path = tmp_path / "mask.png"
    write(path)
    with pytest.raises(DataError, match=message) as error:
        read_annotation(path)
    assert str(error.value).startswith(f"{path}: ")


def test_maps_of_objects_come_back(tmp_path):
    objects = np.arange(48, dtype=np.uint8).reshape(6, 8) % 4
    write_indexed(tmp_path / "objects.png", objects)
    np.testing.assert_array_equal(read_indexed(tmp_path / "objects.png"), objects)
    write_indexed(tmp_path / "second.png", BYTES * 2)  # the first object has left the frame
    np.testing.assert_array_equal(read_indexed(tmp_path / "second.png"), BYTES * 2)
    write_mask(tmp_path / "one.png", MASK)
    np.testing.assert_array_equal(read_indexed(tmp_path / "one.png"), BYTES)


def test_a_flipped_or_missing_byte_gives_a_mask_or_a_data_error(tmp_path):
    path = tmp_path / "mask.png"
    palette(MASK, BLACK_AND_RED, path, transparency=0)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << rng.integers(8)
        for bad in (damaged, content[:position]):
            path.write_bytes(bad)
            for read in (read_annotation, read_mask, read_indexed):
                try:
                    assert read(path).ndim == 2
                except DataError as error:
                    assert str(error).startswith(f"{path}: ")
