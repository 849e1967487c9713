"""Clips made sequences: what lies in a file or a folder comes in rightly, or is named; nothing is lost."""

import itertools
import os
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from osvos_keras.errors import ConfigError, DataError, FolderError, VideoError, VideoWarning
from osvos_keras.io.files import read_json, write_json
from osvos_keras.io.images import read_frame
from osvos_keras.video.clip import clip_name, find_clip_folder, import_clip
from osvos_keras.video.codec import read_video, write_gif, write_webm
from tests.conftest import contents, refuse
from tests.test_video import TIMES, bar_height, picture, write_clip


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
        source = write_folder(tmp_path / "clip", [f"frame{n}.png" for n in range(9, 15)])  # 9 comes before 10
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


def test_second_import_reads_nothing(tmp_path, webm, monkeypatch):
    clip = import_clip(webm, tmp_path / "run", progress=False)
    monkeypatch.setattr("osvos_keras.video.clip.read_video", refuse("read"))
    assert import_clip(webm, tmp_path / "run", progress=False) == clip


def test_another_clip_never_takes_the_place_of_the_first(tmp_path, webm):
    import_clip(webm, tmp_path / "run", progress=False)
    before = contents(tmp_path / "run")
    (tmp_path / "other").mkdir()
    other = write_webm(tmp_path / "other" / "clip.webm", map(picture, range(3)), TIMES[:4])
    with pytest.raises(FolderError, match=r"holds another clip\. Choose"):
        import_clip(other, tmp_path / "run", progress=False)
    assert contents(tmp_path / "run") == before


def test_two_clips_of_one_name_have_a_folder_each(tmp_path, webm):
    (tmp_path / "other").mkdir()
    other = write_webm(tmp_path / "other" / "clip.webm", map(picture, range(3)), TIMES[:4])
    for source, name in ((webm, "clip"), (other, "clip-2"), (webm, "clip"), (other, "clip-2")):
        folder = find_clip_folder(source, tmp_path / "runs")
        assert folder == tmp_path / "runs" / name
        import_clip(source, folder / "clip", progress=False)


@pytest.mark.parametrize("record", [None, "", "{}", '{"made_with": {"name": "../../mine"}}', "[1]"])
def test_a_folder_without_our_record_is_left_as_it_is(tmp_path, webm, record):
    mine = tmp_path / "run" / "JPEGImages" / "480p" / "clip" / "00000.jpg"
    mine.parent.mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    for path in (mine, tmp_path / "run" / "thesis.txt", tmp_path / "mine" / "00000.jpg"):
        path.write_text("mine")
    if record is not None:
        (tmp_path / "run" / "clip.json").write_text(record)
    before = contents(tmp_path)
    with pytest.raises(FolderError, match="holds something that is not a clip"):
        import_clip(webm, tmp_path / "run", progress=False)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "change", [{"times": "soon"}, {"frames": [3]}, {"frames": None}, {"times": [0, None]}]
)
def test_a_damaged_record_of_our_own_means_import_again(tmp_path, webm, change):
    clip = import_clip(webm, tmp_path / "run", progress=False)
    write_json(tmp_path / "run/clip.json", {**read_json(tmp_path / "run/clip.json"), **change})
    assert import_clip(webm, tmp_path / "run", progress=False) == clip


def test_lost_frames_are_imported_again_and_a_foreign_one_is_named(tmp_path, webm):
    clip = import_clip(webm, tmp_path / "run", progress=False)
    frames = clip.frames
    frames[3].unlink()
    assert import_clip(webm, tmp_path / "run", progress=False).frames == frames
    foreign = frames[0].with_name("99999.jpg")
    foreign.write_bytes(frames[0].read_bytes())
    for _ in range(2):
        with pytest.raises(FolderError, match=r"99999\.jpg: lies where this run would write"):
            import_clip(webm, tmp_path / "run", progress=False)
    assert foreign.exists()


def test_a_clip_that_was_renamed_takes_the_place_of_its_old_name(tmp_path, webm):
    import_clip(webm, tmp_path / "run", progress=False)
    clip = import_clip(webm.rename(tmp_path / "film.webm"), tmp_path / "run", progress=False)
    assert clip.davis.all_sequences() == ["film"] and len(clip.frames) == 6


