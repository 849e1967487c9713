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
from av.sidedata.sidedata import Type
from av.video.reformatter import Colorspace
from PIL import Image

from osvos_keras.errors import OsvosError, VideoError, VideoWarning
from osvos_keras.io.files import write_atomically

MILLISECOND = Fraction(1, 1000)  # the unit of time in WebM
SLOWEST = Fraction(1, 1000)  # frames a second that a WebM declares; each frame's own time is what counts
LONGEST = 655_350  # milliseconds that a GIF can show one frame
BT709 = 1  # the number of that standard for colours, in FFmpeg and in the file
# A constant quality that shows no blocks, at a speed that a laptop keeps up with.
VP9 = {"crf": "24", "b": "0", "deadline": "realtime", "cpu-used": "6", "row-mt": "1", "g": "50"}
# The formats of files that hold a video themselves. FFmpeg also knows playlists (concat, hls, dash, image2
# and others), which read whatever files they name, and would show a text as a film of a terminal.
FORMATS = (
    "3g2,3gp,apng,asf,av1,avi,dirac,dnxhd,dv,flv,gif,h261,h263,h264,hevc,ivf,m4v,matroska,mj2,mjpeg,mov,mp4,"
    "mpeg,mpegts,mpegvideo,mxf,nut,obu,ogg,rm,swf,vc1,vvc,webm,wtv,yuv4mpegpipe"
)
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
    """The frames of a video file, in the order in which they are shown.

    One frame is in memory at a time. Times are the file's own, so a variable frame rate is kept.
    Pixels are taken as square.

    Raises:
        VideoError: the file is missing, no video, of a codec that FFmpeg cannot decode, or changes
            its size on the way.

    Warns:
        VideoWarning: the file holds less than it says, or ends in something damaged.
    """
    with _open(path) as container:
        stream = _find_stream(container, path)
        gap = float(1 / (stream.average_rate or USUAL_RATE))
        count, shown = 0, None
        for frame in in_order(path, _decode(container, stream, gap)):
            shown, count = frame, count + 1
            yield frame
        _warn_if_short(path, container, stream, count, shown.start + shown.duration)


def in_order(path: str | Path, frames: Iterable[TimedFrame]) -> Iterator[TimedFrame]:
    """Frames as they come from a file, of one size, at times that count from the first and never go back.

    Raises:
        VideoError: there is none, or the size changes.

    Warns:
        VideoWarning: what follows some frame is damaged, and left out.
    """
    first, shown = None, None
    for count, (image, time, duration) in enumerate(_until_damaged(path, frames)):
        if shown:
            _check_size(path, count, image, shown.image)
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
    except Exception as error:  # decoders raise whatever a damaged file makes them stumble over
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
    """The frames upright, at the file's times; where it has none, `gap` seconds apart."""
    for index, frame in enumerate(container.decode(stream)):
        time = index * gap if frame.time is None else frame.time
        duration = float(frame.duration * frame.time_base) if frame.duration else gap
        yield TimedFrame(_upright(frame), time, duration)


def _upright(frame: av.VideoFrame) -> np.ndarray:
    """The image as players show it, (H, W, 3) uint8 RGB: turned and mirrored by its display matrix.

    The matrix takes a pixel (x, y) to (a x + c y, b x + d y); of an arbitrary angle the nearest quarter
    turn is taken.
    """
    image, matrix = frame.to_ndarray(format="rgb24"), frame.side_data.get(Type.DISPLAYMATRIX)
    if matrix is None:
        return image
    a, b, _, c, d, *_ = np.frombuffer(bytes(matrix), np.int32).tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        image, a, d = image.swapaxes(0, 1), c, b
    return np.ascontiguousarray(image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def count_declared(path: str | Path) -> int | None:
    """How many frames the file says it holds; None where it does not say. Raises as `read_video`."""
    with _open(path) as container:
        return _find_stream(container, path).frames or None


def _open(path: str | Path) -> av.container.InputContainer:
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    try:
        container = av.open(str(path), options=options, metadata_errors="replace")
    except av.error.ArgumentError as error:  # what FFmpeg says of a format that is not in the list
        raise VideoError(
            f"{path}: there is no video in this file, or it is of a kind that is not read here, such as a "
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


def _check_size(path: str | Path, index: int, image: np.ndarray, before: np.ndarray) -> None:
    if image.shape != before.shape:
        found, expected = ("×".join(map(str, one.shape[1::-1])) for one in (image, before))
        raise VideoError(
            f"{path}: frame {index} has {found} pixels, those before it {expected}. Bring all frames to one "
            "size; for a video: ffmpeg -i FILE -s WIDTHxHEIGHT clip.mp4."
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
    rate = max(Fraction(1000 * len(durations), starts[-1]).limit_denominator(1000), SLOWEST)
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

    A GIF counts time in hundredths of a second, 655 seconds a frame at most, and Pillow keeps its frames
    in memory: for slides, not for long clips.
    """
    hundredths = [round(100 * time) for time in times]
    # Players refuse less than two hundredths.
    durations = [min(10 * max(end - start, 2), LONGEST) for start, end in pairwise(hundredths)]
    first, *_ = pictures = [Image.fromarray(image) for image in images]
    with write_atomically(path) as temporary:
        first.save(
            temporary, format="GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0
        )
    return Path(path)
