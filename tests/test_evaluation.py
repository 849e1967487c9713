"""A folder of masks becomes the right tables, and every bad folder a clear error."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from osvos_keras import __version__
from osvos_keras.errors import ConfigError, DataError
from osvos_keras.evaluation import STATISTICS, compare, evaluate, published_scores
from osvos_keras.evaluation.folder import repeat_first_mask
from osvos_keras.io.masks import read_annotation, read_mask, write_mask
from osvos_keras.metrics import contour_accuracy, mean_recall_decay, region_similarity
from tests.conftest import call_apart


@pytest.fixture(scope="module")
def paper(shared, shared_davis):
    """The scores of the paper's own masks, on all reference sequences."""
    return evaluate(shared / "reference" / "osvos-masks", shared_davis, progress=False)


def test_every_frame_of_the_paper_equals_the_official_score(paper, shared):
    expected = json.loads((shared / "reference" / "expected.json").read_text())["per_frame"]
    assert set(paper.per_frame["sequence"]) == set(expected)
    for name, frames in paper.per_frame.groupby("sequence"):
        for measure in "JF":
            np.testing.assert_allclose(frames[measure], expected[name][measure], rtol=0, atol=1e-6)


def test_every_sequence_of_the_paper_equals_the_published_mean(paper, shared):
    expected = json.loads((shared / "reference" / "expected.json").read_text())["per_sequence_mean_J"]
    found = paper.per_sequence.set_index("sequence")["J_mean"]
    for name, values in expected.items():
        assert round(found[name], 4) == values["osvos"], name


def test_attributes_of_the_paper_come_from_db_info(paper):
    table = paper.attributes.set_index("attribute")
    assert set(table.index) <= set(
        ["AC", "BC", "CS", "DB", "DEF", "EA", "FM", "HO", "IO", "LR", "MB", "OCC", "OV", "ROT", "SC", "SV"]
    )
    means = paper.per_sequence.set_index("sequence")["J_mean"]
    assert table.loc["OCC", "J_with"] == pytest.approx(means[["bmx-trees", "horsejump-high", "libby"]].mean())


def test_tables_are_means_of_what_is_below_them(masks, davis):
    scores = evaluate(masks, davis, "bee,cow,ant", progress=False)
    assert list(scores.per_frame) == ["sequence", "frame", "J", "F"]
    assert list(scores.per_sequence) == ["sequence", *STATISTICS]
    assert list(scores.overall) == STATISTICS
    assert scores.per_frame.groupby("sequence").size().to_dict() == {"ant": 3, "bee": 5, "cow": 10}
    assert list(scores.per_frame["frame"][:5]) == ["00001", "00002", "00003", "00004", "00005"]
    for row in scores.per_frame.itertuples():
        name = f"{row.sequence}/{row.frame}.png"
        mask = read_mask(masks / name)
        annotation = read_annotation(davis.root / "Annotations" / "480p" / name)
        assert (region_similarity(mask, annotation), contour_accuracy(mask, annotation)) == (row.J, row.F)
    cow = scores.per_sequence.iloc[1]
    values = scores.per_frame.query("sequence == 'cow'")
    assert tuple(cow[1:4]) == mean_recall_decay(values["J"])
    assert tuple(cow[4:7]) == mean_recall_decay(values["F"])
    assert cow["J&F"] == (cow["J_mean"] + cow["F_mean"]) / 2
    assert scores.overall["J_mean"][0] == pytest.approx(scores.per_sequence["J_mean"].mean())
    assert scores.overall["J_mean"][0] != pytest.approx(scores.per_frame["J"].mean())


def test_first_and_last_masks_are_neither_scored_nor_needed(masks, davis):
    before = evaluate(masks, davis, "cow", progress=False)
    (masks / "cow" / "00000.png").unlink()
    write_mask(masks / "cow" / "00011.png", np.zeros((45, 61), bool))
    pd.testing.assert_frame_equal(evaluate(masks, davis, "cow", progress=False).per_frame, before.per_frame)


@pytest.mark.parametrize(
    ("sequences", "expected"),
    [(None, ["bee", "cow"]), ("train", ["ant"]), ("cow,ant", ["cow", "ant"]), (["ant"], ["ant"])],
)
def test_sequences_keep_the_order_asked_for(masks, davis, sequences, expected):
    scores = evaluate(masks, davis, sequences, progress=False)
    assert list(scores.per_sequence["sequence"]) == scores.arguments["sequences"] == expected


def test_the_number_of_workers_changes_nothing(masks, davis):
    one, three = (evaluate(masks, davis, workers=workers, progress=False) for workers in (1, 3))
    pd.testing.assert_frame_equal(one.per_frame, three.per_frame)
    with pytest.raises(ConfigError, match="workers"):
        evaluate(masks, davis, workers=0, progress=False)


