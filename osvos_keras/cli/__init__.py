"""The `osvos` command, a thin layer over the library. `python -m osvos_keras.cli` is the same.

Imports are inside the functions, so that `osvos --help` and the data commands do not wait for TensorFlow.
"""

import argparse
import os
import signal
import sys
from contextlib import suppress
from typing import NoReturn

from osvos_keras import __version__
from osvos_keras.errors import OsvosError

SAMPLE = "data/sample"
STOPPED = 128 + signal.SIGINT  # the exit status after Ctrl-C


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="osvos",
        description="One-Shot Video Object Segmentation: notebooks and data from the command line.",
    )
    parser.add_argument("--version", action="version", version=f"osvos-keras {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_course(commands)
    _add_run(commands)
    _add_parent(commands)
    _add_mark(commands)
    _add_segment(commands)
    _add_evaluate(commands)
    _add_data(commands)
    _add_weights(commands)
    _add_notebooks(commands)
    _add_export(commands)
    _add_student(commands)
    return parser


def _add_command(commands, name: str, run, text: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text)
    command.set_defaults(run=run)
    return command


def _add_davis(command: argparse.ArgumentParser) -> None:
    command.add_argument("--davis", default=SAMPLE, help="data set in DAVIS layout (default: %(default)s)")
    command.add_argument(
        "--resolution",
        default="480p",
        choices=["480p", "1080p"],
        help="folder of its frames (default: %(default)s)",
    )


def _add_places(command: argparse.ArgumentParser) -> None:
    _add_davis(command)
    command.add_argument("--run-dir", default="runs/course", help="where results go (default: %(default)s)")


def _add_course(commands) -> None:
    from osvos_keras.cli.run import add_parameters

    command = _add_command(
        commands, "course", _run_course, "Run every notebook in order, and print the scores."
    )
    _add_places(command)
    add_parameters(command)


def _add_run(commands) -> None:
    from osvos_keras.cli.run import add_run_arguments, run_notebook_command

    text = "Run one notebook headless with checked parameters, once or once per sequence."
    add_run_arguments(_add_command(commands, "run", run_notebook_command, text))


def _add_parent(commands) -> None:
    from osvos_keras.cli.parent import add_parent_arguments, run_parent

    text = "Train the parent network outside a notebook, on one machine or several."
    command = _add_command(commands, "parent", run_parent, text)
    _add_places(command)
    add_parent_arguments(command)


def _add_mark(commands) -> None:
    from osvos_keras.cli.mark import add_mark_command_arguments, run_mark

    text = "Mark the objects in a frame of your own clip, and draw what is marked, before anything trains."
    add_mark_command_arguments(_add_command(commands, "mark", run_mark, text))


def _add_segment(commands) -> None:
    from osvos_keras.cli.segment import add_segment_arguments, run_segment

    text = "Segment your own clip (a video, a GIF or a folder of images), given a first mask."
    add_segment_arguments(_add_command(commands, "segment", run_segment, text))


def _add_evaluate(commands) -> None:
    from osvos_keras.cli.evaluate import add_evaluate_arguments, run_evaluate

    text = "Score a folder of masks as the DAVIS 2016 benchmark does."
    add_evaluate_arguments(_add_command(commands, "evaluate", run_evaluate, text))


def _add_data(commands) -> None:
    from osvos_keras.cli.data import run_download, run_lists, run_verify

    data = commands.add_parser("data", help="Check, list or download a data set in DAVIS layout.")
    commands = data.add_subparsers(title="commands", required=True, metavar="COMMAND")

    command = _add_command(commands, "verify", run_verify, "Read every file and report the faulty ones.")
    _add_davis(command)
    command.add_argument(
        "--sequences", help="a split or comma-separated names (default: every folder of frames)"
    )

    command = _add_command(commands, "lists", run_lists, "Write train.txt and val.txt from the folders.")
    _add_davis(command)
    command.add_argument(
        "--val", required=True, metavar="A,B,…", help="sequences for validation; all others are for training"
    )

    command = _add_command(commands, "download", run_download, "Fetch and unpack DAVIS 2016 (about 1.9 GB).")
    command.add_argument("--to", default="data", help="folder for the data set (default: %(default)s)")
    command.add_argument("--url", help="address of the archive (default: the official one)")
    command.add_argument("--sha256", help="expected checksum of the archive (default: not checked)")


def _add_weights(commands) -> None:
    weights = commands.add_parser("weights", help="Convert published weights.")
    commands = weights.add_subparsers(title="commands", required=True, metavar="COMMAND")

    text = "Convert OSVOS-PyTorch's weights, or MindSpore's OSVOS or VGG16 (.pth, .ckpt, .safetensors)."
    command = _add_command(commands, "convert", _convert_weights, text)
    command.add_argument("source", help="the checkpoint; its kind is recognized by its content")
    command.add_argument("--to", required=True, metavar="FILE.weights.h5", help="the file to write")
    command.add_argument("--half", action="store_true", help="store float16: half the size")
    command.add_argument(
        "--backbone-only",
        action="store_true",
        help="convert only VGG16's convolutions; the branches get random weights",
    )


def _add_notebooks(commands) -> None:
    text = "Write the course's notebooks to a folder of your own, to open in JupyterLab or to run there."
    command = _add_command(commands, "notebooks", _write_notebooks, text)
    command.add_argument("--to", required=True, metavar="FOLDER", help="folder for them")


def _add_export(commands) -> None:
    from osvos_keras.cli.export import add_export_arguments, run_export

    text = "Write a trained network for other programs: a Keras file, a SavedModel or ONNX."
    add_export_arguments(_add_command(commands, "export", run_export, text))


def _add_student(commands) -> None:
    text = "Write the notebooks as exercises, without their solutions."
    command = _add_command(commands, "student", _write_student_edition, text)
    command.add_argument("--to", default="student", help="folder for the exercises (default: %(default)s)")
    command.add_argument(
        "--nbgrader",
        action="store_true",
        help="for teachers: a course folder for nbgrader, with the solutions",
    )


def _run_course(args) -> int:
    from osvos_keras.batch.notebooks import run_course
    from osvos_keras.batch.parameters import parse_parameters

    run_course(args.davis, args.run_dir, parse_parameters(args.parameters), args.resolution)
    return 0


def _convert_weights(args) -> int:
    from osvos_keras.convert.layouts import convert_weights

    print(convert_weights(args.source, args.to, half=args.half, backbone_only=args.backbone_only))
    return 0


def _write_notebooks(args) -> int:
    from osvos_keras.course.copies import write_notebooks

    for path in write_notebooks(args.to):
        print(path)
    return 0


def _write_student_edition(args) -> int:
    from osvos_keras.course.student import write_student_edition

    if args.nbgrader:
        from osvos_keras.course.grading import write_course as write
    else:
        write = write_student_edition
    for path in write(args.to):
        print(path)
    return 0


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with its status; any error is printed in one sentence.

    After Ctrl-C the status is 130, as in a shell, and the sentence says what is kept.
    """
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
