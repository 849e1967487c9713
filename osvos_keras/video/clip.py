"""Import of a clip (a video, an animated image or a folder of images) as a sequence in DAVIS layout.

<folder>/JPEGImages/480p/<name>/00000.jpg     the frames, at their own size
<folder>/Annotations/480p/<name>/00000.png    the objects that a person marked in them
<folder>/clip.json                            the record: the source's checksum, all files, the frames' times

Frames from a folder keep the names of their images; frames from a file are numbered from 00000.
"""

import hashlib
import math
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
from PIL import Image
from tqdm import tqdm

from osvos_keras.davis import Davis
from osvos_keras.errors import FolderError, VideoError
from osvos_keras.io.files import (
    clear_temporaries,
    last_number,
    list_files,
    make_folder,
    sha256,
    write_atomically,
)
from osvos_keras.io.images import SUFFIXES, open_image, orientation, read_frame
from osvos_keras.io.kept import require_absent, set_aside
from osvos_keras.io.literals import check_range, check_type
from osvos_keras.io.masks import read_indexed, write_map
from osvos_keras.io.paths import find_input, resolve_output
from osvos_keras.io.records import dict_in, read_record, write_record
from osvos_keras.video.codec import count_declared, read_video
from osvos_keras.video.pictures import (
    UNTIMED,
    check_images,
    check_sides,
    list_images,
    open_pictures,
    read_pictures,
)

QUALITY = 95  # of the frames' JPEG files: hardly anything is lost
RATES = 0.01, 1000  # frames per second, the least and the most
LONGEST_CLIP_NAME = 100  # bytes; the names of other files contain it


@dataclass(frozen=True)
class Clip:
    """A clip on disk.

    Attributes:
        davis: a data set with this one sequence.
        name: the name of the sequence.
        times: seconds at which each frame starts, and the end of the clip.
        sha256: the checksum of the file or files that it was made from.
    """

    davis: Davis
    name: str
    times: tuple[float, ...]
    sha256: str

    @property
    def frames(self) -> list[Path]:
        """The frames, in order."""
        return self.davis.frames(self.name)

    def find_frame(self, name: str) -> int:
        """The index of a frame.

        Args:
            name: the name of its file, with or without the suffix, or the number in that name.

        Raises:
            VideoError: there is no such frame, or there are several.
        """
        stems = [path.stem for path in self.frames]
        bare = normalize("NFC", Path(name).stem if Path(name).suffix.lower() in SUFFIXES else name)
        # A Mac may write an accent as a character of its own.
        found = [index for index, stem in enumerate(stems) if normalize("NFC", stem) == bare]
        if not found and bare.isdecimal():
            digits = bare.lstrip("0") or "0"
            found = [index for index, stem in enumerate(stems) if str(last_number(stem)) == digits]
        if len(found) != 1:
            problem = f"several frames are numbered {name}" if found else f"there is no frame {name}"
            raise VideoError(
                f"{self.name}: {problem}; its frames are {stems[0]} to {stems[-1]}. "
                f"Give a frame's name, such as {stems[found[0] if found else -1]}."
            )
        return found[0]


def clip_name(source: str | Path) -> str:
    """The name of a clip's sequence: the name of its file or folder, with unusual characters replaced."""
    path = find_input(source)
    name = re.sub(r"[^\w.-]+", "_", path.name if path.is_dir() else path.stem).lstrip(".")
    return name.encode()[:LONGEST_CLIP_NAME].decode(errors="ignore") or "clip"


def find_clip_folder(source: str | Path, parent: str | Path) -> Path:
    """The folder below `parent` for the results of a clip. It is named after the clip.

    A second clip of the same name gets `<name>-2`, a third `<name>-3`. The same clip gets the same folder.
    """
    name, parent = clip_name(source), resolve_output(parent)
    folders = (parent / (name if number == 1 else f"{name}-{number}") for number in count(1))
    return next(folder for folder in folders if not _holds_another(folder / "clip", source))


