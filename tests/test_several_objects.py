"""Annotations that number objects are scored per object, as davis2017-evaluation does (semi-supervised)."""

import numpy as np
import pytest
from PIL import Image

from osvos_keras.davis import Davis
from osvos_keras.errors import DataError
from osvos_keras.evaluation import evaluate
from osvos_keras.evaluation.objects import VOID, Reader, find_reader
from osvos_keras.io.masks import davis_palette, write_indexed
from osvos_keras.metrics import contour_accuracy, mean_recall_decay, region_similarity
from osvos_keras.plots.frames import gallery, read_cell
from tests.conftest import write_sequence

SIZE = 60, 80


def numbers(frame, shift=0, hidden=()):
    """Three disks that move; those in `hidden` are not there."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    found = np.zeros(SIZE, np.uint8)
    for number, (row, column) in enumerate(((15, 15), (40, 25), (30, 60)), start=1):
        if number not in hidden:
            found[(y - row) ** 2 + (x - column - frame - shift) ** 2 < (6 + number) ** 2] = number
    return found


@pytest.fixture
def annotations():
    """Object 2 appears in frame 3, object 1 is gone from frame 7 on; void around a corner in frame 5."""
    found = [numbers(frame, hidden=(2,) * (frame < 3) + (1,) * (frame > 6)) for frame in range(10)]
    found[5][:20, 10:25] = VOID
    return found


@pytest.fixture
def davis(tmp_path, annotations):
    root = tmp_path / "davis"
    write_sequence(root, "trio", SIZE, frames=10)
    for frame, found in enumerate(annotations):
        write_indexed(root / f"Annotations/480p/trio/{frame:05d}.png", found)
    return Davis(root)


@pytest.fixture
def masks(tmp_path):
    for frame in range(10):
        write_indexed(tmp_path / f"method/trio/{frame:05d}.png", numbers(frame, shift=frame % 3))
    return tmp_path / "method"


def scores_of(masks, davis, **options):
    return evaluate(masks, davis, ["trio"], progress=False, **options)


def test_j_and_f_of_each_object_are_those_of_its_own_regions(masks, davis, annotations):
    scores = scores_of(masks, davis)
    assert list(scores.per_frame) == ["sequence", "object", "frame", "J", "F"]
    for row in scores.per_frame.itertuples():
        frame = int(row.frame)
        true = annotations[frame]
        found = np.where(true == VOID, 0, numbers(frame, shift=frame % 3))
        pair = found == row.object, true == row.object
        assert (region_similarity(*pair), contour_accuracy(*pair)) == (row.J, row.F)
    assert set(scores.per_frame["frame"]) == {f"{frame:05d}" for frame in range(1, 9)}
    for row in scores.per_object.itertuples():
        j = scores.per_frame.query("object == @row.object")["J"]
        assert (row.J_mean, row.J_recall, row.J_decay) == mean_recall_decay(j)


def test_the_gallery_shows_a_first_frame_with_void(masks, davis, annotations):
    annotations[0][:5] = VOID
    write_indexed(davis.root / "Annotations/480p/trio/00000.png", annotations[0])
    scores = scores_of(masks, davis)
    gallery(davis, masks, ["trio"], scores)
    _, mask, annotation = read_cell(davis, masks, davis.frames("trio")[0], True, scores=scores)
    np.testing.assert_array_equal(mask, (annotations[0] > 0) & (annotations[0] != VOID))
    np.testing.assert_array_equal(mask, annotation)


def test_means_are_over_objects_not_over_sequences(masks, davis, tmp_path):
    write_sequence(davis.root, "solo", SIZE, frames=10)
    for frame in range(10):
        write_indexed(davis.root / f"Annotations/480p/solo/{frame:05d}.png", numbers(frame, hidden=(2, 3)))
        write_indexed(masks / f"solo/{frame:05d}.png", numbers(frame, hidden=(2, 3)))
    scores = evaluate(masks, davis, "trio,solo", progress=False)
    assert list(scores.per_object["object"]) == [1, 2, 3, 1]
    assert list(scores.per_sequence["sequence"]) == ["trio", "solo"]
    assert scores.overall["J_mean"][0] == pytest.approx(scores.per_object["J_mean"].mean())
    assert scores.per_sequence["J_mean"][0] == pytest.approx(scores.per_object["J_mean"][:3].mean())
    out = scores.save(tmp_path / "out")
    assert (out / "per_object.csv").is_file()


def test_an_object_that_no_mask_shows_counts_as_missed_and_is_named(masks, davis):
    for frame in range(10):
        write_indexed(masks / f"trio/{frame:05d}.png", numbers(frame, hidden=(3,)))
    scores = scores_of(masks, davis)
    assert scores.per_object["J_mean"][2] == 0
    assert scores.notes == ("trio: no mask shows object 3, which counts as missed wherever it is.",)


@pytest.mark.parametrize(("extra", "named"), [({3: 4}, "4"), ({1: 38, 2: 75}, "38, 75"), ({2: 255}, "255")])
def test_numbers_that_the_first_annotation_does_not_have_are_named(masks, davis, extra, named):
    found = numbers(4)
    for number, other in extra.items():
        found[found == number] = other
    write_indexed(masks / "trio/00004.png", found)
    with pytest.raises(DataError, match=rf"00004\.png: holds the values {named}, but .* objects 1 to 3"):
        scores_of(masks, davis)


def test_masks_in_daviss_colours_are_understood_and_others_named(masks, davis):
    before = scores_of(masks, davis).per_frame
    for path in sorted((masks / "trio").iterdir()):
        Image.open(path).convert("RGB").save(path)
    assert scores_of(masks, davis).per_frame.equals(before)
    colours = davis_palette()[numbers(4)]
    colours[0, 0] = 1, 2, 3
    Image.fromarray(colours).save(masks / "trio/00004.png")
    with pytest.raises(DataError, match=r"00004\.png: holds #010203 among other values"):
        scores_of(masks, davis)


@pytest.mark.parametrize(
    ("values", "mode", "objects"),
    [
        ([0, 255], "L", None),
        ([0, 1], "L", None),
        ([0, 255], "P", None),
        ([0, 1], "P", 1),
        ([0, 1, 255], "L", 1),
        ([0, 1, 2], "L", 2),
        ([0, 1, 3, 255], "P", 3),
        (list(range(100)), "L", None),
    ],
)
def test_the_kind_of_an_annotation_is_told_by_its_numbers(tmp_path, values, mode, objects):
    image = Image.fromarray(np.resize(np.array(values, np.uint8), (12, 13)))
    if mode == "P":
        image = image.convert("P")
        image.putpalette(davis_palette().tobytes())
    image.save(tmp_path / "a.png")
    assert find_reader(tmp_path / "a.png") == Reader(objects)


def test_pooled_numbers_are_over_all_objects(masks, davis, annotations):
    table = scores_of(masks, davis, pooled=True).per_sequence
    both = total = 0
    for frame, true in enumerate(annotations):
        found = np.where(true == VOID, 0, numbers(frame, shift=frame % 3))
        for number in (1, 2, 3):
            both += np.count_nonzero((found == number) & (true == number))
            total += np.count_nonzero(found == number) + np.count_nonzero(true == number)
    assert table["pooled_iou"][0] == both / (total - both)
    assert table["pooled_dice"][0] == 2 * both / total
