"""The command `osvos segment`: makes masks and an overlay video from a clip and a first mask.

TensorFlow is imported only after all checks.
"""

import argparse
import logging
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from osvos_keras.cli.arguments import add_config_arguments, draw_to_files, read_config, read_number
from osvos_keras.cli.clips import RUNS, command_line, find_output, find_run_dir, plain_warnings, say
from osvos_keras.cli.marks import Marks, add_mark_arguments, read_corrections, read_marked, read_marks
from osvos_keras.config import OnlineConfig
from osvos_keras.errors import ConfigError, note_if_stopped

if TYPE_CHECKING:
    from osvos_keras.video.clip import Clip

NUMBERS = ("height", "steps", "seed")  # settings that may differ from the preset's
OUTPUTS = {"out": ".webm", "cutout": ".webm", "coco": ".json"}  # options that name a file → its suffix
OBJECTS = (
    "The object to follow. FRAME is the name or number of the frame in which it is marked, such as "
    "20=mask.png or 20=10,10,90,80; without it, the first frame. Repeat these options for several objects, "
    "each in any frame; one palette PNG can hold several too."
)


def add_segment_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `osvos segment`."""
    command.add_argument("clip", help="a video, an animated image or a folder of images")
    add_mark_arguments(command, OBJECTS, prefix="[FRAME=]")
    command.add_argument(
        "--correct",
        action="append",
        default=[],
        metavar="FRAME=PNG",
        help="a correct mask of another frame, used for training too: it shows all objects that are visible "
        "there; may be repeated",
    )
    command.add_argument(
        "--out",
        metavar="FILE.webm",
        help="the overlay video; the GIF and the contact sheet go beside it (default: <clip>_result.webm)",
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
        help="frames per second of a folder of images (default: %(default)s)",
    )


def run_segment(args: argparse.Namespace) -> None:
    """Segment your own clip (a video, an animated image or a folder of images), given a first mask.

    Raises:
        OsvosError: something is wrong. Arguments and files are checked before TensorFlow is imported.
    """
    from osvos_keras.backend import check_backend
    from osvos_keras.io.files import lock_folder, make_folder
    from osvos_keras.video.clip import RATES
    from osvos_keras.video.outputs import check_places
    from osvos_keras.video.overlay import overlay_files
    from osvos_keras.weights import find_conventions, find_weights

    config, outputs = read_config(args, "online", NUMBERS), _find_outputs(args)
    marks = read_marks(args, args.correct)
    if not marks.frames:
        raise ConfigError(
            f"no object is marked: give --mask, --box or --polygon, or see `osvos mark {args.clip}`."
        )
    args.fps = read_number(args, "fps", *RATES, float)
    run_dir = find_run_dir(args)
    check_backend()
    find_conventions(args.weights)  # raises for a damaged file
    given = [*marks.files, find_weights(args.weights)]
    out, *others = outputs.values()
    check_places(args.clip, given, run_dir, [*overlay_files(out), *others])
    for path in outputs.values():
        make_folder(path.parent)
    draw_to_files()
    with lock_folder(run_dir), plain_warnings():
        with redirect_stdout(sys.stderr):  # stdout is for the paths alone
            paths = _segment(args, config, marks, run_dir, outputs)
        for path in paths:
            print(path)


def _find_outputs(args: argparse.Namespace) -> dict[str, Path]:
    """The files that the options of `OUTPUTS` name: option → path. There is always an overlay video."""
    from osvos_keras.io.paths import resolve_output
    from osvos_keras.video.clip import clip_name

    found = {option: find_output(args, option, suffix) for option, suffix in OUTPUTS.items()}
    found["out"] = found["out"] or resolve_output(f"{clip_name(args.clip)}_result.webm")
    return {option: path for option, path in found.items() if path}


def _segment(
    args: argparse.Namespace, config: OnlineConfig, marks: Marks, run_dir: Path, outputs: dict[str, Path]
) -> list[Path]:
    from osvos_keras.video.clip import import_clip
    from osvos_keras.video.preview import write_previews

    clip = import_clip(args.clip, run_dir / "clip", fps=args.fps)
    names = [path.stem for path in clip.frames]
    say(f"{len(names)} frames, {names[0]} to {names[-1]}; each mask has its frame's name.")
    marked = read_marked(clip, marks)
    corrections = read_corrections(clip, marks.corrections, marked)
    drawn = ", ".join(map(str, write_previews(clip, marked, run_dir)))
    say(f"look at what is marked before it is trained on (Ctrl-C stops): {drawn}")

    from osvos_keras.video.doubt import least_sure
    from osvos_keras.video.segment import segment_clip

    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of a graph for each network and size
    masks = segment_clip(clip, marked, run_dir, config, corrections=corrections, weights=args.weights)
    with note_if_stopped(lambda: f"the masks are done and kept in {masks}"):
        paths = [masks, *_write_outputs(clip, masks, outputs)]
    _name_doubts(args, least_sure(clip, masks))
    return paths


def _name_doubts(args: argparse.Namespace, frames: list[str]) -> None:
    """Say which masks to look at, and how to correct one."""
    if frames:
        command = command_line("mark", args, "--frame", frames[0], "--correct")
        say(f"least sure: the masks of {', '.join(frames)}. If one is wrong, correct it: {command}")


def _write_outputs(clip: "Clip", masks: Path, outputs: dict[str, Path]) -> list[Path]:
    from osvos_keras.video.coco import write_coco
    from osvos_keras.video.overlay import write_cutout, write_overlays

    written = write_overlays(clip, masks, outputs["out"])
    for option, write in {"cutout": write_cutout, "coco": write_coco}.items():
        if option in outputs:
            written.append(write(clip, masks, outputs[option]))
    return written
