"""Typed values: `NAME=VALUE` pairs from a command line, converted to the types that a setting allows."""

import ast
import difflib
import math
import numbers
from collections.abc import Iterable
from contextlib import suppress
from types import NoneType
from typing import Any

from osvos_keras.errors import ConfigError

NAMES = {
    int: "a whole number",
    float: "a finite number",
    str: "text",
    bool: "True or False",
    tuple: "a tuple",
    NoneType: "None",
}


def parse_pairs(pairs: Iterable[str], example: str) -> dict[str, str]:
    """`NAME=VALUE` strings as a dict; spaces around a name or a value do not count.

    Raises:
        ConfigError: a string has another form, or a name occurs twice.
    """
    found = {}
    for pair in pairs:
        name, equals, value = map(str.strip, pair.partition("="))
        if not (name and equals):
            raise ConfigError(f"{pair!r} is not NAME=VALUE, as in {example}.")
        if name in found:
            raise ConfigError(f"{name} is given twice: {found[name]!r} and {value!r}. Leave one out.")
        found[name] = value
    return found


def read_literal(text: Any, kinds: tuple[type, ...]) -> Any:
    """The value of a Python literal: `"3"` becomes 3, unless `kinds` contains `str`.

    A value that is not text, and text that is not a literal, are returned unchanged; see `check_type`.
    """
    if str in kinds or not isinstance(text, str):
        return text
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # the last two: nested too deep
        return text


def check_type(name: str, value: Any, kinds: tuple[type, ...]) -> Any:
    """`value` as one of `kinds`; a whole number is accepted for a float, a NumPy number for a Python one.

    Raises:
        ConfigError: the value has another type, or is not finite.
    """
    if type(value) in kinds and type(value) is not float:
        return value
    if not isinstance(value, bool):
        if isinstance(value, numbers.Integral) and int in kinds:
            return int(value)
        if isinstance(value, numbers.Real) and float in kinds:
            with suppress(OverflowError):  # a whole number of more than 308 digits
                if math.isfinite(number := float(value)):
                    return number + 0.0  # turns -0.0 into 0.0
    wanted = " or ".join(NAMES.get(kind, kind.__name__) for kind in kinds)
    raise ConfigError(f"{name} is {_show(value)}; it must be {wanted}.")


def check_range(name: str, value: float, least: float, most: float) -> None:
    """Check that a number is within a range.

    Raises:
        ConfigError: it is not.
    """
    if not least <= value <= most:
        zero = "be above zero" if least > 0 else "not be negative"
        raise ConfigError(
            f"{name} is {value}; it must {f'lie between {least} and {most}' if value > 0 else zero}."
        )


def check_known(name: str, known: Iterable[str], lacking: str) -> None:
    """Check that `name` is one of `known`.

    Args:
        name: what a person typed.
        known: the valid names.
        lacking: the start of the message, such as `"cat.ipynb has no parameter"`.

    Raises:
        ConfigError: it is not; the message suggests the most similar name.
    """
    known = list(known)
    if name in known:
        return
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]}?" if close else "."
    raise ConfigError(f"{lacking} {name}{hint} There are: {', '.join(known) or 'none'}.")


def _show(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:60]}…"
