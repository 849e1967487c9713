"""The `osvos` command, a thin layer over the library. `python -m osvos_keras.cli` is the same.

The modules of the commands import what is heavy inside their functions, so that `osvos --help` and the data
commands do not wait for TensorFlow.
"""

import argparse
import os
import signal
import sys
from contextlib import suppress
from typing import NoReturn

from osvos_keras import __version__
from osvos_keras.cli import course, data, evaluate, mark, parent, run, segment, weights
from osvos_keras.errors import OsvosError

STOPPED = 128 + signal.SIGINT  # the exit status after Ctrl-C
# Of each command: what it does, its arguments, and the function that runs it; or the commands in its group.
COMMANDS = {
    "course": (
        "Run every notebook in order, and print the scores.",
        course.add_course_arguments,
        course.run_course_command,
    ),
    "run": (
        "Run one notebook headless with checked parameters, once or once per sequence.",
        run.add_run_arguments,
        run.run_notebook_command,
    ),
    "parent": (
        "Train the parent network outside a notebook, on one machine or several.",
        parent.add_parent_arguments,
        parent.run_parent,
    ),
    "mark": (
        "Mark or correct the objects in a frame of your own clip, and draw them, before anything trains.",
        mark.add_mark_command_arguments,
        mark.run_mark,
    ),
    "segment": (
        "Segment your own clip (a video, a GIF or a folder of images), given a first mask.",
        segment.add_segment_arguments,
        segment.run_segment,
    ),
    "evaluate": (
        "Score a folder of masks as the DAVIS 2016 benchmark does.",
        evaluate.add_evaluate_arguments,
        evaluate.run_evaluate,
    ),
    "data": (
        "Check, list or download a data set in DAVIS layout.",
        {
            "verify": (
                "Read every file and report the faulty ones.",
                data.add_verify_arguments,
                data.run_verify,
            ),
            "lists": (
                "Write train.txt and val.txt from the folders.",
                data.add_lists_arguments,
                data.run_lists,
            ),
            "download": (
                "Fetch and unpack DAVIS 2016 (about 1.9 GB).",
                data.add_download_arguments,
                data.run_download,
            ),
        },
    ),
    "weights": (
        "Convert published weights.",
        {
            "convert": (
                "Convert OSVOS-PyTorch's weights, or MindSpore's OSVOS or VGG16 (.pth, .ckpt, .safetensors).",
                weights.add_convert_arguments,
                weights.run_convert,
            ),
        },
    ),
    "notebooks": (
        "Write the course's notebooks to a folder of your own, to open in JupyterLab or to run there.",
        course.add_notebooks_arguments,
        course.run_notebooks,
    ),
    "export": (
        "Write a trained network for other programs: a Keras file, a SavedModel or ONNX.",
        weights.add_export_arguments,
        weights.run_export,
    ),
    "student": (
        "Write the notebooks as exercises, without their solutions.",
        course.add_student_arguments,
        course.run_student,
    ),
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


def _add_commands(parser: argparse.ArgumentParser, table: dict[str, tuple]) -> None:
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, (text, *entry) in table.items():
        command = commands.add_parser(name, help=text, description=text)
        if len(entry) == 1:
            _add_commands(command, *entry)
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
    try:
        args = make_parser().parse_args(arguments)
        status = args.run(args)
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
    first = (str(error).strip() or "no message").splitlines()[0]
    return f"{type(error).__name__}: {first} (unexpected: `osvos --debug …` shows where)"