def test_import_that_was_killed_starts_again(tmp_path, webm, monkeypatch):
    def killed(path):
        yield from itertools.islice(read_video(path), 4)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("osvos_keras.video.clip.read_video", killed)
        import_clip(webm, tmp_path / "run", progress=False)
    assert not list((tmp_path / "run").rglob(".tmp-*"))
    assert len(import_clip(webm, tmp_path / "run", progress=False).frames) == 6


def sound(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        silence.sample_rate = 8000
        container.mux(stream.encode(silence))


def save_pictures(path, **options):
    Image.fromarray(picture(0)).save(path, **options)


def photograph_and_preview(path):
    save_pictures(path, format="MPO", save_all=True, append_images=[Image.fromarray(picture(1))])


def two_sizes(path):
    save_pictures(path / "a.png")
    Image.fromarray(picture(0, (20, 30))).save(path / "b.png")


BAD_CLIPS = {  # a folder where the name has no suffix
    "noise.mp4": (
        lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)),
        "not a video that can be read",
    ),
    "film.txt": (lambda path: path.write_text("This is no film.\n" * 50), "there is no video in this file"),
    "tone.wav": (sound, "there is no video in this file"),
    "alone": (lambda path: save_pictures(path / "a.png"), "the only image of its folder"),
    "one.mp4": (lambda path: write_clip(path, [picture(0)]), "holds only one frame"),
    "photo.png": (save_pictures, "holds only one frame"),
    "phone.jpg": (photograph_and_preview, "holds only one frame"),
    "empty": (lambda path: None, "no image in this folder"),
    "sizes": (two_sizes, r"b\.png: 30×20 pixels, but a\.png has 61×49"),
}


@pytest.mark.parametrize("name", BAD_CLIPS)
def test_bad_clips_are_named(tmp_path, name):
    path, (make, message) = tmp_path / name, BAD_CLIPS[name]
    if not path.suffix:
        path.mkdir()
    make(path)
    with pytest.raises(VideoError, match=f"{name}.*{message}"):
        import_clip(path, tmp_path / "run", progress=False)


def test_codec_that_cannot_be_decoded(tmp_path):
    """The four letters that name the codec of an AVI, changed to some that nobody knows."""
    path = write_clip(tmp_path / "odd.avi", [picture(0, (48, 64))] * 3, codec="mpeg4", options={})
    data = path.read_bytes()
    path.write_bytes(data.replace(b"FMP4", b"ZZZZ").replace(b"fmp4", b"zzzz"))
    with pytest.raises(VideoError, match=r"odd\.avi: FFmpeg has no decoder for the codec"):
        import_clip(path, tmp_path / "run", progress=False)


def write_folder(folder, names, **options):
    """Images in a folder, whose bars tell in which order they were given."""
    folder.mkdir(exist_ok=True)
    for index, name in enumerate(names):
        Image.fromarray(picture(index)).save(folder / name, **options)
    return folder


def imported(source, tmp_path):
    """The names of a clip's frames, and what their bars tell of their order."""
    clip = import_clip(source, tmp_path / "run", progress=False)
    return [path.stem for path in clip.frames], [
        (bar_height(read_frame(path)) - 4) / 6 for path in clip.frames
    ]


def test_frames_of_a_folder_keep_their_names_and_come_in_the_order_of_their_numbers(tmp_path):
    names = [f"frame{number}" for number in (8, 9, 10, 11, 19)]
    source = write_folder(tmp_path / "clip", [f"{name}.png" for name in names])
    with pytest.warns(
        VideoWarning,
        match=r"numbers are missing; the clip has no frames for them: frame11\.png … frame19\.png",
    ):
        assert imported(source, tmp_path) == (names, [0, 1, 2, 3, 4])


@pytest.mark.filterwarnings("error")
def test_suffixes_of_one_kind_may_be_mixed(tmp_path):
    names = ["00001.jpg", "00002.JPG", "00003.jpeg", "00004.JPEG", "00005.jpg"]
    assert imported(write_folder(tmp_path / "clip", names), tmp_path) == (
        ["00001", "00002", "00003", "00004", "00005"],
        [0, 1, 2, 3, 4],
    )


def test_a_person_names_frames_as_they_are_called(tmp_path):
    clip = import_clip(
        write_folder(tmp_path / "clip", [f"f{n:03d}.png" for n in range(1, 6)]), tmp_path / "run"
    )
    for name in ("f004.png", "f004", "004", "4"):
        assert clip.find_frame(name) == 3
    for name in ("0", "6", "f4", "04.png.jpg", "9" * 5000):
        with pytest.raises(VideoError, match=r"there is no frame .*; its frames are f001 to f005"):
            clip.find_frame(name)


