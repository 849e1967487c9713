"""Wrong answers as students write them: which of them a check recognizes, and what it says of the others.

They were written down as plausible answers to the text of each exercise, not from the list of mistakes
that the checks know. `None` stands for an answer that no mistake explains; it still gets input and hint.
"""

import pytest

from osvos_keras.course.checks.hints import first_hint
from osvos_keras.errors import CheckError
from tests.exercises import EXERCISES

BEGINNINGS = {  # what the answers to an exercise have in common
    "region-similarity": "union = (mask | annotation).sum()",
    "warp": """
        height, width = annotation.shape
        y, x = np.mgrid[:height, :width]
        (a0, a1, a2), (b0, b1, b2) = transform
        old_x, old_y = a0 * x + a1 * y + a2, b0 * x + b1 * y + b2
        """,
    "prepare-frame": """
        height, width = frame.shape[:2]
        missing = [(0, -height % 16), (0, -width % 16), (0, 0)]
        """,
    "side-score": "window = features[y - 1 : y + 1, x - 1 : x + 1]",
    "balanced-loss": """
        share = annotations.mean(axis=(1, 2), keepdims=True)
        entropy = np.logaddexp(0, np.where(annotations, -logits, logits))
        """,
    "contour-accuracy": """
        radius = int(np.ceil(0.008 * np.hypot(*mask.shape)))
        y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
        disk = (x**2 + y**2 <= radius**2).astype(np.uint8)
        ours, theirs = outline(mask), outline(annotation)
        """,
    "mean-recall-decay": """
        n, mean, recall = len(values), values.mean(), (values > 0.5).mean()
        _, second, _, last, end = np.floor(np.linspace(0, n - 1, 5) + 0.5).astype(int)
        """,
    "read-failure": "missed, wrong = (annotation & ~mask).sum(), (mask & ~annotation).sum()",
}
WRONG = {
    "region-similarity": [
        ("return (mask & annotation).sum() / (mask.sum() + annotation.sum())", "counts twice"),
        ("return 100 * (mask & annotation).sum() / union if union else 100.0", "a percentage"),
        ("return (mask & annotation).sum() // union if union else 1.0", "cut off"),
        ("print((mask & annotation).sum() / union)", "lacks `return`"),
        ("return (mask * annotation).sum() / max((mask ^ annotation).sum(), 1)", "where the two differ"),
        ("return (mask & annotation) / (mask | annotation)", None),
    ],
    "read-annotation": [
        ("return np.array(Image.open(path).convert('L')) / 255", "a comparison is missing"),
        ("return np.array(Image.open(path).convert('1'))", "some files hold 1"),
        ("return Image.open(path).convert('L')", "still numbers"),
        ("return np.array(Image.open(path))[..., 0] > 0", None),
    ],
    "warp": [
        (
            "return annotation[np.rint(old_y).astype(int), np.rint(old_x).astype(int)]",
            "looked up as they are",
        ),
        ("return annotation[reflect(old_y, height), reflect(old_x, width)]", "fractions"),
        (
            "return annotation[reflect(old_y.astype(int), height), reflect(old_x.astype(int), width)]",
            "rounded down",
        ),
    ],
    "choose-scale": [
        (
            """
            widths = [a.any(axis=0).sum() for a in annotations if a.any()]
            return min(widths) / widths[0], max(widths) / widths[0]
            """,
            "widths are compared",
        ),
        (
            """
            areas = [np.sqrt(a.sum()) for a in annotations if a.any()]
            return min(areas), max(areas)
            """,
            "lengths in pixels",
        ),
        (
            """
            heights = [a.any(axis=1).sum() for a in annotations if a.any()]
            return min(heights) / heights[0], max(heights) / heights[0]
            """,
            "heights are compared",
        ),
        (
            """
            areas = np.array([a.sum() for a in annotations[1:] if a.any()])
            sizes = np.sqrt(areas / annotations[0].sum())
            return sizes.min(), sizes.max()
            """,
            "the first frame is left out",
        ),
    ],
    "prepare-frame": [
        ("return np.pad(frame[..., ::-1] / 255, missing)", "divided by 255"),
        (
            "return np.pad(frame[..., ::-1] - np.array(IMAGENET_MEANS).astype(np.uint8), missing)",
            "starts again at 255",
        ),
        (
            """
            frame = frame[..., ::-1]
            frame -= np.array(IMAGENET_MEANS)
            return frame
            """,
            None,
        ),
        (
            """
            centred = frame[..., ::-1] - np.array(IMAGENET_MEANS)
            return np.pad(centred, [(0, height % 16), (0, width % 16), (0, 0)])
            """,
            "what is missing is -size % 16",
        ),
    ],
    "side-score": [
        (
            """
            values = np.einsum("ijc,ijcd->d", window, prep_kernel[:2, :2]) + prep_bias
            return values @ score_kernel[0, 0] + score_bias
            """,
            "the end of a slice",
        ),
        (
            """
            values = np.einsum("ijc,ijcd->d", window, prep_kernel) + prep_bias
            return values @ score_kernel[0, 0] + score_bias
            """,
            None,
        ),
    ],
    "upsample": [
        (
            """
            width = coarse.shape[1]
            position = np.clip((np.arange(width * factor) + 0.5) / factor - 0.5, 0, width - 1)
            low = np.floor(position).astype(int)
            high = np.minimum(low + 1, width - 1)
            share = position - low
            return (1 - share) * coarse[:, low] + share * coarse[:, high]
            """,
            "only the columns are upsampled",
        ),
        (
            """
            for _ in range(2):
                size = len(coarse)
                position = (np.arange(size * factor) + 0.5) / factor - 0.5
                low = np.floor(position).astype(int)
                share = (position - low)[:, None]
                coarse = ((1 - share) * coarse[low] + share * coarse[low + 1]).T
            return coarse
            """,
            "no value after",
        ),
        (
            """
            for _ in range(2):
                size = len(coarse)
                position = np.clip((np.arange(size * factor) + 0.5) / factor - 0.5, 0, size - 1)
                low = np.floor(position).astype(int)
                share = (position - low)[:, None]
                coarse = ((1 - share) * coarse[low] + share * coarse[low + 1]).T
            return coarse
            """,
            "no value after",
        ),
        ("return np.repeat(np.repeat(coarse, factor, 0), factor, 1)", "nearest neighbour"),
        ("return np.tile(coarse, (factor, factor))", "tiled"),
    ],
    "balanced-loss": [
        (
            """
            weight = np.where(annotations, 1 / (2 * share), 1 / (2 * (1 - share)))
            return (weight * entropy).mean(axis=(1, 2))
            """,
            "class weights",
        ),
        (
            "return (np.where(annotations, 1 - share, share) * np.logaddexp(0, -logits)).mean(axis=(1, 2))",
            "every pixel has the term",
        ),
        (
            """
            p = np.clip(1 / (1 + np.exp(-logits)), 1e-7, 1 - 1e-7)
            entropy = -np.where(annotations, np.log(p), np.log(1 - p))
            return (np.where(annotations, 1 - share, share) * entropy).mean(axis=(1, 2))
            """,
            "probabilities are clipped",
        ),
        ("return -(np.where(annotations, 1 - share, share) * entropy).mean(axis=(1, 2))", "the sign"),
    ],
    "cosine-rate": [
        ("return highest * np.cos(np.pi * step / steps / 2) ** 2 / 2", "halved twice"),
        ("return highest * (1 + np.cos(np.pi * step // steps)) / 2", "whole number by //"),
        ("return 0.5 * (1 + np.cos(np.pi * step / steps))", "multiplied by `highest`"),
    ],
    "step-loss": [
        (
            "return sum(float(weights[n][0]) * float(loss(logits[n], targets[n])) for n in targets)",
            "takes the target first",
        ),
        (
            """
            total = 0
            for name in targets:
                total = float(weights[name][0]) * float(loss(targets[name], logits[name]))
            return total
            """,
            "only the fused output",
        ),
        (
            """
            for name in targets:
                return float(weights[name][0]) * float(loss(targets[name], logits[name]))
            """,
            "in the loop",
        ),
    ],
    "logits-to-mask": [
        ("return 255 * (cv2.resize(logits, (width, height)) > 0)", "not 255 and 0"),
        ("return cv2.resize(logits, (width, height), interpolation=cv2.INTER_CUBIC) > 0", "cubic"),
        ("return np.kron(logits, np.ones((height // 6, width // 9))) > 0", None),
    ],
    "contour-accuracy": [
        (
            """
            precision = (cv2.dilate(theirs.astype(np.uint8), disk) & ours).sum() / theirs.sum()
            recall = (cv2.dilate(ours.astype(np.uint8), disk) & theirs).sum() / ours.sum()
            return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
            """,
            "denominators",
        ),
        (
            """
            disk = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
            ours, theirs = (cv2.dilate(one.astype(np.uint8), disk) for one in (ours, theirs))
            precision, recall = (ours & theirs).sum() / ours.sum(), (ours & theirs).sum() / theirs.sum()
            return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
            """,
            None,
        ),
        (
            """
            precision = cv2.dilate(theirs.astype(np.uint8), disk)[ours].mean()
            recall = cv2.dilate(ours.astype(np.uint8), disk)[theirs].mean()
            return 200 * precision * recall / (precision + recall) if precision + recall else 0.0
            """,
            "a percentage",
        ),
    ],
    "mean-recall-decay": [
        ("return mean, recall, values[: n // 4].mean() - values[-(n // 4) :].mean()", "n // 4"),
        ("return mean, recall, values[: n // 4].mean() - values[3 * n // 4 :].mean()", "3n // 4"),
        ("return mean, recall, values[:second].mean() - values[last:end].mean()", "lacks its last frame"),
        (
            "return mean, 100 * recall, values[: second + 1].mean() - values[last : end + 1].mean()",
            "recall is a percentage",
        ),
    ],
    "read-failure": [
        ("return 100 * missed / max(annotation.sum(), 1), 100 * wrong / max(mask.sum(), 1)", "a percentage"),
        (
            "return missed / max(mask.sum(), 1), wrong / max(annotation.sum(), 1)",
            "denominators are exchanged",
        ),
        ("return missed / (missed + wrong), wrong / (missed + wrong)", "missed or wrong"),
    ],
}
ANSWERS = [
    pytest.param(key, body, said, id=f"{key}-{number}")
    for key, answers in WRONG.items()
    for number, (body, said) in enumerate(answers)
]


@pytest.mark.parametrize(("key", "body", "said"), ANSWERS)
def test_a_wrong_answer_gets_its_input_and_its_mistake_or_a_hint(key, body, said):
    exercise = EXERCISES[key]
    student = exercise.answer(BEGINNINGS.get(key, ""), body)
    with pytest.raises(CheckError) as caught:
        exercise.run_check(student)
    lines = str(caught.value).splitlines()
    names = student.__code__.co_varnames[: student.__code__.co_argcount]
    assert [line.split(":")[0].strip() for line in lines if line[:2] == "  " and line[2] != " "] == [
        *("the case", *names, "was expected", "came", "difference")
    ]
    assert max(map(len, lines)) < 250
    if said:
        assert said in lines[-2]
    else:
        assert lines[-3:-1] == [
            "None of the typical mistakes gives this result.",
            f"Hint: {first_hint(exercise.check_name)}",
        ]
