"""A clip from what a person marked in it to masks: online training, then every frame.

<run>/clip/                     the sequence: see `video.clip`
<run>/online/<name>/            the network; of several objects object_1/, object_2/ …
<run>/corrected/<name>/         the same networks after they have learned from corrections too
<run>/masks/<name>/00000.png    0 and 255; of several objects DAVIS 2017's palette
<run>/masks/<name>.json         what they were made from; when all are there, their checksums and expected J
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import keras
import numpy as np
import pandas as pd

from osvos_keras.config import OnlineConfig
from osvos_keras.errors import MaskError, note_if_stopped
from osvos_keras.io.files import clear_temporaries, sha256
from osvos_keras.io.images import read_frame
from osvos_keras.io.kept import require_absent, set_aside
from osvos_keras.io.paths import resolve_output
from osvos_keras.io.records import dict_in, read_record, write_record
from osvos_keras.self_training import expected_similarity
from osvos_keras.trained import WEIGHTS_FILE
from osvos_keras.training import train_online
from osvos_keras.video.clip import Clip, write_annotations
from osvos_keras.video.estimate import Estimate
from osvos_keras.video.objects import segment_objects
from osvos_keras.weights import find_weights


def segment_clip(
    clip: Clip,
    marked: Mapping[int, np.ndarray],
    run_dir: str | Path,
    config: OnlineConfig,
    *,
    corrections: Mapping[int, np.ndarray] = MappingProxyType({}),
    weights: str | Path = "imagenet",
    policy: str = "auto",
    progress: bool = True,
) -> Path:
    """Train on the marked frames of a clip, a network per object, and write the masks of all its frames.

    With corrections, the networks then go on, for as many steps again, on the marked and the corrected
    frames in turn: the paper's progressive refinement.

    Called again with the same it computes nothing; after a kill it goes on; with another mark it trains
    anew; with another correction it goes on again from what the marks taught.

    Args:
        clip: from `import_clip`.
        marked: maps of objects (H, W) uint8 by the index of their frame, any frame. The largest number in
            them is the number of objects. Each object is learned from the frames whose maps show it.
        run_dir: where everything goes.
        config: of online training; the network looks at the frames as it was trained.
        corrections: maps of other frames, that show every object which is visible there.
        weights, policy: as in `train_online`.
        progress: whether to show bars, and to print how many seconds are left once a few steps were timed.

    Returns:
        The folder of masks. Those of corrected frames are the corrections; all others are the networks' own,
        in the marked frames too, which a box or polygon shows only roughly.

    Raises:
        MaskError: an object is marked in no frame, or a map belongs to a frame that is not there.
        FolderError: files that this project did not write lie where masks or annotations would go.
        as `train_online`.
    """
    count, given = _count_objects(clip, marked), {**marked, **corrections}
    _check_maps(clip, given, count)
    run_dir = resolve_output(run_dir)
    masks, done = run_dir / "masks" / clip.name, run_dir / "masks" / f"{clip.name}.json"
    made_with = {
        "clip_sha256": clip.sha256,
        "frames": len(clip.frames),
        "marked": _digests(marked),
        "corrected": _digests(corrections),
        "weights_sha256": sha256(find_weights(weights)),
        "policy": policy,
        "config": dataclasses.asdict(config),
    }  # all that decides the masks
    names = [f"{path.stem}.png" for path in clip.frames]
    write_annotations(clip, given)
    written = _written(read_record(done, made_with))
    if all(written.get(name) and (masks / name).is_file() for name in names):
        return masks
    _claim(masks, done, clip, names)
    write_record(done, made_with, masks=dict.fromkeys(names))  # begun
    lessons = _plan_lessons(marked, corrections, count)
    models = _train(clip, lessons, run_dir, config, weights, policy, progress)
    areas = _learned_areas(given, count)
    with note_if_stopped(lambda: f"the training is done and kept in {run_dir}, the masks are made again"):
        expected = _write_masks(clip, models, areas, corrections, masks.parent, progress)
    checksums = {name: sha256(masks / name) for name in names}
    write_record(done, made_with, masks=checksums, expected=expected)  # complete
    return masks


def _written(record: dict[str, Any] | None) -> dict[str, str | None]:
    """The masks that a record says were written, with their checksums; None where that was only begun."""
    found = dict_in(record, "masks")
    return found if all(Path(name).name == name for name in found) else {}


def _claim(masks: Path, done: Path, clip: Clip, names: Sequence[str]) -> None:
    """Make room for the masks: those of an earlier run of this clip that are no longer wanted go, no others.

    Raises:
        FolderError: a file that no run of this clip wrote, or that was changed since, would be written over.
    """
    record = read_record(done)
    own = _written(record) if dict_in(record, "made_with").get("clip_sha256") == clip.sha256 else {}
    if done.exists() and masks.exists() and not own:
        set_aside(masks, f"masks of another clip, or whose record ({done.name}) cannot be understood")
    changed = [name for name, digest in own.items() if digest and _differs(masks / name, digest)]
    require_absent(masks / name for name in {*names} - {*own} | {*changed})
    clear_temporaries(masks)
    for name in own.keys() - {*names}:
        (masks / name).unlink(missing_ok=True)


def _differs(path: Path, digest: str) -> bool:
    return path.is_file() and sha256(path) != digest


def _learned_areas(given: Mapping[int, np.ndarray], count: int) -> list[float]:
    """The largest area of each object where it is learned, as a fraction of the frame."""
    return [max((objects == number).mean() for objects in given.values()) for number in range(1, count + 1)]


def _count_objects(clip: Clip, marked: Mapping[int, np.ndarray]) -> int:
    """How many objects are marked; see that each of them is."""
    present = {number for objects in marked.values() for number in np.unique(objects).tolist()}
    count = max(present, default=0)
    for number in range(1, max(count, 1) + 1):
        if number not in present:
            raise MaskError(f"{clip.name}: object {number} is marked in no frame. Mark it in one.")
    return count


def _check_maps(clip: Clip, given: Mapping[int, np.ndarray], count: int) -> None:
    """See that each map is one of a frame that is there, and shows only objects that are marked."""
    last = len(clip.frames) - 1
    for index, objects in given.items():
        if not 0 <= index <= last:
            raise MaskError(f"{clip.name}: there is no frame {index}; its frames are 0 to {last}.")
        if objects.max() > count:
            raise MaskError(
                f"{clip.name}: the correction of frame {index} shows object {objects.max()}, but {count} "
                "are marked. Mark that object too."
            )


def _digests(maps: Mapping[int, np.ndarray]) -> dict[str, str]:
    """The SHA-256 of each map, by the index of its frame."""
    return {str(index): hashlib.sha256(maps[index].tobytes()).hexdigest() for index in sorted(maps)}


def _plan_lessons(
    marked: Mapping[int, np.ndarray], corrections: Mapping[int, np.ndarray], count: int
) -> list[dict[str, dict[int, np.ndarray]]]:
    """What each object is learned from: folder of a training → masks (H, W) bool by the index of a frame."""
    lessons = []
    for number in range(1, count + 1):
        shown = {index: objects == number for index, objects in sorted(marked.items())}
        lesson = {"online": {index: mask for index, mask in shown.items() if mask.any()}}
        if corrections:
            right = {index: objects == number for index, objects in corrections.items()}
            lesson["corrected"] = dict(sorted({**lesson["online"], **right}.items()))
        lessons.append(lesson)
    return lessons


def _train(
    clip: Clip,
    lessons: Sequence[Mapping[str, Mapping[int, np.ndarray]]],
    run_dir: Path,
    config: OnlineConfig,
    weights: str | Path,
    policy: str,
    progress: bool,
) -> list[keras.Model]:
    """A network for each object; each of its trainings goes on from the one before."""
    models, count, frames = [], len(lessons), clip.frames
    rounds = 1 + config.self_training  # of steps and of masks
    estimate = Estimate(frames, count * rounds, config.steps * rounds * sum(map(len, lessons)))
    options = {"policy": policy, "progress": progress, "callbacks": [estimate] if progress else []}
    for number, lesson in enumerate(lessons, start=1):
        start = weights
        for stage, masks in lesson.items():
            folder = run_dir / stage / clip.name
            folder = folder if count == 1 else folder / f"object_{number}"
            pairs = [(read_frame(frames[index]), mask) for index, mask in masks.items()]
            model = train_online(clip.davis, clip.name, config, folder, pairs=pairs, weights=start, **options)
            start, estimate.steps = folder / WEIGHTS_FILE, estimate.steps - config.steps * rounds
        models.append(model)
    return models


def _write_masks(
    clip: Clip,
    models: Sequence[keras.Model],
    areas: Sequence[float],
    corrections: Mapping[int, np.ndarray],
    folder: Path,
    progress: bool,
) -> dict[str, float]:
    """Write the mask of every frame; return the J that is expected of it, by the frame's name.

    Of several objects it is that of the least sure one.
    """
    found, frames = [], clip.frames
    correct = [
        {frames[index]: objects == number for index, objects in corrections.items()}
        for number in range(1, len(models) + 1)
    ]

    def observe(path: Path, logits: np.ndarray) -> None:
        found.append((path.stem, expected_similarity(logits)))

    segment_objects(models, clip.davis, clip.name, folder, areas, correct, progress, observe)
    return pd.DataFrame(found, columns=["frame", "J"]).groupby("frame")["J"].min().to_dict()
