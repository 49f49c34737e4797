"""Rectangles: the largest rectangle of one colour in a grid, in a new colour."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from solver.grid import Grid, Task, freeze
from solver.synth.fit import Cells, fit, same_size
from solver.synth.jit import kernel
from solver.synth.program import Op, Solution

_SIDES = (1, 2, 3)


def rectangles(task: Task) -> Iterator[Solution | None]:
    """Programs that paint the largest rectangle of a colour."""
    changes = {
        (int(a), int(b))
        for pair in task.train
        for a, b in zip(pair.input.flat, pair.output.flat, strict=True)
        if a != b
    } if same_size(task) else set()  # fmt: skip
    if len(changes) == 1:
        old, new = changes.pop()
        for side in _SIDES:
            yield fit(task, "paint_rectangle", paint_rectangle, (old, new, side), 9.0 + side)


def paint_rectangle(grid: Grid, old: int, new: int, side: int) -> Cells | None:
    """The grid with its largest rectangles of a colour in a new colour.

    Rectangles with a side of fewer than `side` cells do not count. All rectangles of the largest
    area are painted. None if there is no rectangle.
    """
    out = np.array(grid)
    return out if _paint(freeze(grid), old, new, side, out) else None


@kernel
def _paint(grid, old, new, side, out):
    """Paint the largest rectangles; returns their area."""
    best = 0
    h, w = grid.shape
    for draw in range(2):
        for top in range(h):
            clear = np.ones(w, np.bool_)
            for bottom in range(top, h):
                start = 0
                for c in range(w + 1):
                    if c < w:
                        clear[c] &= grid[bottom, c] == old
                    if c < w and clear[c]:
                        continue
                    height, width = bottom - top + 1, c - start
                    if min(height, width) >= side:
                        if not draw:
                            best = max(best, height * width)
                        elif height * width == best:
                            out[top : bottom + 1, start:c] = new
                    start = c + 1
    return best


OPS = {"paint_rectangle": Op(paint_rectangle, "the largest rectangle of a colour in a new colour")}
