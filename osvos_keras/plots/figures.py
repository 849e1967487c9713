"""Figures as every picture here needs them: made, saved, and coloured for all eyes.

Colours are Okabe and Ito's, which stay apart for colour-blind readers.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

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


def figure_for(ax: Axes | None, width: float = 6, height: float = 4) -> tuple[Figure | None, Axes]:
    """None and the given axis, or a new figure (inches) and its axis."""
    if ax is not None:
        return None, ax
    figure = new_figure(width, height)
    return figure, figure.add_subplot()


def new_figure(width: float, height: float) -> Figure:
    """A figure that pyplot no longer holds: Jupyter shows it once, and a loop does not pile them up."""
    figure = plt.figure(figsize=(width, height), layout="constrained")
    plt.close(figure)
    return figure


def save_figure(figure: Figure, path: str | Path, dpi: int = 100) -> Path:
    """Write a figure as PNG of 256 colours, a third of the size that photographs take otherwise."""
    path = Path(path)
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