def import_clip(source: str | Path, folder: str | Path, *, fps: float = 24, progress: bool = True) -> Clip:
    """Import a clip as a sequence; if an earlier call has imported the same clip, use its result.

    Args:
        source: a video file, an animated image (GIF, WebP, PNG, or a TIFF of several pages), or a folder of
            images, sorted by the numbers in their names. One frame is in memory at a time.
        folder: where the sequence goes; a folder for this clip only.
        fps: frames per second of images without times, 0.01 to 1000; a video has its own times.
        progress: whether to show a progress bar.

    Raises:
        VideoError: the source is missing, is not a video, cannot be decoded or has only one frame; or its
            frames differ in size or have a side outside `pictures.SIDES`.
        DataError: an image of the folder cannot be a frame; see `io.images.read_frame`.
        ConfigError: `fps` is out of range.
        FolderError: the folder holds another clip or something else, or cannot be written.

    Warns:
        VideoWarning: the video seems to be cut short, or the folder holds something unusual.
    """
    check_range("fps", check_type("fps", fps, (float,)), *RATES)
    folder, made_with = resolve_output(folder), _identify(source)
    record, name = read_record(folder / "clip.json", made_with), made_with["name"]
    frames = folder / "JPEGImages" / "480p" / name
    if not _is_whole(record) or record["frames"] != [path.name for path in list_files(frames, ".jpg")]:
        _clear(folder, made_with["sha256"])
        write_record(folder / "clip.json", made_with)  # begun
        names, times = _write(find_source(source), make_folder(frames), fps, progress)
        record = {"frames": names, "times": times, "annotations": []}
        write_record(folder / "clip.json", made_with, **record)  # complete
    times = record["times"] or [index / fps for index in range(len(record["frames"]) + 1)]
    return Clip(Davis(folder), name, tuple(times), made_with["sha256"])


def _holds_another(folder: Path, source: str | Path) -> bool:
    record = read_record(folder / "clip.json")
    return _is_whole(record) and record["made_with"].get("sha256") != _identify(source)["sha256"]


def write_annotations(clip: Clip, marked: Mapping[int, np.ndarray]) -> None:
    """Write the clip's annotations and delete its earlier ones.

    Args:
        clip: the clip.
        marked: index of a frame → its map of objects, (H, W) uint8.

    Raises:
        FolderError: a file that this clip did not write would be overwritten.
    """
    path = clip.davis.root / "clip.json"
    record, several = read_record(path), max(objects.max() for objects in marked.values()) > 1
    frames = clip.frames
    paths = {index: clip.davis.annotation_path(frames[index]) for index in marked}
    own = {clip.davis.annotation_path(frames[0]).with_name(name) for name in record["annotations"]}
    require_absent(set(paths.values()) - own)
    names = sorted(one.name for one in paths.values())
    if names != record["annotations"]:
        write_record(path, **{**record, "annotations": names})
    for old in own - set(paths.values()):
        old.unlink(missing_ok=True)
    for index, objects in marked.items():
        write_map(paths[index], objects, several)


def count_marked(clip: Clip) -> int:
    """The number of objects that the clip's annotations mark; 0 if there is none."""
    paths = clip.davis.known_annotations(clip.name).values()
    return max((int(read_indexed(path).max()) for path in paths), default=0)


def find_source(source: str | Path) -> Path:
    """The file or folder of a clip. Raises a VideoError if there is none."""
    path = find_input(source)
    if not path.is_dir() and not path.is_file():
        found = "neither a file nor a folder" if path.exists() else "no such file"
        raise VideoError(f"{source}: {found}. Give a video, an animated image or a folder of images.")
    return path


def _identify(source: str | Path) -> dict[str, str]:
    """What identifies a clip: its name, and the checksum of its file or of its images and their names."""
    path = find_source(source)
    if path.is_dir():
        listing = "".join(f"{image.name} {sha256(image)}\n" for image in list_images(path))
        digest = hashlib.sha256(os.fsencode(listing)).hexdigest()
    else:
        digest = sha256(path)
    return {"name": clip_name(source), "sha256": digest}


