"""What `osvos evaluate` prints and writes, where it writes it, and what it refuses before the work."""

import argparse
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from osvos_keras.cli.evaluate import add_evaluate_arguments, default_output, run_evaluate
from osvos_keras.errors import DataError, FolderError
from osvos_keras.evaluation import STATISTICS, evaluate, evaluate_methods
from osvos_keras.evaluation.folder import repeat_first_mask
from osvos_keras.evaluation.objects import Reader
from osvos_keras.evaluation.outlines import find_outline
from osvos_keras.evaluation.stability import mean_of_costs, pair_costs
from osvos_keras.io.masks import read_mask, write_mask
from osvos_keras.plots.frames import read_cell
from osvos_keras.report import command
from osvos_keras.report.command import report_scores
from tests.conftest import call_apart, contents, files_up_to


def run(*arguments):
    parser = argparse.ArgumentParser()
    add_evaluate_arguments(parser)
    run_evaluate(parser.parse_args([str(argument) for argument in arguments]))


def test_the_command_writes_everything_beside_the_masks(masks, davis, tmp_path, capsys):
    (davis.root / "db_info.yml").write_text('{"sequences": [{"name": "bee", "attributes": ["OV"]}]}')
    (masks / "bee" / "00002.png").unlink()
    run(masks, "--davis", davis.root, "--workers", 1, "--allow-missing")
    text = capsys.readouterr().out
    assert "overall" in text
    assert "1 missing mask was scored as empty: bee/00002" in text
    out = tmp_path / "evaluation" / "method"
    written = {path.relative_to(out).as_posix() for path in out.rglob("*.*")}
    tables = {"per_frame.csv", "per_sequence.csv", "global.csv", "attributes.csv", "evaluation.json"}
    pictures = {"gallery.png", "worst.png", "sequences.png", "attributes.png", "report.html"}
    assert written == tables | pictures


def test_the_command_compares_folders(masks, davis, tmp_path, capsys):
    other = repeat_first_mask(davis, "val", tmp_path / "run" / "masks")
    run(masks, "--davis", davis.root, "--compare", other, "--out", tmp_path / "out")
    assert "Side by side" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "out" / "comparison.csv", index_col="sequence")
    for name, folder in {"method": masks, "run": other}.items():  # `masks` is called after its run
        overall = evaluate(folder, davis, progress=False).overall
        assert table.loc["overall", f"J_mean {name}"] == overall["J_mean"][0]
    assert (tmp_path / "out" / "comparison_J_mean.png").is_file()
    assert (tmp_path / "out" / "run" / "per_sequence.csv").is_file()
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text())["arguments"]["masks"] == str(masks)


def test_methods_whose_folders_share_a_name_stay_apart(masks, davis, tmp_path):
    other = repeat_first_mask(davis, "val", tmp_path / "other" / "method")
    scores = report_scores([masks, other, masks], davis, "cow", tmp_path / "out", progress=False)
    assert list(scores) == [f"{tmp_path.name}_method", "other_method"]
    assert [one.arguments["masks"] for one in scores.values()] == [str(masks), str(other)]


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["/masks"], ["masks"]),
        (["/a/masks", "/masks"], ["a", "masks"]),
        (["/a/b/masks", "/c/b/masks"], ["a_b", "c_b"]),
        (["/a_b/x", "/a/b/x", "/c/b/x"], ["a_b_x_1", "a_b_x_2", "c_b_x_3"]),
    ],
)
def test_every_method_has_a_name(folders, names):
    assert list(command._by_method([Path(folder) for folder in folders])) == names


def test_folders_that_cannot_be_used_are_found_before_the_work(masks, davis, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="nowhere: no such folder"):
        run(tmp_path / "empty" / "nowhere", "--davis", davis.root)
    assert not (tmp_path / "empty").exists()
    with pytest.raises(OSError, match="--out"):
        run(masks, "--davis", davis.root, "--out", tmp_path / "file")


@pytest.mark.parametrize(
    ("masks", "out"), [("runs/a/masks", "runs/a/evaluation"), ("results/stm", "results/evaluation/stm")]
)
def test_methods_beside_each_other_keep_their_results_apart(masks, out, tmp_path):
    assert default_output(tmp_path / masks) == tmp_path / out


