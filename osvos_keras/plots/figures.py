"""Creation and saving of figures, and the colours of all plots.

The colours are Okabe and Ito's, which colour-blind readers can tell apart.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from osvos_keras.errors import ConfigError
from osvos_keras.io.files import write_atomically

ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE, BLACK = COLOURS = [
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
    "#000000",
]


def figure_for(ax: Axes | None, width: float, height: float) -> tuple[Figure | None, Axes]:
    """None and the given axis; or a new figure of `width` × `height` inches and its axis."""
    if ax is not None:
        return None, ax
    figure = new_figure(width, height)
    return figure, figure.add_subplot()


def new_figure(width: float, height: float) -> Figure:
    """A figure (inches) that pyplot does not keep: Jupyter shows it once, and a loop does not fill memory."""
    figure = plt.figure(figsize=(width, height), layout="constrained")
    plt.close(figure)
    return figure


def save_figure(figure: Figure, path: str | Path, dpi: int = 100) -> Path:
    """Write a figure as a PNG of 256 colours: for photographs, a third of the size of a full-colour PNG.

    Raises:
        ConfigError: the name does not end in .png.
        FolderError: as `write_atomically`.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ConfigError(
            f"{path}: the name of this picture must end in .png. For another kind, call figure.savefig."
        )
    with write_atomically(path) as temporary:
        figure.savefig(temporary, dpi=dpi, facecolor="white")
        with Image.open(temporary) as image:
            image = image.convert("RGB")
        palette = image.quantize(256)
        colours = np.array(palette.getpalette()).reshape(-1, 3)
        colours[colours.min(axis=1) > 245] = 255  # white paper stays white
        palette.putpalette(colours.ravel().tolist())
        image.quantize(palette=palette, dither=Image.Dither.NONE).save(temporary, optimize=True)
    return path
