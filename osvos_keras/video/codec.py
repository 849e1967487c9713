"""Reading of video files, one timed frame at a time, and writing of WebM and GIF files.

PyAV does the work. Its wheels contain FFmpeg, so all codecs that FFmpeg decodes can be read.
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
from av.sidedata.sidedata import Type
from av.video.reformatter import Colorspace
from PIL import Image

from osvos_keras.errors import OsvosError, VideoError, VideoWarning
from osvos_keras.io.files import write_atomically

MILLISECOND = Fraction(1, 1000)  # the unit of time in WebM
SLOWEST = Fraction(1, 1000)  # frames per second, the least rate that a WebM declares; players use frame times
LONGEST = 655_350  # milliseconds, the longest duration of a frame in a GIF
BT709 = 1  # the number of the colour standard BT.709, in FFmpeg and in the file
# A constant quality without visible blocks, at a speed that a laptop can encode.
VP9 = {"crf": "24", "b": "0", "deadline": "realtime", "cpu-used": "6", "row-mt": "1", "g": "50"}
PIXELS = {3: ("rgb24", "yuv420p"), 4: ("rgba", "yuva420p")}  # by channels: given, and in the file
# Formats whose files contain the video itself. FFmpeg also knows playlists (concat, hls, dash, image2 and
# others), which read any file that they name, and renders a text file as a film of a terminal.
FORMATS = (
    "3g2,3gp,apng,asf,av1,avi,dirac,dnxhd,dv,flv,gif,h261,h263,h264,hevc,ivf,m4v,matroska,mj2,mjpeg,mov,mp4,"
    "mpeg,mpegts,mpegvideo,mxf,nut,obu,ogg,rm,swf,vc1,vvc,webm,wtv,yuv4mpegpipe"
)
CONVERT = "Play it to see whether it is whole, and convert it: ffmpeg -i FILE clip.mp4."
USUAL_RATE = Fraction(25)  # frames per second, if a file does not declare a rate


class TimedFrame(NamedTuple):
    """A frame of a clip.

    image: (H, W, 3) uint8 RGB, upright.
    start: seconds since the first frame.
    duration: seconds, as declared in the file; players show a frame until the start of the next one.
    """

    image: np.ndarray
    start: float
    duration: float


def read_video(path: str | Path) -> Iterator[TimedFrame]:
    """The frames of a video file, in presentation order.

    One frame is in memory at a time. Times are the file's own, so a variable frame rate is kept.
    Pixels are assumed to be square.

    Raises:
        VideoError: the file is missing, not a video, or of a codec that FFmpeg cannot decode; or the frame
            size changes.

    Warns:
        VideoWarning: the file holds less than it declares, or its end is damaged.
    """
    with _open(path) as container:
        stream = _find_stream(container, path)
        gap = float(1 / (stream.average_rate or USUAL_RATE))
        count = 0
        for frame in in_order(path, _decode(container, stream, gap)):
            count += 1
            yield frame
        _warn_if_short(path, container, stream, count, frame.start + frame.duration)


def in_order(path: str | Path, frames: Iterable[TimedFrame]) -> Iterator[TimedFrame]:
    """The decoded frames, checked to have one size; times start at 0 and strictly increase.

    Raises:
        VideoError: there is no frame, or the size changes.

    Warns:
        VideoWarning: the file is damaged after some frame; the rest is left out.
    """
    first, shown = None, None
    for count, (image, time, duration) in enumerate(_until_damaged(path, frames)):
        if shown and image.shape != shown.image.shape:
            found, expected = ("×".join(map(str, one.shape[1::-1])) for one in (image, shown.image))
            raise VideoError(
                f"{path}: frame {count} has {found} pixels, but the frames before it have {expected}. Resize "
                "all frames to one size; for a video: ffmpeg -i FILE -s WIDTHxHEIGHT clip.mp4."
            )
        first = time if first is None else first
        start = max(time - first, shown.start + float(MILLISECOND)) if shown else 0.0
        shown = TimedFrame(image, start, duration)
        yield shown
    if not shown:
        raise VideoError(f"{path}: no frame in it could be decoded. {CONVERT}")


def _until_damaged(path: str | Path, frames: Iterable[TimedFrame]) -> Iterator[TimedFrame]:
    count = 0
    try:
        for frame in frames:
            yield frame
            count += 1
    except OsvosError:
        raise
    except Exception as error:  # a damaged file makes decoders raise exceptions of many kinds
        if not count:
            raise VideoError(f"{path}: cannot be decoded ({_reason(error)}). {CONVERT}") from error
        warnings.warn(
            f"{path}: damaged after frame {count - 1} ({_reason(error)}); what follows is left out.",
            VideoWarning,
            stacklevel=2,
        )


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _decode(
    container: av.container.InputContainer, stream: av.VideoStream, gap: float
) -> Iterator[TimedFrame]:
    """The upright frames, at the file's times; without times, `gap` seconds apart."""
    for index, frame in enumerate(container.decode(stream)):
        time = index * gap if frame.time is None else frame.time
        duration = float(frame.duration * frame.time_base) if frame.duration else gap
        yield TimedFrame(_upright(frame), time, duration)


