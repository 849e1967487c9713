"""Pictures show what they say: the right frames, tints, numbers, and no text over other text."""

import dataclasses
import itertools
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from osvos_keras.dataset.lists import write_lists
from osvos_keras.davis import Davis
from osvos_keras.errors import ConfigError
from osvos_keras.evaluation import evaluate
from osvos_keras.evaluation.folder import repeat_first_mask
from osvos_keras.evaluation.objects import Reader
from osvos_keras.io.images import read_frame
from osvos_keras.io.masks import write_mask
from osvos_keras.plots.figures import save_figure
from osvos_keras.plots.frames import (
    best_median_worst,
    gallery,
    show_frame,
    show_mask,
    show_overlay,
    show_side_outputs,
)
from osvos_keras.plots.scores import attribute_bars, compare_bars, loss_curves, score_bars, score_over_time
from tests.conftest import write_sequence


@pytest.fixture(scope="module")
def davis(tmp_path_factory) -> Davis:
    """Two sequences with names of DAVIS and attributes."""
    root = tmp_path_factory.mktemp("plots") / "davis"
    for seed, (name, frames) in enumerate({"paragliding-launch": 9, "dog": 6}.items()):
        write_sequence(root, name, size=(90, 160), frames=frames, seed=seed)
    (root / "db_info.yml").write_text(
        '{"sequences": [{"name": "dog", "attributes": ["FM", "HO"]}, '
        '{"name": "paragliding-launch", "attributes": ["FM"]}]}'
    )
    davis = Davis(root)
    write_lists(davis, ["paragliding-launch", "dog"])
    return davis


@pytest.fixture(scope="module")
def masks(davis):
    """The first mask repeated, so that J falls over time; but frame 2 of dog is empty."""
    folder = repeat_first_mask(davis, "val", davis.root.parent / "masks")
    write_mask(folder / "dog" / "00002.png", np.zeros((90, 160), bool))
    return folder


@pytest.fixture(scope="module")
def scores(masks, davis):
    return evaluate(masks, davis, progress=False)


@pytest.fixture
def history():
    steps = np.arange(30)
    names = ["loss", "fused_loss", *(f"side{index}_loss" for index in range(2, 6))]
    return pd.DataFrame({"step": steps, **{name: np.exp(-steps / 9) for name in names}, "seconds": steps})


def texts(figure):
    """Every text that is drawn, with its place on the page."""
    FigureCanvasAgg(figure).draw()
    unseen = {id(label) for ax in figure.axes for axis in (ax.xaxis, ax.yaxis) for label in off_axis(axis)}
    found = [text for text in figure.findobj(Text) if text.get_visible() and id(text) not in unseen]
    return [(text.get_text(), text.get_window_extent()) for text in found if text.get_text().strip()]


def off_axis(axis):
    """The labels of ticks beyond the axis's ends, which Matplotlib keeps but does not draw."""
    low, high = sorted(axis.get_view_interval())
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    return [tick.label1 for tick in ticks if not low <= tick.get_loc() <= high]


def words(figure):
    return "\n".join(text for text, _ in texts(figure))


def test_every_figure_is_legible(davis, masks, scores, history):
    """No text lies on another or leaves the page, and pyplot keeps no figure."""
    figures = {
        "gallery": gallery(davis, masks, "val", scores),
        "gallery of 3": gallery(davis, masks, "val", columns=3),
        "best_median_worst": best_median_worst(davis, masks, scores),
        "side outputs": show_side_outputs(dict.fromkeys(("side2", "fused"), np.zeros((1, 9, 16, 1))), "dog"),
        "loss_curves": loss_curves(history, title="online training, dog"),
        "score_over_time": score_over_time(scores.per_frame, "paragliding-launch", davis, masks),
        "score_bars": score_bars(scores),
        "attribute_bars": attribute_bars(scores),
        "compare_bars": compare_bars({"a method": scores, "repeat the first mask": scores}),
        "compare_bars of many": compare_bars(dict.fromkeys((f"method number {i}" for i in range(8)), scores)),
    }
    for name, figure in figures.items():
        assert isinstance(figure, Figure)
        page = figure.bbox
        for (one, first), (other, second) in itertools.combinations(texts(figure), 2):
            assert not first.padded(-1).overlaps(second.padded(-1)), f"{name}: {one!r} over {other!r}"
        for text, place in texts(figure):
            assert page.x0 - 1 <= place.x0 and place.x1 <= page.x1 + 1, f"{name}: {text!r} leaves the page"
            assert page.y0 - 1 <= place.y0 and place.y1 <= page.y1 + 1, f"{name}: {text!r} leaves the page"
    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax, frame, mask: show_frame(frame, ax=ax),
        lambda ax, frame, mask: show_mask(mask, ax=ax),
        lambda ax, frame, mask: show_overlay(frame, mask, mask, ax=ax),
    ],
)
def test_pictures_go_into_the_axis_they_are_given(davis, draw):
    frame, annotation = davis.first("dog")
    ax = Figure().add_subplot()
    assert draw(ax, frame, annotation) is ax
    assert ax.images[0].get_array().shape[:2] == annotation.shape


