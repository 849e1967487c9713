"""The command `osvos mark`: marks or corrects the objects in one frame of a clip, and draws them.

TensorFlow is not imported.
"""

import argparse
import shutil
import sys
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from osvos_keras.cli.arguments import draw_to_files
from osvos_keras.cli.clips import RUNS, command_line, find_output, find_run_dir, plain_warnings, say
from osvos_keras.cli.marks import Marks, add_mark_arguments, read_marked, read_marks
from osvos_keras.errors import ConfigError, MaskError
from osvos_keras.io.paths import check_name, find_input, join_command, resolve_output

if TYPE_CHECKING:
    import numpy as np

OBJECTS = (
    "Repeat these options for several objects. Without any of them, a tool to draw with the mouse opens in "
    "your browser."
)


def add_mark_command_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `osvos mark`."""
    command.add_argument("clip", help="a video, an animated image or a folder of images")
    command.add_argument(
        "--frame", metavar="N", help="the name or number of the frame to mark (default: the first)"
    )
    add_mark_arguments(command, OBJECTS)
    command.add_argument(
        "--correct",
        action="store_true",
        help="begin with the mask that `osvos segment` made of the frame, for its own option --correct",
    )
    command.add_argument(
        "--out",
        metavar="FILE.png",
        help="the mask, for `osvos segment --mask` (default: <clip>_first.png or <clip>_<N>.png); the tool "
        "opens it if it is there",
    )
    command.add_argument(
        "--preview",
        metavar="FILE.png",
        help="the picture of the frame with the mask drawn over it (default: <mask>_preview.png)",
    )
    command.add_argument("--run-dir", help=f"folder for the frames (default: {RUNS}/<name of the clip>)")


def run_mark(args: argparse.Namespace) -> None:
    """Mark or correct the objects in a frame of your own clip, and draw them, before anything trains.

    Raises:
        OsvosError: something is wrong. Arguments and files are checked before the clip is read.
    """
    from osvos_keras.io.files import lock_folder, make_folder
    from osvos_keras.video.outputs import check_places

    marks = _read_marks(args)
    mask, preview = _find_outputs(args, marks)
    run_dir = find_run_dir(args)
    given = {find_input(path) for path in marks.files}
    outputs = [preview] if args.out is None and mask in given else [mask, preview]
    check_places(args.clip, given, run_dir, outputs)
    for path in outputs:
        make_folder(path.parent)
    draw_to_files()
    with lock_folder(run_dir), plain_warnings(), redirect_stdout(sys.stderr):
        _mark(args, marks, run_dir, mask, outputs)
    print(mask, preview, sep="\n")
    say(f"if {preview.name} is right, {_next_command(args, mask)}")


def _next_command(args: argparse.Namespace, mask: Path) -> str:
    frame = f"{args.frame}=" if args.frame else ""
    if args.correct:
        added = join_command(["--correct", f"{frame}{mask}"])
        return f"give the same `osvos segment` command again, with this added: {added}"
    return f"go on with: {command_line('segment', args, '--mask', f'{frame}{mask}')}"


def _read_marks(args: argparse.Namespace) -> Marks:
    marks = read_marks(args)
    if any(marks.frames):
        raise ConfigError(
            "`osvos mark` marks one frame: name it by --frame, not in --mask, --box or --polygon."
        )
    if args.frame is not None:
        check_name(args.frame, "--frame")
    if args.correct and (args.frame is None or marks.frames):
        raise ConfigError(
            "--correct begins with the mask that `osvos segment` made: name its frame by --frame, and leave "
            "out --mask, --box and --polygon."
        )
    return marks


def _find_outputs(args: argparse.Namespace, marks: Marks) -> tuple[Path, Path]:
    """The paths of the mask and of the preview. If one mask is all that is given, it is the mask.

    Raises:
        ConfigError: a path is not valid or does not end in .png, or both are one.
    """
    from osvos_keras.video.clip import clip_name

    mask, preview = (find_output(args, option, ".png") for option in ("out", "preview"))
    if mask is None:
        frame = "first" if args.frame is None else Path(args.frame).stem
        mask = resolve_output(f"{clip_name(args.clip)}_{frame}.png")
    if args.out is None and marks.masks and len(marks.frames) == 1:
        mask = find_input(marks.files[0])
    beside = Path(args.out or "mask.png").with_name(f"{mask.stem}_preview.png")
    preview = preview or resolve_output(beside)
    if mask == preview:
        raise ConfigError(f"--out and --preview are both {mask}. Give two files.")
    return mask, preview


def _mark(args: argparse.Namespace, marks: Marks, run_dir: Path, mask: Path, outputs: list[Path]) -> None:
    """Write the mask, unless it was drawn or given, and the preview, which is the last of `outputs`."""
    from osvos_keras.io.images import read_frame
    from osvos_keras.marking.marks import write_objects
    from osvos_keras.video.clip import count_marked, import_clip
    from osvos_keras.video.preview import replacing, write_preview

    clip = import_clip(args.clip, run_dir / "clip")
    index = 0 if args.frame is None else clip.find_frame(args.frame)
    path = clip.frames[index]
    if marks.frames:
        objects = read_marked(clip, marks, index)[index]
    else:
        count = count_marked(clip) if args.correct else None
        if args.correct:
            _begin_correction(run_dir / "masks" / clip.name / f"{path.stem}.png", mask)
        objects, outputs = _draw(path, mask, count), outputs[-1:]
    with replacing(run_dir, outputs):
        for output in outputs[:-1]:
            write_objects(output, objects)
        write_preview(outputs[-1], read_frame(path), objects)
    for number in range(1, objects.max() + 1):
        say(f"object {number} covers {(objects == number).mean():.1%} of frame {path.stem}.")


def _begin_correction(made: Path, mask: Path) -> None:
    """Copy the mask that `osvos segment` made to where a person corrects it, unless something is there."""
    from osvos_keras.io.files import write_atomically

    if mask.exists():
        say(f"{mask} is there already, and stays as it is. To begin with the new mask, move it away.")
        return
    if not made.is_file():
        raise MaskError(f"{made}: `osvos segment` has made no mask of this frame yet. Run it first.")
    with write_atomically(mask) as temporary:
        shutil.copyfile(made, temporary)


def _draw(frame: Path, mask: Path, count: int | None) -> "np.ndarray":
    """The objects that a person draws with the mask tool, or corrects; of these, `count` are marked."""
    from osvos_keras.io.images import image_size
    from osvos_keras.marking.lab import can_show, open_tool, tool_code
    from osvos_keras.marking.marks import read_correction, read_objects

    lines = "; ".join(filter(None, tool_code(frame, mask, count).splitlines()))
    elsewhere = f"run these lines in a notebook that you open from another machine: {lines}"
    if can_show():
        say("the tool opens in JupyterLab. Run its cell, draw, and press Save.")
        say("then end JupyterLab: File, Shut Down; or Ctrl-C twice here.")
        with TemporaryDirectory(prefix="osvos-mark-", ignore_cleanup_errors=True) as folder:
            open_tool(frame, mask, Path(folder), count)
    elif count is not None:
        say(f"there is no display here. Correct {mask} in a paint program, or {elsewhere}")
    else:
        raise ConfigError(
            "no object is marked, and there is no display here to draw on. Give --box, --polygon or --mask; "
            f"or {elsewhere}"
        )
    if not mask.exists():
        raise MaskError(f"{mask}: no mask was saved. Run the command again, draw, and press Save.")
    size = image_size(frame)
    return read_objects(mask, size) if count is None else read_correction(mask, size, count)
