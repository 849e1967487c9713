"""Pictures of frames, masks and network outputs. Pictures of scores are in `plots.scores`.

A function with a parameter `ax` draws into the given axis and returns it; without an axis it returns a new
Figure, as the other functions do. Jupyter shows a Figure that is the last line of a cell (elsewhere in a
cell, use `display(figure)`); a script saves it with `save_figure`.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import fill

import cv2
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from osvos_keras.davis import Davis
from osvos_keras.errors import DataError
from osvos_keras.evaluation.folder import Pair, find_masks, masks_by_frame
from osvos_keras.evaluation.mistakes import read_described, read_regions, worst_frames
from osvos_keras.evaluation.objects import find_reader
from osvos_keras.evaluation.results import Scores
from osvos_keras.evaluation.tables import mean_over_objects
from osvos_keras.io.images import read_frame
from osvos_keras.metrics import sigmoid
from osvos_keras.plots.figures import BLUE, SKY, figure_for, new_figure

MASK_COLOUR, OUTLINE_COLOUR = SKY, BLUE  # rare colours of objects
CELL_INCHES = 1.92  # width of a picture in a gallery; five give a page of 1000 pixels
CELL_WIDTH = 240  # its pixels: enough for an overview, and small on disk
WORST_WIDTH = 440  # pixels per picture of the worst frames


def _picture_for(ax: Axes | None, image: np.ndarray) -> tuple[Figure | None, Axes]:
    """As `figure_for`; a new figure has the image's proportions, and room for a title."""
    return figure_for(ax, 6, 6 * image.shape[0] / image.shape[1] + 0.4)


def show_frame(frame: np.ndarray, ax: Axes | None = None, title: str = "") -> Figure | Axes:
    """A frame, (H, W, 3) uint8 RGB."""
    figure, ax = _picture_for(ax, frame)
    ax.imshow(frame)
    _strip(ax, title)
    return figure or ax


