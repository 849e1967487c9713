"""Two hints for each exercise: what to do, and how.

The first is the notebook's own: it stands behind `BEGIN SOLUTION`, and the student edition shows it in
the blank cell. The second is more concrete, and for those who ask.
"""

import re
from functools import cache

from osvos_keras.course.copies import list_notebooks
from osvos_keras.errors import CheckError
from osvos_keras.io.files import read_json

SECOND = {
    "balanced_loss": (
        "share = annotations.mean(axis=(1, 2), keepdims=True) is P/T of each image. np.where(annotations, 1 "
        "- share, share) is every pixel's weight. −log p is np.logaddexp(0, -logits), and −log(1 − p) is "
        "np.logaddexp(0, logits). Multiply, and take the mean over the axes 1 and 2."
    ),
    "choose_scale": (
        "The area of an annotation is annotation.sum(). Put those above 0 into one array, divide it by its "
        "first value, take np.sqrt, and return the .min() and the .max()."
    ),
    "contour_accuracy": (
        "The disk: y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1], then x² + y² ≤ radius². "
        "precision = cv2.dilate(theirs.astype(np.uint8), disk)[ours].mean(), where `ours` and `theirs` are "
        "the outlines of mask and annotation; recall exchanges the two. F is 2 · p · r / (p + r), or 0."
    ),
    "cosine_rate": "np.cos(np.pi * step / steps) falls from 1 to −1. Add 1, halve, and multiply by highest.",
    "logits_to_mask": (
        "cv2.resize(logits, (width, height), interpolation=cv2.INTER_LINEAR) comes first. The sigmoid of 0 "
        "is ½, so the mask is where the resized logits are above 0."
    ),
    "mean_recall_decay": (
        "borders = np.floor(np.linspace(0, len(values) - 1, 5) + 0.5).astype(int). The first quarter is "
        "values[borders[0] : borders[1] + 1], the last one values[borders[3] : borders[4] + 1]. Decay is "
        "the mean of the first less that of the last; recall is (values > 0.5).mean()."
    ),
    "merge": (
        "logits.argmax(axis=0) + 1 is the number of the object with the largest logit. np.where keeps it "
        "where logits.max(axis=0) is above 0, and gives 0 elsewhere."
    ),
    "prepare_frame": (
        "frame[..., ::-1] is blue, green, red. Subtract np.array(IMAGENET_MEANS). Of rows -height % 16 are "
        "missing, of columns -width % 16: np.pad(…, [(0, rows), (0, columns), (0, 0)])."
    ),
    "read_annotation": 'Image.open(path).convert("L") has one channel. np.array(…) > 0 is its object.',
    "read_failure": (
        "(annotation & ~mask).sum() is what is missed, and (mask & ~annotation).sum() what is wrong. Divide "
        "the first by max(annotation.sum(), 1), the second by max(mask.sum(), 1)."
    ),
    "region_similarity": (
        "mask & annotation is True where both are, mask | annotation where either is. .sum() counts the "
        "pixels. Look first whether the second count is 0."
    ),
    "report_two_ways": (
        "scores.mean(axis=0) has one mean for each number of steps; the honest report is its .max(). "
        "scores.max(axis=1) has the best of each sequence; the flattering report is its .mean()."
    ),
    "score_at": (
        "The window is features[y - 1 : y + 2, x - 1 : x + 2]. np.einsum('ijc,ijcd->d', window, "
        "prep_kernel) weighs it into 16 values; add prep_bias. values @ score_kernel[0, 0] + score_bias is "
        "the end."
    ),
    "step_loss": (
        "Of one output: float(weights[name][0]) * float(loss(targets[name], logits[name])). Add these up "
        "with sum(… for name in targets)."
    ),
    "upsample": (
        "Fine row i lies at (i + 0.5) / factor − 0.5, in coarse rows; np.clip it to 0 … size − 1. Its "
        "neighbours are low = np.floor(position) and low + 1, at most size − 1; the upper one's share is "
        "position − low. Then do the same with the transposed result."
    ),
    "warp": (
        "y, x = np.mgrid[:height, :width]. old_x = np.rint(a0 * x + a1 * y + a2).astype(int), and old_y so "
        "with the b's. The answer is annotation[reflect(old_y, height), reflect(old_x, width)]."
    ),
}


@cache
def _tasks() -> dict[str, str]:
    """Check → what our solution's first line says, of all exercises in the notebooks that can be read."""
    found = {}
    for path in list_notebooks():
        task = ""
        for cell in (read_json(path) or {}).get("cells", []):
            source = "".join(cell["source"])
            task = (re.findall(r"BEGIN SOLUTION: (.+)", source) or [task])[0]
            if check := re.match(r"checks\.(\w+)\(", source):
                found[check[1]] = task
    return found


def first_hint(check: str) -> str:
    """What the function of `checks.<check>` is to do, as its exercise says it."""
    return _tasks().get(check, SECOND[check])


def hint(check: str) -> None:
    """Print how to write the function that `checks.<check>` looks at, such as hint("upsample").

    Raises:
        CheckError: no check has this name.
    """
    name = getattr(check, "__name__", check)
    if name not in SECOND:
        raise CheckError(f"{name}: no check has this name. The checks are {', '.join(SECOND)}.")
    print(SECOND[name])
