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
    """The shape of an output so far: its width (0 within the first row), the cells of the row
    that is being written, and the full rows before it."""

    width: int = 0
    column: int = 0
    rows: int = 0

    def after(self, symbol: int) -> Shape:
        """The shape one symbol later. END changes nothing: nothing follows it."""
        if symbol < COLORS:
            return Shape(self.width, self.column + 1, self.rows)
        if symbol == ROW:
            return Shape(self.column, 0, self.rows + 1)
        return self

    def legal(self, side: int) -> Mask:
        """Which symbols may follow, where no output is longer than `side` a side."""
        full = self.column == self.width if self.width else self.column >= 1
        return _mask(self.column < (self.width or side), full and self.rows + 1 < side, full)


@lru_cache
def _mask(cell: bool, row: bool, end: bool) -> Mask:
    mask = np.zeros(WRITABLE, dtype=bool)
    mask[:COLORS], mask[ROW], mask[END] = cell, row, end
    mask.setflags(write=False)
    return mask


def shape_of(symbols: Iterable[int]) -> Shape:
    """The shape that symbols have spelled from the start."""
    shape = Shape()
    for symbol in symbols:
        shape = shape.after(symbol)
    return shape


def most_symbols(side: int) -> int:
    """Symbols of the largest output within `side`, END included."""
    return side * (side + 1)
