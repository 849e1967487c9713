"""Draw the figures at the top of the notebooks, from the bundled sample and a finished run.

    python notebooks/figures/make_figures.py --run runs/course [name ...]

What needs a part of the run that is not there (`masks`, `ablation`) is drawn as a plain diagram; the
network's own pictures are then taken from a short training. Only the sample's frames are shown. On a phone a
figure is 350 pixels wide, a pixel for each 1.25 points: its letters, of 11 points, are 9 pixels high.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from matplotlib.text import Text

from osvos_keras.config import OnlineConfig
from osvos_keras.course.ablation import read_ablation
from osvos_keras.davis import Davis
from osvos_keras.evaluation import evaluate
from osvos_keras.inference import predict_logits
from osvos_keras.io.files import list_files
from osvos_keras.io.images import read_frame
from osvos_keras.io.masks import read_mask
from osvos_keras.io.paths import resolve_output
from osvos_keras.metrics import sigmoid
from osvos_keras.model import SIDES, build_osvos
from osvos_keras.pipeline import online_dataset, resize_to_height
from osvos_keras.plots.figures import BLUE, ORANGE, new_figure, save_figure
from osvos_keras.plots.frames import gallery, show_frame, show_overlay
from osvos_keras.plots.scores import ablation_curves
from osvos_keras.trained import WEIGHTS_FILE, load_finished
from osvos_keras.training import train_online
from osvos_keras.video.overlay import draw_objects

HERE = Path(__file__).resolve().parent
DAVIS = Davis("data/sample")
SEQUENCE = "cat"
HEIGHT = 240  # lines at which the network sees a frame
GREY = "#555555"
WIDTH = 6  # inches of a figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--run", default="runs/course", help="folder of a finished run (default: %(default)s)"
    )
    parser.add_argument("names", nargs="*", default=list(FIGURES), metavar="name", help="figures to draw")
    arguments = parser.parse_args()
    plt.rcParams["font.size"] = plt.rcParams["axes.titlesize"] = 11
    for name in arguments.names:
        path = save_figure(FIGURES[name](resolve_output(arguments.run)), HERE / f"{name}.png", dpi=120)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def draw_course(run: Path) -> Figure:
    """00: the stages of the course, each with a small real picture where there is one."""
    path = DAVIS.frames(SEQUENCE)[len(DAVIS.frames(SEQUENCE)) // 4]
    frame, first = read_frame(path), DAVIS.first(SEQUENCE)
    features = _strongest_channel(_any_network(run), frame, "block4_conv3")
    mask = _mask(run, path)
    stages = [
        ("data", "frames, annotations\nnotebook 01", lambda ax: show_overlay(*first, ax=ax)),
        ("VGG16", "edges, textures, parts\nnotebook 02", lambda ax: ax.imshow(features, cmap="cividis")),
        ("parent", "what objects are\nnotebook 03", _draw_probability(build_osvos("parent"), frame)),
        ("online", "which object is meant\nnotebook 04", _draw_probability(_any_network(run), frame)),
        (
            "masks",
            "one for every frame\nnotebook 04",
            _box if mask is None else lambda ax: show_overlay(frame, mask, ax=ax),
        ),
        ("J and F", "how good are they?\nnotebook 05", _draw_scores_or_box(run)),
    ]
    figure = new_figure(WIDTH, 3.5)
    figure.set_layout_engine("none")
    places = [(x, y) for y in (0.61, 0.11) for x in (0.005, 0.345, 0.685)]
    axes = [_place(figure, x, y, 0.31) for x, y in places]
    for ax, (title, text, draw) in zip(axes, stages, strict=True):
        draw(ax)
        ax.set(xticks=[], yticks=[])
        ax.set_title(title, fontweight="bold", pad=4)
        ax.set_xlabel(text, labelpad=3)
    for left, right in pairwise(axes):
        if left is not axes[2]:
            _arrow(figure, left, right)
    return figure


def draw_data(run: Path) -> Figure:
    """01: a sequence, and training samples from its first frame."""
    frames = DAVIS.frames(SEQUENCE)
    figure = new_figure(WIDTH, 2.75)
    upper, lower = figure.subplots(2, 3)
    show_overlay(*DAVIS.first(SEQUENCE), ax=upper[0], title="frame 0, annotated")
    for ax, index in zip(upper[1:], (len(frames) // 2, len(frames) - 1), strict=True):
        show_frame(read_frame(frames[index]), ax=ax, title=f"frame {index}")
    steps = [0, 5, 12]
    samples = list(online_dataset(*DAVIS.first(SEQUENCE), OnlineConfig(height=HEIGHT)).take(max(steps) + 1))
    for ax, step in zip(lower, steps, strict=True):
        sample, targets, _ = samples[step]
        show_overlay(np.asarray(sample[0], np.uint8), np.asarray(targets["fused"])[0, ..., 0] > 0, ax=ax)
    upper[0].set_ylabel("a sequence")
    lower[0].set_ylabel("training\nsamples")
    return figure


def draw_network(run: Path) -> Figure:
    """02: frame → features → side outputs → fused output, with the pictures of a trained network."""
    model = _any_network(run)
    frame, _ = DAVIS.first(SEQUENCE)
    outputs = predict_logits(model, frame, HEIGHT)
    figure = new_figure(WIDTH, 5)
    figure.set_layout_engine("none")
    axes = {"frame": _place(figure, 0.005, 0.42, 0.19)}
    show_frame(frame, axes["frame"], "frame")
    for row, (side, (layer, stride)) in enumerate(SIDES.items()):
        y = 0.715 - 0.235 * row
        axes[layer] = _place(figure, 0.285, y, 0.225)
        axes[layer].imshow(_strongest_channel(model, frame, layer), cmap="cividis")
        axes[layer].set_title(layer, loc="right", pad=3)
        axes[layer].text(
            0.97, 0.05, f"stride {stride}", transform=axes[layer].transAxes, ha="right", color="w"
        )
        axes[side] = _place(figure, 0.575, y, 0.225)
        _show_probability(axes[side], outputs[side])
        axes[side].set_title(side, pad=3)
    axes["fused"] = _place(figure, 0.865, 0.42, 0.13)
    _show_probability(axes["fused"], outputs["fused"])
    axes["fused"].set_title("fused", pad=3)
    for ax in axes.values():
        ax.set(xticks=[], yticks=[])
    layers = [layer for layer, _ in SIDES.values()]
    _arrow(figure, axes["frame"], axes[layers[0]])
    for side, layer in zip(SIDES, layers, strict=True):
        _arrow(figure, axes[layer], axes[side])
        _arrow(figure, axes[side], axes["fused"])
    for upper, lower in pairwise(layers):
        _arrow(figure, axes[upper], axes[lower])
    for x, text in ((0.3975, "VGG16"), (0.6875, "side branches")):
        figure.text(x, 0.995, text, ha="center", va="top", fontweight="bold")
    figure.text(0.6875, 0.955, "3×3, 1×1, upsample", ha="center", va="top", color=GREY)
    figure.text(0.93, 0.4, "weighed\nand added", ha="center", va="top")
    return figure


def draw_parent(run: Path) -> Figure:
    """03: what the parent sees in frames of sequences that it was not trained on."""
    model, names = build_osvos("parent"), DAVIS.sequences("val")
    figure = new_figure(WIDTH, 1.2 * 6 + 0.2)
    for column, name in zip(figure.subplots(6, len(names)).T, names, strict=True):
        frame, _ = DAVIS.first(name)
        show_frame(frame, ax=column[0], title=name)
        for ax, (output, logits) in zip(
            column[1:], predict_logits(model, frame, HEIGHT).items(), strict=True
        ):
            _show_probability(ax, logits)
            ax.set_ylabel(output if name == names[0] else "")
    return figure


def draw_online(run: Path) -> Figure:
    """04: one annotation in, a mask for every frame out."""
    frames = DAVIS.frames(SEQUENCE)
    later = [frames[index] for index in np.linspace(3, len(frames) - 2, 6).astype(int)]
    if any(_mask(run, path) is None for path in later):
        return _draw_boxes(["first frame and\nits annotation", "online training", "a mask for\nevery frame"])
    figure = new_figure(WIDTH, 4.9)
    figure.set_layout_engine("none")
    given = _place(figure, 0.27, 0.635, 0.46)
    show_overlay(*DAVIS.first(SEQUENCE), ax=given, title="one annotation in")
    cells = [_place(figure, x, y, 0.31) for y in (0.305, 0.04) for x in (0.005, 0.345, 0.685)]
    for ax, path in zip(cells, later, strict=True):
        show_overlay(read_frame(path), _mask(run, path), ax=ax)
        ax.set_xlabel(f"frame {int(path.stem)}", labelpad=2)
    cells[1].set_title("a mask for every later frame out")
    _draw_arrow(figure, *figure.transFigure.transform([(0.5, 0.62), (0.5, 0.57)]))
    return figure


def draw_scores(run: Path) -> Figure:
    """05: a part of the gallery, scored."""
    names = DAVIS.sequences("val")
    if any(_mask(run, path) is None for name in names for path in DAVIS.frames(name)[1:]):
        return _draw_boxes(["masks", "compared with\nthe annotations", "J and F"])
    figure = gallery(DAVIS, run / "masks", names, evaluate(run / "masks", DAVIS, names), columns=3)
    for text in figure.findobj(Text):
        text.set_size(max(text.get_size(), plt.rcParams["font.size"]))
    return figure


def draw_your_video(run: Path) -> Figure:
    """06: a clip and a mark in, an overlay video out."""
    frames = DAVIS.frames("motorcycle")
    later = [frames[index] for index in np.linspace(9, len(frames) - 1, 3).astype(int)]
    if any(_mask(run, path) is None for path in later):
        return _draw_boxes(["a clip", "an object marked\nin its first frame", "an overlay video"])
    figure = new_figure(WIDTH, 3.9)
    figure.set_layout_engine("none")
    for index in (14, 7):  # a stack of frames
        stacked = _place(figure, 0.27 + 0.002 * index, 0.475 + 0.004 * index, 0.46)
        show_frame(read_frame(frames[index]), stacked)
    first = _place(figure, 0.27, 0.475, 0.46)
    show_overlay(*DAVIS.first("motorcycle"), ax=first)
    figure.text(0.5, 0.995, "a clip, and the object in its first frame", ha="center", va="top")
    cells = [_place(figure, x, 0.01, 0.31) for x in (0.005, 0.345, 0.685)]
    for ax, path in zip(cells, later, strict=True):
        show_frame(draw_objects(read_frame(path), _mask(run, path).astype(np.uint8)), ax)
    cells[1].set_title("an overlay video")
    _draw_arrow(figure, *figure.transFigure.transform([(0.5, 0.46), (0.5, 0.38)]))
    return figure


def draw_ablation(run: Path) -> Figure:
    """07: a later frame with and without parent and online training, and J against steps."""
    table = read_ablation(run / "ablation")
    if table.empty:
        return _draw_boxes(["parent alone", "online training alone", "both"])
    sequence, steps = table["sequence"].iloc[0], table["steps"].agg(["min", "max"])
    made = list_files(run / "ablation" / f"parent_{steps['max']}" / sequence, ".png")
    path = DAVIS.frames(sequence)[0].with_name(f"{made[len(made) * 2 // 3].stem}.jpg")
    figure = new_figure(WIDTH, 6.2)
    pictures, curve = figure.subfigures(2, 1, height_ratios=(1.4, 1))
    for row, start in zip(pictures.subplots(2, 2), ("ImageNet", "parent"), strict=True):
        for ax, count in zip(row, steps, strict=True):
            mask = read_mask(run / "ablation" / f"{start}_{count}" / sequence / f"{path.stem}.png")
            show_overlay(read_frame(path), mask, ax=ax, title=f"{start}, {count} steps")
    steps_alone = table.drop(columns="train_seconds")  # seconds depend on the machine
    ax = ablation_curves(steps_alone, curve.add_subplot())
    ax.set_title("")
    for number in list(ax.texts):  # the axis has the steps
        number.remove()
    return figure


FIGURES = {
    "00_start_here": draw_course,
    "01_data_preparation": draw_data,
    "02_network_and_loss": draw_network,
    "03_parent_training": draw_parent,
    "04_online_training": draw_online,
    "05_evaluation": draw_scores,
    "06_your_video": draw_your_video,
    "07_ablation": draw_ablation,
}


def _any_network(run: Path) -> keras.Model:
    """The run's online network, or else one from a short training."""
    folder = run / "online" / SEQUENCE
    if (folder / WEIGHTS_FILE).is_file():
        return load_finished(folder)
    with tempfile.TemporaryDirectory() as temporary:
        return train_online(DAVIS, SEQUENCE, OnlineConfig(height=160, steps=40), temporary)


