"""Clips in and out: every frame, in order, at its time, upright; and what is wrong is said."""

import itertools
import weakref
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from osvos_keras.clip import clip_name, import_clip
from osvos_keras.davis import read_frame
from osvos_keras.errors import DataError, FolderError, VideoError, VideoWarning
from osvos_keras.video import read_video, write_gif, write_webm

TIMES = [0.0, 0.04, 0.12, 0.13, 0.5, 0.54, 0.74]  # six frames at a variable rate, and the end


def picture(index: int, size=(49, 61)) -> np.ndarray:
    """A grey frame that says its number: a bright bar, green at the left end, is so many rows high."""
    image = np.full((*size, 3), 60, np.uint8)
    image[: 4 + 6 * index] = 200
    image[: 4 + 6 * index, :8] = (20, 200, 40)
    return image


def bar_height(image: np.ndarray) -> int:
    return int((image[:, 20:40].mean(axis=(1, 2)) > 130).sum())


def write_clip(path, images, times=TIMES, codec="libx264", turn=0, options=None):
    """A video of another maker than the library, 4:4:4 or 4:2:0 with even sides."""
    images = list(images)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {"crf": "4"})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv444p" if codec == "libx264" else "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        if turn:
            stream.set_display_rotation(turn)
        for image, time in zip(images, times, strict=False):
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts, frame.time_base = round(1000 * time), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture
def webm(tmp_path):
    return write_webm(tmp_path / "clip.webm", map(picture, range(6)), TIMES)


@pytest.mark.parametrize("kind", ["mp4", "webm", "gif", "folder"])
def test_every_frame_comes_in_order_at_its_time_and_of_its_colour(tmp_path, webm, kind):
    images = list(map(picture, range(6)))
    expected = TIMES
    if kind == "webm":
        source = webm
    elif kind == "mp4":
        source = write_clip(tmp_path / "clip.mp4", images)
    elif kind == "gif":
        expected = [0.0, 0.1, 0.4, 0.45, 1.0, 1.02, 1.5]
        source = write_gif(tmp_path / "clip.gif", images, expected)
    else:
        expected = np.arange(7) / 5
        source = tmp_path / "clip"
        source.mkdir()
        for index, image in enumerate(images):
            Image.fromarray(image).save(source / f"frame{9 + index}.png")  # frame9 comes before frame10
    clip = import_clip(source, tmp_path / "run", fps=5, progress=False)
    frames = [read_frame(path) for path in clip.frames]
    assert [bar_height(frame) for frame in frames] == [bar_height(image) for image in images]
    np.testing.assert_allclose(clip.times[:-1], expected[:-1], atol=1e-6)
    assert clip.times[-1] == pytest.approx(expected[-1], abs=1e-6 if kind != "mp4" else 0.2)
    assert clip.name == "clip" and clip.davis.all_sequences() == ["clip"]
    for frame, image in zip(frames, images, strict=True):
        height, width = image.shape[:2]
        assert np.abs(frame[:height, :width].astype(int) - image).mean() < 4
        assert frame.shape == ((50, 62, 3) if kind == "webm" else image.shape)  # even sides only


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