def _upright(frame: av.VideoFrame) -> np.ndarray:
    """The image as players show it, (H, W, 3) uint8 RGB: rotated and mirrored by its display matrix.

    The matrix maps a pixel (x, y) to (a x + c y, b x + d y). An arbitrary angle is rounded to a quarter turn.
    """
    image, matrix = frame.to_ndarray(format="rgb24"), frame.side_data.get(Type.DISPLAYMATRIX)
    if matrix is None:
        return image
    a, b, _, c, d, *_ = np.frombuffer(bytes(matrix), np.int32).tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        image, a, d = image.swapaxes(0, 1), c, b
    return np.ascontiguousarray(image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def count_declared(path: str | Path) -> int | None:
    """The number of frames that the file declares; None if it declares none. Raises as `read_video`."""
    with _open(path) as container:
        return _count_declared(container, _find_stream(container, path)) or None


def _count_declared(container: av.container.InputContainer, stream: av.VideoStream) -> int:
    """The number of frames to be shown, as the file declares it; 0 if it declares none.

    A clip that was trimmed on a phone, in MP4 or MOV, still holds frames that are not to be shown.
    """
    if stream.frames and "mp4" in container.format.name:
        return sum(not entry.is_discard for entry in stream.index_entries)
    return stream.frames


def _open(path: str | Path) -> av.container.InputContainer:
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    try:
        container = av.open(str(path), options=options, metadata_errors="replace")
    except av.error.ArgumentError as error:  # FFmpeg's error for a format that is not in the list
        raise VideoError(
            f"{path}: there is no video in this file, or it has a format that is not read here, such as a "
            f"playlist of other files. {CONVERT}"
        ) from error
    except Exception as error:
        raise VideoError(f"{path}: not a video that can be read ({_reason(error)}). {CONVERT}") from error
    if not container.streams.video:
        container.close()
        raise VideoError(f"{path}: there is no video in this file. {CONVERT}")
    return container


def _find_stream(container: av.container.InputContainer, path: str | Path) -> av.VideoStream:
    stream = container.streams.best("video")
    if stream.codec_context is None:
        raise VideoError(f"{path}: FFmpeg has no decoder for the codec of this video. {CONVERT}")
    stream.thread_type = "AUTO"
    return stream


def _warn_if_short(path: str | Path, container, stream: av.VideoStream, count: int, end: float) -> None:
    """Warn if fewer frames were read than the file declares, or, without that number, less time."""
    declared, frames = (container.duration or 0) / av.time_base, _count_declared(container, stream)
    short = ""
    if count < frames:
        short = f"{frames} frames, {count}"
    elif not frames and len(container.streams) == 1 and end + 2 * end / count < declared:
        short = f"{declared:.2f} seconds, {end:.2f}"
    if short:
        warnings.warn(
            f"{path}: declares {short} could be read, so it is probably cut short. Going on with these "
            f"{count} frames.",
            VideoWarning,
            stacklevel=3,
        )


def write_webm(path: str | Path, images: Iterable[np.ndarray], times: Sequence[float]) -> Path:
    """Write a video that every browser plays: VP9 in WebM, each frame at its own time.

    Args:
        path: the file, written atomically.
        images: (H, W, 3) uint8 RGB each, or (H, W, 4) uint8 RGBA, colours not multiplied by the opacity; an
            odd height or width gains one pixel, because the format needs even ones.
        times: seconds at which each frame starts, and the end of the last frame: one more than images.

    Returns:
        The path of the file.
    """
    images = map(_make_even, images)
    first = next(images)
    starts = [round(1000 * time) for time in times]
    starts = list(accumulate(starts, lambda before, now: max(now, before + 1)))  # strictly increasing
    durations = {start: end - start for start, end in pairwise(starts)}
    rate = max(Fraction(1000 * len(durations), starts[-1]).limit_denominator(1000), SLOWEST)
    with write_atomically(path) as temporary, av.open(str(temporary), "w", format="webm") as container:
        stream = container.add_stream("libvpx-vp9", rate=rate, options=VP9, time_base=MILLISECOND)
        stream.height, stream.width = first.shape[:2]
        stream.codec_context.colorspace = BT709
        given, stream.pix_fmt = PIXELS[first.shape[2]]
        for start, image in zip(durations, chain([first], images), strict=True):
            frame = av.VideoFrame.from_ndarray(image, given)
            frame = frame.reformat(format=stream.pix_fmt, dst_colorspace=Colorspace.ITU709)
            frame.pts, frame.time_base = start, MILLISECOND
            _mux(container, stream.encode(frame), durations)
        _mux(container, stream.encode(), durations)
    return Path(path)


def _mux(container, packets: Iterable[av.Packet], durations: dict[int, int]) -> None:
    for packet in packets:
        packet.duration = durations[packet.pts]  # the last packet's duration gives the end of the video
        container.mux(packet)


def _make_even(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    return cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)


class _Hold(int):
    """How long a GIF shows a picture. Pillow adds up those of equal neighbours, more than a GIF can say."""

    def __add__(self, other: int) -> "_Hold":
        return _Hold(min(int(self) + other, LONGEST))


def write_gif(path: str | Path, images: Iterable[np.ndarray], times: Sequence[float]) -> Path:
    """Write an animated GIF that repeats for ever; arguments and result as for `write_webm`.

    A GIF counts time in hundredths of a second, with at most 655 seconds per frame. Pillow keeps all frames
    in memory, so use this for slides, not for long clips.
    """
    hundredths = [round(100 * time) for time in times]
    # Players do not show a frame for less than two hundredths.
    durations = [_Hold(min(10 * max(end - start, 2), LONGEST)) for start, end in pairwise(hundredths)]
    first, *_ = pictures = [Image.fromarray(image) for image in images]
    with write_atomically(path) as temporary:
        first.save(
            temporary, format="GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0
        )
    return Path(path)
