"""The checks of the exercises: the notebooks' own solutions pass, planted mistakes are named."""

import inspect
import re

import numpy as np
import pytest
from PIL import Image

from osvos_keras.course import checks
from osvos_keras.course.checks.compare import compare
from osvos_keras.course.checks.hints import SECOND, _tasks, first_hint
from osvos_keras.course.checks.showing import show, show_inputs
from osvos_keras.errors import CheckError
from tests.exercises import EXERCISES

NAMES = list(SECOND)

# Of each exercise: what is replaced in the notebook's solution, by what, and what the check must say.
PLANTED = {
    "region-similarity": [
        (" if union else 1.0", "", "0 is divided by 0"),
        ("else 1.0", "else 0.0", "there was nothing to find"),
        ("if union", "if annotation.any()", "the annotation alone is empty J is 0"),
        ("(mask | annotation).sum()", "(mask.sum() + annotation.sum()) / 2", "Dice"),
        (
            "(mask & annotation).sum() / union if union",
            "int((mask & annotation).sum()) / int(union) if 1",
            "0 is",
        ),
        ("(mask & annotation).sum() / union", "(mask == annotation).mean()", "background too"),
        ("(mask | annotation)", "annotation", "divided by the annotation's"),
    ],
    "read-annotation": [
        (" > 0", "", "still numbers"),
        (") > 0", ").T > 0", "rows and columns are swapped"),
        ('.convert("L")', "", "one channel is wanted"),
        ("> 0", "== 0", "exchanged"),
        ("> 0", "== 255", "some files hold 1"),
    ],
    "warp": [
        ("np.rint", "np.floor", "rounded down"),
        ("y, x =", "x, y =", "x counts columns"),
        (
            "[reflect(old_y, height), reflect(old_x, width)]",
            "[reflect(old_x, width), reflect(old_y, height)]",
            "looked up as [row, column]",
        ),
        ("= transform", "= np.linalg.inv(np.vstack([transform, (0, 0, 1)]))[:2]", "the wrong way"),
        (
            "annotation[reflect(old_y, height), reflect(old_x, width)]",
            "annotation[np.clip(old_y, 0, height - 1), np.clip(old_x, 0, width - 1)]",
            "its border is repeated",
        ),
        (
            "annotation[reflect(old_y, height), reflect(old_x, width)]",
            "annotation[old_y % height, old_x % width]",
            "starts again at the other side",
        ),
        (
            "return annotation[",
            "import cv2\n    return cv2.warpAffine(annotation.astype('float32'), np.asarray(transform),"
            " (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,"
            " borderMode=cv2.BORDER_REFLECT)\n    return annotation[",
            "bilinear",
        ),
    ],
    "choose-scale": [
        ("np.sqrt(areas / areas[0])", "areas / areas[0]", "take the square root"),
        ("areas / areas[0]", "areas[0] / areas", "upside down"),
        (" if annotation.any()", "", "without the object are counted"),
        ("areas / areas[0]", "areas[1:] / areas[:-1]", "the one before"),
        ("sizes.min(), sizes.max()", "sizes.max(), sizes.min()", "in the other order"),
    ],
    "prepare-frame": [
        ("frame[..., ::-1]", "frame", "still red, green, blue"),
        ("np.array(IMAGENET_MEANS)", "np.array(IMAGENET_MEANS)[::-1]", "means are in the order red"),
        ("(0, -height % 16), (0, -width % 16)", "(-height % 16, 0), (-width % 16, 0)", "at the top"),
        ("-height % 16), (0, -width % 16", "16 - height % 16), (0, 16 - width % 16", "gets 16 more"),
        ("np.pad(centred, [(0, -height % 16), (0, -width % 16), (0, 0)])", "centred", "not padded"),
    ],
    "side-score": [
        (" + prep_bias", "", "bias of prep is forgotten"),
        (" + score_bias", "", "bias of score is forgotten"),
        ("values @", "np.maximum(values, 0) @", "ReLU"),
        ("y - 1 : y + 2, x - 1 : x + 2", "y : y + 3, x : x + 3", "begins at the position"),
        ("y - 1 : y + 2, x - 1 : x + 2", "x - 1 : x + 2, y - 1 : y + 2", "features[y, x] is row y"),
        ("ijc,ijcd->d", "jic,ijcd->d", "of the kernel are swapped"),
    ],
    "upsample": [
        ("+ 0.5) / factor - 0.5", ") / factor", "half-pixel"),
        (
            "(np.arange(size * factor) + 0.5) / factor - 0.5",
            "np.linspace(0, size - 1, size * factor)",
            "onto",
        ),
        ("np.clip(position, 0, size - 1)", "position", "the index is −1"),
        ("(position - low)", "np.rint(position - low)", "nearest neighbour"),
        ("return coarse", "return coarse.T", "swapped at the end"),
        ("(position - low)", "(1 + low - position)", "shares are exchanged"),
    ],
    "balanced-loss": [
        ("annotations.mean(axis=(1, 2), ", "annotations.mean(", "over the whole batch"),
        ("1 - share, share", "share, 1 - share", "each other's weight"),
        ("weight * entropy", "entropy", "plain cross-entropy"),
        ("    entropy =", "    logits = 1 / (1 + np.exp(-logits))\n    entropy =", "applied twice"),
        ("(weight * entropy).mean", "(weight * entropy).sum", "summed"),
        ("(weight * entropy).mean(axis=(1, 2))", "(weight * entropy).mean()", "averaged too"),
        (
            "np.logaddexp(0, np.where(annotations, -logits, logits))",
            "-np.log(np.abs(~annotations - 1 / (1 + np.exp(-logits))))",
            "rounded to 0 is infinite",
        ),
    ],
    "cosine-rate": [
        ("(1 + np.cos(np.pi * step / steps)) / 2", "np.cos(np.pi * step / steps)", "from 1 to −1"),
        ("np.pi *", "2 * np.pi *", "a whole cosine"),
        ("/ steps", "/ (steps - 1)", "at the last step"),
        (" / 2", "", "halve it"),
    ],
    "step-loss": [
        ("float(weights[name][0]) * ", "", "weights are not used"),
        ("in targets)", "in ['fused'])", "only the fused output"),
        ("in targets)", "in targets if name != 'fused')", "forgotten"),
        ("in targets)", "in targets) / len(targets)", "averaged"),
        ("in targets)", "in logits)", "all outputs are asked for"),
        ("BalancedCrossEntropy(balance)", "BalancedCrossEntropy()", "is not passed on"),
    ],
    "logits-to-mask": [
        ("> 0", "> 0.5", "as if they were probabilities"),
        ("(width, height)", "(height, width)", "cv2.resize takes (width, height)"),
        ("INTER_LINEAR", "INTER_NEAREST", "there are steps"),
        ("resize(logits,", "resize((logits > 0).astype('float32'),", "grows when resized"),
        (" > 0", "", "the logits are returned"),
    ],
    "contour-accuracy": [
        ("int(np.ceil(0.008 * np.hypot(*mask.shape)))", "0", "no tolerance"),
        ("np.ceil", "np.floor", "rounded down"),
        ("np.hypot(*mask.shape)", "mask.shape[0]", "of the height"),
        ("x**2 + y**2 <= radius**2", "np.maximum(abs(x), abs(y)) <= radius", "is a square"),
        ("outline(mask), outline(annotation)", "mask, annotation", "filled areas"),
        (
            "2 * precision * recall / (precision + recall) if precision + recall else 0.0",
            "(precision + recall) / 2",
            "ordinary mean",
        ),
        (" if precision + recall else 0.0", "", "0 is divided by 0"),
    ],
    "mean-recall-decay": [
        ("quarters[0] - quarters[3]", "quarters[3] - quarters[0]", "wrong sign"),
        ("> 0.5", ">= 0.5", "exactly one half"),
        ("(values > 0.5).mean()", "(values > 0.5).sum()", "a number of frames"),
        ("quarters[0] - quarters[3]", "values[0] - values[-1]", "single frames"),
        (
            "np.floor(np.linspace(0, len(values) - 1, 5) + 0.5)",
            "np.rint(np.arange(5) / 4 * (len(values) - 1))",
            "even",
        ),
    ],
    "merge": [
        ("np.where(logits.max(axis=0) > 0, objects, 0)", "objects", "every pixel gets an object"),
        ("logits.argmax(axis=0) + 1", "logits.argmax(axis=0)", "the first object is 1"),
        ("> 0, objects", "> 0.5, objects", "as if they were probabilities"),
        ("argmax", "argmin", "the smallest logit wins"),
        ("objects, 0)", "True, False)", "which one, by its number"),
        (
            "np.where(logits.max(axis=0) > 0, objects, 0)",
            "sum(number * (one > 0) for number, one in enumerate(logits, start=1))",
            "their numbers are added",
        ),
    ],
    "report-two-ways": [
        (
            "scores.mean(axis=0).max(), scores.max(axis=1).mean()",
            "scores.mean(1).max(), scores.max(0).mean()",
            "rows and columns are exchanged",
        ),
        ("scores.mean(axis=0).max()", "scores.mean()", "the mean over everything"),
        ("scores.mean(axis=0).max()", "scores[:, -1].mean()", "the last number of steps"),
        ("scores.max(axis=1).mean()", "scores.max()", "the best score of all"),
        (
            "scores.mean(axis=0).max(), scores.max(axis=1).mean()",
            "scores.mean(axis=0).argmax(), scores.argmax(axis=1).mean()",
            "numbers of steps are returned",
        ),
    ],
    "read-failure": [
        ("missed / max(annotation.sum(), 1), wrong", "wrong / max(mask.sum(), 1), missed", "None of"),
        (
            "annotation.sum(), 1), wrong / max(mask.sum(), 1)",
            "mask.size, 1), wrong / mask.size",
            "all pixels",
        ),
        (
            "max(annotation.sum(), 1), wrong / max(mask.sum(), 1)",
            "annotation.sum(), wrong / mask.sum()",
            "0 by",
        ),
        ("wrong / max(mask", "wrong / max(annotation", "the second by the mask's"),
        ("~", "", "that are right"),
    ],
}


