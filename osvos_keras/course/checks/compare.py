"""How a check answers: the input, what was expected, what came, how far it is off, and the likely mistake.

The mistake is computed, not guessed. Each typical mistake is a function of its own; the one that gives
what the student's function gave, in every case, is named, and none if none does.
"""

import copy
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np

from osvos_keras.course.checks.hints import first_hint
from osvos_keras.course.checks.showing import INDENT, Raised, as_array, show, show_inputs
from osvos_keras.errors import CheckError

_right = set()  # names of the functions that were right since the notebook's kernel started


class Borrowed:
    """The library's function of an exercise, in place of the student's: `checks.borrow(checks.upsample)`."""

    def __init__(self, check: Callable) -> None:
        self.function = None
        if callable(check):
            check(self)  # `compare` calls `take` with the library's function
        if self.function is None:
            raise CheckError("Give the check itself, without quotes: checks.borrow(checks.upsample)")

    def __call__(self, *arguments):
        return self.function(*arguments)

    def take(self, function: Callable) -> None:
        """Keep the library's function; or, where it was borrowed before and is checked now, say so.

        It is said on the error stream: nbgrader then gives the check no point.
        """
        if self.function:
            print("– The library's function stands in for yours. Come back to it later.", file=sys.stderr)
        self.function = function


borrow = Borrowed


def compare(
    check: str,
    student: Callable,
    reference: Callable,
    cases: Mapping[str, tuple],
    mistakes: Mapping[str, Callable],
    *,
    tolerance: float = 1e-4,
    may_differ: float = 0.0,
) -> None:
    """Print that `student` gives what `reference` gives in all cases, or raise why not.

    Args:
        check: the check's name, for hints.
        student: the function to be checked; its arguments are copies, so that it may change them.
        reference: the right function of the same arguments.
        cases: in words, what is special about a case → its arguments.
        mistakes: in words, a typical mistake and its remedy → the function that makes it.
        tolerance: how far a value may be off, as a fraction of the largest expected one.
        may_differ: the fraction of values that may be off by more, where rounding decides.

    Raises:
        CheckError: the function is blank, or wrong in a case; the message says in which, what went in,
            what was expected, what came, how far it is off, and which of `mistakes` gives the same, or
            else a hint.
    """
    if isinstance(student, Borrowed):
        student.take(reference)
        return
    if not callable(student):
        raise CheckError("Give the function itself to the check, by its name and without brackets.")
    name = getattr(student, "__name__", "the function")
    same = partial(_same, tolerance=tolerance, may_differ=may_differ)
    try:
        answers = [_call(student, arguments) for arguments in cases.values()]
    except NotImplementedError as blank:
        task = (
            str(blank) or "write what the text above asks for, and remove the line with NotImplementedError."
        )
        raise CheckError(f"{name} is still blank. Your task: {task}") from None
    mistakes = {**mistakes, **_everywhere(reference)}
    for wrong, (case, arguments) in enumerate(cases.items()):
        expected, answer = reference(*arguments), answers[wrong]
        problem = _problem(answer, expected, tolerance, may_differ)
        if problem:
            report = {"the case": case, **dict(show_inputs(arguments, student))}
            report["was expected"] = show(expected)
            report["came"] = f"{show(answer)}{_line_of(answer, student)}"
            report["difference"] = f"{problem}."
            likely = _likely_mistake(answers, wrong, expected, cases, mistakes, same)
            raise CheckError(_report(name, report, [*_advise(check, answer, expected, likely)]))
    print(f"✓ {name} is right in {len(cases)} cases: {'; '.join(cases)}.")
    _right.add(name)
    print(f"Exercises right since this notebook was started: {len(_right)}.")


def _everywhere(reference: Callable) -> dict[str, Callable]:
    """Mistakes that can be made in every exercise."""

    def then(change: Callable) -> Callable:
        return lambda *arguments: change(np.asarray(reference(*arguments)))

    return {
        "this is a percentage; give a share, from 0 to 1.": then(lambda right: right * 100.0),
        "the sign is the wrong way round.": then(lambda right: -right.astype(float)),
        "fractions are cut off, as by // or int(); divide by /.": then(lambda right: np.floor(right * 1.0)),
        "a mask is True and False here, not 255 and 0; leave out the factor.": then(
            lambda right: right * 255.0
        ),
    }


def _call(function: Callable, arguments: tuple) -> object:
    try:
        with warnings.catch_warnings(action="ignore"):  # such as NumPy's of a division by zero
            return function(*copy.deepcopy(arguments))
    except NotImplementedError:
        raise
    except Exception as error:
        return Raised(error)


