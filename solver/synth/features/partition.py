"""Partitions of a grid into equal parts: by separator lines, or by plain division."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from solver.grid import Grid


@dataclass(frozen=True)
class Partition:
    """Where equal parts start: `tops` and `lefts`, each part `part_shape` (h, w)."""

    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    part_shape: tuple[int, int]

    @property
    def count(self) -> tuple[int, int]:
        """Parts down and across."""
        return len(self.tops), len(self.lefts)

    def cells(self, grid: Grid) -> NDArray[np.uint8]:
        """The parts in reading order, (n, h, w)."""
        h, w = self.part_shape
        return np.array(
            [grid[y : y + h, x : x + w] for y in self.tops for x in self.lefts], dtype=np.uint8
        )


def equal_parts(grid: Grid, rows: int, columns: int, gap: int) -> Partition | None:
    """Parts of one size with `gap` cells between them, or None if they do not fill the grid."""
    h, w = grid.shape
    if rows < 1 or columns < 1 or rows * columns < 2:
        return None
    if (h + gap) % rows or (w + gap) % columns:
        return None
    p, q = (h + gap) // rows, (w + gap) // columns
    if p <= gap or q <= gap:
        return None
    return Partition(tuple(range(0, h, p)), tuple(range(0, w, q)), (p - gap, q - gap))


def separated_parts(grid: Grid) -> Partition | None:
    """Equal parts between full lines of one colour, or None if there are none."""
    for color in np.unique(grid)[::-1].tolist():
        rows = _between(np.flatnonzero((grid == color).all(axis=1)), grid.shape[0])
        columns = _between(np.flatnonzero((grid == color).all(axis=0)), grid.shape[1])
        if len(rows) * len(columns) < 2:
            continue
        heights = {b - a for a, b in rows}
        widths = {b - a for a, b in columns}
        if len(heights) == 1 and len(widths) == 1:
            tops, lefts = tuple(a for a, _ in rows), tuple(a for a, _ in columns)
            return Partition(tops, lefts, (heights.pop(), widths.pop()))
    return None


def _between(lines: NDArray[np.intp], size: int) -> list[tuple[int, int]]:
    edges = [-1, *lines.tolist(), size]
    return [(a + 1, b) for a, b in pairwise(edges) if b > a + 1]