def show_mask(mask: np.ndarray, ax: Axes | None = None, title: str = "") -> Figure | Axes:
    """A mask or annotation, (H, W) bool: the object white on black."""
    figure, ax = _picture_for(ax, mask)
    ax.imshow(mask, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    _strip(ax, title)
    return figure or ax


def show_overlay(
    frame: np.ndarray,
    mask: np.ndarray,
    annotation: np.ndarray | None = None,
    ax: Axes | None = None,
    title: str = "",
) -> Figure | Axes:
    """A frame with the mask as a blue veil and outline, and the annotation as a dashed white line.

    Args:
        frame: (H, W, 3) uint8 RGB.
        mask, annotation: (H, W) bool.

    Raises:
        ValueError: the sizes differ, or a mask holds numbers.
    """
    for name, region in (("mask", mask), ("annotation", annotation)):
        if region is None:
            continue
        if region.shape != frame.shape[:2]:
            raise ValueError(f"{name} {region.shape} and frame {frame.shape[:2]} differ in size (H, W).")
        if region.dtype != bool:  # NumPy would take numbers for those of rows
            raise ValueError(
                f"{name} is {region.dtype}, but True and False (bool) are needed. Compare it: > 0 for 0 and "
                "255, > 0.5 for probabilities."
            )
    figure, ax = _picture_for(ax, frame)
    ax.imshow(_veil(frame, mask))
    _draw_outline(ax, mask, OUTLINE_COLOUR, 1.2)
    if annotation is not None:
        _draw_outline(ax, annotation, "black", 1.2, alpha=0.5)
        _draw_outline(ax, annotation, "white", 0.8, linestyles=[(0, (4, 1.5))])
    _strip(ax, title)
    return figure or ax


def show_side_outputs(side_outputs: Mapping[str, object], title: str = "") -> Figure:
    """The network's outputs beside each other, as probabilities.

    Args:
        side_outputs: logits by name (`side2` … `side5`, `fused`), each (H, W), (H, W, 1) or (1, H, W, 1).
    """
    figure = new_figure(2.4 * len(side_outputs) + 0.6, 2.0)
    axes = figure.subplots(1, len(side_outputs), squeeze=False)[0]
    for ax, (name, logits) in zip(axes, side_outputs.items(), strict=True):
        logits = np.asarray(logits, np.float32)
        height_width = logits.shape if logits.ndim == 2 else logits.shape[-3:-1]
        probability = sigmoid(logits.reshape(height_width))
        picture = ax.imshow(probability, cmap="cividis", vmin=0, vmax=1)
        _strip(ax, name)
    figure.colorbar(picture, ax=axes, label="probability", fraction=0.05, pad=0.01)
    figure.suptitle(title)
    return figure


def gallery(
    davis: Davis,
    masks: str | Path,
    sequences: str | Iterable[str],
    scores: Scores | None = None,
    columns: int = 5,
) -> Figure:
    """A row per sequence, with frames over time: the mask, and the annotation's outline.

    Args:
        davis: the data set.
        masks: the folder of masks; an absent mask is drawn as empty.
        sequences: a split, names, or names joined by commas.
        scores: scores of these masks; adds J below each frame and the means beside each row.
        columns: frames per sequence; the first one is the frame whose annotation was given.
    """
    rows = {}
    for name in davis.select(sequences):
        count = len(davis.frames(name))
        rows[name] = np.unique(np.linspace(0, max(count - 2, 0), columns).round().astype(int))
    return _grid(davis, masks, rows, scores)


def best_median_worst(davis: Davis, masks: str | Path, scores: Scores) -> Figure:
    """A row per sequence: the frames with the best, the median and the worst J.

    Args: as for `gallery`.
    """
    rows = {name: _extremes(scores.per_frame, name) for name in scores.per_sequence["sequence"]}
    return _grid(davis, masks, rows, scores, headings=("best frame", "median frame", "worst frame"))


def _extremes(per_frame: pd.DataFrame, sequence: str) -> np.ndarray:
    """Positions in the sequence of the frames with the best, median and worst J."""
    values = mean_over_objects(per_frame[per_frame["sequence"] == sequence])["J"].to_numpy()
    order = np.argsort(-values, kind="stable") + 1  # position 0, the first frame, is not scored
    return order[[0, len(order) // 2, -1]]


def _grid(
    davis: Davis,
    masks: str | Path,
    rows: Mapping[str, Sequence[int]],
    scores: Scores | None,
    headings: Sequence[str] = (),
) -> Figure:
    columns = max(map(len, rows.values()))
    height, width = read_frame(davis.frames(next(iter(rows)))[0]).shape[:2]
    figure = new_figure(0.4 + columns * CELL_INCHES, 0.4 + len(rows) * (CELL_INCHES * height / width + 0.25))
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for line, (name, positions) in zip(axes, rows.items(), strict=True):
        frames = davis.frames(name)
        for ax, position in zip(line, positions, strict=False):
            _draw_cell(ax, davis, masks, frames[position], position == 0, scores)
        for ax in line[len(positions) :]:
            ax.set_axis_off()
        line[0].set_ylabel(_row_label(name, scores), fontsize=9)
    for ax, heading in zip(axes[0], headings, strict=False):
        ax.set_title(heading, fontsize=10)
    figure.supxlabel("blue: mask      dashed white: outline of the annotation", fontsize=9)
    return figure


def _draw_cell(
    ax: Axes, davis: Davis, masks: str | Path, path: Path, is_first: bool, scores: Scores | None
) -> None:
    frame, mask, annotation = read_cell(davis, masks, path, is_first, scores=scores)
    show_overlay(frame, mask, None if is_first else annotation, ax)
    text = f"frame {path.stem}"
    if is_first:
        text += ", given"
    elif scores is not None:
        row = scores.per_frame.query("sequence == @path.parent.name and frame == @path.stem")
        text += f", J {row['J'].mean():.2f}" if len(row) else ""
    ax.set_xlabel(text, fontsize=8, labelpad=2)


def read_cell(
    davis: Davis,
    masks: str | Path,
    path: Path,
    is_first: bool,
    width: int = CELL_WIDTH,
    scores: Scores | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Frame, mask and annotation of the frame at `path`, at most `width` pixels wide.

    The mask of a sequence's first frame is its annotation. An absent mask is empty, an absent annotation is
    None. Several objects are merged into one. With `scores`, the masks are the scored files.
    """
    sequence, annotation = path.parent.name, davis.annotation_path(path)
    reader = find_reader(davis.annotation_path(davis.frames(sequence)[0]))
    frame = shrink(read_frame(path), width)
    if is_first:
        _, region = read_regions(Pair(path.stem, annotation, None), reader)
        region = shrink(region, width)
        return frame, region, region
    plan = {} if scores is None else {pair.frame: pair for pair in scores.plan.get(sequence, ())}
    pair = plan.get(path.stem) or Pair(path.stem, annotation, _find_mask(davis, masks, path))
    if annotation.exists():
        return frame, *(shrink(region, width) for region in read_regions(pair, reader))
    mask = np.zeros(frame.shape[:2], bool) if pair.mask is None else reader.mask(pair.mask) > 0
    return frame, shrink(mask, width), None


def _find_mask(davis: Davis, masks: str | Path, frame: Path) -> Path | None:
    """The mask of a frame, under any name and in any folder that `evaluate` understands, or None."""
    sequence = frame.parent.name
    try:
        folder = find_masks(masks, [sequence]) / sequence
    except DataError:
        return None
    return masks_by_frame(folder, davis.frames(sequence), []).get(frame.stem)


def _row_label(sequence: str, scores: Scores | None) -> str:
    if scores is None:
        return sequence
    row = scores.per_sequence.query("sequence == @sequence")
    means = zip(row["J_mean"], row["F_mean"], strict=True)
    return sequence + "".join(f"\nJ {j:.3f}  F {f:.3f}" for j, f in means)


def worst_pictures(davis: Davis, scores: Scores, count: int = 5) -> Figure:
    """A picture of each of the worst frames, with sequence, frame, J and the mistakes in words.

    Neighbours of a shown frame are left out, because they show the same mistake.
    """
    worst = worst_frames(scores.per_frame, count)
    columns = min(len(worst), 3)
    rows = -(-len(worst) // columns)
    figure = new_figure(4.4 * columns, 3.2 * rows)
    for place, row in enumerate(worst.itertuples(), start=1):
        ax = figure.add_subplot(rows, columns, place)
        pair = next(pair for pair in scores.plan[row.sequence] if pair.frame == row.frame)
        frame = next(path for path in davis.frames(row.sequence) if path.stem == row.frame)
        mask, annotation, mistakes = read_described(pair, scores.readers[row.sequence])
        images = [shrink(image, WORST_WIDTH) for image in (read_frame(frame), mask, annotation)]
        show_overlay(*images, ax=ax)
        ax.set_title(f"{row.sequence}, frame {row.frame}: J {row.J:.2f}", fontsize=10)
        ax.set_xlabel(fill(mistakes, 52), fontsize=9)
    return figure


def shrink(image: np.ndarray, width: int) -> np.ndarray:
    """A frame (H, W, 3) uint8 or a mask (H, W) bool, scaled down to at most `width` pixels of width."""
    if image.shape[1] <= width:
        return image
    size = width, max(round(image.shape[0] * width / image.shape[1]), 1)
    if image.dtype == bool:
        return cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_AREA) >= 0.5
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _veil(frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The frame, tinted inside the mask: (H, W, 3) uint8."""
    veiled = frame.astype(np.float32)
    veiled[mask] = 0.5 * veiled[mask] + 0.5 * 255 * np.array(to_rgb(MASK_COLOUR), np.float32)
    return veiled.round().astype(np.uint8)


def _draw_outline(ax: Axes, region: np.ndarray, colour: str, width: float, **line) -> None:
    """Draw the outline of a region; it is also closed along the frame's border."""
    padded = np.pad(region.astype(np.float32), 1)
    rows, columns = np.arange(-1, region.shape[0] + 1), np.arange(-1, region.shape[1] + 1)
    if region.any():
        ax.contour(columns, rows, padded, [0.5], colors=[colour], linewidths=width, **line)


def _strip(ax: Axes, title: str) -> None:
    """Remove the ticks and the border of the axis, which say nothing about a picture."""
    ax.set(xticks=[], yticks=[], title=title)
    ax.spines[:].set_visible(False)
