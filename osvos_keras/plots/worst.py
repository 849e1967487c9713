"""The worst frames of a method, each with its J, its number and a description of its mistakes."""

from textwrap import fill

from matplotlib.figure import Figure

from osvos_keras.davis import Davis
from osvos_keras.evaluation.mistakes import describe_mistakes, read_regions, worst_frames
from osvos_keras.evaluation.results import Scores
from osvos_keras.io.images import read_frame
from osvos_keras.plots.figures import new_figure
from osvos_keras.plots.frames import show_overlay, shrink

WIDTH = 440  # pixels per picture


def worst_pictures(davis: Davis, scores: Scores, count: int = 5) -> Figure:
    """A picture of each of the worst frames, with sequence, frame, J and the mistakes in words.

    Neighbours of a shown frame are left out, because they show the same mistake.
    """
    worst = worst_frames(scores.per_frame, count)
    columns = min(len(worst), 3)
    rows = -(-len(worst) // columns)
    figure = new_figure(4.4 * columns, 3.2 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, row in zip(axes, worst.itertuples(), strict=False):
        pair = next(pair for pair in scores.plan[row.sequence] if pair.frame == row.frame)
        frame = next(path for path in davis.frames(row.sequence) if path.stem == row.frame)
        mask, annotation = read_regions(pair, scores.readers[row.sequence])
        images = [shrink(image, WIDTH) for image in (read_frame(frame), mask, annotation)]
        show_overlay(*images, ax=ax)
        ax.set_title(f"{row.sequence}, frame {row.frame}: J {row.J:.2f}", fontsize=10)
        ax.set_xlabel(fill(describe_mistakes(mask, annotation), 52), fontsize=9)
    for ax in axes[len(worst) :]:
        ax.set_visible(False)
    return figure
