"""Self-training: which masks are taken, in which order they are learned, and what a second call does."""

import keras
import numpy as np
import pytest

from osvos_keras import self_training
from osvos_keras.config import OnlineConfig, get_config
from osvos_keras.davis import Davis
from osvos_keras.errors import ConfigError
from osvos_keras.io.images import read_frame
from osvos_keras.io.masks import read_annotation
from osvos_keras.self_training import add_surest
from osvos_keras.trained import WEIGHTS_FILE
from osvos_keras.training import train_online
from tests.conftest import QUIET, contents, refuse, stop_at, write_sequence

FRAMES = 12


@pytest.fixture
def davis(tmp_path):
    write_sequence(tmp_path / "davis", "cow", frames=FRAMES)
    return Davis(tmp_path / "davis")


def predict(sureness):
    """Masks of one pixel more in each frame, of which the network is as sure as it is told."""

    def predict_sequence(model, frames, learned_area, progress):
        for index, path in enumerate(frames):
            logits = np.full((45, 61), -90, np.float32)
            logits.flat[: index + 1] = sureness[index]
            yield path, logits

    return predict_sequence


@pytest.fixture
def call(davis, tmp_path, monkeypatch):
    """`add_surest` for a network of this sureness per frame, and a first frame (or more)."""

    def add(sureness, pairs=None, weights=b"1"):
        monkeypatch.setattr(self_training, "predict_sequence", predict(sureness))
        (tmp_path / "weights").write_bytes(weights)
        place = tmp_path / "weights", davis.frames("cow"), tmp_path / "surest"
        return add_surest(pairs or [davis.first("cow")], None, *place, progress=False)

    return add


def test_the_surest_mask_of_each_third_is_learned_in_turn_with_the_first_frame(davis, call, tmp_path):
    """The first five frames are like the first one; the others are 5 to 7, 8 and 9, 10 and 11."""
    sureness = [9, 9, 9, 9, 9, 1, 2, 1, 3, 1, 1, 4]
    lessons = call(sureness)
    frames, first = davis.frames("cow"), davis.first("cow")
    for pair, index in zip(lessons, [0, 6, 0, 8, 0, 11], strict=True):
        mask = first[1] if index == 0 else np.arange(45 * 61).reshape(45, 61) <= index
        np.testing.assert_array_equal(pair[0], read_frame(frames[index]))
        np.testing.assert_array_equal(pair[1], mask)
    assert [path.name for path in sorted((tmp_path / "surest").glob("*.png"))] == [
        "00006.png", "00008.png", "00011.png"
    ]  # fmt: skip


def test_every_annotated_frame_has_its_turn(davis, call):
    pairs = [(read_frame(path), read_annotation(davis.annotation_path(path))) for path in davis.frames("cow")]
    lessons = call([1] * FRAMES, pairs[:4])
    assert [any(one is pair for pair in pairs) for one in lessons] == [True, False] * 4
    assert all(lessons[2 * index] is pairs[index] for index in range(4))


def test_no_frame_is_learned_both_as_annotated_and_as_the_network_has_it(davis, call, tmp_path):
    """Of annotated frames, as of a corrected one, the network is surest."""
    frames = davis.frames("cow")
    pairs = [davis.first("cow"), (read_frame(frames[6]), read_annotation(davis.annotation_path(frames[6])))]
    call([1, 1, 1, 1, 1, 1, 9, 2, 1, 2, 1, 2], pairs)
    assert sorted(path.name for path in (tmp_path / "surest").glob("*.png")) == [
        "00007.png", "00009.png", "00011.png"
    ]  # fmt: skip


def test_frames_of_another_size_are_not_learned(davis, monkeypatch, tmp_path):
    def smaller(model, frames, **options):
        for path, logits in predict([1] * FRAMES)(model, frames, 0, False):
            yield path, logits[:-1] if path.stem == "00011" else logits

    monkeypatch.setattr(self_training, "predict_sequence", smaller)
    (tmp_path / "weights").write_bytes(b"1")
    place = tmp_path / "weights", davis.frames("cow"), tmp_path / "surest"
    lessons = add_surest([davis.first("cow")], None, *place, progress=False)
    assert {frame.shape for frame, _ in lessons} == {(45, 61, 3)}
    assert not (tmp_path / "surest" / "00011.png").exists()