def _is_whole(record: dict[str, Any] | None) -> bool:
    """Whether a record is that of a completely imported clip."""
    if record is None or not all(_are_names(record.get(kind)) for kind in ("frames", "annotations")):
        return False
    times = record.get("times")
    return times is None or (
        isinstance(times, list)
        and len(times) == len(record["frames"]) + 1
        and all(isinstance(time, int | float) and math.isfinite(time) for time in times)
    )


def _are_names(names: Any) -> bool:
    """Whether `names` is a list of plain file names, as in a valid record."""
    return isinstance(names, list) and all(isinstance(one, str) and Path(one).name == one for one in names)


def _clear(folder: Path, sha: str) -> None:
    """Remove an unfinished import, or a finished one of this clip that cannot be used again.

    Raises:
        FolderError: the folder holds another clip, or something that is not a clip.
    """
    record = read_record(folder / "clip.json")
    name = dict_in(record, "made_with").get("name")
    if not _are_names([name]):
        there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        if {"clip.json", "JPEGImages"} <= there <= {"clip.json", "JPEGImages", "Annotations"}:
            set_aside(folder, "a clip whose record (clip.json) cannot be understood")
        elif there:
            raise FolderError(
                f"{folder}: holds something that is not a clip. Choose another folder (--run-dir)."
            )
        return
    if _is_whole(record) and record["made_with"].get("sha256") != sha:
        raise FolderError(
            f"{folder}: holds another clip. Choose another folder (--run-dir), or delete this folder if you "
            "need neither that clip nor its masks."
        )
    frames, annotations = (folder / kind / "480p" / name for kind in ("JPEGImages", "Annotations"))
    there = list_files(frames, ".jpg")
    written, marked = there, []
    if _is_whole(record):  # else the folder was empty when the import began, so the import wrote all files
        written = [frames / one for one in record["frames"]]
        marked = [annotations / one for one in record["annotations"]]
    require_absent(set(there) - set(written))
    for path in (*written, *marked):
        path.unlink(missing_ok=True)
    clear_temporaries(frames)
    for emptied in (frames, annotations):
        with suppress(OSError):  # absent, or not empty
            emptied.rmdir()


def _write(source: Path, frames: Path, fps: float, progress: bool) -> tuple[list[str], list[float] | None]:
    """Write the frames; return their file names, and their times if the source has times."""
    name = frames.name
    if source.is_dir():
        images = list_images(source)
        check_images(source, images)
        for path in tqdm(images, f"frames {name}", unit="frame", disable=not progress):
            _write_image(path, frames / f"{path.stem}.jpg")
        return [f"{path.stem}.jpg" for path in images], None
    names, times = [], [0.0]
    with open_pictures(source) or nullcontext() as pictures:
        total = None if pictures else count_declared(source)
        reading = read_pictures(source, pictures, fps) if pictures else read_video(source)
        for frame in tqdm(reading, f"frames {name}", total, unit="frame", disable=not progress):
            check_sides(source, frame.image.shape[:2])
            names.append(f"{len(names):05d}.jpg")
            _write_jpeg(frames / names[-1], frame.image)
            times[-1:] = [frame.start, frame.start + frame.duration]
    if len(names) < 2:
        raise VideoError(f"{source}: holds only one frame; a clip needs at least two.")
    return names, None if pictures and pictures.format == UNTIMED else times


def _write_image(path: Path, target: Path) -> None:
    """Write an image as a frame; a JPEG that is upright and RGB or grey is copied unchanged."""
    image = open_image(path)
    if image.format == "JPEG" and image.mode in ("RGB", "L") and orientation(image) == 1:
        with write_atomically(target) as temporary:
            shutil.copyfile(path, temporary)
    else:
        _write_jpeg(target, read_frame(path))


def _write_jpeg(path: Path, frame: np.ndarray) -> None:
    with write_atomically(path) as temporary:
        Image.fromarray(frame).save(temporary, format="JPEG", quality=QUALITY)
