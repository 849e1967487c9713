"""Results of threads, in order."""

import threading
import time

import pytest

from osvos_keras.threads import in_order, worker_threads


def test_results_come_in_order_whatever_is_ready_first():
    with worker_threads() as pool:
        assert list(in_order(pool, lambda n: time.sleep((7 - n) / 200) or n, range(8), ahead=5)) == [
            *range(8)
        ]


@pytest.mark.parametrize("ahead", [0, 2])
def test_no_more_items_are_taken_than_asked_for(ahead):
    taken = []
    with worker_threads() as pool:
        results = in_order(pool, str, (taken.append(n) or n for n in range(9)), ahead)
        assert next(results) == "0" and taken == [*range(ahead + 1)]


def test_results_before_an_item_that_fails_come_first():
    def items():
        yield from (1, 2, 3)
        raise OSError("gone")

    found = []
    with worker_threads() as pool, pytest.raises(OSError, match="gone"):
        for result in in_order(pool, str, items(), ahead=9):
            found.append(result)
    assert found == ["1", "2", "3"]


def test_an_error_of_a_task_is_raised_in_its_place():
    with worker_threads() as pool:
        results = in_order(pool, lambda n: 1 // n, (1, 0, 1), ahead=3)
        assert next(results) == 1
        with pytest.raises(ZeroDivisionError):
            next(results)


def test_what_has_not_begun_is_cancelled_when_the_pool_closes():
    begun, closed = [], threading.Event()

    def work(n):
        begun.append(n)
        assert closed.wait(60)

    with worker_threads() as pool:
        futures = [pool.submit(work, n) for n in range(100)]
        futures[-1].add_done_callback(lambda _: closed.set())
    assert len(begun) < 100 and futures[-1].cancelled()