def _mask(run: Path, frame: Path) -> np.ndarray | None:
    path = run / "masks" / frame.parent.name / f"{frame.stem}.png"
    return read_mask(path) if path.is_file() else None


def _strongest_channel(model: keras.Model, frame: np.ndarray, layer: str) -> np.ndarray:
    """The channel of a layer's features that varies most, (h, w)."""
    resized = resize_to_height(tf.constant(frame), HEIGHT, "bilinear")
    features = np.asarray(keras.Model(model.input, model.get_layer(layer).output)(resized[None]))[0]
    return features[..., features.std(axis=(0, 1)).argmax()].astype(np.float32)


def _place(figure: Figure, x: float, y: float, width: float) -> Axes:
    """An axis with the proportions of a frame, in shares of the figure."""
    height, frame_width = DAVIS.first(SEQUENCE)[1].shape
    inches = figure.get_size_inches()
    return figure.add_axes((x, y, width, width * inches[0] / inches[1] * height / frame_width))


def _box(ax: Axes, text: str = "") -> None:
    ax.set(xlim=(0, 16), ylim=(0, 9), aspect="equal", xticks=[], yticks=[], facecolor="#EAF3FA")
    ax.text(8, 4.5, text, ha="center", va="center")


def _show_probability(ax: Axes, logits: np.ndarray) -> None:
    ax.imshow(sigmoid(logits), cmap="cividis", vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[])