NUMBERS = np.arange(45 * 61).reshape(45, 61)


def save(values, path):
    Image.fromarray(values.astype(np.uint8)).save(path)


def half_transparent(path):
    image = Image.new("RGBA", (61, 45))
    image.paste((0, 0, 0, 255), (10, 10, 20, 20))
    image.save(path)


def several_on_white(path):
    image = Image.fromarray((NUMBERS % 3).astype(np.uint8))
    image.putpalette((255, 255, 255, 0, 0, 255, 0, 99, 0))
    image.save(path)


def truncated(path):
    rng = np.random.default_rng(0)
    Image.fromarray((rng.random((45, 61)) > 0.5).astype(np.uint8) * 255).save(path)
    path.write_bytes(path.read_bytes()[:-60])


BAD_FILES = {
    "several objects": (lambda path: save(NUMBERS % 3, path), "holds 2 values beside.*merge the objects"),
    "several objects in colour": (lambda path: save(255 * np.eye(3)[NUMBERS % 3], path), "several objects"),
    "several objects, no black": (several_on_white, "holds 3 values.*several objects"),
    "probabilities": (lambda path: save(NUMBERS, path), "grey levels.*at least one half"),
    "transparency": (half_transparent, "partly transparent.*without transparency"),
    "truncated": (truncated, "truncated.*Copy the file again"),
    "not an image": (lambda path: path.write_text("mask"), "not an image"),
    "another size": (lambda path: Image.new("L", (60, 45)).save(path), "60×45.*61×45.*frame's size"),
}


