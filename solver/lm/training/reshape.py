"""Shifted and enlarged demonstrations: more to learn from (arXiv:2411.07279).

For training alone. A test input is answered as it is: its output need not be what its task makes
of the enlarged one. Needs nothing but numpy.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from solver.grid import MAX_SIDE, Grid, Pair, freeze

MAX_SHIFT = 3  # cells, down and to the right
# Each is drawn as often as it stands here, among marc's augmentations as well; the first is a
# shift.
_SCALES = ((1, 1), *[(2, 2)] * 7, (2, 1), (1, 2))


@dataclass(frozen=True)
class Reshape:
    """`shift`: so many rows down and columns to the right, in again at the other edge. `scale`:
    then each cell becomes so many rows and columns."""

    shift: tuple[int, int] = (0, 0)
    scale: tuple[int, int] = (1, 1)

    def fits(self, grid: Grid) -> bool:
        """True if `apply` gives a grid that is not too large."""
        return all(side * n <= MAX_SIDE for side, n in zip(grid.shape, self.scale, strict=True))

    def apply(self, grid: Grid) -> Grid:
        """The grid, shifted and then enlarged; it must fit."""
        rows, columns = self.scale
        moved = np.roll(grid, self.shift, axis=(0, 1))
        return freeze(moved.repeat(rows, axis=0).repeat(columns, axis=1))

    def undo(self, grid: Grid) -> Grid:
        """The inverse of `apply`."""
        rows, columns = self.scale
        down, right = self.shift
        return freeze(np.roll(grid[::rows, ::columns], (-down, -right), axis=(0, 1)))

    def apply_pair(self, pair: Pair) -> Pair:
        """Both grids, shifted by the same cells and enlarged as often."""
        return Pair(self.apply(pair.input), self.apply(pair.output))

    def undo_pair(self, pair: Pair) -> Pair:
        """The inverse of `apply_pair`."""
        return Pair(self.undo(pair.input), self.undo(pair.output))


AS_IT_IS = Reshape()


def draw(rng: np.random.Generator, pairs: Iterable[Pair]) -> Reshape:
    """A shift or an enlargement of some pairs; neither, if what was drawn makes one too large."""
    scale = _SCALES[int(rng.integers(len(_SCALES)))]
    down, right = rng.integers(0, MAX_SHIFT + 1, 2).tolist()
    drawn = Reshape((down, right)) if scale == (1, 1) else Reshape(scale=scale)
    fits = all(drawn.fits(grid) for pair in pairs for grid in (pair.input, pair.output))
    return drawn if fits else AS_IT_IS
