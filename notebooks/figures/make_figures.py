"""Draw the figures at the top of the notebooks, from the bundled sample and a finished run.

    python notebooks/figures/make_figures.py --run runs/course [name ...]

What needs a part of the run that is not there (`parent`, `masks`) is drawn as a plain diagram; the
network's own pictures are then taken from a short training. Only the sample's frames are shown.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from osvos_keras.config import OnlineConfig
from osvos_keras.course.ablation import read_ablation
from osvos_keras.davis import Davis
from osvos_keras.evaluation import evaluate
from osvos_keras.inference import predict_logits
from osvos_keras.io.images import read_frame
from osvos_keras.io.masks import read_indexed, read_mask
from osvos_keras.io.paths import resolve_output
from osvos_keras.model import SIDES
from osvos_keras.pipeline import online_dataset, resize_to_height
from osvos_keras.plots.figures import BLUE, ORANGE, new_figure, save_figure
from osvos_keras.plots.frames import gallery, show_frame, show_overlay, sigmoid
from osvos_keras.plots.scores import ablation_curves
from osvos_keras.training import WEIGHTS_FILE, load_finished, train_online
from osvos_keras.video.overlay import draw_objects

HERE = Path(__file__).resolve().parent
DAVIS = Davis("data/sample")
SEQUENCE = "cat"
HEIGHT = 240  # lines at which the network sees a frame
GREY = "#555555"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--run", default="runs/course", help="folder of a finished run (default: %(default)s)"
    )
    parser.add_argument("names", nargs="*", default=list(FIGURES), metavar="name", help="figures to draw")
    arguments = parser.parse_args()
    for name in arguments.names:
        path = save_figure(FIGURES[name](resolve_output(arguments.run)), HERE / f"{name}.png", dpi=100)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def draw_course(run: Path) -> Figure:
    """00: the stages of the course in a row, each with a small real picture where there is one."""
    path = DAVIS.frames(SEQUENCE)[len(DAVIS.frames(SEQUENCE)) // 4]
    frame, first = read_frame(path), DAVIS.first(SEQUENCE)
    features = _strongest_channel(_any_network(run), frame, "block4_conv3")
    parent = _fused(run / "parent", frame)
    online = _fused(run / "online" / SEQUENCE, frame)
    mask = _mask(run, path)
    stages = [
        ("data", "frames and annotations\nnotebook 01", lambda ax: show_overlay(*first, ax=ax)),
        ("VGG16", "sees edges, textures, parts\nnotebook 02", lambda ax: ax.imshow(features, cmap="cividis")),
        ("parent", "knows what objects are\nnotebook 03", _probability_or_box(parent)),
        ("online", "knows which object is meant\nnotebook 04", _probability_or_box(online)),
        (
            "masks",
            "one for every frame\nnotebook 04",
            None if mask is None else lambda ax: show_overlay(frame, mask, ax=ax),
        ),
        ("J and F", "how good are they?\nnotebook 05", _scores_or_box(run)),
    ]
    figure = new_figure(11, 1.65)
    figure.set_layout_engine("none")
    axes = [_place(figure, 0.004 + 0.17 * index, 0.28, 0.142) for index in range(len(stages))]
    for ax, (title, text, draw) in zip(axes, stages, strict=True):
        (draw or _box)(ax)
        ax.set(xticks=[], yticks=[])
        ax.set_title(title, fontsize=12, fontweight="bold")
        ax.set_xlabel(text, fontsize=8.5)
    for left, right in pairwise(axes):
        _arrow(figure, left, right)
    return figure


def draw_data(run: Path) -> Figure:
    """01: a sequence, and training samples from its first frame."""
    frames = DAVIS.frames(SEQUENCE)
    figure = new_figure(10, 2.9)
    upper, lower = figure.subplots(2, 5)
    for ax, index in zip(upper, np.linspace(0, len(frames) - 1, 5).astype(int), strict=True):
        if index == 0:
            show_overlay(*DAVIS.first(SEQUENCE), ax=ax, title="frame 0, annotation given")
        else:
            show_frame(read_frame(frames[index]), ax=ax, title=f"frame {index}")
    steps = [0, 5, 8, 12, 14]
    samples = list(online_dataset(*DAVIS.first(SEQUENCE), OnlineConfig(height=HEIGHT)).take(max(steps) + 1))
    for ax, step in zip(lower, steps, strict=True):
        sample, targets, _ = samples[step]
        show_overlay(np.asarray(sample[0], np.uint8), np.asarray(targets["fused"])[0, ..., 0] > 0, ax=ax)
    for ax in (*upper, *lower):
        ax.title.set_size(9)
    upper[0].set_ylabel("a sequence")
    lower[0].set_ylabel("training\nsamples")
    return figure


def draw_network(run: Path) -> Figure:
    """02: frame → features → side outputs → fused output, with the pictures of a trained network."""
    model = _any_network(run)
    frame, _ = DAVIS.first(SEQUENCE)
    outputs = predict_logits(model, frame, HEIGHT)
    figure = new_figure(10, 4.6)
    figure.set_layout_engine("none")

    def place(x: float, y: float, width: float, title: str) -> Axes:
        ax = _place(figure, x, y, width)
        ax.set_title(title, fontsize=7.5, pad=3, loc="right" if "block" in title else "center")
        return ax

    axes = {"frame": place(0.01, 0.42, 0.2, "frame")}
    show_frame(frame, axes["frame"])
    axes["frame"].set_title("frame", fontsize=9, pad=3)
    for row, (side, (layer, stride)) in enumerate(SIDES.items()):
        y = 0.72 - 0.235 * row
        axes[layer] = place(0.31, y, 0.145, f"{layer} · stride {stride}")
        axes[layer].imshow(_strongest_channel(model, frame, layer), cmap="cividis")
        axes[side] = place(0.57, y, 0.145, side)
        axes[side].imshow(sigmoid(outputs[side]), cmap="cividis", vmin=0, vmax=1)
    axes["fused"] = place(0.79, 0.42, 0.2, "fused")
    axes["fused"].imshow(sigmoid(outputs["fused"]), cmap="cividis", vmin=0, vmax=1)
    for ax in axes.values():
        ax.set(xticks=[], yticks=[])
    layers = [layer for layer, _ in SIDES.values()]
    _arrow(figure, axes["frame"], axes[layers[0]])
    for side, layer in zip(SIDES, layers, strict=True):
        _arrow(figure, axes[layer], axes[side])
        _arrow(figure, axes[side], axes["fused"])
    for upper, lower in pairwise(layers):
        _arrow(figure, axes[upper], axes[lower])
    for x, text in ((0.383, "VGG16"), (0.643, "side branches")):
        figure.text(x, 0.985, text, ha="center", va="top", fontsize=11, fontweight="bold")
    figure.text(0.89, 0.36, "the branches, weighed\nand added", ha="center", va="top", fontsize=9)
    figure.text(0.513, 0.905, "3×3, 1×1,\nupsample", ha="center", va="top", fontsize=8, color=GREY)
    return figure


def draw_parent(run: Path) -> Figure:
    """03: what the parent sees in frames of sequences that it was not trained on."""
    if not (run / "parent" / WEIGHTS_FILE).is_file():
        return _draw_boxes(
            ["all frames of the\ntraining sequences", "VGG16 and\nside branches", "parent network"]
        )
    model = load_finished(run / "parent")
    names = DAVIS.sequences("val")
    figure = new_figure(11, 1.15 * len(names) + 0.3)
    for row, (line, name) in enumerate(zip(figure.subplots(len(names), 6), names, strict=True)):
        frame, _ = DAVIS.first(name)
        outputs = predict_logits(model, frame, HEIGHT)
        show_frame(frame, ax=line[0], title="" if row else "frame")
        for ax, (output, logits) in zip(line[1:], outputs.items(), strict=True):
            ax.imshow(sigmoid(logits), cmap="cividis", vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[], title="" if row else output)
    return figure


def draw_online(run: Path) -> Figure:
    """04: one annotation in, a mask for every frame out."""
    frames = DAVIS.frames(SEQUENCE)
    later = [frames[index] for index in np.linspace(3, len(frames) - 2, 6).astype(int)]
    if any(_mask(run, path) is None for path in later):
        return _draw_boxes(["first frame and\nits annotation", "online training", "a mask for\nevery frame"])
    figure = new_figure(11, 2.75)
    figure.set_layout_engine("none")
    given = _place(figure, 0.005, 0.08, 0.34)
    show_overlay(*DAVIS.first(SEQUENCE), ax=given, title="one annotation in")
    cells = [_place(figure, x, y, 0.175) for y in (0.51, 0.06) for x in (0.44, 0.627, 0.814)]
    for ax, path in zip(cells, later, strict=True):
        show_overlay(read_frame(path), _mask(run, path), ax=ax)
        ax.set_xlabel(f"frame {int(path.stem)}", fontsize=8, labelpad=2)
    cells[1].set_title("a mask for every later frame out")
    _draw_arrow(figure, *figure.transFigure.transform([(0.36, 0.46), (0.425, 0.46)]))
    return figure


def draw_scores(run: Path) -> Figure:
    """05: a part of the gallery, scored."""
    names = DAVIS.sequences("val")
    if any(_mask(run, path) is None for name in names for path in DAVIS.frames(name)[1:]):
        return _draw_boxes(["masks", "compared with\nthe annotations", "J and F"])
    return gallery(DAVIS, run / "masks", names, evaluate(run / "masks", DAVIS, names), columns=5)


def draw_your_video(run: Path) -> Figure:
    """06: a clip and a mark in, an overlay video out."""
    name = "motorcycle"
    frames, folder = DAVIS.frames(name), run / "segment" / name
    masks = [folder / "masks" / name / f"{path.stem}.png" for path in frames]
    if not all(path.is_file() for path in masks):
        return _draw_boxes(["a clip", "an object marked\nin its first frame", "an overlay video"])
    later = np.linspace(0, len(frames) - 1, 4).astype(int)
    figure = new_figure(11, 2.75)
    figure.set_layout_engine("none")
    for index in (14, 7):  # a stack of frames
        show_frame(read_frame(frames[index]), _place(figure, 0.005 + 0.002 * index, 0.1 + 0.01 * index, 0.31))
    first = _place(figure, 0.005, 0.1, 0.31)
    show_overlay(*DAVIS.first(name), ax=first)
    first.set_xlabel("a clip, and the object in its first frame", fontsize=9)
    cells = [_place(figure, x, y, 0.2) for y in (0.49, 0.02) for x in (0.5, 0.71)]
    for ax, index in zip(cells, later, strict=True):
        ax.imshow(draw_objects(read_frame(frames[index]), read_indexed(masks[index])))
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    figure.text(0.705, 0.96, "an overlay video", ha="center", fontsize=9)
    _draw_arrow(figure, *figure.transFigure.transform([(0.4, 0.5), (0.48, 0.5)]))
    return figure


def draw_ablation(run: Path) -> Figure:
    """07: a later frame with and without parent and online training, and J against seconds."""
    table = read_ablation(run / "ablation")
    if table.empty:
        return _draw_boxes(["parent alone", "online training alone", "both"])
    sequence, steps = table["sequence"].iloc[0], table["steps"].agg(["min", "max"])
    path = DAVIS.frames(sequence)[len(DAVIS.frames(sequence)) * 2 // 3]
    figure = new_figure(10, 3.2)
    pictures, curve = figure.subfigures(1, 2, width_ratios=(1.1, 1))
    for row, start in zip(pictures.subplots(2, 2), ("ImageNet", "parent"), strict=True):
        for ax, count in zip(row, steps, strict=True):
            mask = read_mask(run / "ablation" / f"{start}_{count}" / sequence / f"{path.stem}.png")
            show_overlay(read_frame(path), mask, ax=ax, title=f"{start}, {count} steps")
            ax.title.set_size(9)
    ax = ablation_curves(table, curve.add_subplot())
    ax.set_title("")
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


def _fused(folder: Path, frame: np.ndarray) -> np.ndarray | None:
    """The probability (H, W) that a finished training gives a frame, or None."""
    if not (folder / WEIGHTS_FILE).is_file():
        return None
    return sigmoid(predict_logits(load_finished(folder), frame, HEIGHT)["fused"])


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
    ax.text(8, 4.5, text, ha="center", va="center", fontsize=12)


def _probability_or_box(probability: np.ndarray | None) -> Callable[[Axes], object] | None:
    if probability is None:
        return None
    return lambda ax: ax.imshow(probability, cmap="cividis", vmin=0, vmax=1)


def _scores_or_box(run: Path) -> Callable[[Axes], object] | None:
    """J and F of every later frame, in a box as wide as a frame."""
    if any(_mask(run, path) is None for path in DAVIS.frames(SEQUENCE)[1:]):
        return None
    scores = evaluate(run / "masks", DAVIS, [SEQUENCE])

    def draw(ax: Axes) -> None:
        for measure, colour in (("J", BLUE), ("F", ORANGE)):
            ax.plot(scores.per_frame[measure].to_numpy(), color=colour, linewidth=2, label=measure)
        ax.set(ylim=(0, 1.05), box_aspect=9 / 16)
        ax.legend(frameon=False, loc="lower center", ncols=2, fontsize=9)

    return draw


def _draw_boxes(texts: Sequence[str]) -> Figure:
    figure = new_figure(9, 1.7)
    figure.set_layout_engine("none")
    axes = [_place(figure, 0.02 + 0.345 * index, 0.06, 0.27) for index in range(len(texts))]
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