@pytest.mark.parametrize("key", EXERCISES)
def test_the_notebook_s_own_solution_passes(key, capsys):
    exercise = EXERCISES[key]
    function = exercise.function()
    exercise.run_check(function)
    assert capsys.readouterr().out.startswith(f"✓ {function.__name__} is right in ")


@pytest.mark.parametrize("key", EXERCISES)
def test_an_empty_stub_is_a_kind_failure(key):
    exercise = EXERCISES[key]
    count = len(inspect.signature(exercise.function()).parameters)

    def my_function(*arguments):
        assert len(arguments) == count
        raise NotImplementedError()  # nbgrader's own stub says no more

    with pytest.raises(CheckError, match=r"my_function is still blank\. Your task: write what"):
        exercise.run_check(my_function)


@pytest.mark.parametrize(
    ("key", "old", "new", "said"),
    [pytest.param(key, *mistake, id=f"{key}: {mistake[2]}") for key in PLANTED for mistake in PLANTED[key]],
)
def test_a_planted_mistake_is_named(key, old, new, said):
    exercise = EXERCISES[key]
    with pytest.raises(CheckError) as caught:
        exercise.run_check(exercise.function((old, new)))
    message = str(caught.value)
    for part in ("is not right yet", "the case:", "was expected:", "came:", "difference:"):
        assert part in message
    advice = message[message.index("difference:") :].split("\n", 1)[1]
    assert said in advice and advice.endswith(f'More help: checks.hint("{exercise.check_name}")')


