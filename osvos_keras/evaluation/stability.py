"""T: how much the outline of the masks trembles from frame to frame (DAVIS 2016, section 5.2).

The longest outlines of two consecutive masks are described point by point by shape contexts, aligned
by dynamic programming, and T is five times the mean cost of the points that are matched, meant over the
frames: 0 for a shape that stays as it is, wherever it moves. Turning and deforming objects have a T of
their own, so it is compared with that of the annotations (0.088 on DAVIS 2016), and only where the object
is never hidden (`eval_t` in db_info.yml). No TensorFlow and no Keras in here.

The numbers of DAVIS's tables come from its Matlab code, whose choices these are: the first pair is the
first annotation and the mask of the second frame; rows come first, so angles count from the vertical.
"""

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import as_strided

ANGLES, RADII = 12, 5  # bins of a shape context
INNER, OUTER = 1 / 8, 2  # its radii, as fractions of the mean distance of two points
SCALE = 5  # brings T into the range of J and F
BATCH = 4  # pairs that are aligned at once; so many matrices of costs are in memory
ROWS = 64  # of such a matrix that are computed at once


def mean_of_costs(costs: Sequence[float]) -> float:
    """T, lower is steadier, from the costs of `pair_costs`; NaN without any."""
    return SCALE * float(np.nanmean(costs)) if np.isfinite(costs).any() else float("nan")


def pair_costs(outlines: Sequence[np.ndarray | None]) -> np.ndarray:
    """The mean cost of the matched points of each two neighbours; NaN where one has no outline.

    Args:
        outlines: of the first annotation and then of the mask of every scored frame, as
            `outlines.find_outline` returns them.

    Returns:
        (number of outlines - 1,) float64, from 0 to 1.
    """
    contexts = [None if outline is None else shape_contexts(outline) for outline in outlines]
    costs = np.full(max(len(outlines) - 1, 0), np.nan)
    pairs = [
        index
        for index in range(len(costs))
        if contexts[index] is not None and contexts[index + 1] is not None
    ]
    for start in range(0, len(pairs), BATCH):
        batch = pairs[start : start + BATCH]
        costs[batch] = _match([_context_distances(contexts[i], contexts[i + 1]) for i in batch])
    return costs


def shape_contexts(points: np.ndarray) -> np.ndarray:
    """For each point, how the others lie around it: fractions in bins of angle and of log distance.

    Args:
        points: (N, 2) float64.

    Returns:
        (N, 60) float32, rows that sum to 1.
    """
    histograms = _count(*_places(points)).astype(np.float32)
    return histograms / histograms.sum(1, keepdims=True)


