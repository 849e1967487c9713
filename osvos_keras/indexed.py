"""Maps of objects as PNGs of numbers with a palette, the files of DAVIS 2017.

A map of objects is (H, W) uint8: 0 is background, 1…N are the objects.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from osvos_keras.davis import open_image
from osvos_keras.files import write_atomically


def davis_palette() -> np.ndarray:
    """The colours that DAVIS 2017's toolkit draws objects in, PASCAL VOC's map: (256, 3) uint8 RGB.

    The bits of a number, from the lowest, are dealt out to red, green and blue, from their highest.
    """
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
    return np.stack([np.packbits(bits[:, channel::3], axis=1)[:, 0] for channel in range(3)], axis=1)


def write_indexed(path: str | Path, objects: np.ndarray) -> None:
    """Write a map of objects as DAVIS 2017's are, a PNG of numbers with a palette; whole or not at all."""
    image = Image.fromarray(objects).convert("P")
    image.putpalette(davis_palette().tobytes())
    with write_atomically(path) as temporary:
        image.save(temporary, format="PNG")


def read_indexed(path: str | Path) -> np.ndarray:
    """The map of objects in a mask that this project wrote, of one object or of several."""
    image = open_image(path)
    values = np.asarray(image)
    return values if image.mode == "P" else (values > 0).astype(np.uint8)