def _off(came: np.ndarray, expected: np.ndarray, tolerance: float) -> np.ndarray:
    """Where two arrays of one shape differ by more than the tolerance, a fraction of the largest value."""
    largest = max(np.abs(one[np.isfinite(one)]).max(initial=0) for one in (came, expected)) or 1
    return ~np.isclose(came, expected, rtol=0, atol=tolerance * float(largest), equal_nan=True)


def _fit(came: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """One number is one number, whether (), (1,) or (1, 1)."""
    return came.reshape(expected.shape) if came.size == expected.size == 1 else came


def _problem(answer: object, expected: object, tolerance: float, may_differ: float) -> str | None:
    """What is wrong with an answer, in words; None if nothing is."""
    expected = np.asarray(expected)
    if isinstance(answer, Raised):
        return "it stopped with an error"
    if answer is None:
        return "it returned nothing"
    came = as_array(answer)
    if came is None:
        return "it did not return numbers"
    came = _fit(came, expected)
    if came.shape != expected.shape:
        return f"the shape should be {expected.shape} and is {came.shape}"
    off = _off(came.astype(float), expected.astype(float), tolerance)
    if off.mean() > may_differ:
        return _difference(came, expected, off)
    if expected.dtype == bool and came.dtype != bool:
        return f"the values should be True and False (bool) and are numbers ({came.dtype})"
    return None


def _difference(came: np.ndarray, expected: np.ndarray, off: np.ndarray) -> str:
    distance = np.where(off, np.abs(came.astype(float) - expected), 0)
    distance = np.nan_to_num(distance, nan=np.inf, posinf=np.inf)
    if came.size == 1:
        return f"off by {distance.item():.3g}" if np.isfinite(distance) else "it is not a finite number"
    worst = tuple(int(i) for i in np.unravel_index(distance.argmax(), distance.shape))
    place = f"at {list(worst)}, where {expected[worst]:.4g} was expected and {came[worst]:.4g} came"
    finite = np.isfinite(distance)
    by = f"by up to {distance.max():.3g}" if finite.all() else f"{(~finite).sum()} are not finite"
    return f"{off.sum()} of {off.size} values are off, {by}, {place}"


def _likely_mistake(answers: list, wrong: int, expected, cases, mistakes, same: Callable) -> str | None:
    """The mistake that gives the same answers in all cases, or else in this one and in most others."""
    in_this_case, most = None, 0
    for words, mistaken in mistakes.items():
        made = [_call(mistaken, arguments) for arguments in cases.values()]
        if same(expected, made[wrong]):
            continue  # it does no harm in this case
        fits = [same(answer, one) for answer, one in zip(answers, made, strict=True)]
        if all(fits):
            return f"Most likely: {words}"
        if fits[wrong] and sum(fits) > most:
            in_this_case, most = f"In this case the same comes when {words}", sum(fits)
    return in_this_case


def _same(answer: object, made: object, tolerance: float, may_differ: float) -> bool:
    if isinstance(answer, Raised) and isinstance(made, Raised):
        return _kind(answer.error) == _kind(made.error)
    if isinstance(made, Raised):
        return False
    if isinstance(answer, Raised):  # Python raises where NumPy gives "not a number"
        return isinstance(answer.error, ZeroDivisionError) and bool(np.isnan(made).any())
    came, made = as_array(answer), np.asarray(made)
    if came is None or _fit(came, made).shape != made.shape:
        return False
    return _off(_fit(came, made).astype(float), made.astype(float), tolerance).mean() <= may_differ


def _kind(error: Exception) -> str:
    """An error without the numbers in it."""
    return f"{type(error)} {re.sub(r'[0-9]+', '', str(error))}"


def _advise(check: str, answer: object, expected: object, likely: str | None) -> Iterator[str]:
    """The likely mistake, or else a hint; and where more help is."""
    if answer is None:
        yield "Most likely: the last line lacks `return`."
    elif likely:
        yield likely
    elif _same(answer, expected, tolerance=1e-4, may_differ=0):
        yield "Most likely: a comparison is missing, such as > 0, which makes numbers True and False."
    else:
        yield "None of the typical mistakes gives this result."
        yield f"Hint: {first_hint(check)}"
    yield f'More help: checks.hint("{check}")'


def _report(name: str, parts: Mapping[str, str], advice: list[str]) -> str:
    lines = [f"  {f'{part}:':{INDENT - 3}} {value}" for part, value in parts.items()]
    return "\n".join([f"{name} is not right yet.", *lines, *advice])


def _line_of(answer: object, student: Callable) -> str:
    """Where in the student's function an error came from."""
    if not isinstance(answer, Raised) or not hasattr(student, "__code__"):
        return ""
    frames = traceback.extract_tb(answer.error.__traceback__)
    own = [frame for frame in frames if frame.filename == student.__code__.co_filename]
    return f" (in the line `{own[-1].line}`)" if own and own[-1].line else ""