def test_a_number_that_two_frames_have_is_refused(tmp_path):
    clip = import_clip(write_folder(tmp_path / "clip", ["a1.png", "a2.png", "b2.png"]), tmp_path / "run")
    with pytest.raises(VideoError, match=r"several frames are numbered 2.* such as a2"):
        clip.find_frame("2")


def test_two_images_of_one_name_are_refused(tmp_path):
    source = write_folder(tmp_path / "clip", ["00000.jpg", "00001.jpg", "00000.png"])
    with pytest.raises(VideoError, match=r"00000\.(jpg|png) exists too.*If one is a mask"):
        import_clip(source, tmp_path / "run", progress=False)


def test_a_link_to_a_frame_that_is_gone_is_refused(tmp_path):
    source = write_folder(tmp_path / "clip", ["00000.jpg", "00001.jpg"])
    (source / "00002.jpg").symlink_to("gone")
    with pytest.raises(DataError, match=r"00002\.jpg: a broken link, a folder or a pipe, where a frame"):
        import_clip(source, tmp_path / "run", progress=False)


def test_what_is_odd_in_a_folder_is_said(tmp_path):
    source = write_folder(tmp_path / "clip", ["00000.png", "00001.png", "00002.png"])
    Image.fromarray(picture(0)[..., 0]).save(source / "mask.png")
    (source / "._00000.png").write_bytes(b"macOS")
    (source / "notes.txt").write_text("mine")
    with pytest.warns(VideoWarning) as found:
        assert imported(source, tmp_path)[0] == ["00000", "00001", "00002", "mask"]
    text = " ".join(str(one.message) for one in found)
    assert "left out, because they are not images that are read here: notes.txt." in text
    assert "although their names differ in form from those of the other images" in text
    assert "such as 00000.png: mask.png." in text
    assert "most images are in colour, but not mask.png (grey)" in text
    assert "._00000" not in text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("16 bits", None),
        ("float", "floating-point numbers"),
        ("animation", r"holds 2 pictures"),
        ("text", "not an image but text"),
        ("truncated", "unreadable or truncated"),
        ("PNG named JPEG", None),
        ("tiny", r"8×2000 pixels; each side must have 16 to"),
    ],
)
def test_images_enter_rightly_or_are_named(tmp_path, name, message):
    source = write_folder(tmp_path / "clip", ["b.png"])
    deep = picture(1)[..., 0].astype(np.uint16) << 8
    if name == "16 bits":
        Image.fromarray(picture(0)[..., 0]).save(source / "b.png")
        Image.fromarray(deep).save(source / "a.png")
    elif name == "float":
        Image.fromarray(deep.astype(np.float32)).save(source / "a.tif")
    elif name == "animation":
        save_pictures(source / "a.png", save_all=True, append_images=[Image.fromarray(picture(1))])
    elif name == "text":
        (source / "a.png").write_text("no image")
    elif name == "truncated":
        save_pictures(source / "a.jpg")
        os.truncate(source / "a.jpg", 300)
    elif name == "PNG named JPEG":
        Image.fromarray(picture(1)).save(source / "a.jpg", format="PNG")
    else:
        for one in "ab":
            Image.fromarray(np.zeros((2000, 8), np.uint8)).save(source / f"{one}.png")
    if message:
        with pytest.raises(DataError, match=rf"a\.\w+: .*{message}"):
            import_clip(source, tmp_path / "run", progress=False)
    else:
        assert imported(source, tmp_path) == (["a", "b"], [1, 0])


ANIMATED = {
    "webp": {"lossless": True, "duration": [100, 50, 200, 400, 20]},
    "png": {"duration": 100},
    "tif": {},
}


@pytest.mark.parametrize("kind", ANIMATED)
def test_image_files_of_several_pictures_are_clips(tmp_path, kind):
    source = tmp_path / f"clip.{kind}"
    first, *others = (Image.fromarray(picture(index)) for index in range(5))
    first.save(source, save_all=True, append_images=others, **ANIMATED[kind])
    names, order = imported(source, tmp_path)
    assert (names, order) == ([f"{index:05d}" for index in range(5)], [0, 1, 2, 3, 4])
    times = import_clip(source, tmp_path / "run", fps=5, progress=False).times
    expected = {"webp": [0, 0.1, 0.15, 0.35, 0.75, 0.77], "png": np.arange(6) / 10, "tif": np.arange(6) / 5}
    np.testing.assert_allclose(times, expected[kind])


