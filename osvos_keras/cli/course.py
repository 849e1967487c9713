"""The commands of the course: `osvos course`, `osvos notebooks` and `osvos student`."""

import argparse

from osvos_keras.cli.arguments import add_davis_arguments, add_run_dir_argument
from osvos_keras.cli.run import add_parameters


def add_course_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `osvos course`."""
    add_davis_arguments(command)
    add_run_dir_argument(command)
    add_parameters(command)


def run_course_command(args: argparse.Namespace) -> int:
    """`osvos course`. Returns the exit status 0."""
    from osvos_keras.batch.notebooks import run_course
    from osvos_keras.batch.parameters import parse_parameters

    run_course(args.davis, args.run_dir, parse_parameters(args.parameters), args.resolution)
    return 0


def add_notebooks_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `osvos notebooks`."""
    command.add_argument("--to", required=True, metavar="FOLDER", help="folder for them")


def run_notebooks(args: argparse.Namespace) -> int:
    """`osvos notebooks`. Returns the exit status 0."""
    from osvos_keras.course.copies import write_notebooks

    print(*write_notebooks(args.to), sep="\n")
    return 0


def add_student_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `osvos student`."""
    command.add_argument("--to", default="student", help="folder for the exercises (default: %(default)s)")
    command.add_argument(
        "--nbgrader",
        action="store_true",
        help="for teachers: a course folder for nbgrader, with the solutions",
    )


def run_student(args: argparse.Namespace) -> int:
    """`osvos student`. Returns the exit status 0."""
    if args.nbgrader:
        from osvos_keras.course.grading import write_course as write
    else:
        from osvos_keras.course.student import write_student_edition as write
    print(*write(args.to), sep="\n")
    return 0
