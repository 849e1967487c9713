"""Plots of numbers: losses over steps; scores over time, sequences, attributes and methods.

Functions return a figure or an axis as in `plots.frames`.
"""

from collections.abc import Mapping
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from osvos_keras.davis import Davis
from osvos_keras.evaluation import compare, published_scores
from osvos_keras.evaluation.results import Scores
from osvos_keras.evaluation.tables import mean_over_objects
from osvos_keras.plots.figures import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    figure_for,
    new_figure,
)
from osvos_keras.plots.frames import read_cell, show_overlay

LINE_COLOURS = [BLACK, ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE]  # without yellow: it is faint on white
BAR_COLOURS = [BLUE, ORANGE, GREEN, SKY, VERMILION, PURPLE]
LABELS = {
    "J_mean": "region similarity J (mean over frames, 0 to 1)",
    "F_mean": "contour accuracy F (mean over frames, 0 to 1)",
}
ATTRIBUTES = {
    "AC": "appearance change",
    "BC": "background clutter",
    "CS": "camera shake",
    "DB": "dynamic background",
    "DEF": "deformation",
    "EA": "edge ambiguity",
    "FM": "fast motion",
    "HO": "heterogeneous object",
    "IO": "interacting objects",
    "LR": "low resolution",
    "MB": "motion blur",
    "OCC": "occlusion",
    "OV": "out of view",
    "ROT": "rotation",
    "SC": "shape complexity",
    "SV": "scale variation",
}


def loss_curves(history: pd.DataFrame, title: str = "") -> Figure:
    """Every column of a training history whose name ends in `loss`, over `step`, on a log scale."""
    figure, ax = figure_for(None, 7, 4)
    steps = history["step"]
    names = [name for name in history.columns if name.endswith("loss")]
    for colour, name in zip(cycle(LINE_COLOURS), names):
        width = 2.2 if name == "loss" else 1.2
        ax.plot(steps, history[name], color=colour, linewidth=width, label=name.replace("_", " "))
    ax.set(xlabel="step", ylabel="loss (log scale)", yscale="log", title=title)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))  # beside the lines, which fill the axes
    return figure


def score_over_time(per_frame: pd.DataFrame, sequence: str, davis: Davis, masks: str | Path) -> Figure:
    """J and F of one sequence per frame, with the worst frame marked; below, that frame and the first one.

    Raises:
        ValueError: the sequence was not scored.
    """
    values = mean_over_objects(per_frame[per_frame["sequence"] == sequence]).reset_index(drop=True)
    if values.empty:
        raise ValueError(f"no scores of {sequence}; there are {', '.join(per_frame['sequence'].unique())}.")
    worst = int(values["J"].argmin())
    figure = new_figure(9, 6)
    top, bottom = figure.subfigures(2, 1, height_ratios=(1.1, 1))
    _draw_over_time(top.add_subplot(), values, sequence, worst)
    frames = davis.frames(sequence)
    titles = {0: "first frame, annotation given", worst + 1: f"worst frame, J {values['J'][worst]:.2f}"}
    for cell, (position, title) in zip(bottom.subplots(1, 2), titles.items(), strict=True):
        images = read_cell(davis, masks, frames[position], position == 0, width=440)
        show_overlay(*images, ax=cell, title=title)
    return figure


def _draw_over_time(ax: Axes, values: pd.DataFrame, sequence: str, worst: int) -> None:
    time = np.arange(1, len(values) + 1)
    for measure, colour in (("J", BLUE), ("F", ORANGE)):
        ax.plot(time, values[measure], color=colour, label=f"{measure} (mean {values[measure].mean():.3f})")
    ax.plot(
        time[worst], values["J"][worst], "v", color=BLACK, label=f"worst J, frame {values['frame'][worst]}"
    )
    ax.set(xlabel="frame", ylabel="score", ylim=(-0.02, 1.02))
    ax.grid(alpha=0.3)
    _legend_above(ax)
    ax.set_title(sequence, loc="right")


