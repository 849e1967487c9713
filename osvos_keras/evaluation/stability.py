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

ANGLES, RADII = 12, 5  # bins of a shape context
INNER, OUTER = 1 / 8, 2  # its radii, as shares of the mean distance of two points
SCALE = 5  # brings T into the range of J and F
BATCH = 2  # pairs that are aligned at once; so many matrices of costs are in memory
ROWS = 64  # of such a matrix that are computed at once


def temporal_stability(outlines: Sequence[np.ndarray | None]) -> float:
    """T of consecutive outlines, lower is steadier; NaN if no two neighbours have an outline.

    Args:
        outlines: of the first annotation and then of the mask of every scored frame, as
            `outlines.find_outline` returns them.
    """
    return mean_of_costs(pair_costs(outlines))


def mean_of_costs(costs: Sequence[float]) -> float:
    """T from the costs of `pair_costs`; NaN without any."""
    return SCALE * float(np.nanmean(costs)) if np.isfinite(costs).any() else float("nan")


def pair_costs(outlines: Sequence[np.ndarray | None]) -> np.ndarray:
    """The mean cost of the matched points of each two neighbours; NaN where one has no outline.

    Args:
        outlines: as for `temporal_stability`.

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
    """For each point, how the others lie around it: shares of bins of angle and of log distance.

    Args:
        points: (N, 2) float64.

    Returns:
        (N, 60) float32, rows that sum to 1.
    """
    parts = [points[start : start + ROWS] for start in range(0, len(points), ROWS)]
    away = [tuple(points[:, axis] - part[:, axis, None] for axis in (0, 1)) for part in parts]
    mean = sum(np.sqrt(rows**2 + columns**2).sum() for rows, columns in away) / len(points) ** 2
    edges = np.geomspace(INNER, OUTER, RADII) * mean
    histograms = np.concatenate([_count(rows, columns, edges) for rows, columns in away]).astype(np.float32)
    return histograms / histograms.sum(1, keepdims=True)


def _count(rows: np.ndarray, columns: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """How many points lie in each bin: (N, M) vectors to M points from each of N, (N, 60) int."""
    squares = rows**2 + columns**2
    place = np.uint8(RADII + 1) * _sectors(rows, columns)
    for edge in edges:  # the ring is added to the sector's; RADII is beyond the outermost
        place += squares >= edge**2
    count, bins = len(rows), ANGLES * (RADII + 1)
    flat = place + np.arange(0, count * bins, bins)[:, None]
    histograms = np.bincount(flat.ravel(), minlength=count * bins).reshape(count, ANGLES, -1)
    return histograms[..., :RADII].reshape(count, -1)


def _sectors(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Which of twelve sectors each direction lies in, (N, N) uint8; comparisons cost less than angles."""
    steep = np.abs(columns), np.abs(rows)
    place = (steep[0] > np.sqrt(1 / 3) * steep[1]).view(np.uint8) + (steep[0] > np.sqrt(3) * steep[1])
    place += np.uint8(3) * (rows < 0) + np.uint8(6) * (rows == 0)
    place += np.uint8(9) * (columns < 0) + np.uint8(18) * (columns == 0)
    return _SECTORS[place]


def _sector_table() -> np.ndarray:
    """The sector for each place of `_sectors`, from an angle in it, as DAVIS's code computes it.

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

    A step goes on by one in one direction or in both. A row at a time, of all matrices together: along a
    row, the cheapest way to each place is a running minimum once the costs up to it are taken off.

    Returns:
        (steps, 2) int each: rows and columns, the matrix's last corner first.
    """
    heights, widths = np.array([cost.shape for cost in costs]).T
    padded = np.zeros((heights.max(), len(costs), widths.max()))
    for index, cost in enumerate(costs):
        padded[: len(cost), index, : cost.shape[1]] = cost
    padded[0, :, 0] = 0
    so_far = np.cumsum(padded, axis=2)
    np.subtract(so_far, padded, out=padded)
    total = so_far
    entry = np.empty(padded.shape[1:])
    for above, row, before in zip(total, total[1:], padded[1:], strict=False):
        np.minimum(above[:, 1:], above[:, :-1], out=entry[:, 1:])
        entry[:, 0] = above[:, 0]
        entry -= before
        np.minimum.accumulate(entry, axis=1, out=entry)
        row += entry
    return [
        _walk_back(total[:height, index, :width])
        for index, (height, width) in enumerate(zip(heights, widths, strict=True))
    ]


def _walk_back(total: np.ndarray) -> np.ndarray:
    """From the end of a matrix of the costs of the cheapest ways, the way to its origin."""
    row, column = total.shape[0] - 1, total.shape[1] - 1
    path = [(row, column)]
    at = memoryview(total)  # its items are read faster than the array's
    while row and column:
        both, above, left = at[row - 1, column - 1], at[row - 1, column], at[row, column - 1]
        least = min(both, above, left)
        row -= both == least or above == least
        column -= both == least or above != least
        path.append((row, column))
    path += [(row - step, column) for step in range(1, row + 1)]
    path += [(row, column - step) for step in range(1, column + 1)]
    return np.array(path)
