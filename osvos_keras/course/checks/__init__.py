"""Checks of the exercises in the notebooks: `checks.upsample(my_function)` says whether it is right.

Each takes the student's function, tries it in a few cases against the library's own, and prints one line
if all agree. Otherwise it raises `CheckError`, whose message says what went in, what was expected, what came,
how far it is off, and which typical mistake gives the same result. `checks.hint("upsample")` helps further.
"""

from osvos_keras.course.checks.compare import borrow
from osvos_keras.course.checks.data import choose_scale, read_annotation, warp
from osvos_keras.course.checks.hints import hint
from osvos_keras.course.checks.losses import balanced_loss, cosine_rate, step_loss
from osvos_keras.course.checks.network import logits_to_mask, prepare_frame, score_at, upsample
from osvos_keras.course.checks.results import merge, report_two_ways
from osvos_keras.course.checks.scores import (
    contour_accuracy,
    mean_recall_decay,
    read_failure,
    region_similarity,
)
