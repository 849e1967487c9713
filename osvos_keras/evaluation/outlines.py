"""The outline of a mask as points that lie close together, as DAVIS's measure of stability T compares them.

Where a line starts, which way it goes and how it turns where pixels touch at a corner decide which points are
kept in the end, so all this is as in DAVIS's code (its published T are equal then to 1e-4).
"""

import cv2
import numpy as np

TOLERANCE = 3  # half pixels: how far an outline may be off after it is simplified
SPACING = 3  # pixels at the most between two points of it


def find_outline(mask: np.ndarray) -> np.ndarray | None:
    """The longest outline of a mask as points that lie close together; None for an empty mask.

    Args:
        mask: (H, W) bool.

    Returns:
        (N, 2) float64, rows and columns of corners of pixels, the object on the right; the first point is
        the last too.
    """
    longest = None
    for loop, is_against in _trace(mask):
        if longest is None or len(loop) > len(longest):
            simple = _simplify(loop)
            if len(simple) > 3 and (longest is None or len(simple) > len(longest)):
                longest = simple[::-1] if is_against else simple
    return None if longest is None else _resample(longest)


def _trace(mask: np.ndarray) -> list[tuple[np.ndarray, bool]]:
    """Every closed line between object and background, without crossings.

    Returns:
        for each line (N, 2) int, rows and columns of corners of pixels, the first point last too; and
        whether it goes against its direction, which has the object on the right.
    """
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    inside = np.pad(mask[top : top + height, left : left + width], ((1, 1), (1, 2)))
    columns = width + 3  # of corners: one on each side of a pixel
    starts, ends = _borders(inside.ravel(), columns)
    order = np.argsort(starts, kind="stable")
    starts, ends = starts[order], ends[order]
    crossings = set(starts[1:][starts[1:] == starts[:-1]].tolist())
    loops, pieces = [], []
    for piece in _pieces(starts.tolist(), np.searchsorted(starts, ends).tolist(), crossings):
        (pieces if piece[0] in crossings else loops).append(piece)
    ranks = {-columns: 0, -1: 1, columns: 2, 1: 3}  # of first steps: up, left, down, right
    found = [_from_first_step(loop, ranks) for loop in loops[::-1]] + _walk(pieces, ranks)
    corner = np.array([top - 1, left - 1])
    return [(corner + np.stack(np.divmod(loop, columns), 1), is_against) for loop, is_against in found]


