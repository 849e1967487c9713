"""Checks of the exercises on results: several objects in one map, and two ways to report an ablation."""

from collections.abc import Callable

import numpy as np

from osvos_keras.course.checks.compare import compare
from osvos_keras.video.objects import merge_probabilities


def merge(student: Callable) -> None:
    """`student(probabilities)` makes (N, H, W) one map (H, W) of 0 … N, as `merge_probabilities` does."""

    def largest(p):
        return p.argmax(axis=0) + 1

    def in_turn(order):
        def paint(p):
            found = np.zeros(p.shape[1:], int)
            for number in order(range(len(p))):
                found[p[number] > 0.5] = number + 1
            return found

        return paint

    mistakes = {
        "every pixel gets an object; where no probability is above one half there is none, 0.": largest,
        "the objects count from 0, and so does the background; the first object is 1.": lambda p: np.where(
            p.max(axis=0) > 0.5, p.argmax(axis=0), 0
        ),
        "where two objects overlap, the last one wins; the one of the larger probability should.": in_turn(
            iter
        ),
        "where two objects overlap, the first one wins; the one of the larger probability should.": in_turn(
            reversed
        ),
        "where two objects overlap, their numbers are added; one of them should win.": lambda p: sum(
            (number + 1) * (one > 0.5) for number, one in enumerate(p)
        ),
        "the smallest probability wins; the largest should.": lambda p: np.where(
            p.max(axis=0) > 0.5, p.argmin(axis=0) + 1, 0
        ),
        "the largest probabilities are returned; ask which object has them.": lambda p: p.max(axis=0),
        "the map says object or not; it should say which one, by its number.": lambda p: p.max(axis=0) > 0.5,
    }
    random = np.random.default_rng(0)
    cases = {
        "two objects": (random.uniform(size=(2, 6, 9)),),
        "three objects, unsure everywhere": (random.uniform(0, 0.6, size=(3, 6, 9)),),
        "one object": (random.uniform(size=(1, 6, 9)),),
    }
    compare("merge", student, merge_probabilities, cases, mistakes)


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