def test_other_frames_a_second_change_the_times_alone(tmp_path, monkeypatch):
    source = write_folder(tmp_path / "clip", ["0.png", "1.png", "2.png"])
    import_clip(source, tmp_path / "run", fps=10, progress=False)
    monkeypatch.setattr("osvos_keras.video.clip._write", refuse("imported"))
    assert import_clip(source, tmp_path / "run", fps=2, progress=False).times == (0, 0.5, 1, 1.5)


@pytest.mark.parametrize("fps", [0, -1, 1e-9, 0.001, 1e6, float("inf"), float("nan")])
def test_a_rate_that_cannot_be_shown_is_refused(tmp_path, fps):
    with pytest.raises(
        ConfigError, match=r"fps is .*; it must (lie between 0\.01 and 1000|be above zero|be a finite number)"
    ):
        import_clip(write_folder(tmp_path / "clip", ["0.png", "1.png"]), tmp_path / "run", fps=fps)


def test_a_playlist_of_other_files_is_no_clip(tmp_path, webm):
    """FFmpeg would read its neighbours."""
    shutil.copy(webm, tmp_path / "001.jpg")
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nclip.webm\n#EXT-X-ENDLIST\n"
    texts = {
        "list.mp4": "ffconcat version 1.0\nfile clip.webm\n",
        "list.m3u8": playlist,
        "%03d.jpg": "a pattern",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(VideoError, match="such as a playlist of other files"):
            import_clip(tmp_path / name, tmp_path / "run", progress=False)


def test_pipes_and_missing_files_are_named_as_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.mp4")
    with pytest.raises(VideoError, match=r"^pipe\.mp4: neither a file nor a folder"):
        import_clip("pipe.mp4", "run")
    with pytest.raises(VideoError, match=r"^nope\.mp4: no such file"):
        import_clip("nope.mp4", "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["webm", "mp4", "gif", "webp", "tif"])
def test_damaged_files_end_in_one_sentence(tmp_path, webm, kind):
    """Bytes changed at random, and cut off: whatever FFmpeg or Pillow raise, it is our own error."""
    images = [picture(index, (48, 64)) for index in range(4)]
    source = tmp_path / f"clip.{kind}"
    if kind == "mp4":
        write_clip(source, images)
    elif kind in ("webp", "tif"):
        first, *others = map(Image.fromarray, images)
        first.save(source, save_all=True, append_images=others)
    elif kind == "gif":
        write_gif(source, images, TIMES[:5])
    whole, random, refused = source.read_bytes(), np.random.default_rng(0), 0
    for turn in range(60):
        data = bytearray(whole if turn % 10 else whole[: random.integers(len(whole))])
        for place in random.integers(len(data), size=turn % 4):
            data[place] = random.integers(256)
        source.write_bytes(data)
        try:
            import_clip(source, tmp_path / str(turn), progress=False)
        except DataError as error:
            refused += 1
            assert str(error).startswith(str(tmp_path))
    assert 0 < refused < 60


def test_names_that_are_odd_but_possible(tmp_path):
    names = ["Bild 1.png", "Bild\u202f2.png", "Bild [4].png"]
    source = write_folder(tmp_path / "my clip", names)
    clip = import_clip(source, tmp_path / "run", progress=False)
    assert (clip.name, sorted(path.stem for path in clip.frames)) == (
        "my_clip",
        sorted(Path(name).stem for name in names),
    )
    assert import_clip(source, tmp_path / "run", progress=False) == clip
    (source / "Bild 1.png").rename(source / f"{'ö' * 120}.png")
    with pytest.raises(VideoError, match="its name is 2 bytes too long for a frame"):
        import_clip(source, tmp_path / "run2", progress=False)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("my dog, 2.mp4", "my_dog_2"),
        ("notes/été.final.webm", "été.final"),
        (f"{'ö' * 110}.mp4", "ö" * 50),  # fits into names of files
        (".hidden.mp4", "hidden"),
        ("...", "clip"),
    ],
)
def test_name_of_a_clip(path, name):
    assert clip_name(path) == name
