"""Self-training: the masks of later frames of which a network is surest, as lessons beside the annotations.

Online training knows the object as the first frame shows it. A mask that the network is sure of shows another
view of it, and no person has to draw it. (The idea is older than deep networks; for video objects see P.
Voigtlaender and B. Leibe, BMVC 2017, who learn while they segment.)
"""

from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

import keras
import numpy as np

from osvos_keras.inference import predict_sequence
from osvos_keras.io.files import make_folder, sha256
from osvos_keras.io.images import read_frame
from osvos_keras.io.masks import read_annotation, write_mask
from osvos_keras.io.records import read_record, write_record
from osvos_keras.metrics import sigmoid

PARTS = 3  # of the sequence; each gives its surest mask
ALIKE = 5  # frames at the beginning that show what the first one shows

Pair = tuple[np.ndarray, np.ndarray]  # a frame (H, W, 3) uint8 and the object in it (H, W) bool


def expected_similarity(logits: np.ndarray) -> float:
    """The J that a network expects of its own mask, from 0 to 1; 0 for an empty mask.

    Each pixel belongs to the object with its probability p. So the mask and the object are expected to share
    the sum of p over the mask's pixels, and to cover the mask's pixels and the sum of p over all others.

    Args:
        logits: (H, W) float32 of the object; the mask is where they are above 0.
    """
    probability, mask = sigmoid(logits), logits > 0
    either = np.count_nonzero(mask) + probability[~mask].sum()
    return float(probability[mask].sum() / either) if either else 0.0


def add_surest(
    pairs: Sequence[Pair],
    model: keras.Model,
    weights: Path,
    frames: Sequence[Path],
    folder: Path,
    progress: bool = True,
) -> list[Pair]:
    """The annotated frames, in turn with others in whose masks the network expects the highest J.

    Args:
        pairs: the annotated frames.
        model: the network that learned them, as at the end of online training.
        weights: the file of its weights.
        frames: those of the sequence.
        folder: keeps these masks, for a person to look at and for the next call.
        progress: whether to show a bar.
    """
    made_with = {"weights_sha256": sha256(weights), "frames_sha256": sha256(*frames)}
    names = (read_record(folder / "surest.json", made_with) or {}).get("frames")
    known = isinstance(names, list) and {*names} <= {frame.stem for frame in frames}
    masks = {frame: folder / f"{frame.stem}.png" for frame in frames if known and frame.stem in names}
    if not known or not all(mask.is_file() for mask in masks.values()):
        masks = _write_surest(pairs, model, frames, make_folder(folder), progress)
        write_record(folder / "surest.json", made_with, frames=[frame.stem for frame in masks])
    own = [(read_frame(frame), read_annotation(mask)) for frame, mask in masks.items()]
    turns = zip(cycle(pairs), cycle(own), strict=False) if own else ((pair,) for pair in cycle(pairs))
    return [pair for turn in islice(turns, max(len(pairs), len(own))) for pair in turn]


def _write_surest(
    pairs: Sequence[Pair], model: keras.Model, frames: Sequence[Path], folder: Path, progress: bool
) -> dict[Path, Path]:
    """Write the surest mask of each part of the sequence; return its file by its frame.

    Annotated frames are left out, and frames of another size, which cannot be learned beside them.
    """
    learned_area = max(annotation.mean() for _, annotation in pairs)
    size, annotated = pairs[0][1].shape, {frame.tobytes() for frame, _ in pairs}
    parts = np.array_split(frames[ALIKE:], PARTS)
    part_of = {path: part for part, paths in enumerate(parts) for path in paths}
    best: dict[int, tuple[float, Path, np.ndarray]] = {}  # of a part: expected J, frame, mask
    for path, logits in predict_sequence(model, frames, learned_area=learned_area, progress=progress):
        part, j = part_of.get(path), expected_similarity(logits)
        better = part is not None and j > best.get(part, (0.0,))[0] and logits.shape == size
        if better and read_frame(path).tobytes() not in annotated:
            best[part] = (j, path, logits > 0)
    for _, path, mask in best.values():
        write_mask(folder / f"{path.stem}.png", mask)
    return {path: folder / f"{path.stem}.png" for _, path, _ in best.values()}
