"""Clips in and out: every frame, in order, at its time, upright; and what is wrong is said."""

import struct
import weakref
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from osvos_keras.errors import FolderError, VideoWarning
from osvos_keras.video.codec import count_declared, read_video, write_gif, write_webm
from tests.conftest import files_up_to

TIMES = [0.0, 0.04, 0.12, 0.13, 0.5, 0.54, 0.74]  # six frames at a variable rate, and the end


def picture(index: int, size=(49, 61)) -> np.ndarray:
    """A grey frame that says its number: a bright bar, green at the left end, is so many rows high."""
    image = np.full((*size, 3), 60, np.uint8)
    image[: 4 + 6 * index] = 200
    image[: 4 + 6 * index, :8] = (20, 200, 40)
    return image


def bar_height(image: np.ndarray) -> int:
    return int((image[:, 20:40].mean(axis=(1, 2)) > 130).sum())


def write_clip(path, images, times=TIMES, codec="libx264", options=None):
    """A video of another maker than the library, 4:4:4 or 4:2:0 with even sides."""
    images = list(images)
    at_the_start = {"movflags": "faststart"} if path.suffix == ".mp4" else {}  # what a cut file needs to open
    with av.open(str(path), "w", options=at_the_start) as container:
        stream = container.add_stream(codec, rate=25, options=options or {"crf": "4"})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv444p" if codec == "libx264" else "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for image, time in zip(images, times, strict=False):
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts, frame.time_base = round(1000 * time), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture
def webm(tmp_path):
    return write_webm(tmp_path / "clip.webm", map(picture, range(6)), TIMES)


def test_written_webm_is_what_browsers_play(webm):
    with av.open(str(webm)) as container:
        (stream,) = container.streams
        assert (container.format.name, stream.codec_context.name) == ("matroska,webm", "vp9")
        assert (stream.codec_context.pix_fmt, stream.width, stream.height) == ("yuv420p", 62, 50)
        assert container.duration == 740_000  # to the end of the last frame, in microseconds
        assert [frame.pts for frame in container.decode(stream)] == [round(1000 * t) for t in TIMES[:-1]]


def test_colours_survive_writing_and_reading(tmp_path):
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (230, 159, 0), (128, 128, 128), (255, 255, 255)]
    images = [np.full((48, 64, 3), colour, np.uint8) for colour in colours]
    found = read_video(write_webm(tmp_path / "colours.webm", images, TIMES))
    for frame, colour in zip(found, colours, strict=True):
        assert np.abs(frame.image.astype(int) - colour).max() <= 6


ORIENTATIONS = [(x, 0, 0, y) for x in (1, -1) for y in (1, -1)] + [
    (0, x, y, 0) for x in (1, -1) for y in (1, -1)
]


@pytest.mark.parametrize("matrix", ORIENTATIONS)
def test_cameras_that_were_turned_and_pictures_that_are_mirrored(tmp_path, matrix):
    """The file's display matrix a b c d takes a pixel (x, y) to (a x + c y, b x + d y)."""
    a, b, c, d = matrix
    stored = picture(3, size=(50, 62))
    expected = np.zeros_like(stored if a else stored.swapaxes(0, 1))
    height, width = expected.shape[:2]
    for y, x in np.ndindex(stored.shape[:2]):
        expected[(b * x + d * y) % height, (a * x + c * y) % width] = stored[y, x]
    if a < 0 or c < 0:  # (-x) % width is one too far to the right
        expected = np.roll(expected, -1, axis=1)
    if b < 0 or d < 0:
        expected = np.roll(expected, -1, axis=0)
    path = write_clip(tmp_path / "turned.mp4", [stored] * 3)
    path.write_bytes(with_matrix(path.read_bytes(), matrix))
    for frame in read_video(path):
        assert frame.image.shape == expected.shape
        assert np.abs(frame.image.astype(int) - expected).mean() < 4


def with_matrix(data: bytes, matrix) -> bytes:
    """An MP4 with another display matrix: 36 bytes in its track's header, fixed-point numbers."""
    a, b, c, d = (number << 16 for number in matrix)
    at = data.index(b"tkhd") + 44
    return data[:at] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + data[at + 36 :]