def test_every_exercise_has_planted_mistakes():
    assert EXERCISES.keys() == PLANTED.keys()
    assert min(map(len, PLANTED.values())) >= 3
    assert len(EXERCISES) >= 10


def test_every_check_is_an_exercise():
    assert sorted(NAMES) == sorted(exercise.check_name for exercise in EXERCISES.values())


def double(values):
    return 2 * values


def check_double(student):
    cases = {"three values": (np.array([1.0, 2.0, 3.0]),)}
    compare("upsample", student, double, cases, {"it is squared.": lambda values: values**2})


def test_the_message_shows_what_came_and_how_far_it_is_off():
    with pytest.raises(CheckError) as caught:
        check_double(lambda values: values**2)
    assert str(caught.value).splitlines() == [
        "<lambda> is not right yet.",
        "  the case:     three values",
        "  values:       [1. 2. 3.] float64",
        "  was expected: [2. 4. 6.]",
        "  came:         [1. 4. 9.]",
        "  difference:   2 of 3 values are off, by up to 3, at [2], where 6 was expected and 9 came.",
        "Most likely: it is squared.",
        'More help: checks.hint("upsample")',
    ]
    assert caught.value._render_traceback_() == str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("student", "said"),
    [
        (lambda values: None, r"it returned nothing\.\nMost likely: the last line lacks `return`\."),
        (lambda values: "six", "it did not return numbers"),
        (lambda values: [[1], [2, 3]], "it did not return numbers"),
        (lambda values: values[:2], r"the shape should be \(3,\) and is \(2,\)"),
        (lambda values: values + np.nan, r"3 of 3 values are off, 3 are not finite, at \[0\], where 2"),
        (lambda values: values + 1, "None of the typical mistakes gives this result.\nHint: Mix, for each"),
        (lambda values: 200 * values, "Most likely: this is a percentage"),
        (lambda values: -2 * values, "Most likely: the sign"),
        (lambda values, more: 0, r"input 1: *\[1. 2. 3.\] float64\n"),
        (lambda: 0, "TypeError"),
        (np.array([2.0, 4.0, 6.0]), "Give the function itself"),
    ],
)
def test_other_wrong_answers(student, said):
    with pytest.raises(CheckError, match=said):
        check_double(student)