def test_no_method_overwrites_the_results_of_another(masks, davis, tmp_path):
    other = repeat_first_mask(davis, "val", tmp_path / "other")
    for folder in (masks, other):
        run(folder, "--davis", davis.root)
    for folder in (masks, other):
        saved = pd.read_csv(tmp_path / "evaluation" / folder.name / "global.csv")
        pd.testing.assert_frame_equal(saved, evaluate(folder, davis, progress=False).overall)
    out = tmp_path / "out"
    run(masks, "--davis", davis.root, "--out", out)
    before = contents(out)
    with pytest.raises(
        FolderError, match=rf"out: holds the results of other masks, {masks}\. Choose another"
    ):
        run(other, "--davis", davis.root, "--out", out)
    with pytest.raises(FolderError, match="holds the results of other masks"):
        evaluate(other, davis, progress=False).save(out)
    assert contents(out) == before
    run(masks, "--davis", davis.root, "--out", out, "--sequences", "cow")  # its own


def test_a_run_that_was_moved_may_be_scored_again(masks, davis, tmp_path):
    (tmp_path / "run").mkdir()
    masks.rename(tmp_path / "run" / "masks")
    run(tmp_path / "run" / "masks", "--davis", davis.root)
    (tmp_path / "run").rename(tmp_path / "moved")
    run(tmp_path / "moved" / "masks", "--davis", davis.root)


@pytest.mark.parametrize("record", ["[]", "{", '{"arguments": 3}', '{"arguments": {}}', "\0"])
def test_a_spoiled_record_is_no_record(masks, davis, tmp_path, record):
    scores = evaluate(masks, davis, progress=False)
    (tmp_path / "evaluation.json").write_text(record)
    scores.save(tmp_path)
    assert json.loads((tmp_path / "evaluation.json").read_text())["arguments"]["masks"] == str(masks)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--sequences", ","), "--sequences names no sequence"),
        (("--sequences", ""), "--sequences names no sequence"),
        (("--workers", "0"), "--workers is 0; it must be above zero"),
        (("--out", ""), "a path is empty"),
    ],
)
def test_arguments_are_checked_before_anything_heavy_is_imported(masks, davis, option, message):
    said, modules = call_apart("evaluate", masks, "--davis", davis.root, *option)
    assert message in said and not {"matplotlib", "pandas", "cv2", "keras"} & modules


def test_a_full_disk_is_one_sentence(masks, davis, tmp_path):
    """Files of more than 20 kB cannot be written: the tables fit, the pictures do not."""
    command = [sys.executable, "-m", "osvos_keras.cli", "evaluate", masks, "--davis", davis.root]
    with files_up_to(20_000):
        done = subprocess.run([*command, "--out", tmp_path / "out"], capture_output=True, text=True)
    assert done.returncode == 1
    assert re.search(
        r"osvos: error: .*cannot be written \(File too large; [\d,]+ bytes are free", done.stderr
    )
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob(".tmp-*"))
    assert (tmp_path / "out" / "global.csv").is_file()


@pytest.mark.parametrize("later", ["add_stability", "write_pictures"])
def test_the_tables_are_there_before_what_takes_longer(later, masks, davis, tmp_path, monkeypatch, capsys):
    def look(*_, **__):
        assert (tmp_path / "out" / "global.csv").is_file()
        assert "overall" in capsys.readouterr().out
        raise KeyboardInterrupt

    monkeypatch.setattr(f"osvos_keras.report.command.{later}", look)
    with pytest.raises(KeyboardInterrupt):
        run(masks, "--davis", davis.root, "--out", tmp_path / "out")


def test_pictures_of_an_earlier_evaluation_do_not_stay_beside_new_tables(masks, davis, tmp_path):
    other, out = repeat_first_mask(davis, "val", tmp_path / "other"), tmp_path / "out"
    run(masks, "--davis", davis.root, "--compare", other, "--out", out)
    assert {"worst.png", "comparison.csv", "report.html"} <= {path.name for path in out.iterdir()}
    (out / "mine.png").write_text("a person's")
    record = json.loads((out / "evaluation.json").read_text())
    (tmp_path / "above.png").write_text("a person's")
    record["files"] += ["../above.png", "", 3]  # a record that someone changed
    (out / "evaluation.json").write_text(json.dumps(record))
    run(masks, "--davis", davis.root, "--out", out, "--no-pictures")
    tables = {"per_frame.csv", "per_sequence.csv", "global.csv", "attributes.csv"}
    assert {path.name for path in out.iterdir()} == tables | {"evaluation.json", "mine.png", "other"}
    assert (tmp_path / "above.png").is_file()
    (out / "report.html").write_text("a person's, under a name that was ours")
    run(masks, "--davis", davis.root, "--out", out, "--no-pictures")
    assert (out / "report.html").is_file()


