"""Video files: frames out of them one at a time, each with its time, and frames into WebM and GIF.

FFmpeg does the work, through PyAV, whose wheels carry it: what FFmpeg decodes can be read.
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import accumulate, chain, pairwise
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np
from av.video.reformatter import Colorspace
from PIL import Image

from osvos_keras.errors import VideoError, VideoWarning
from osvos_keras.files import write_atomically

MILLISECOND = Fraction(1, 1000)  # the unit of time in WebM
BT709 = 1  # the number of that standard for colours, in FFmpeg and in the file
# A constant quality that shows no blocks, at a speed that a laptop keeps up with.
VP9 = {"crf": "24", "b": "0", "deadline": "realtime", "cpu-used": "6", "row-mt": "1", "g": "50"}
NOT_VIDEO = {"tty"}  # FFmpeg would show a text file as a film of a terminal
CONVERT = "Play it to see whether it is whole, and convert it: ffmpeg -i FILE clip.mp4."
USUAL_RATE = Fraction(25)  # frames a second, where a file does not say


class TimedFrame(NamedTuple):
    """A frame of a clip.

    image: (H, W, 3) uint8 RGB, turned upright if the file says that the camera was turned.
    start: seconds since the first frame.
    duration: seconds, as the file says; until the next frame's start is what players do.
    """

    image: np.ndarray
    start: float
    duration: float


def read_video(path: str | Path) -> Iterator[TimedFrame]:
    """The frames of a video file or an animated GIF, in the order in which they are shown.

    One frame is in memory at a time. Times are the file's own, so a variable frame rate is kept.
    Pixels are taken as square.

    Raises:
        VideoError: the file is missing, no video, of a codec that FFmpeg cannot decode, or changes
            its size on the way.

    Warns:
        VideoWarning: the file holds less than it says, or ends in something damaged.
    """
    shown = None
    count = 0
    with _open(path) as container:
        stream = _find_stream(container, path)
        for count, (image, time, duration) in enumerate(_timed(container, stream, path), start=1):
            if shown:
                _check_size(path, count, image, shown.image)
                time = max(time, shown.start + float(MILLISECOND))  # never back in time
            shown = TimedFrame(image, time, duration)
            yield shown
        if not shown:
            raise VideoError(f"{path}: no frame in it could be decoded. {CONVERT}")
        _warn_if_short(path, container, stream, count, shown.start + shown.duration)


def _timed(
    container: av.container.InputContainer, stream: av.VideoStream, path: str | Path
) -> Iterator[TimedFrame]:
    """The frames upright, with times that count from the first; from the usual rate where there are none."""
    first, gap = None, float(1 / (stream.average_rate or USUAL_RATE))
    for index, frame in enumerate(_decode(container, stream, path)):
        image = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90) % 4)
        time = index * gap if frame.time is None else frame.time
        first = time if first is None else first
        duration = float(frame.duration * frame.time_base) if frame.duration else gap
        yield TimedFrame(np.ascontiguousarray(image), time - first, duration)


def count_declared(path: str | Path) -> int | None:
    """How many frames the file says it holds; None where it does not say. Raises as `read_video`."""
    with _open(path) as container:
        return _find_stream(container, path).frames or None


def _open(path: str | Path) -> av.container.InputContainer:
    if not Path(path).is_file():
        raise VideoError(f"{path}: no such file. Give a video, an animated GIF or a folder of images.")
    try:
        container = av.open(str(path))
    except av.FFmpegError as error:
        raise VideoError(f"{path}: not a video that can be read ({error.strerror}). {CONVERT}") from error
    if container.format.name in NOT_VIDEO or not container.streams.video:
        container.close()
        raise VideoError(f"{path}: there is no video in this file. {CONVERT}")
    return container


def _find_stream(container: av.container.InputContainer, path: str | Path) -> av.VideoStream:
    stream = container.streams.best("video")
    if stream.codec_context is None:
        raise VideoError(f"{path}: FFmpeg has no decoder for the codec of this video. {CONVERT}")
    stream.thread_type = "AUTO"
    return stream


def _decode(
    container: av.container.InputContainer, stream: av.VideoStream, path: str | Path
) -> Iterator[av.VideoFrame]:
    """The decoded frames; what is damaged ends them, with a warning if any came before."""
    count = 0
    try:
        for frame in container.decode(stream):
            yield frame
            count += 1
    except av.FFmpegError as error:
        if not count:
            raise VideoError(f"{path}: cannot be decoded ({error.strerror}). {CONVERT}") from error
        warnings.warn(
            f"{path}: damaged after frame {count - 1} ({error.strerror}); what follows is left out.",
            VideoWarning,
            stacklevel=3,
        )


def _check_size(path: str | Path, count: int, image: np.ndarray, before: np.ndarray) -> None:
    if image.shape != before.shape:
        found, expected = ("×".join(map(str, one.shape[1::-1])) for one in (image, before))
        raise VideoError(
            f"{path}: frame {count - 1} has {found} pixels, those before it {expected}. Convert it to one "
            "size: ffmpeg -i FILE -s WIDTHxHEIGHT clip.mp4."
        )


def _warn_if_short(path: str | Path, container, stream: av.VideoStream, count: int, end: float) -> None:
    """Compare with what the file declares: a number of frames, or else how long it lasts."""
    declared = container.duration / av.time_base if container.duration else 0
    if stream.frames:
        short = f"{stream.frames} frames, {count}" if count < stream.frames else ""
    elif len(container.streams) == 1 and end + 2 * end / count < declared:
        short = f"{declared:.2f} seconds, {end:.2f}"
    else:
        short = ""
    if short:
        warnings.warn(
            f"{path}: declares {short} could be read, so it is probably cut short. Going on with those "
            f"{count} frames.",
            VideoWarning,
            stacklevel=3,
        )


def write_webm(path: str | Path, images: Iterable[np.ndarray], times: Sequence[float]) -> Path:
    """Write a video that every browser plays: VP9 in WebM, each frame at its own time.

    Args:
        path: the file; it is there whole or not at all.
        images: (H, W, 3) uint8 RGB each; an odd side gains one pixel, since the format wants even ones.
        times: seconds at which each frame starts, and at last the end: one more than images.
    """
    images = map(_make_even, images)
    first = next(images)
    starts = [round(1000 * time) for time in times]
    starts = list(accumulate(starts, lambda before, now: max(now, before + 1)))  # no two at once
    durations = {start: end - start for start, end in pairwise(starts)}
    rate = Fraction(1000 * len(durations), starts[-1]).limit_denominator(1000)
    with write_atomically(path) as temporary, av.open(str(temporary), "w", format="webm") as container:
        stream = container.add_stream("libvpx-vp9", rate=rate, options=VP9, time_base=MILLISECOND)
        stream.height, stream.width = first.shape[:2]
        stream.codec_context.colorspace = BT709
        for start, image in zip(durations, chain([first], images), strict=True):
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)
            frame.pts, frame.time_base = start, MILLISECOND
            _mux(container, stream.encode(frame), durations)
        _mux(container, stream.encode(), durations)
    return Path(path)


def _mux(container, packets: Iterable[av.Packet], durations: dict[int, int]) -> None:
    for packet in packets:
        packet.duration = durations[packet.pts]  # the last one's is how the end is known
        container.mux(packet)


def _make_even(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    image = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(image)


def write_gif(path: str | Path, images: Iterable[np.ndarray], times: Sequence[float]) -> Path:
    """Write an animated GIF that repeats for ever; arguments as for `write_webm`.

    A GIF counts time in hundredths of a second, and Pillow keeps its frames in memory: for slides,
    not for long clips.
    """
    hundredths = [round(100 * time) for time in times]
    durations = [10 * max(end - start, 2) for start, end in pairwise(hundredths)]  # players refuse less
    first, *_ = pictures = [Image.fromarray(image) for image in images]
    with write_atomically(path) as temporary:
        first.save(
            temporary, format="GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0
        )
    return Path(path)
