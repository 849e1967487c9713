"""The command `osvos segment`: a clip and a first mask in, an overlay video and masks out.

Imports stand inside the functions, so that `osvos --help` starts at once.
"""

import argparse
from pathlib import Path

from osvos_keras.config_arguments import add_config_arguments, read_config
from osvos_keras.errors import ConfigError

NUMBERS = ("height", "steps", "seed")  # settings that may differ from the preset's


def add_segment_arguments(command: argparse.ArgumentParser) -> None:
    """The options of `osvos segment`."""
    command.add_argument("clip", help="a video, an animated GIF or a folder of images")
    _add_marks(command)
    command.add_argument(
        "--out",
        default="result.webm",
        metavar="FILE.webm",
        help="the overlay video; the GIF and the contact sheet go beside it (default: %(default)s)",
    )
    command.add_argument(
        "--run-dir", help="for the frames, weights and masks (default: runs/segment/<name of the clip>)"
    )
    add_config_arguments(command, NUMBERS, weights="parent")
    command.add_argument(
        "--fps", type=float, default=24, help="frames a second of a folder of images (default: %(default)s)"
    )


def _add_marks(command: argparse.ArgumentParser) -> None:
    marks = command.add_argument_group(
        "the object",
        "What to follow, marked in the first frame. Each of these may be repeated, for several objects; one "
        "palette PNG can hold several too.",
    )
    marks.add_argument(
        "--mask", action="append", default=[], metavar="PNG", help="a mask of the frame's size"
    )
    marks.add_argument(
        "--box", action="append", default=[], metavar="X0,Y0,X1,Y1", help="a rough box; GrabCut refines it"
    )
    marks.add_argument(
        "--polygon", action="append", default=[], metavar="'X,Y X,Y …'", help="corners, in pixels"
    )
    marks.add_argument(
        "--correct",
        action="append",
        default=[],
        metavar="FRAME=PNG",
        help="the right mask of a later frame, such as 00020=fixed.png, to learn from too; may be repeated",
    )


def run_segment(args: argparse.Namespace) -> int:
    """Segment; the command's exit status.

    Raises:
        OsvosError: whatever is wrong.
    """
    from osvos_keras.clip import clip_name
    from osvos_keras.files import lock_folder, make_folder, resolve_output

    out = resolve_output(args.out)
    if out.suffix != ".webm":
        raise ConfigError(f"--out is {args.out}; it must end in .webm, the kind of video that is written.")
    if not args.fps > 0:
        raise ConfigError(f"--fps is {args.fps}; it must be above zero.")
    make_folder(out.parent)
    run_dir = resolve_output(args.run_dir or Path("runs/segment") / clip_name(args.clip))
    with lock_folder(run_dir):
        for path in _segment(args, run_dir, out):
            print(path)
    return 0


def _segment(args: argparse.Namespace, run_dir: Path, out: Path) -> list[Path]:
    from osvos_keras.clip import import_clip
    from osvos_keras.davis import read_frame
    from osvos_keras.objects import given_objects, read_correction
    from osvos_keras.overlay import write_overlays
    from osvos_keras.segment import segment_clip

    config = read_config(args, "online", NUMBERS)
    boxes, polygons = [parse_box(text) for text in args.box], [parse_points(text) for text in args.polygon]
    corrections = dict(map(parse_correction, args.correct))
    clip = import_clip(args.clip, run_dir / "clip", fps=args.fps)
    frame = read_frame(clip.frames[0])
    first = given_objects(frame, args.mask, boxes, polygons)
    count, size = int(first.max()), frame.shape[:2]
    later = {index: read_correction(path, size, count) for index, path in corrections.items()}
    masks = segment_clip(clip, {**later, 0: first}, run_dir, config, weights=args.weights)
    return [masks, *write_overlays(clip, masks, out)]


def parse_points(text: str) -> list[tuple[float, ...]]:
    """`"10,20 30,40"` as [(10, 20), (30, 40)].

    Raises:
        ConfigError: a part of it is not numbers joined by commas.
    """
    try:
        return [tuple(float(number) for number in point.split(",")) for point in text.split()]
    except ValueError as error:
        raise ConfigError(f"{text!r} is not points in pixels, such as '10,20 110,20 60,90'.") from error


def parse_box(text: str) -> tuple[float, ...]:
    points = parse_points(text)
    if len(points) != 1 or len(points[0]) != 4:
        raise ConfigError(f"--box is {text!r}; give four numbers joined by commas: X0,Y0,X1,Y1.")
    return points[0]


def parse_correction(text: str) -> tuple[int, str]:
    frame, _, path = text.partition("=")
    if not frame.isdecimal() or not path:
        raise ConfigError(f"--correct is {text!r}; give the frame's number and a file: 00020=fixed.png.")
    if int(frame) == 0:
        raise ConfigError(f"--correct is {text!r}; the first frame's mask is what --mask gives.")
    return int(frame), path
