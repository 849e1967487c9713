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


def turned(path):
    """Lies on its side, and says so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(BYTES * 255).copy()).save(path, exif=exif)


RIGHT = {
    "0 and 255": lambda path: Image.fromarray(BYTES * 255).save(path),
    "0 and 1": lambda path: Image.fromarray(BYTES).save(path),
    "1 bit": lambda path: Image.fromarray(MASK).save(path),
    "16 bits": lambda path: Image.fromarray(BYTES.astype(np.uint16) * 65535).save(path),
    "16 bits, 0 and 255": lambda path: Image.fromarray(BYTES.astype(np.uint16) * 255).save(path),
    "16 bits, 0 and 1": lambda path: Image.fromarray(BYTES.astype(np.uint16)).save(path),
    "16 bits a colour": lambda path: cv2.imwrite(str(path), np.dstack([BYTES.astype(np.uint16) * 65535] * 3)),
    "palette": lambda path: palette(MASK, (0, 0, 0, 128, 0, 0), path),
    "palette whose colour 0 is white": lambda path: palette(~MASK, (255, 255, 255, 0, 0, 0), path),
    "palette with a transparent ground": lambda path: palette(
        MASK, (0, 0, 0, 128, 0, 0), path, transparency=0
    ),
    "colour": lambda path: Image.fromarray(BYTES * 255).convert("RGB").save(path),
    "opaque RGBA": lambda path: Image.fromarray(BYTES * 255).convert("RGBA").save(path),
    "grey and alpha": lambda path: Image.fromarray(BYTES * 255).convert("LA").save(path),
    "white paint on nothing": lambda path: with_alpha(BYTES * 255, BYTES * 255, path),
    "turned by EXIF": turned,
}


@pytest.mark.parametrize("write", RIGHT.values(), ids=RIGHT)
def test_all_readers_agree_on_an_annotation(write, tmp_path):
    path = tmp_path / "mask.png"
    write(path)
    for found in (
        read_annotation(path),
        read_mask(path),
        load_annotation(str(path))[..., 0].numpy() == 1,  # the parent's training
        read_objects(path, MASK.shape) == 1,
        read_values(path) != 0,
    ):
        np.testing.assert_array_equal(found, MASK)


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
        lambda path: palette(MASK, (0, 0, 0, 128, 0, 0), path, transparency=1),
        "partly transparent",
    ),
    "8 bits in 16, colour": (
        lambda path: cv2.imwrite(str(path), np.dstack([BYTES.astype(np.uint16) * 255] * 3)),
        "lower half of the range",
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
    palette(MASK, (0, 0, 0, 128, 0, 0), path, transparency=0)
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
