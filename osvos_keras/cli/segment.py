"""The command `osvos segment`: makes masks and an overlay video from a clip and a first mask.

Imports are inside the functions, so that `osvos --help` starts at once and TensorFlow only after all checks.
"""

import argparse
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tqdm import tqdm

from osvos_keras.cli.arguments import add_config_arguments, read_config, read_number
from osvos_keras.config import OnlineConfig
from osvos_keras.errors import ConfigError, VideoWarning, note_if_stopped

if TYPE_CHECKING:
    import numpy as np

    from osvos_keras.video.clip import Clip

NUMBERS = ("height", "steps", "seed")  # settings that may differ from the preset's
RUNS = "runs/segment"  # the folder for the run folders of clips
OUTPUTS = {"out": ".webm", "cutout": ".webm", "coco": ".json"}  # options that name a file → its suffix


class Marks(NamedTuple):
    """What a person marked.

    masks: files of masks of the first frame.
    boxes: (x0, y0, x1, y1) in pixels of the first frame.
    polygons: lists of corners (x, y) in pixels of the first frame.
    corrections: pairs of the name of a later frame and the file of its mask.
    """

    masks: list[str]
    boxes: list[tuple[float, ...]]
    polygons: list[list[tuple[float, ...]]]
    corrections: list[tuple[str, str]]


def add_segment_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `osvos segment`."""
    command.add_argument("clip", help="a video, an animated GIF or a folder of images")
    _add_marks(command)
    command.add_argument(
        "--out",
        default="result.webm",
        metavar="FILE.webm",
        help="the overlay video; the GIF and the contact sheet go beside it (default: %(default)s)",
    )
    command.add_argument(
        "--cutout", metavar="FILE.webm", help="also write a video of the objects on a transparent background"
    )
    command.add_argument(
        "--coco", metavar="FILE.json", help="also write the masks in COCO's format, as run lengths (RLE)"
    )
    command.add_argument(
        "--run-dir", help=f"folder for frames, weights and masks (default: {RUNS}/<name of the clip>)"
    )
    add_config_arguments(command, NUMBERS, weights="parent")
    command.add_argument(
        "--fps",
        default=24,
        metavar="N",
        help="frames per second of images without times (default: %(default)s)",
    )


def _add_marks(command: argparse.ArgumentParser) -> None:
    marks = command.add_argument_group(
        "the object",
        "The object to follow, marked in the first frame. Repeat these options for several objects; one "
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
        help="a correct mask of a later frame, used for training too; FRAME is the frame's name or number in "
        "your clip, such as 00020=fixed.png; may be repeated",
    )


def run_segment(args: argparse.Namespace) -> int:
    """`osvos segment`. Returns the exit status 0.

    Raises:
        OsvosError: something is wrong. Arguments and files are checked before TensorFlow is imported.
    """
    from osvos_keras.backend import check_backend
    from osvos_keras.io.files import lock_folder, make_folder
    from osvos_keras.io.paths import resolve_output
    from osvos_keras.video.clip import RATES, find_clip_folder
    from osvos_keras.video.outputs import check_places
    from osvos_keras.video.overlay import overlay_files
    from osvos_keras.weights import find_conventions, find_weights

    config, marks, outputs = read_config(args, "online", NUMBERS), read_marks(args), find_outputs(args)
    args.fps = read_number(args, "fps", *RATES, float)
    run_dir = find_clip_folder(args.clip, RUNS) if args.run_dir is None else resolve_output(args.run_dir)
    check_backend()
    find_conventions(args.weights)  # raises for a damaged file
    given = [*marks.masks, *(path for _, path in marks.corrections), find_weights(args.weights)]
    out, *others = outputs.values()
    check_places(args.clip, given, run_dir, [*overlay_files(out), *others])
    for path in outputs.values():
        make_folder(path.parent)
    with lock_folder(run_dir), plain_warnings():
        with redirect_stdout(sys.stderr):  # stdout is for the paths alone
            paths = _segment(args, config, marks, run_dir, outputs)
        for path in paths:
            print(path)
    return 0


def find_outputs(args: argparse.Namespace) -> dict[str, Path]:
    """The files that the options of `OUTPUTS` name: option → path.

    Raises:
        ConfigError: a name has another suffix than its format, or is not valid.
    """
    from osvos_keras.io.paths import resolve_output

    given = {option: getattr(args, option) for option in OUTPUTS if getattr(args, option) is not None}
    found = {option: resolve_output(path) for option, path in given.items()}
    for option, path in found.items():
        if path.suffix != OUTPUTS[option]:
            raise ConfigError(
                f"--{option} is {given[option]}; it must end in {OUTPUTS[option]}, the format of the file."
            )
    return found


def _segment(
    args: argparse.Namespace, config: OnlineConfig, marks: Marks, run_dir: Path, outputs: dict[str, Path]
) -> list[Path]:
    from osvos_keras.io.images import read_frame
    from osvos_keras.marking.marks import given_objects
    from osvos_keras.video.clip import import_clip

    clip = import_clip(args.clip, run_dir / "clip", fps=args.fps)
    names = [path.stem for path in clip.frames]
    say(f"{len(names)} frames, {names[0]} to {names[-1]}; each mask has its frame's name.")
    first = given_objects(read_frame(clip.frames[0]), marks.masks, marks.boxes, marks.polygons)
    later = read_corrections(clip, marks.corrections, first)

    from osvos_keras.video.segment import segment_clip

    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of a graph for each network and size
    masks = segment_clip(clip, {**later, 0: first}, run_dir, config, weights=args.weights)
    with note_if_stopped(lambda: f"the masks are done and kept in {masks}"):
        return [masks, *_write_outputs(clip, masks, outputs)]


def _write_outputs(clip: "Clip", masks: Path, outputs: dict[str, Path]) -> list[Path]:
    from osvos_keras.video.coco import write_coco
    from osvos_keras.video.cutout import write_cutout
    from osvos_keras.video.overlay import write_overlays

    written = write_overlays(clip, masks, outputs["out"])
    for option, write in {"cutout": write_cutout, "coco": write_coco}.items():
        if option in outputs:
            written.append(write(clip, masks, outputs[option]))
    return written


def parse_points(text: str) -> list[tuple[float, ...]]:
    """`"10,20 30,40"` as [(10, 20), (30, 40)].

    Raises:
        ConfigError: the text is not numbers joined by commas, in parts joined by spaces.
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


