"""Checks of the exercises on results: several objects in one map, and two ways to report an ablation."""

from collections.abc import Callable

import numpy as np

from osvos_keras.course.checks.compare import compare
from osvos_keras.video.objects import merge_logits


def merge(student: Callable) -> None:
    """`student(logits)` makes (N, H, W) one map (H, W) of 0 … N, as `merge_logits` does."""

    def largest(logits):
        return logits.argmax(axis=0) + 1

    def in_turn(order):
        def paint(logits):
            found = np.zeros(logits.shape[1:], int)
            for number in order(range(len(logits))):
                found[logits[number] > 0] = number + 1
            return found

        return paint

    mistakes = {
        "every pixel gets an object; where no logit is above 0 there is none, 0.": largest,
        "objects count from 0, as the background does; the first object is 1.": (
            lambda logits: np.where(logits.max(axis=0) > 0, logits.argmax(axis=0), 0)
        ),
        "logits are compared with ½, as if they were probabilities; probability ½ is logit 0.": (
            lambda logits: np.where(logits.max(axis=0) > 0.5, largest(logits), 0)
        ),
        "where two objects overlap, the last one wins; the one of the larger logit should.": in_turn(iter),
        "where two objects overlap, the first one wins; the one of the larger logit should.": (
            in_turn(reversed)
        ),
        "where two objects overlap, their numbers are added; one of them should win.": (
            lambda logits: sum(i * (one > 0) for i, one in enumerate(logits, start=1))
        ),
        "the smallest logit wins; the largest should.": (
            lambda logits: np.where(logits.max(axis=0) > 0, logits.argmin(axis=0) + 1, 0)
        ),
        "the largest logits are returned; ask which object has them.": lambda logits: logits.max(axis=0),
        "the map says object or not; it should say which one, by its number.": (
            lambda logits: logits.max(axis=0) > 0
        ),
    }
    random = np.random.default_rng(0)
    cases = {
        "two objects": (random.normal(0, 2, (2, 6, 9)),),
        "three objects, unsure everywhere": (random.normal(0, 0.5, (3, 6, 9)),),
        "one object": (random.normal(0, 2, (1, 6, 9)),),
    }
    compare("merge", student, merge_logits, cases, mistakes)


def report_two_ways(student: Callable) -> None:
    """`student(J)`, (sequences, numbers of steps), gives the best mean of a column and the mean of the
    best of each row: one number of steps for all, and each sequence's own."""

    def right(scores):
        return scores.mean(axis=0).max(), scores.max(axis=1).mean()

    mistakes = {
        "the two are exchanged; one number of steps for all comes first.": lambda scores: right(scores)[::-1],
        "rows and columns are exchanged; a row is a sequence, a column a number of steps.": (
            lambda scores: right(scores.T)
        ),
        "the first is the mean over everything; take the mean of each column, then the best of these.": (
            lambda scores: (scores.mean(), right(scores)[1])
        ),
        "the first is that of the last number of steps; take the number with the best mean.": (
            lambda scores: (scores[:, -1].mean(), right(scores)[1])
        ),
        "the second is the best score of all; take the best of each row, then the mean.": (
            lambda scores: (right(scores)[0], scores.max())
        ),
        "both are the best score of all; the mean over the sequences is wanted.": (
            lambda scores: (scores.max(), scores.max())
        ),
        "the numbers of steps are returned; their J is wanted.": (
            lambda scores: (scores.mean(axis=0).argmax(), scores.argmax(axis=1).mean())
        ),
    }
    cases = {
        "one sequence loses": (np.array([[0.2, 0.6, 0.9], [0.7, 0.6, 0.4]]),),
        "four sequences, scores drawn at random": (np.random.default_rng(0).uniform(size=(4, 3)),),
    }
    compare("report_two_ways", student, right, cases, mistakes)