def test_the_overlay_tints_the_mask_and_nothing_else(davis):
    frame, annotation = davis.first("dog")
    ax = show_overlay(frame, annotation, ax=Figure().add_subplot())
    drawn = ax.images[0].get_array()
    np.testing.assert_array_equal(drawn[~annotation], frame[~annotation])
    assert (drawn[annotation] != frame[annotation]).any(axis=-1).all()
    assert len(ax.collections) == 1  # the mask's outline


def test_an_empty_mask_and_a_full_one_can_be_drawn(davis):
    frame, annotation = davis.first("dog")
    for region in (np.zeros_like(annotation), np.ones_like(annotation)):
        ax = show_overlay(frame, region, region, ax=Figure().add_subplot())
        assert len(ax.collections) == (3 if region.all() else 0)
        FigureCanvasAgg(ax.figure).draw()


def test_an_overlay_of_another_size_is_refused(davis):
    frame, annotation = davis.first("dog")
    with pytest.raises(ValueError, match=r"mask \(89, 160\)"):
        show_overlay(frame, annotation[1:])
    with pytest.raises(ValueError, match=r"annotation \(90, 159\)"):
        show_overlay(frame, annotation, annotation[:, 1:])


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_an_overlay_of_numbers_is_refused(davis, kind):
    frame, annotation = davis.first("dog")
    for pair in ([annotation.astype(kind)], [annotation, 255 * annotation.astype(kind)]):
        with pytest.raises(ValueError, match=f"(mask|annotation) is {kind.__name__}, .* Compare it: > 0"):
            show_overlay(frame, *pair)


@pytest.mark.parametrize("shape", [(6, 9), (6, 9, 1), (1, 6, 9, 1)])
def test_side_outputs_are_shown_as_probabilities(shape):
    logits = np.full(shape, np.log(3), np.float32)
    figure = show_side_outputs({"side2": logits, "fused": -1000 * logits})
    first, second = (ax.images[0] for ax in figure.axes[:2])
    assert first.get_array().shape == (6, 9)
    np.testing.assert_allclose(first.get_array(), 0.75, atol=1e-6)
    np.testing.assert_allclose(second.get_array(), 0, atol=1e-6)
    assert (first.get_clim(), second.get_clim()) == ((0, 1), (0, 1))
    assert "side2" in words(figure)


def test_the_gallery_names_sequences_frames_and_scores(davis, masks, scores, tmp_path):
    figure = gallery(davis, masks, "val", scores, columns=5)
    text = words(figure)
    for row in scores.per_sequence.itertuples():
        assert f"{row.sequence}\nJ {row.J_mean:.3f}  F {row.F_mean:.3f}" in text
    j = scores.per_frame.query("sequence == 'dog' and frame == '00004'")["J"].item()
    assert "frame 00000, given" in text
    assert f"frame 00004, J {j:.2f}" in text
    with Image.open(save_figure(figure, tmp_path / "new" / "gallery.png")) as image:
        assert image.width == 1000


def test_the_gallery_does_without_scores_and_masks(davis, tmp_path):
    """A mask that was not written yet is drawn as empty; the first frame shows its annotation."""
    (tmp_path / "dog").mkdir()
    figure = gallery(davis, tmp_path, ["dog"], columns=3)
    first, *others = [ax for ax in figure.axes if ax.images]
    assert len(first.collections) == 1
    for ax, frame in zip(others, (2, 4), strict=True):
        path = davis.frames("dog")[frame]
        np.testing.assert_array_equal(ax.images[0].get_array(), read_frame(path))
        assert len(ax.collections) == 2  # the annotation's outline and its dark rim
    assert "J" not in words(figure)