@pytest.mark.parametrize("turn", [90, 180, -90])
def test_camera_that_was_turned(tmp_path, turn):
    """The angle is counter-clockwise, as FFmpeg defines what players do."""
    upright = picture(3, size=(50, 62))
    stored = np.rot90(upright, -turn // 90 % 4)
    path = write_clip(tmp_path / "turned.mp4", [np.ascontiguousarray(stored)] * 3, turn=turn)
    for frame in read_video(path):
        assert frame.image.shape == upright.shape
        assert np.abs(frame.image.astype(int) - upright).mean() < 4


def test_photographs_that_were_turned_and_jpegs_that_are_kept(tmp_path):
    source = tmp_path / "photos"
    source.mkdir()
    Image.fromarray(picture(2)).save(source / "a.jpg", quality=70)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held so that the picture must be turned by a quarter, clockwise
    Image.fromarray(np.rot90(picture(2))).save(source / "b.jpg", quality=95, exif=exif)
    clip = import_clip(source, tmp_path / "run", progress=False)
    assert clip.frames[0].read_bytes() == (source / "a.jpg").read_bytes()
    assert np.abs(read_frame(clip.frames[1]).astype(int) - picture(2)).mean() < 4


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


def test_second_import_reads_nothing_and_another_clip_replaces_the_first(tmp_path, webm, monkeypatch):
    clip = import_clip(webm, tmp_path / "run", progress=False)
    with monkeypatch.context() as patch:
        patch.setattr("osvos_keras.clip.read_video", lambda *_: pytest.fail("read again"))
        assert import_clip(webm, tmp_path / "run", progress=False) == clip
    other = write_webm(tmp_path / "other.webm", map(picture, range(3)), TIMES[:4])
    assert len(import_clip(other, tmp_path / "run", progress=False).frames) == 3
    assert clip.davis.all_sequences() == ["other"]


def test_import_that_was_killed_starts_again(tmp_path, webm, monkeypatch):
    def killed(path):
        yield from itertools.islice(read_video(path), 4)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("osvos_keras.clip.read_video", killed)
        import_clip(webm, tmp_path / "run", progress=False)
    assert not list((tmp_path / "run").rglob(".tmp-*"))
    assert len(import_clip(webm, tmp_path / "run", progress=False).frames) == 6


def test_folder_of_something_else_is_left_alone(tmp_path, webm):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    with pytest.raises(FolderError, match="holds something that is no clip"):
        import_clip(webm, tmp_path / "run", progress=False)
    assert (tmp_path / "run" / "thesis.txt").read_text() == "mine"


def test_truncated_videos_are_noticed(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (40, 48, 64, 3), np.uint8)
    times = np.arange(41) / 25
    fast = {"crf": "20", "movflags": "faststart"}
    whole = write_webm(tmp_path / "clip.webm", noise, times)
    short = tmp_path / "short.webm"
    short.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.warns(VideoWarning, match=r"short\.webm: .*(cut short|damaged)"):
        assert 2 <= len(list(read_video(short))) < 40
    with av.open(str(tmp_path / "clip.mp4"), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=25, options=fast)
        stream.height, stream.width = 48, 64
        for image in noise:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode())
    whole = tmp_path / "clip.mp4"
    short = tmp_path / "short.mp4"
    short.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.warns(VideoWarning, match=r"short\.mp4: .*(cut short|damaged)"):
        assert 2 <= len(list(read_video(short))) < 40


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.mp4", "no such file"),
        ("noise.mp4", "not a video that can be read"),
        ("film.txt", "there is no video in this file"),
        ("tone.wav", "there is no video in this file"),
        ("one.mp4", "holds one frame, a picture"),
        ("photo.png", "holds one frame, a picture"),
        ("empty", "no image in this folder"),
        ("sizes", r"b\.png: 30×20 pixels, but a\.png has 61×49"),
    ],
)
def test_bad_clips_are_named(tmp_path, name, message):
    path = tmp_path / name
    if name == "noise.mp4":
        path.write_bytes(np.random.default_rng(0).bytes(5000))
    elif name == "film.txt":
        path.write_text("This is no film.\n" * 50)
    elif name == "tone.wav":
        with av.open(str(path), "w") as container:
            stream = container.add_stream("pcm_s16le", rate=8000)
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
            sound.sample_rate = 8000
            container.mux(stream.encode(sound))
    elif name == "one.mp4":
        write_clip(path, [picture(0)])
    elif name == "photo.png":
        Image.fromarray(picture(0)).save(path)
    elif name in ("empty", "sizes"):
        path.mkdir()
    if name == "sizes":
        Image.fromarray(picture(0)).save(path / "a.png")
        Image.fromarray(picture(0, (20, 30))).save(path / "b.png")
    with pytest.raises(VideoError, match=f"{name}.*{message}" if name != "sizes" else message):
        import_clip(path, tmp_path / "run", progress=False)


def test_codec_that_cannot_be_decoded(tmp_path):
    """The four letters that name the codec of an AVI, changed to some that nobody knows."""
    path = write_clip(tmp_path / "odd.avi", [picture(0, (48, 64))] * 3, codec="mpeg4", options={})
    data = path.read_bytes()
    path.write_bytes(data.replace(b"FMP4", b"ZZZZ").replace(b"fmp4", b"zzzz"))
    with pytest.raises(VideoError, match=r"odd\.avi: FFmpeg has no decoder for the codec"):
        import_clip(path, tmp_path / "run", progress=False)


def test_truncated_image_in_a_folder(tmp_path):
    source = tmp_path / "images"
    source.mkdir()
    for name in "ab":
        Image.fromarray(picture(0)).save(source / f"{name}.jpg")
    (source / "b.jpg").write_bytes((source / "b.jpg").read_bytes()[:300])
    with pytest.raises(DataError, match=r"b\.jpg: unreadable or truncated"):
        import_clip(source, tmp_path / "run", progress=False)


def test_name_of_a_clip():
    assert [clip_name(path) for path in ("my dog, 2.mp4", "notes/été.final.webm")] == [
        "my_dog_2",
        "été.final",
    ]