def _places(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each point lies as seen from each other: its direction as a number below 27, and its ring.

    Of two points one is computed, which gives the other's too.

    Returns:
        (N, N) uint8 each; a ring of `RADII` is beyond the outermost.
    """
    parts = [slice(start, start + ROWS) for start in range(0, len(points), ROWS)]
    places, squares, total = np.empty((len(points),) * 2, np.uint8), [], 0.0
    for part in parts:
        rows, columns = (points[part.start :, axis] - points[part, axis, None] for axis in (0, 1))
        squares.append(rows**2 + columns**2)
        distances = np.sqrt(squares[-1])
        total += distances[:, :ROWS].sum() + 2 * distances[:, ROWS:].sum()
        height, width = np.abs(rows), np.abs(columns)
        steep = (width > np.sqrt(1 / 3) * height).view(np.uint8) + (width > np.sqrt(3) * height)
        negative = np.uint8(3) * (rows < 0) + np.uint8(9) * (columns < 0)
        steep += (zero := np.uint8(3) * (rows == 0) + np.uint8(9) * (columns == 0))
        places[part.start :, part] = (steep + np.uint8(12) - negative).T
        places[part, part.start :] = steep + negative + zero
    rings = np.zeros_like(places)
    edges = np.geomspace(INNER, OUTER, RADII) * (total / len(points) ** 2)
    for part, square in zip(parts, squares, strict=True):
        for edge in edges:
            rings[part, part.start :] += square >= edge**2
        rings[part.start :, part] = rings[part, part.start :].T
    return places, rings


def _count(places: np.ndarray, rings: np.ndarray) -> np.ndarray:
    """How many points lie in each bin, (N, 60) int."""
    count, bins = len(places), 27 * (RADII + 1)
    histograms = np.empty((count, bins), int)
    for start in range(0, count, ROWS):
        part = slice(start, start + ROWS)
        numbers = places[part] + np.uint8(27) * rings[part]
        flat = numbers + np.arange(0, len(numbers) * bins, bins)[:, None]
        counts = np.bincount(flat.ravel(), minlength=len(numbers) * bins)
        histograms[part] = counts.reshape(len(numbers), bins)
    by_sector = np.add.reduceat(histograms.reshape(count, RADII + 1, 27)[..., _ORDER], _STARTS, axis=2)
    return by_sector[:, :RADII].swapaxes(1, 2).reshape(count, -1)


def _sector_table() -> np.ndarray:
    """The sector for each direction of `_places`, from an angle in it, as DAVIS's code computes it.

    Right angles lie on a border between two sectors, and rounding decides.
    """
    table = np.zeros(27, np.uint8)
    for place in range(27):
        steepness, row, column = place % 3, (1, -1, 0)[place // 3 % 3], (1, -1, 0)[place // 9]
        slope = (0.3, 1, 3)[steepness] if row and column else 1
        turn = np.fmod(np.arctan2(slope * column, row) + 2 * np.pi, 2 * np.pi)
        table[place] = np.floor(turn / (2 * np.pi / ANGLES))
    return table


_SECTORS = _sector_table()
_ORDER = np.argsort(_SECTORS, kind="stable")  # the directions sector by sector, and where each begins
_STARTS = np.searchsorted(_SECTORS[_ORDER], np.arange(ANGLES))


def _context_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The chi-square distance of each of the first contexts to each of the second, (N, M) float32.

    Of rows that sum to 1, half the sum of (a - b)²/(a + b) is 1 less twice the sum of 1/(1/a + 1/b).
    """
    used = second.any(0)
    with np.errstate(divide="ignore"):
        inverse, others = 1 / first, np.ascontiguousarray((1 / second).T)
    distances = np.ones((len(first), len(second)), np.float32)
    common = np.empty((ROWS, len(second)), np.float32)
    for start in range(0, len(first), ROWS):  # few rows at a time, so that they stay in the cache
        part = distances[start : start + ROWS]
        out = common[: len(part)]
        for place in np.flatnonzero(used & first[start : start + ROWS].any(0)):
            np.add.outer(inverse[start : start + ROWS, place], others[place], out=out)
            np.divide(2, out, out=out)
            part -= out
    return distances


def _match(costs: Sequence[np.ndarray]) -> list[float]:
    """The mean cost of the matched points of each pair of outlines.

    Aligned from first point to first point, the pair of points that fit best shows where to start; from
    there it is aligned again, and each point keeps its best partner only.
    """
    starts = []
    for cost, path in zip(costs, _align(costs), strict=True):
        best = path[np.argmin(cost[tuple(path[:-1].T)])]  # the last of the path is its origin
        starts.append(best + 1)
    rolled = [np.roll(cost, tuple(-start), (0, 1)) for cost, start in zip(costs, starts, strict=True)]
    return [
        float(cost[tuple(_best_partners(_best_partners(path, cost, 0), cost, 1).T)].mean())
        for cost, path in zip(rolled, _align(rolled), strict=True)
    ]


def _best_partners(path: np.ndarray, cost: np.ndarray, side: int) -> np.ndarray:
    """Of the pairs that share a point of one side, the cheapest, the first of equals."""
    order = np.lexsort((cost[tuple(path.T)], path[:, side]))
    _, first = np.unique(path[order, side], return_index=True)
    return path[order[first]]


def _align(costs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The cheapest path through each matrix from its end back to its origin, which costs nothing.

    A step goes on by one in one direction or in both. A diagonal at a time, of all matrices together: what
    lies on it needs the two before only.

    Returns:
        (steps, 2) int each: rows and columns, the matrix's last corner first.
    """
    height, width = np.array([cost.shape for cost in costs]).max(0)
    total = np.full((height + width, len(costs), height + 1), np.inf)  # a border, then diagonals by row
    diagonal, _, row = total.strides
    for index, cost in enumerate(costs):
        as_strided(total[1:, index, 1:], cost.shape, (diagonal + row, diagonal))[...] = cost
    total[1, :, 1] = 0
    entry = np.empty(total.shape[1:])
    for number in range(2, height + width):
        first, end = max(number - width, 0), min(number, height)  # of its rows
        both, before, here = total[number - 2 : number + 1]
        least = np.minimum(before[:, first:end], both[:, first:end], out=entry[:, first:end])
        np.minimum(least, before[:, first + 1 : end + 1], out=least)
        here[:, first + 1 : end + 1] += least
    return [_walk_back(total, index, cost.shape) for index, cost in enumerate(costs)]


def _walk_back(total: np.ndarray, index: int, shape: tuple[int, int]) -> np.ndarray:
    """From the end of a matrix of the costs of the cheapest ways, as `_align` lays it out, to its origin."""
    at = memoryview(total.reshape(-1))  # its items are read faster than the array's
    left, first = total[0].size, index * total.shape[2] + 1
    above, both = left + 1, 2 * left + 1
    place, origin = (sum(shape) - 1) * left + first + shape[0] - 1, left + first
    path = [place]
    while place != origin:
        steps = at[place - both], at[place - above], at[place - left]
        place -= (both, above, left)[steps.index(min(steps))]
        path.append(place)
    diagonals, rows = np.divmod(np.array(path), left)
    rows -= first
    return np.stack([rows, diagonals - 1 - rows], 1)
