"""The options with which a person marks objects, used by `osvos mark` and `osvos segment`."""

import argparse
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from osvos_keras.errors import ConfigError
from osvos_keras.io.paths import find_input

if TYPE_CHECKING:
    import numpy as np

    from osvos_keras.video.clip import Clip


class Marks(NamedTuple):
    """What a person marked. Each mark has the name of its frame; "" is the first frame.

    masks: pairs of a frame and the file of a mask.
    boxes: pairs of a frame and (x0, y0, x1, y1) in pixels.
    polygons: pairs of a frame and a list of corners (x, y) in pixels.
    corrections: pairs of a frame and the file of its mask.
    """

    masks: list[tuple[str, str]]
    boxes: list[tuple[str, tuple[float, ...]]]
    polygons: list[tuple[str, list[tuple[float, ...]]]]
    corrections: list[tuple[str, str]]

    @property
    def files(self) -> list[str]:
        """The files of all masks."""
        return [path for _, path in (*self.masks, *self.corrections)]

    @property
    def frames(self) -> list[str]:
        """The frames of all objects, without those of corrections."""
        return [frame for kind in (self.masks, self.boxes, self.polygons) for frame, _ in kind]


def add_mark_arguments(command: argparse.ArgumentParser, description: str, prefix: str = "") -> None:
    """Add `--mask`, `--box` and `--polygon`; their values may begin with `prefix`."""
    marks = command.add_argument_group("the object", description)
    for name, value, text in (
        ("mask", "PNG", "a mask of the frame's size"),
        ("box", "X0,Y0,X1,Y1", "a rough box; GrabCut refines it"),
        ("polygon", "X,Y X,Y …", "corners, in pixels"),
    ):
        metavar = f"'{prefix}{value}'" if " " in value else f"{prefix}{value}"
        marks.add_argument(f"--{name}", action="append", default=[], metavar=metavar, help=text)


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


def parse_mark(text: str, parse: Callable) -> tuple[str, object]:
    """`"00020=…"` as the name of a frame and what `parse` makes of the rest; without a frame "" and the rest.

    Raises:
        ConfigError: nothing is on one side of the "="; or as `parse`.
    """
    frame, equals, rest = text.partition("=")
    if not equals:
        return "", parse(text)
    if not frame or not rest:
        raise ConfigError(f"{text!r} is not FRAME=MARK; give a frame's name or number, and a mark.")
    return frame, parse(rest)


def _parse_mask(text: str) -> tuple[str, str]:
    if "=" in text and find_input(text).is_file():  # a path that contains "="
        return "", text
    return parse_mark(text, str)


def read_marks(args: argparse.Namespace, corrections: Sequence[str] = ()) -> Marks:
    """The marks that the options give, and corrections. Checks that need the frames come later.

    Raises:
        ConfigError, MaskError: an option is not valid.
        DataError: a file is missing or not an image.
    """
    from osvos_keras.io.images import open_image
    from osvos_keras.marking.marks import check_box, check_polygon

    marks = Marks(
        [_parse_mask(text) for text in args.mask],
        [parse_mark(text, parse_box) for text in args.box],
        [parse_mark(text, parse_points) for text in args.polygon],
        [parse_correction(text) for text in corrections],
    )
    for _, box in marks.boxes:
        check_box(box)
    for _, polygon in marks.polygons:
        check_polygon(polygon)
    for path in marks.files:
        open_image(find_input(path), decode=False)
    return marks


def read_marked(clip: "Clip", marks: Marks, first: int = 0) -> dict[int, "np.ndarray"]:
    """The maps of objects of all frames with a mark: index of the frame → (H, W) uint8.

    Marks without a frame belong to that of index `first`.

    Objects are numbered from 1, in the order of their frames, and in a frame as `given_objects` does. A map
    holds only the objects that are marked in its frame.

    Raises:
        VideoError: there is no such frame.
        DataError, MaskError: as `given_objects` and `number_objects`.
    """
    from osvos_keras.io.images import read_frame
    from osvos_keras.marking.marks import given_objects, number_objects

    by_frame = defaultdict(lambda: ([], [], []))
    for kind, given in enumerate((marks.masks, marks.boxes, marks.polygons)):
        for name, mark in given:
            by_frame[clip.find_frame(name) if name else first][kind].append(mark)
    frames = clip.frames
    return number_objects(
        {index: given_objects(read_frame(frames[index]), *by_frame[index]) for index in sorted(by_frame)}
    )


def read_corrections(
    clip: "Clip", corrections: Sequence[tuple[str, str]], marked: Mapping[int, "np.ndarray"]
) -> dict[int, "np.ndarray"]:
    """The maps of objects of corrected frames: index of the frame → (H, W) uint8.

    Args:
        clip: the clip.
        corrections: pairs from `parse_correction`.
        marked: the maps of the frames in which the objects are marked.

    Raises:
        ConfigError: a frame is in `marked`, or named twice.
        VideoError: there is no such frame.
        DataError, MaskError: as `marking.marks.read_correction`.
    """
    from osvos_keras.marking.marks import read_correction

    count, size = max(int(objects.max()) for objects in marked.values()), next(iter(marked.values())).shape
    found = {}
    for name, path in corrections:
        index = clip.find_frame(name)
        if index in marked:
            raise ConfigError(
                f"--correct is {name}={path}; objects are marked in that frame already. Give its mask by "
                "--mask alone."
            )
        if index in found:
            raise ConfigError(
                f"--correct is {name}={path}; another --correct names that frame. Give one mask per frame."
            )
        found[index] = read_correction(find_input(path), size, count)
    return found