def test_the_gallery_does_without_later_annotations(tiny, tmp_path):
    for path in tiny.annotations("ant")[1:]:
        path.unlink()
    masks = repeat_first_mask(tiny, ["ant"], tmp_path / "masks")
    first, *others = [ax for ax in gallery(tiny, masks, ["ant"], columns=3).axes if ax.images]
    for ax in others:  # the mask's veil and outline are those of the first; there is no dashed one
        assert len(ax.collections) == len(first.collections)


def test_best_median_and_worst_frames_are_those_of_j(davis, masks, scores):
    """In `dog` J falls over time, but frame 2 has no mask at all."""
    figure = best_median_worst(davis, masks, scores)
    values = scores.per_frame.query("sequence == 'dog'").sort_values("J", ascending=False)
    assert list(values["frame"]) == ["00001", "00003", "00004", "00002"]
    row = list(scores.per_sequence["sequence"]).index("dog")
    shown = [ax.get_xlabel() for ax in figure.axes][3 * row : 3 * row + 3]
    assert [re.search(r"frame (\d+)", text)[1] for text in shown] == ["00001", "00004", "00002"]


def test_score_over_time_shows_the_worst_frame(davis, masks, scores):
    figure = score_over_time(scores.per_frame, "dog", davis, masks)
    text = words(figure)
    assert "worst J, frame 00002" in text
    assert "worst frame, J 0.00" in text
    picture = figure.axes[-1].images[0].get_array()
    np.testing.assert_array_equal(picture, read_frame(davis.frames("dog")[2]))
    with pytest.raises(ValueError, match="no scores of cat; there are"):
        score_over_time(scores.per_frame, "cat", davis, masks)


def test_score_bars_show_the_paper_where_names_match(scores):
    (ax,) = score_bars(scores).axes
    bars = dict(zip([label.get_text() for label in ax.get_yticklabels()], ax.patches, strict=True))
    for row in scores.per_sequence.itertuples():
        assert bars[row.sequence].get_width() == row.J_mean
    (paper,) = diamonds(ax)
    assert dict(zip(paper.get_ydata(orig=True), paper.get_xdata(), strict=True)) == {
        "dog": 0.907,
        "paragliding-launch": 0.6254,
    }


def test_the_paper_scored_all_objects_of_a_sequence_as_one(scores):
    numbered = dataclasses.replace(scores, readers={**scores.readers, "dog": Reader(2)})
    (ax,) = score_bars(numbered).axes
    (paper,) = diamonds(ax)
    assert list(paper.get_ydata(orig=True)) == ["paragliding-launch"]


def diamonds(ax):
    """The lines that mark the paper's numbers."""
    return [line for line in ax.lines if line.get_marker() == "D"]


def test_attribute_bars_name_the_attributes(scores):
    (ax,) = attribute_bars(scores).axes
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert sorted(names) == ["fast motion (2)", "heterogeneous object (1)"]


def test_loss_curves_draw_losses_only(history):
    (ax,) = loss_curves(history).axes
    assert [line.get_label() for line in ax.lines][:2] == ["loss", "fused loss"]
    assert len(ax.lines) == 6
    assert (ax.get_yscale(), ax.get_xlabel()) == ("log", "step")


def test_saved_figures_are_on_white_paper(davis, masks, scores, tmp_path):
    for figure in (score_over_time(scores.per_frame, "dog", davis, masks), score_bars(scores)):
        with Image.open(save_figure(figure, tmp_path / "figure.png")) as image:
            assert image.mode == "P"
            assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_saved_figures_are_whole_or_absent(tmp_path):
    figure = Figure()

    def savefig(path, **_):
        path.write_bytes(b"half")
        raise RuntimeError

    figure.savefig = savefig
    with pytest.raises(RuntimeError):
        save_figure(figure, tmp_path / "figure.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["figure.pdf", "figure.svg", "figure.jpg", "figure"])
def test_a_figure_is_saved_as_png_alone(tmp_path, name):
    with pytest.raises(ConfigError, match=rf"{name}: .*must end in \.png\. .*figure\.savefig"):
        save_figure(Figure(), tmp_path / name)
    save_figure(Figure(), tmp_path / "LOUD.PNG")


def test_a_gallery_of_the_reference_is_small(shared, shared_davis, tmp_path):
    masks = shared / "reference" / "osvos-masks"
    path = save_figure(gallery(shared_davis, masks, "val"), tmp_path / "gallery.png")
    assert path.stat().st_size < 1_500_000
