"""Work beside the network: reading, snapping and writing on other cores, results in order."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

MOST = 8  # threads; more frames than a network predicts meanwhile need not be at work


@contextmanager
def worker_threads() -> Iterator[ThreadPoolExecutor]:
    """A thread per core, `MOST` at the most. Tasks that have not begun when it closes are cancelled."""
    pool = ThreadPoolExecutor(min(os.cpu_count() or 1, MOST))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def in_order(
    pool: ThreadPoolExecutor, function: Callable[[Any], Any], items: Iterable, ahead: int
) -> Iterator[Any]:
    """`function` of each item, computed in `pool`, in the order of the items.

    Args:
        pool: where it is computed.
        function: of one item.
        items: taken one by one, in the caller's thread.
        ahead: how many items are at work or wait beyond the one that is asked for.

    Yields:
        the results. If `items` raises an error, it is raised after the results of the items before it.

    Raises:
        as `items` and `function`.
    """
    waiting, items, failure = deque(), iter(items), None
    while failure is None:
        try:
            waiting.append(pool.submit(function, next(items)))
        except StopIteration:
            break
        except Exception as error:
            failure = error
        while len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
    if failure is not None:
        raise failure
