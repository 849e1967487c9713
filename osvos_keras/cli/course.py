"""The commands of the course: `osvos course`, `osvos notebooks` and `osvos student`."""

import argparse

from osvos_keras.cli.arguments import add_davis_arguments, add_run_dir_argument
from osvos_keras.cli.run import EXAMPLE, add_parameters
from osvos_keras.io.literals import parse_pairs


def add_course_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `osvos course`."""
    add_davis_arguments(command)
    add_run_dir_argument(command)
    add_parameters(command)


def run_course_command(args: argparse.Namespace) -> None:
    """Run every notebook in order, and print the scores."""
    from osvos_keras.batch.notebooks import run_course

    run_course(args.davis, args.run_dir, parse_pairs(args.parameters, EXAMPLE), args.resolution)


def add_notebooks_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `osvos notebooks`."""
    command.add_argument("--to", required=True, metavar="FOLDER", help="folder for them")


def run_notebooks(args: argparse.Namespace) -> None:
    """Write the course's notebooks to a folder of your own, to open in JupyterLab or to run there."""
    from osvos_keras.course.copies import read_course, write_copies

    print(*write_copies(args.to, read_course()), sep="\n")


def add_student_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `osvos student`."""
    command.add_argument("--to", default="student", help="folder for the exercises (default: %(default)s)")
    command.add_argument(
        "--nbgrader",
        action="store_true",
        help="for teachers: a course folder for nbgrader, with the solutions",
    )


def run_student(args: argparse.Namespace) -> None:
    """Write the notebooks as exercises, without their solutions."""
    if args.nbgrader:
        from osvos_keras.course.grading import write_course as write
    else:
        from osvos_keras.course.student import write_student_edition as write
    print(*write(args.to), sep="\n")
