"""Cutting a grid into a table of rectangular parts.

Ways to cut:
- `sep`: at full rows and columns of one colour other than the background;
- `gap`: at full rows and columns of background;
- `RxC` (such as `2x2`): into R rows and C columns of equal parts;
- `long`: into squares whose side is the shorter side of the grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solver.grid import COLORS, Grid

EQUAL = ("1x2", "2x1", "1x3", "3x1", "2x2", "3x3", "1x4", "4x1")
WAYS = ("sep", "gap", *EQUAL, "long")


@dataclass(frozen=True)
class Split:
    """Row and column spans (start, end) of the parts, end exclusive.

    color: colour of the separators; -1 if there are no separators.
    """

    rows: tuple[tuple[int, int], ...]
    columns: tuple[tuple[int, int], ...]
    color: int

    @property
    def n(self) -> int:
        """Number of parts."""
        return len(self.rows) * len(self.columns)

    @property
    def count(self) -> tuple[int, int]:
        """Numbers of parts down and across."""
        return len(self.rows), len(self.columns)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the first part, and of every part if the split is even."""
        (a, b), (c, d) = self.rows[0], self.columns[0]
        return b - a, d - c

    @property
    def corners(self) -> list[tuple[int, int]]:
        """The top left corners of the parts in reading order."""
        return [(a, c) for a, _ in self.rows for c, _ in self.columns]

    def parts(self, grid: Grid) -> list[Grid]:
        """The parts in reading order."""
        return [grid[a:b, c:d] for a, b in self.rows for c, d in self.columns]

    def stack(self, grid: Grid) -> NDArray[np.uint8]:
        """The parts of an even split in reading order, (n, h, w)."""
        return np.array(self.parts(grid), dtype=np.uint8)

    @property
    def even(self) -> bool:
        """True if all parts have the same shape."""
        return len({b - a for a, b in self.rows}) == 1 == len({b - a for a, b in self.columns})


def split(grid: Grid, way: str, ground: int) -> Split | None:
    """The parts of a grid; None if the way does not apply or gives fewer than two parts."""
    if way == "sep":
        return _at_lines(grid, ground)
    if way == "gap":
        return _spans(grid, ground)
    h, w = grid.shape
    if way == "long":
        side = min(h, w)
        down, across = h // side, w // side
    else:
        down, across = (int(side) for side in way.split("x"))
    return equal_parts(grid, down, across, 0)


def equal_parts(grid: Grid, rows: int, columns: int, gap: int) -> Split | None:
    """Parts of one size with `gap` cells between them; None if they do not fill the grid."""
    h, w = grid.shape
    if rows < 1 or columns < 1 or rows * columns < 2:
        return None
    if (h + gap) % rows or (w + gap) % columns:
        return None
    p, q = (h + gap) // rows, (w + gap) // columns
    if p <= gap or q <= gap:
        return None
    return Split(
        tuple((y, y + p - gap) for y in range(0, h, p)),
        tuple((x, x + q - gap) for x in range(0, w, q)),
        -1,
    )


def separated_parts(grid: Grid) -> Split | None:
    """Parts of one size between full lines of one colour; None if there are no such parts."""
    for color in np.unique(grid)[::-1].tolist():
        found = _spans(grid, color)
        if found and found.even:
            return found
    return None


def _at_lines(grid: Grid, ground: int) -> Split | None:
    best: Split | None = None
    for color in range(COLORS):
        if color == ground:
            continue
        found = _spans(grid, color)
        if found and (best is None or _weight(grid, color) > _weight(grid, best.color)):
            best = found
    return best


def _weight(grid: Grid, color: int) -> tuple[bool, int]:
    """True if the colour has no cells outside its full lines, and the number of these lines."""
    hit = grid == color
    rows, columns = hit.all(1), hit.all(0)
    pure = not hit[~rows][:, ~columns].any()
    return pure, int(rows.sum() + columns.sum())


def _spans(grid: Grid, color: int) -> Split | None:
    hit = grid == color
    rows, columns = _between(hit.all(1)), _between(hit.all(0))
    if len(rows) * len(columns) < 2:
        return None
    return Split(rows, columns, color)


def _between(line: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Maximal runs of False as (start, end), end exclusive."""
    padded = np.concatenate([[True], line, [True]]).astype(np.int8)
    edges = np.diff(padded)
    starts, ends = np.flatnonzero(edges == -1), np.flatnonzero(edges == 1)
    return tuple((int(a), int(b)) for a, b in zip(starts, ends, strict=True))