def score_bars(scores: Scores) -> Figure:
    """A bar per sequence, the best one on top, and a marker for the paper's own number if there is one."""
    table = scores.per_sequence.set_index("sequence")["J_mean"].sort_values()
    figure, ax = figure_for(None, 7, 0.32 * len(table) + 1.4)
    bars = ax.barh(table.index, table, color=SKY, label=f"these masks, mean {table.mean():.3f}")
    ax.bar_label(bars, [f"{value:.3f}" for value in table], label_type="center", fontsize=8)
    paper = (
        published_scores().query("method == 'OSVOS' and measure == 'J_mean'").set_index("sequence")["value"]
    )
    alike = [name for name in table.index if scores.readers[name].objects is None]  # not those of DAVIS 2017
    paper = paper[paper.index.isin(alike)]
    if len(paper):
        ax.plot(paper, paper.index, "D", color=BLACK, label=f"OSVOS paper, mean of these {paper.mean():.3f}")
    ax.axvline(table.mean(), color=BLUE, linestyle="--", linewidth=1)
    ax.set(xlim=(0, 1), xlabel=LABELS["J_mean"])
    ax.margins(y=0.02)
    _legend_above(ax)
    return figure


def attribute_bars(scores: Scores) -> Figure:
    """For each attribute, the mean over the sequences with it and without it; the hardest one on top."""
    table = scores.attributes.sort_values("J_gain", ascending=False)
    figure, ax = figure_for(None, 7, 0.36 * len(table) + 1.4)
    places = np.arange(len(table))
    ax.barh(places + 0.2, table["J_with"], 0.4, color=ORANGE, label="sequences with it (how many)")
    ax.barh(places - 0.2, table["J_without"], 0.4, color=SKY, label="sequences without it")
    names = [
        f"{ATTRIBUTES.get(row.attribute, row.attribute)} ({row.sequences})" for row in table.itertuples()
    ]
    ax.set_yticks(places, names)
    ax.set(xlim=(0, 1), xlabel=LABELS["J_mean"])
    ax.margins(y=0.01)
    _legend_above(ax)
    return figure


def compare_bars(scores: Mapping[str, Scores], measure: str = "J_mean") -> Figure:
    """Several methods: a group of bars per sequence, and one for the mean over the sequences.

    Raises:
        ValueError: as `compare`.
    """
    table = compare(scores)[measure].iloc[::-1]
    figure, ax = figure_for(None, 8, 0.16 * len(table) * (len(scores) + 1) + 1.6)
    places, height = np.arange(len(table)), 0.8 / len(scores)
    for index, (name, colour) in enumerate(zip(table, cycle(BAR_COLOURS), strict=False)):
        label = f"{name}, mean {table[name]['overall']:.3f}"
        ax.barh(places + 0.4 - (index + 0.5) * height, table[name], height, color=colour, label=label)
    ax.set_yticks(places, table.index)
    ax.axhline(0.5, color=BLACK, linewidth=0.8)
    ax.set(xlim=(0, 1), xlabel=LABELS[measure])
    ax.margins(y=0.02)
    _legend_above(ax)
    return figure


def _legend_above(ax: Axes) -> None:
    """Put the legend above the axis: in one line if it fits, else one entry per line."""
    names = ax.get_legend_handles_labels()[1]
    columns = len(names) if sum(map(len, names)) < 70 else 1
    ax.legend(frameon=False, ncols=columns, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)


def ablation_curves(table: pd.DataFrame, ax: Axes | None = None) -> Figure | Axes:
    """Mean J over the sequences, a line for each start, against their mean seconds of training.

    Args:
        table: as `run_ablation` returns it; without `train_seconds` the line goes over the steps.
        ax: an axis to draw on.

    Raises:
        ValueError: the table has no rows.
    """
    if table.empty:
        raise ValueError("the table has no rows: no training has finished in that folder.")
    figure, ax = figure_for(ax, 7, 4)
    offsets = cycle([-14, 6])  # points: the numbers of two lines stay apart where the lines meet
    for colour, offset, (start, rows) in zip(cycle(BAR_COLOURS), offsets, table.groupby("start", sort=False)):
        mean = rows.groupby("steps").mean(numeric_only=True)
        places = mean.get("train_seconds", mean.index)
        ax.plot(places, mean["J"], "o-", color=colour, label=start)
        for steps, place, j in zip(mean.index, places, mean["J"], strict=True):
            ax.annotate(
                f"{steps}", (place, j), (0, offset), textcoords="offset points", ha="center", fontsize=8
            )
    across = "seconds of training per sequence" if "train_seconds" in table else "online steps"
    ax.set(xlabel=across, ylabel="mean J", title="the number of online steps stands at each point")
    ax.margins(0.08, 0.1)
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, title="start")
    return figure or ax
