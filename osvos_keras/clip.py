"""A clip of one's own, made a sequence in DAVIS layout: a video, an animated GIF or a folder of images.

<folder>/JPEGImages/480p/<name>/00000.jpg     its frames, at their own size
<folder>/Annotations/480p/<name>/00000.png    what a person marked in them
<folder>/clip.json                            where it came from, and the time of every frame
"""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps
from tqdm import tqdm

from osvos_keras.davis import Davis, open_image
from osvos_keras.errors import FolderError, VideoError
from osvos_keras.files import find_input, make_folder, resolve_output, sha256, write_atomically, write_json
from osvos_keras.video import count_declared, read_video

IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
ORIENTATION = 0x0112  # EXIF's tag for how the camera was held
QUALITY = 95  # of the frames' JPEGs: next to nothing is lost


@dataclass(frozen=True)
class Clip:
    """A clip on disk.

    davis: the data set that it makes up, alone.
    name: of the sequence.
    times: seconds at which each frame starts, and at last the end of the clip.
    sha256: of the file or files that it was made from.
    """

    davis: Davis
    name: str
    times: tuple[float, ...]
    sha256: str

    @property
    def frames(self) -> list[Path]:
        """The frames, in order."""
        return self.davis.frames(self.name)


def clip_name(source: str | Path) -> str:
    """The name of the sequence that a clip becomes: its file's or folder's, without odd characters."""
    path = find_input(source)
    return re.sub(r"[^\w.-]+", "_", path.name if path.is_dir() else path.stem)


def import_clip(source: str | Path, folder: str | Path, *, fps: float = 24, progress: bool = True) -> Clip:
    """Make a clip a sequence; what an earlier call left of the same clip is used again.

    Args:
        source: a video file, an animated GIF, or a folder of images in the order of their names
            (`frame2` comes before `frame10`). One frame is in memory at a time.
        folder: where the sequence goes; a folder of its own.
        fps: frames a second, of a folder of images; a file has its own times.
        progress: whether to show a bar.

    Raises:
        VideoError: the source is missing, no video, cannot be decoded, has one frame only, or frames
            of different sizes.
        DataError: an image of the folder is unreadable or truncated.
        FolderError: the folder holds something else, or cannot be written.

    Warns:
        VideoWarning: the video seems to be cut short.
    """
    source, folder = find_input(source), resolve_output(folder)
    images = _list_images(source) if source.is_dir() else []
    if not images and not source.is_file():
        raise VideoError(f"{source}: no such file. Give a video, an animated GIF or a folder of images.")
    name = clip_name(source)
    record = {"name": name, "sha256": _digest(images or [source]), "fps": fps if images else None}
    times = _find_times(folder, record)
    if not times:
        _clear(folder)
        make_folder(folder)
        write_json(folder / "clip.json", {**record, "times": None})  # begun
        frames = folder / "JPEGImages" / "480p" / name
        frames.mkdir(parents=True)
        count = len(images) or count_declared(source)
        writing = _write_images(images, frames, fps) if images else _write_video(source, frames)
        bar = tqdm(writing, f"frames {name}", count, unit="frame", disable=not progress)
        starts, ends = zip(*bar, strict=True)
        if len(starts) < 2:
            raise VideoError(f"{source}: holds one frame, a picture; a clip has two at least.")
        times = [*starts, ends[-1]]
        write_json(folder / "clip.json", {**record, "times": times})  # complete
    return Clip(Davis(folder), name, tuple(times), record["sha256"])


def _digest(paths: Sequence[Path]) -> str:
    if len(paths) == 1:
        return sha256(*paths)
    return hashlib.sha256("".join(f"{path.name} {sha256(path)}\n" for path in paths).encode()).hexdigest()


def _find_times(folder: Path, record: dict) -> list[float] | None:
    """The times of a clip that is there already, complete and of the same source."""
    try:
        done = json.loads((folder / "clip.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    times = done.pop("times", None)
    frames = folder / "JPEGImages" / "480p" / record["name"]
    return times if done == record and times and len(list(frames.glob("*.jpg"))) == len(times) - 1 else None


def _clear(folder: Path) -> None:
    """Remove another clip, or half of one; nothing that is no clip's."""
    if (folder / "clip.json").is_file():
        shutil.rmtree(folder)
    elif folder.is_dir() and any(folder.iterdir()):
        raise FolderError(f"{folder}: holds something that is no clip. Choose another folder (--run-dir).")


def _list_images(folder: Path) -> list[Path]:
    """The images of a folder, in the order that a person would give them."""

    def key(path: Path) -> list:
        return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]

    found = [path for path in folder.iterdir() if path.suffix.lower() in IMAGES and path.name[0] != "."]
    if not found:
        kinds = ", ".join(sorted(IMAGES))
        raise VideoError(f"{folder}: no image in this folder ({kinds}). Give a folder of frames, or a video.")
    return sorted(found, key=key)


def _write_video(source: Path, frames: Path) -> Iterator[tuple[float, float]]:
    """Write the frames of a video; yield the start and the end of each."""
    for index, frame in enumerate(read_video(source)):
        _write_jpeg(frames / f"{index:05d}.jpg", Image.fromarray(frame.image))
        yield frame.start, frame.start + frame.duration


def _write_images(images: Sequence[Path], frames: Path, fps: float) -> Iterator[tuple[float, float]]:
    """Write images as frames, JPEGs as they are; yield the start and the end of each."""
    size = None
    for index, path in enumerate(images):
        image = open_image(path)
        upright = image.getexif().get(ORIENTATION, 1) == 1
        as_it_is = image.format == "JPEG" and image.mode in ("RGB", "L") and upright
        image = ImageOps.exif_transpose(image)
        size = size or image.size
        if image.size != size:
            raise VideoError(
                f"{path}: {image.size[0]}×{image.size[1]} pixels, but {images[0].name} has "
                f"{size[0]}×{size[1]}. Bring all images of the folder to one size."
            )
        target = frames / f"{index:05d}.jpg"
        if as_it_is:
            with write_atomically(target) as temporary:
                shutil.copyfile(path, temporary)
        else:
            _write_jpeg(target, image.convert("RGB"))
        yield index / fps, (index + 1) / fps


def _write_jpeg(path: Path, image: Image.Image) -> None:
    with write_atomically(path) as temporary:
        image.save(temporary, format="JPEG", quality=QUALITY)