def test_tables_alone_need_no_matplotlib(masks, davis, tmp_path):
    options = ("--davis", davis.root, "--no-pictures", "--out", tmp_path / "out")
    status, modules = call_apart("evaluate", masks, *options)
    assert status == 0 and not {"matplotlib", "keras"} & modules


def test_t_and_the_pooled_numbers_have_columns_of_their_own(masks, davis, tmp_path, capsys):
    entries = [{"name": "bee", "attributes": [], "eval_t": True}, {"name": "cow", "attributes": []}]
    (davis.root / "db_info.yml").write_text(json.dumps({"sequences": entries}))
    run(masks, "--davis", davis.root, "--out", tmp_path / "out", "--no-pictures", "--pooled")
    assert "Temporal stability T" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "out" / "per_sequence.csv", index_col="sequence")
    assert list(table) == [*STATISTICS, "T", "pooled_iou", "pooled_dice"]
    paths = davis.annotations("bee")[:1] + sorted((masks / "bee").iterdir())[1:-1]
    expected = mean_of_costs(pair_costs([find_outline(read_mask(path)) for path in paths]))
    assert table.loc["bee", "T"] == pytest.approx(expected)
    assert pd.isna(table.loc["cow", "T"])
    overall = pd.read_csv(tmp_path / "out" / "global.csv")
    assert overall["T"][0] == pytest.approx(expected)
    scores = evaluate(masks, davis, "bee,cow", pooled=True, progress=False).per_sequence.set_index("sequence")
    for column in ("pooled_iou", "pooled_dice"):
        assert table[column].to_dict() == pytest.approx(scores[column].to_dict())
        assert overall[column][0] == pytest.approx(table[column].mean())
    run(masks, "--davis", davis.root, "--out", tmp_path / "out", "--no-pictures", "--no-stability")
    assert list(pd.read_csv(tmp_path / "out" / "global.csv")) == STATISTICS


def test_each_annotation_is_read_once_for_all_methods(masks, davis, tmp_path, monkeypatch):
    read = []
    original = Reader.annotation
    monkeypatch.setattr(Reader, "annotation", lambda self, path: read.append(path) or original(self, path))
    methods = {"one": masks, "two": repeat_first_mask(davis, "val", tmp_path / "two")}
    scores = evaluate_methods(methods, davis, progress=False)
    assert len(read) == len(set(read)) == 15
    for name, folder in methods.items():
        pd.testing.assert_frame_equal(
            scores[name].per_frame, evaluate(folder, davis, progress=False).per_frame
        )


def test_pictures_of_masks_with_other_habits_show_what_was_scored(masks, davis, tmp_path):
    for path in sorted((masks / "cow").iterdir()):
        path.rename(path.with_name(f"frame_{int(path.stem)}.png"))
    masks.rename(tmp_path / "inner")
    (tmp_path / "outer").mkdir()
    (tmp_path / "inner").rename(tmp_path / "outer" / "inner")
    run(tmp_path / "outer", "--davis", davis.root, "--sequences", "cow")
    scores = evaluate(tmp_path / "outer", davis, "cow", progress=False)
    frame = davis.frames("cow")[5]
    for known in (scores, None):
        _, mask, _ = read_cell(davis, tmp_path / "outer", frame, False, scores=known)
        assert mask.any()
    assert (tmp_path / "evaluation" / "outer" / "gallery.png").is_file()


def test_t_is_shown_where_one_method_has_it_and_said_to_be_nowhere(masks, davis, tmp_path, capsys):
    (davis.root / "db_info.yml").write_text(
        '{"sequences": [{"name": "bee", "attributes": [], "eval_t": true}]}'
    )
    shutil.copytree(masks, tmp_path / "empty")
    for path in (tmp_path / "empty" / "bee").iterdir():
        write_mask(path, 0 * read_mask(path))
    options = ("--davis", davis.root, "--sequences", "bee", "--no-pictures", "--out")
    run(tmp_path / "empty", *options, tmp_path / "both", "--compare", masks)
    assert re.search(r"T, lower.*\n +empty +method\n.*\nbee +– +-?\d", capsys.readouterr().out)
    run(tmp_path / "empty", *options, tmp_path / "one")
    printed = capsys.readouterr().out
    assert "nowhere: no two neighbouring frames" in printed and "Empty" not in printed
