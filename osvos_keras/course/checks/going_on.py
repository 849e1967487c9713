"""What helps a student on: the library's function where one is stuck, and a count of what is right."""

import sys
from collections.abc import Callable

_right = set()  # names of the functions that were right since the notebook's kernel started


class Borrowed:
    """The library's function of an exercise, in place of the student's."""

    def __init__(self, check: Callable) -> None:
        self.function = None
        check(self)  # `compare` calls `take` with the library's function

    def __call__(self, *arguments):
        return self.function(*arguments)

    def take(self, function: Callable) -> None:
        """Keep the library's function; or, where it was borrowed before and is checked now, say so.

        It is said on the error stream: nbgrader then gives the check no point.
        """
        if self.function:
            print("– The library's function stands in for yours. Come back to it later.", file=sys.stderr)
        self.function = function


def borrow(check: Callable) -> Borrowed:
    """The function that an exercise asks for, from the library: `borrow(checks.upsample)`."""
    return Borrowed(check)


def count_right(name: str) -> str:
    """Note that the function `name` is right, and say how many are by now."""
    _right.add(name)
    return f"Exercises right since this notebook was started: {len(_right)}."