def count_alive(images):
    """The images, and a list whose last element is how many of them were in memory at once, at most."""
    alive, most = [], [0]

    def watched():
        for image in images:
            alive.append(weakref.ref(image))
            most.append(max(most[-1], sum(reference() is not None for reference in alive)))
            yield image
            del image

    return watched(), most


def test_few_frames_are_in_memory_however_long_the_clip(tmp_path):
    images, most = count_alive(picture(index % 6) for index in range(200))
    path = write_webm(tmp_path / "long.webm", images, np.arange(201) / 25)
    assert len(most) == 201 and most[-1] <= 3
    images, most = count_alive(frame.image for frame in read_video(path))
    for _ in images:
        pass
    assert len(most) == 201 and most[-1] <= 4


def test_truncated_videos_are_noticed(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (40, 48, 64, 3), np.uint8)
    for name, write in {"clip.webm": write_webm, "clip.mp4": write_clip}.items():
        path = write(tmp_path / name, noise, np.arange(41) / 25)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.warns(VideoWarning, match=rf"{name}: .*(cut short|damaged)"):
            assert 2 <= len(list(read_video(path))) < 40


def test_frames_that_a_phone_trimmed_away_are_not_missed(tmp_path, recwarn):
    whole = write_clip(tmp_path / "whole.mp4", map(picture, range(6)), np.arange(7) / 25)
    with av.open(str(whole)) as source, av.open(str(tmp_path / "trimmed.mp4"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in filter(lambda packet: packet.size, source.demux()):
            early = round(0.08 / packet.time_base)  # two frames lie before the start: they are hidden
            packet.pts, packet.dts, packet.stream = packet.pts - early, packet.dts - early, stream
            target.mux(packet)
    heights = [bar_height(frame.image) for frame in read_video(tmp_path / "trimmed.mp4")]
    assert heights == [bar_height(picture(index)) for index in range(2, 6)]
    assert count_declared(tmp_path / "trimmed.mp4") == 4
    assert not recwarn.list  # such as "cut short"


def test_a_still_of_twenty_minutes_ends_in_files_that_are_whole(tmp_path):
    times = [0, 0.04, 1200, 1200.04]
    video = write_webm(tmp_path / "still.webm", map(picture, range(3)), times)
    np.testing.assert_allclose([frame.start for frame in read_video(video)], times[:-1])
    with Image.open(write_gif(tmp_path / "still.gif", map(picture, range(3)), times)) as gif:
        assert gif.info["loop"] == 0  # it repeats for ever
        gif.seek(1)
        assert gif.info["duration"] == 655_350  # the longest that a GIF can say


def test_slides_that_are_equal_for_longer_than_a_gif_can_say(tmp_path):
    images = [picture(0)] * 8 + [picture(1)]  # Pillow makes one picture of the equal ones
    with Image.open(write_gif(tmp_path / "slides.gif", images, [100 * index for index in range(10)])) as gif:
        assert (gif.n_frames, gif.info["duration"]) == (2, 655_350)
        gif.seek(1)
        assert gif.info["duration"] == 100_000


@pytest.mark.parametrize("size", [(1, 40), (40, 1), (1, 1)])
def test_narrow_frames_are_written(tmp_path, size):
    images = [np.full((*size, 3), shade, np.uint8) for shade in (0, 128, 255)]
    found = [frame.image for frame in read_video(write_webm(tmp_path / "narrow.webm", images, [0, 1, 2, 3]))]
    assert [image.shape for image in found] == [(size[0] + size[0] % 2, size[1] + size[1] % 2, 3)] * 3
    write_gif(tmp_path / "narrow.gif", images, [0, 1, 2, 3])


@pytest.mark.parametrize("write", [write_webm, write_gif])
def test_a_file_that_cannot_be_written_whole_is_not_there(tmp_path, write):
    noise = np.random.default_rng(0).integers(0, 255, (20, 120, 160, 3), np.uint8)
    with files_up_to(12_000), pytest.raises(FolderError, match=r"cannot be written .*bytes are free"):
        write(tmp_path / "film", noise, np.arange(21) / 10)
    assert list(tmp_path.iterdir()) == []