@pytest.mark.parametrize(("spoil", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_mask_is_named_with_the_remedy(masks, davis, spoil, message):
    path = masks / "cow" / "00003.png"
    spoil(path)
    with pytest.raises(DataError, match=message) as error:
        evaluate(masks, davis, progress=False)
    assert str(error.value).startswith(str(path))


BAD_FOLDERS = {
    "missing frame": ("cow/00003.png", None, r"cow/00003\.png: no such mask \(1 of 10.*--allow-missing"),
    "extra frame": (None, "bee/00007.png", r"bee/00007\.png: a mask without a frame.*00000\.png to 00006"),
    "numbered from 1": ("cow/00003.png", "cow/00012.png", r"00012\.png: a mask without a frame"),
}


@pytest.mark.parametrize(("remove", "add", "message"), BAD_FOLDERS.values(), ids=BAD_FOLDERS)
def test_a_wrong_set_of_masks_is_named_with_the_remedy(masks, davis, remove, add, message):
    if remove:
        (masks / remove).unlink()
    if add:
        write_mask(masks / add, np.zeros((45, 61), bool))
    with pytest.raises(DataError, match=message):
        evaluate(masks, davis, progress=False)


def test_a_missing_sequence_is_named_even_where_masks_may_be_missing(masks, davis):
    (masks / "bee").rename(masks / "wasp")
    with pytest.raises(DataError, match=r"bee: no masks of this sequence.*--sequences"):
        evaluate(masks, davis, allow_missing=True, progress=False)


def test_folders_given_wrongly_are_named(masks, davis):
    with pytest.raises(DataError, match="nowhere: no such folder"):
        evaluate(masks / "nowhere", davis, progress=False)
    with pytest.raises(DataError, match=f"Give {masks} instead"):
        evaluate(masks.parent, davis, "cow", progress=False)
    with pytest.raises(DataError, match="names no sequence"):
        evaluate(masks, davis, " , ", progress=False)
    with pytest.raises(DataError, match="no such sequence or split"):
        evaluate(masks, davis, "horse", progress=False)


def test_missing_masks_count_as_empty_when_allowed(masks, davis):
    for name in ("cow/00003.png", "bee/00002.png"):
        write_mask(masks / name, np.zeros((45, 61), bool))
    written = evaluate(masks, davis, progress=False)
    for name in ("cow/00003.png", "bee/00002.png", "cow/00000.png"):
        (masks / name).unlink()
    missing = evaluate(masks, davis, allow_missing=True, progress=False)
    assert written.missing == ()
    assert missing.missing == ("bee/00002", "cow/00003")  # the first mask is not scored
    pd.testing.assert_frame_equal(missing.per_frame, written.per_frame)


def test_scores_are_saved_as_tables_and_json(masks, davis, tmp_path):
    scores = evaluate(masks, davis, progress=False)
    out = scores.save(tmp_path / "new" / "out")
    names = ["attributes.csv", "evaluation.json", "global.csv", "per_frame.csv", "per_sequence.csv"]
    assert sorted(path.name for path in out.iterdir()) == names
    saved = pd.read_csv(out / "per_frame.csv", dtype={"frame": str})
    pd.testing.assert_frame_equal(saved, scores.per_frame)
    pd.testing.assert_frame_equal(pd.read_csv(out / "global.csv"), scores.overall)
    record = json.loads((out / "evaluation.json").read_text())
    assert record["software"] == f"osvos-keras {__version__}"
    assert record["counts"] == {"sequences": 2, "frames": 15, "missing": 0}
    assert record["arguments"]["masks"] == str(masks)
    with pytest.raises(OSError, match=r"per_frame\.csv.*cannot write"):
        scores.save(out / "per_frame.csv")


def test_attributes_with_and_without(masks, davis):
    assert evaluate(masks, davis, progress=False).attributes.empty
    entries = [{"name": "bee", "attributes": ["FM", "OV"]}, {"name": "cow", "attributes": ["FM"]}]
    (davis.root / "db_info.yml").write_text(json.dumps({"sequences": entries}))
    scores = evaluate(masks, davis, progress=False)
    bee, cow = scores.per_sequence["J_mean"]
    table = scores.attributes.set_index("attribute")
    assert dict(table["sequences"]) == {"FM": 2, "OV": 1}
    assert table.loc["FM", "J_with"] == pytest.approx((bee + cow) / 2)
    assert np.isnan(table.loc["FM", "J_without"])  # every sequence has it
    assert tuple(table.loc["OV", ["J_with", "J_without", "J_gain"]]) == pytest.approx((bee, cow, bee - cow))


def test_repeating_the_first_mask_is_a_method_like_others(davis, tmp_path):
    out = repeat_first_mask(davis, "val", tmp_path / "repeat")
    assert sorted(path.name for path in out.iterdir()) == ["bee", "cow"]
    _, first = davis.first("cow")
    for path in davis.frames("cow"):
        np.testing.assert_array_equal(read_mask(out / "cow" / f"{path.stem}.png"), first)
    j = evaluate(out, davis, "cow", progress=False).per_frame["J"]
    assert j.is_monotonic_decreasing  # the object moves away from where it was
    assert j.iloc[-1] < j.iloc[0] < 1


def test_methods_are_compared_side_by_side(masks, davis, tmp_path):
    ours = evaluate(masks, davis, progress=False)
    base = evaluate(repeat_first_mask(davis, "val", tmp_path / "repeat"), davis, "cow,bee", progress=False)
    table = compare({"ours": ours, "repeat": base})
    assert list(table.index) == ["bee", "cow", "overall"]
    for name, scores in {"ours": ours, "repeat": base}.items():
        cow = scores.per_sequence.set_index("sequence").loc["cow"]
        assert table.loc["cow", ("F_mean", name)] == cow["F_mean"]
        assert table.loc["overall", ("J&F", name)] == scores.overall["J&F"][0]
    with pytest.raises(ValueError, match="different sequences \\(bee\\)"):
        compare({"ours": ours, "cow only": evaluate(masks, davis, "cow", progress=False)})
    with pytest.raises(ValueError, match="at least one"):
        compare({})


def test_pooled_numbers_count_every_frame(masks, davis):
    table = evaluate(masks, davis, "cow", pooled=True, progress=False).per_sequence
    annotations = np.stack([read_annotation(path) for path in davis.annotations("cow")])
    found = np.stack([read_mask(path) for path in sorted((masks / "cow").iterdir())])
    assert table["pooled_iou"][0] == (found & annotations).sum() / (found | annotations).sum()
    assert table["pooled_dice"][0] == 2 * (found & annotations).sum() / (found.sum() + annotations.sum())
    (masks / "cow" / "00000.png").unlink()
    with pytest.raises(DataError, match=r"00000\.png: no such mask"):
        evaluate(masks, davis, "cow", pooled=True, progress=False)


def test_published_scores_are_facts_with_sources():
    table = published_scores()
    assert list(table) == ["method", "sequence", "measure", "value", "source"]
    assert table.notna().all(axis=None)
    assert not table.duplicated(["method", "sequence", "measure"]).any()


def test_published_scores_are_those_of_the_reference(shared):
    table = published_scores()
    expected = json.loads((shared / "reference" / "expected.json").read_text())
    osvos = table[table["method"] == "OSVOS"].set_index(["sequence", "measure"])["value"]
    for name, values in expected["per_sequence_mean_J"].items():
        assert osvos[name, "J_mean"] == values["osvos"]
    for measure, value in expected["published_val20"]["osvos"].items():
        assert osvos["val20", measure] == value


def test_neither_scores_nor_pictures_need_tensorflow(masks, davis, tmp_path):
    options = ("--davis", davis.root, "--sequences", "cow", "--out", tmp_path / "out")
    status, modules = call_apart("evaluate", masks, *options)
    assert status == 0 and not {"tensorflow", "keras", "torch", "jax"} & modules
    assert (tmp_path / "out" / "gallery.png").is_file()
