"""What this library raises on purpose. Each message names the file or setting and says what to do."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class OsvosError(Exception):
    """The base of them all; the `osvos` command prints these without a traceback."""


class DataError(OsvosError, ValueError):
    """A file of the data set, or a mask, is missing or wrong."""


class VideoError(DataError):
    """A clip is missing, no video, or cannot be used."""


class VideoWarning(UserWarning):
    """A clip is used, though something is wrong with it."""


class MaskError(OsvosError, ValueError):
    """A first mask is empty, covers the whole frame, has another size or cannot be drawn."""


class MaskWarning(UserWarning):
    """An object is so small that little of it can be learned, or all masks came out empty."""


class ConfigError(OsvosError, ValueError):
    """A setting is out of range, or a preset or parameter is unknown."""


class WeightsError(OsvosError, ValueError):
    """Weights are missing, damaged or of another architecture."""


class TrainingError(OsvosError, RuntimeError):
    """Training cannot go on."""


class NotebookError(OsvosError, RuntimeError):
    """A notebook failed when run headless."""


class FolderError(OsvosError, OSError):
    """A folder cannot be written."""


class ClusterError(OsvosError, RuntimeError):
    """Dask's scheduler or workers, or the other processes of a training, cannot be reached."""


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or the name of its class where it has no text."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextmanager
def note_if_stopped(tell: Callable[[], str]) -> Iterator[None]:
    """Add a note to a Ctrl-C that ends the block; the `osvos` command prints it.

    Args:
        tell: returns what is done and what is kept.
    """
    try:
        yield
    except KeyboardInterrupt as stopped:
        stopped.add_note(tell())
        raise


class CheckError(OsvosError, AssertionError):
    """A function written for an exercise is blank, or does not give what was asked."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of a traceback, whose lines would be the library's own."""
        return str(self).splitlines()
