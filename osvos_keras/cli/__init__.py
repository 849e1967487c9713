"""The `osvos` command, a thin layer over the library. `python -m osvos_keras.cli` is the same.

The modules of the commands import what is heavy inside their functions, so that `osvos --help` and the data
commands do not wait for TensorFlow.
"""

import argparse
import os
import shutil
import signal
import sys
from contextlib import suppress
from typing import NoReturn

from osvos_keras import __version__
from osvos_keras.cli import course, data, evaluate, mark, parent, run, segment, weights
from osvos_keras.errors import OsvosError, first_line

STOPPED = 128 + signal.SIGINT  # the exit status after Ctrl-C
# Of each command: its arguments, and the function that runs it, whose documentation says what it does; or the
# commands in its group.
COMMANDS = {
    "course": (course.add_course_arguments, course.run_course_command),
    "run": (run.add_run_arguments, run.run_notebook_command),
    "parent": (parent.add_parent_arguments, parent.run_parent),
    "mark": (mark.add_mark_command_arguments, mark.run_mark),
    "segment": (segment.add_segment_arguments, segment.run_segment),
    "evaluate": (evaluate.add_evaluate_arguments, evaluate.run_evaluate),
    "data": {
        "verify": (data.add_verify_arguments, data.run_verify),
        "lists": (data.add_lists_arguments, data.run_lists),
        "download": (data.add_download_arguments, data.run_download),
    },
    "weights": {"convert": (weights.add_convert_arguments, weights.run_convert)},
    "notebooks": (course.add_notebooks_arguments, course.run_notebooks),
    "export": (weights.add_export_arguments, weights.run_export),
    "student": (course.add_student_arguments, course.run_student),
}
GROUPS = {
    "data": "Check, list or download a data set in DAVIS layout.",
    "weights": "Convert published weights.",
}


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command; what it gives has a `run`, which takes it and returns the status."""
    parser = argparse.ArgumentParser(
        prog="osvos",
        description="One-Shot Video Object Segmentation: notebooks and data from the command line.",
    )
    parser.add_argument("--version", action="version", version=f"osvos-keras {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    _add_commands(parser, COMMANDS)
    return parser


def _add_commands(parser: argparse.ArgumentParser, table: dict[str, tuple | dict]) -> None:
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, entry in table.items():
        text = GROUPS[name] if name in GROUPS else entry[1].__doc__.splitlines()[0]
        command = commands.add_parser(name, help=text, description=text)
        if name in GROUPS:
            _add_commands(command, entry)
        else:
            add_arguments, run_command = entry
            add_arguments(command)
            command.set_defaults(run=run_command)


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with its status; any error is printed in one sentence.

    After Ctrl-C the status is 130, as in a shell, and the sentence says what is kept.
    """
    _open_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal without the character "…" shows "?"
            stream.reconfigure(errors="replace")
    with suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGTERM, _end)
    debug = "--debug" in (sys.argv[1:] if arguments is None else arguments)
    if not debug and not shutil.which("nvidia-smi"):  # TensorFlow calls a missing GPU an error of CUDA
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        args = make_parser().parse_args(arguments)
        status = args.run(args) or 0
        sys.stdout.flush()
    except KeyboardInterrupt as stopped:
        status, kept = STOPPED, getattr(stopped, "__notes__", [])
    except BrokenPipeError:  # `osvos … | head`: the reader has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if debug:
            raise
        sys.exit(f"osvos: error: {_explain(error)}")
    if status == STOPPED:  # printed here, where no frame of the command is left: its bars are closed
        print("; ".join(["osvos: stopped", *kept, "run the same command again to go on."]), file=sys.stderr)
    sys.exit(status)


def _open_streams() -> None:
    """Open the streams that the caller closed (`osvos … >&-`), so that no file of ours gets their numbers."""
    for number, (name, mode) in enumerate({"stdin": "r", "stdout": "w", "stderr": "w"}.items()):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def _end(number: int, _) -> NoReturn:
    """Exit through SystemExit, so that kernels are stopped and temporary folders deleted."""
    sys.exit(128 + number)


def _explain(error: Exception) -> str:
    """The message for a person; for an unexpected error, its class and the first line of its text."""
    if isinstance(error, OsvosError):
        return str(error)
    if isinstance(error, MemoryError):
        return "memory ran out. Lower HEIGHT or the batch, or run fewer --workers."
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}."
    return f"{type(error).__name__}: {first_line(error)} (unexpected: `osvos --debug …` shows where)"