@pytest.mark.usefixtures("narrow")
def test_weights_of_the_folder_itself_are_no_start(davis, tmp_path, monkeypatch):
    """Else each call would train again, from its own result."""
    monkeypatch.setattr(self_training, "predict_sequence", predict([1] * FRAMES))
    config = OnlineConfig(height=0, steps=1, self_training=True)
    train_online(davis, "cow", config, tmp_path / "run", **QUIET)
    with pytest.raises(ConfigError, match="these weights lie where the training writes"):
        train_online(davis, "cow", config, tmp_path / "run", weights=tmp_path / "run" / WEIGHTS_FILE, **QUIET)


def test_an_object_that_is_found_no_more_teaches_nothing(davis, call):
    (only,) = call([9] * 5 + [-9] * 7)
    np.testing.assert_array_equal(only[1], davis.first("cow")[1])


def test_the_masks_are_kept_until_the_network_or_a_frame_changes(davis, call, tmp_path):
    before = call([1] * FRAMES)
    sure_elsewhere = [1] * (FRAMES - 1) + [5]
    for one, other in zip(before, call(sure_elsewhere), strict=True):
        np.testing.assert_array_equal(one[1], other[1])
    assert call(sure_elsewhere, weights=b"2")[-1][1].sum() == FRAMES
    (tmp_path / "surest" / "00011.png").unlink()
    assert call([1] * FRAMES, weights=b"2")[-1][1].sum() == FRAMES - 1
    (tmp_path / "surest" / "surest.json").write_text('{"made_with": {}}')
    assert call(sure_elsewhere, weights=b"2")[-1][1].sum() == FRAMES
    davis.frames("cow")[3].write_bytes(davis.frames("cow")[4].read_bytes())
    assert call([1] * FRAMES)[-1][1].sum() == FRAMES - 1
    first = davis.first("cow")
    for path in davis.frames("cow"):
        path.rename(path.with_stem(f"cow_{path.stem}"))
    assert len(call([1] * FRAMES, [first])) == 6


@pytest.mark.usefixtures("narrow")
def test_online_training_goes_on_with_them_and_resumes_to_the_bit(davis, tmp_path, monkeypatch):
    monkeypatch.setattr(self_training, "predict_sequence", predict([1] * FRAMES))
    config = OnlineConfig(height=0, steps=4, seed=1, self_training=True)
    whole = train_online(davis, "cow", config, tmp_path / "whole", **QUIET).get_weights()
    first = tmp_path / "whole" / "first"
    once = OnlineConfig(height=0, steps=4, seed=1)
    model = train_online(davis, "cow", once, tmp_path / "by hand", **QUIET)
    where = first / WEIGHTS_FILE, davis.frames("cow"), tmp_path / "surest"
    lessons = add_surest([davis.first("cow")], model, *where, progress=False)
    assert len(lessons) == 6
    by_hand = train_online(
        davis, "cow", once, tmp_path / "second", pairs=lessons, weights=first / WEIGHTS_FILE, **QUIET
    ).get_weights()
    # Killed in the first training, then in the second one.
    fit = keras.Model.fit
    for _ in range(2):
        monkeypatch.setattr(keras.Model, "fit", interrupted(fit))
        with pytest.raises(KeyboardInterrupt):
            train_online(davis, "cow", config, tmp_path / "killed", **QUIET)
        monkeypatch.setattr(keras.Model, "fit", fit)
        train_online(davis, "cow", once, tmp_path / "killed" / "first", **QUIET)
    killed = train_online(davis, "cow", config, tmp_path / "killed", **QUIET).get_weights()
    np.testing.assert_equal([by_hand, killed], [whole, whole])
    before = contents(tmp_path / "whole")
    monkeypatch.setattr(keras.Model, "fit", refuse("trained"))
    monkeypatch.setattr(self_training, "predict_sequence", refuse("looked"))
    train_online(davis, "cow", config, tmp_path / "whole", **QUIET)
    assert contents(tmp_path / "whole") == before


def interrupted(fit):
    """`fit` with a Ctrl-C after the second step."""

    def stopped(model, *arguments, callbacks, **options):
        return fit(model, *arguments, callbacks=[*callbacks, stop_at(2)], **options)

    return stopped


def test_the_preset_is_the_default_and_that():
    assert get_config("online", "thorough") == get_config("online", self_training=True)
    assert get_config("parent", "thorough") == get_config("parent")