def test_an_error_of_the_student_s_is_shown_with_its_line():
    def mine(values):
        return values[7]

    with pytest.raises(CheckError, match=r"IndexError: .* \(in the line `return values\[7\]`\)"):
        check_double(mine)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float64(1) / 3, "0.333333"),
        (np.pi, "3.14159"),
        (np.int64(123456789), "123456789"),
        (True, "True"),
        (np.array([np.inf, 1 / 3]), "[ inf 0.3333]"),
        (np.eye(4, 5, dtype=bool)[1:], "(3, 5) bool, True in 3, in rows 0 to 2 and columns 1 to 3"),
        (np.zeros((9, 9), bool), "(9, 9) bool, True in 0"),
        (np.arange(20.0), "(20,) float64, from 0 to 19"),
        ("x" * 100, "'" + "x" * 79),
    ],
)
def test_how_an_answer_is_shown(value, text):
    assert show(value) == text


def test_how_inputs_are_shown(tmp_path):
    path = tmp_path / "two.png"
    Image.fromarray(np.uint8([[0, 9, 9]])).save(path)

    def student(mask, path, weights, prep, y):
        """Only its signature counts."""

    weights = {"side2": np.ones(1), "fused": np.ones(1)}
    arguments = (np.eye(2, dtype=bool), path, weights, (np.zeros((3, 9)), np.ones(2)), 4)
    assert dict(show_inputs(arguments, student)) == {
        "mask": "[[1 0]\n                 [0 1]] bool",
        "path": "two.png, 1 × 3 pixels, mode L, values 0, 9",
        "weights": "side2, fused: each [1.]",
        "prep": "(3, 9) float64, from 0 to 0\n                [1. 1.]",
        "y": "4",
    }


def test_a_single_number_that_is_not_finite():
    with pytest.raises(CheckError, match=r"difference:   it is not a finite number\."):
        compare("warp", lambda x: x / 0.0, lambda x: x, {"one": (np.float64(1),)}, {})


def test_a_second_hint_for_whoever_asks(capsys):
    for name in NAMES:
        checks.hint(name)
        checks.hint(getattr(checks, name))
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2 * len(NAMES) and len(set(said)) == len(NAMES)
    with pytest.raises(CheckError, match=r"upsmaple: no check has this name\. The checks are .*upsample"):
        checks.hint("upsmaple")


@pytest.mark.parametrize("key", EXERCISES)
def test_the_first_hint_is_the_notebook_s(key):
    exercise = EXERCISES[key]
    (task,) = re.findall(r"### BEGIN SOLUTION: (.+)", exercise.solution)
    assert first_hint(exercise.check_name) == task


def test_a_damaged_notebook_does_not_hide_what_is_wrong(tmp_path, monkeypatch):
    """Git leaves its marks of a conflict in one, and it is no JSON any more."""
    for name, content in {"00_start_here": "<<<<<<< HEAD\n{", "01_older": '{"worksheets": []}'}.items():
        (tmp_path / f"{name}.ipynb").write_text(content)
    monkeypatch.setattr("osvos_keras.course.copies.NOTEBOOKS", tmp_path)
    monkeypatch.setattr("osvos_keras.course.checks.hints._tasks", _tasks.__wrapped__)
    with pytest.raises(CheckError, match=re.escape(f"Hint: {SECOND['upsample']}")):
        check_double(lambda values: values + 1)


def test_numbers_in_place_of_true_and_false():
    with pytest.raises(CheckError, match=r"True and False (.|\n)*Most likely: a comparison"):
        compare("warp", lambda x: 1 * (x > 0), lambda x: x > 0, {"one": (np.array([1, -1]),)}, {})


def test_a_function_may_change_its_arguments():
    def mine(values):
        values *= 2
        return values

    check_double(mine)


@pytest.mark.parametrize("name", NAMES)
def test_every_mistake_that_a_check_knows_is_wrong_and_told_from_the_others(name, monkeypatch):
    """Each, handed in as an answer, is refused and named, so none is right or another in all cases."""
    check = getattr(checks, name)

    def hand_in_each(check, student, reference, cases, mistakes, **options):
        assert check == name
        for words, mistaken in mistakes.items():
            with pytest.raises(CheckError, match=re.escape(f"Most likely: {words}")) as caught:
                compare(name, mistaken, reference, cases, mistakes, **options)
            assert set(re.findall(r"\w*Error(?=: )", str(caught.value))) <= {"IndexError", "KeyError"}

    monkeypatch.setitem(check.__globals__, "compare", hand_in_each)
    check(None)
