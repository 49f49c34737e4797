"""Shifted and enlarged demonstrations as additional examples (arXiv:2411.07279).

Only training uses these. A test input is answered unchanged: a task's rule need not map the
enlarged input to the enlarged output. This module needs only numpy.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from solver.grid import MAX_SIDE, Grid, Pair, freeze

MAX_SHIFT = 3  # cells, down and to the right
# Repeated entries are weights, the same as in marc's augmentations. (1, 1) means a shift.
_SCALES = ((1, 1), *[(2, 2)] * 7, (2, 1), (1, 2))


@dataclass(frozen=True)
class Reshape:
    """A shift, followed by an enlargement.

    shift: cells down and to the right; cells shifted over an edge return at the opposite edge.
    scale: number of rows and of columns that replace each cell.
    """

    shift: tuple[int, int] = (0, 0)
    scale: tuple[int, int] = (1, 1)

    def fits(self, grid: Grid) -> bool:
        """True if both sides of the enlarged grid are at most 30."""
        return all(side * n <= MAX_SIDE for side, n in zip(grid.shape, self.scale, strict=True))

    def apply(self, grid: Grid) -> Grid:
        """The grid, shifted and then enlarged; the grid must fit."""
        rows, columns = self.scale
        moved = np.roll(grid, self.shift, axis=(0, 1))
        return freeze(moved.repeat(rows, axis=0).repeat(columns, axis=1))

    def undo(self, grid: Grid) -> Grid:
        """The inverse of `apply`."""
        rows, columns = self.scale
        down, right = self.shift
        return freeze(np.roll(grid[::rows, ::columns], (-down, -right), axis=(0, 1)))

    def apply_pair(self, pair: Pair) -> Pair:
        """The pair with both grids shifted and enlarged in the same way."""
        return Pair(self.apply(pair.input), self.apply(pair.output))

    def undo_pair(self, pair: Pair) -> Pair:
        """The inverse of `apply_pair`."""
        return Pair(self.undo(pair.input), self.undo(pair.output))


AS_IT_IS = Reshape()


def draw(rng: np.random.Generator, pairs: Iterable[Pair]) -> Reshape:
    """A random shift or enlargement for some pairs; `AS_IT_IS` if a grid would be too large."""
    scale = _SCALES[int(rng.integers(len(_SCALES)))]
    down, right = rng.integers(0, MAX_SHIFT + 1, 2).tolist()
    drawn = Reshape((down, right)) if scale == (1, 1) else Reshape(scale=scale)
    fits = all(drawn.fits(grid) for pair in pairs for grid in (pair.input, pair.output))
    return drawn if fits else AS_IT_IS