def _borders(inside: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Each side of a pixel that is a border, directed so that the object is on the right.

    Args:
        inside: (H * columns,) bool, the rows of pixels one after another with a border of background.
        columns: corners in a row; a pixel has the number of its upper left corner.

    Returns:
        the numbers of the corners where the sides start and where they end.
    """
    up, right = (np.flatnonzero(inside[step:] > inside[:-step]) + step for step in (1, columns))
    down, left = (np.flatnonzero(inside[step:] < inside[:-step]) + step for step in (1, columns))
    starts = (up + columns, down, right, left + 1)
    ends = (up, down + columns, right + 1, left)
    return np.concatenate(starts), np.concatenate(ends)


def _pieces(starts: list[int], following: list[int], crossings: set[int]) -> list[list[int]]:
    """The lines cut at their crossings: closed ones from their first corner, and from crossing to crossing.

    Args:
        starts: the corner where each side starts, in order.
        following: the place in `starts` of the side that goes on; at a crossing, of the first of two.
        crossings: the corners where two lines meet.
    """
    pieces, seen = [], bytearray(len(starts))
    cut = [place for place, corner in enumerate(starts) if corner in crossings]
    for first in (*cut, *range(len(starts))):
        if seen[first]:
            continue
        piece, place = [starts[first]], first
        while not seen[place]:
            seen[place] = 1
            place = following[place]
            piece.append(starts[place])
            if starts[place] in crossings:
                break
        pieces.append(piece)
    return pieces


def _from_first_step(loop: list[int], ranks: dict[int, int]) -> tuple[list[int], bool]:
    """A closed line in the direction whose first step ranks first, and whether that is the other one."""
    is_against = ranks[loop[-2] - loop[-1]] < ranks[loop[1] - loop[0]]
    return (loop[::-1] if is_against else loop), is_against


def _walk(pieces: list[list[int]], ranks: dict[int, int]) -> list[tuple[list[int], bool]]:
    """Closed lines from pieces that end at crossings: turn at each, and cut off what has come round."""

    def first_side(piece: list[int]) -> tuple[int, int]:
        return min((-piece[0], ranks[piece[1] - piece[0]]), (-piece[-1], ranks[piece[-2] - piece[-1]]))

    def step(piece: list[int], corner: int) -> int:
        steps = [after - corner for at, after in (piece[:2], piece[:-3:-1]) if at == corner]
        return min(steps, key=ranks.get)

    waiting: dict[int, list[list[int]]] = {}
    for piece in sorted(pieces, key=first_side):
        for corner in {piece[0], piece[-1]}:
            waiting.setdefault(corner, []).append(piece)
    loops = []
    while waiting:
        corner = max(waiting)
        piece, path = waiting[corner][0], []
        while True:
            other = piece[-1] if piece[0] == corner else piece[0]
            for end in {corner, other}:
                waiting[end] = [one for one in waiting[end] if one is not piece]
                if not waiting[end]:
                    del waiting[end]
            path.append((corner, piece))
            corner = other
            corners = [start for start, _ in path]
            if corner in corners:
                round_trip = path[corners.index(corner) :]
                del path[corners.index(corner) :]
                loops.append(_join(round_trip, ranks))
                if not path:
                    break
            straight = -step(path[-1][1], corner)
            piece = next(one for one in waiting[corner] if step(one, corner) != straight)
    return loops


def _join(path: list[tuple[int, list[int]]], ranks: dict[int, int]) -> tuple[list[int], bool]:
    """The pieces of a way round, each with the corner to leave from, as one closed line."""
    if len(path) == 1:
        return _from_first_step(path[0][1], ranks)
    is_against = path[0][1][0] != path[0][0]
    loop = [path[0][0]]
    for _, piece in path:
        loop += piece[-2::-1] if is_against else piece[1:]
    return loop, is_against


def _simplify(loop: np.ndarray) -> np.ndarray:
    """Some of the points of a closed line, so that none lies farther off than the tolerance, (M, 2) float64.

    As DAVIS's code does, it counts in half pixels and takes straight runs out first.
    """
    points = _keep_far_points(2 * loop, 0.1)
    return _keep_far_points(_thin(points, TOLERANCE), TOLERANCE) / 2


def _keep_far_points(points: np.ndarray, tolerance: float) -> np.ndarray:
    """Douglas and Peucker's simplification of a line (N, 2), all parts that are still too rough at once."""
    points = points.astype(float)
    keep = np.zeros(len(points), bool)
    keep[[0, -1]] = True
    parts = np.array([[0, len(points) - 1]])
    while len(parts := parts[parts[:, 1] - parts[:, 0] > 1]):
        counts = parts[:, 1] - parts[:, 0] - 1
        firsts = np.cumsum(counts) - counts
        part = np.repeat(np.arange(len(parts)), counts)
        inner = np.arange(len(part)) + (parts[:, 0] + 1 - firsts)[part]
        distances = _segment_distances(points[inner].T, points[parts].T, part)
        farthest = np.maximum.reduceat(distances, firsts)
        new = np.flatnonzero((distances == farthest[part]) & (distances > tolerance**2))
        new = new[np.append(part[new[1:]] != part[new[:-1]], True)] if len(new) else new  # the last of equals
        middle = inner[new]
        keep[middle] = True
        start, end = parts[part[new]].T
        parts = np.concatenate([np.stack([start, middle], 1), np.stack([middle, end], 1)])
    return points[keep]


def _thin(points: np.ndarray, tolerance: float) -> np.ndarray:
    """Leave out each point that lies nearer than the tolerance to the last one that was kept."""
    rows, columns = points.T.tolist()
    kept, last = [0], 0
    for index in range(1, len(rows) - 1):
        if (rows[index] - rows[last]) ** 2 + (columns[index] - columns[last]) ** 2 >= tolerance**2:
            kept.append(index)
            last = index
    return points[[*kept, len(rows) - 1]]


def _segment_distances(points: np.ndarray, segments: np.ndarray, part: np.ndarray) -> np.ndarray:
    """The squared distance of each point (2, N) to its segment, the `part`-th (N,) of (2, both ends, M)."""
    (row, column), (start_row, start_column) = points, segments[:, 0, part]
    (along_row, along_column) = (segments[:, 1] - segments[:, 0])[:, part]
    length = along_row**2 + along_column**2
    share = along_row * (row - start_row) + along_column * (column - start_column)
    between = (share > 0) & (share < length)
    # In single precision, as in DAVIS's code: its rounding decides between equals.
    fraction = np.where(between, share, share >= np.maximum(length, 1)).astype(np.float32)
    np.divide(fraction, length.astype(np.float32), out=fraction, where=between)
    return (row - (start_row + fraction * along_row)) ** 2 + (
        column - (start_column + fraction * along_column)
    ) ** 2


def _resample(points: np.ndarray) -> np.ndarray:
    """Points on a line so that neighbours are at most `SPACING` apart; its own points stay."""
    steps = np.diff(points, axis=0)
    counts = np.maximum(np.ceil(np.hypot(*steps.T) / SPACING), 1).astype(int)
    part = np.repeat(np.arange(len(steps)), counts)
    within = np.arange(len(part)) - np.repeat(np.cumsum(counts) - counts, counts)
    steps /= counts[:, None]
    resampled = points[part]
    for number in range(1, counts.max()):  # step by step: where two points are level, rounding decides
        resampled[within >= number] += steps[part[within >= number]]
    return np.concatenate([resampled, points[-1:]])
