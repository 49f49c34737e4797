"""The grammar of an output: full rows of one width, sides within a limit, END after a row."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solver.grid import COLORS
from solver.lm.symbols import END, ROW, WRITABLE

Mask = NDArray[np.bool_]  # (WRITABLE,)


class Shape(NamedTuple):
    """The shape of an output that is being written.

    width: cells of a full row; 0 within the first row.
    column: number of cells in the row that is being written.
    rows: number of full rows before the row that is being written.
    """

    width: int = 0
    column: int = 0
    rows: int = 0

    def after(self, symbol: int) -> Shape:
        """The shape after one more symbol. END does not change the shape."""
        if symbol < COLORS:
            return Shape(self.width, self.column + 1, self.rows)
        if symbol == ROW:
            return Shape(self.column, 0, self.rows + 1)
        return self

    def legal(self, side: int) -> Mask:
        """A mask of the symbols that may follow in an output with sides of at most `side`."""
        full = self.column == self.width if self.width else self.column >= 1
        return _mask(self.column < (self.width or side), full and self.rows + 1 < side, full)


@lru_cache
def _mask(cell: bool, row: bool, end: bool) -> Mask:
    mask = np.zeros(WRITABLE, dtype=bool)
    mask[:COLORS], mask[ROW], mask[END] = cell, row, end
    mask.setflags(write=False)
    return mask


def shape_of(symbols: Iterable[int]) -> Shape:
    """The shape of an output whose symbols so far are `symbols`."""
    shape = Shape()
    for symbol in symbols:
        shape = shape.after(symbol)
    return shape


def most_symbols(side: int) -> int:
    """The number of symbols in the largest output with sides of at most `side`, END included."""
    return side * (side + 1)