def parse_correction(text: str) -> tuple[str, str]:
    """`"00020=fixed.png"` as the name of a frame (see `Clip.find_frame`) and a file."""
    frame, _, path = text.partition("=")
    if not frame or not path:
        raise ConfigError(
            f"--correct is {text!r}; give a frame's name or number and a file: 00020=fixed.png."
        )
    return frame, path


def read_marks(args: argparse.Namespace) -> Marks:
    """The marks that the options give. Checks that need the frames come later.

    Raises:
        ConfigError, MaskError: an option is not valid.
        DataError: a file is missing or not an image.
    """
    from osvos_keras.io.images import open_image
    from osvos_keras.io.paths import find_input
    from osvos_keras.marking.marks import check_box, check_polygon

    boxes, polygons = [parse_box(text) for text in args.box], [parse_points(text) for text in args.polygon]
    corrections = [parse_correction(text) for text in args.correct]
    for box in boxes:
        check_box(box)
    for polygon in polygons:
        check_polygon(polygon)
    for path in (*args.mask, *(path for _, path in corrections)):
        open_image(find_input(path), decode=False)
    if not (args.mask or boxes or polygons):
        raise ConfigError("no object is marked: give --mask, --box or --polygon.")
    return Marks(args.mask, boxes, polygons, corrections)


def read_corrections(
    clip: "Clip", corrections: Sequence[tuple[str, str]], first: "np.ndarray"
) -> dict[int, "np.ndarray"]:
    """The maps of objects of later frames: index of the frame → (H, W) uint8.

    Args:
        clip: the clip.
        corrections: pairs from `parse_correction`.
        first: the map of the first frame, (H, W) uint8.

    Raises:
        ConfigError: a frame is the first one, or named twice.
        VideoError: there is no such frame.
        DataError, MaskError: as `marking.marks.read_correction`.
    """
    from osvos_keras.io.paths import find_input
    from osvos_keras.marking.marks import read_correction

    found = {}
    for name, path in corrections:
        index = clip.find_frame(name)
        if index == 0:
            raise ConfigError(f"--correct is {name}={path}; give the first frame's mask by --mask.")
        if index in found:
            raise ConfigError(
                f"--correct is {name}={path}; another --correct names that frame. Give one mask per frame."
            )
        found[index] = read_correction(find_input(path), first.shape, int(first.max()))
    return found


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Show each warning of this project in one line, without the place in the code."""
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def show(message, category, *place):
            say(message) if category.__module__ == VideoWarning.__module__ else shown(
                message, category, *place
            )

        warnings.showwarning = show
        yield


def say(text: object) -> None:
    """Print a line for the person to stderr; stdout is for the paths alone."""
    tqdm.write(f"osvos: {text}", file=sys.stderr)