def _draw_probability(model: keras.Model, frame: np.ndarray) -> Callable[[Axes], None]:
    return lambda ax: _show_probability(ax, predict_logits(model, frame, HEIGHT)["fused"])


def _draw_scores_or_box(run: Path) -> Callable[[Axes], None]:
    """J and F of every later frame, in a box as wide as a frame."""
    if any(_mask(run, path) is None for path in DAVIS.frames(SEQUENCE)[1:]):
        return _box
    scores = evaluate(run / "masks", DAVIS, [SEQUENCE])

    def draw(ax: Axes) -> None:
        for measure, colour in (("J", BLUE), ("F", ORANGE)):
            ax.plot(scores.per_frame[measure].to_numpy(), color=colour, linewidth=2, label=measure)
        ax.set(ylim=(0, 1.05), box_aspect=9 / 16)
        ax.legend(frameon=False, loc="lower center", ncols=2)

    return draw


def _draw_boxes(texts: Sequence[str]) -> Figure:
    figure = new_figure(WIDTH, 1.2)
    figure.set_layout_engine("none")
    axes = [_place(figure, 0.005 + 0.345 * index, 0.04, 0.3) for index in range(len(texts))]
    for ax, text in zip(axes, texts, strict=True):
        _box(ax, text)
    for left, right in pairwise(axes):
        _arrow(figure, left, right)
    return figure


def _arrow(figure: Figure, start: Axes, end: Axes) -> None:
    """An arrow from one picture's right edge to another's left, or, if it stands below, downwards."""
    figure.canvas.draw()
    a, b = start.get_window_extent(), end.get_window_extent()
    if a.x0 == b.x0:
        x = a.x0 + 0.03 * a.width  # beside the title
        _draw_arrow(figure, (x, a.y0 - 2), (x, b.y1 + 2))
    else:
        _draw_arrow(figure, (a.x1 + 3, (a.y0 + a.y1) / 2), (b.x0 - 3, (b.y0 + b.y1) / 2))


def _draw_arrow(figure: Figure, tail: tuple[float, float], head: tuple[float, float]) -> None:
    """An arrow between two points in pixels."""
    points = figure.transFigure.inverted().transform([tail, head])
    style = {"arrowstyle": "-|>", "mutation_scale": 11, "color": GREY, "linewidth": 1.4}
    arrow = FancyArrowPatch(*points, transform=figure.transFigure, shrinkA=0, shrinkB=0, **style)
    arrow.set_in_layout(False)
    figure.add_artist(arrow)


if __name__ == "__main__":
    main()
