"""The learners on smaller grids: a cell for each part between lines, or for each uniform block.

A grid of parts between lines, each of one colour, becomes a grid of these colours. So does a grid
of uniform blocks. The searches run on the small grids. If the outputs have the same form, each
cell of the small output is drawn as large again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from solver.deadline import Deadline
from solver.grid import MAX_SIDE, Grid, Pair, Task, freeze, same
from solver.synth.cells import search as cells
from solver.synth.grids import search as grids
from solver.synth.interleave import Search, interleave
from solver.synth.objects import rules
from solver.synth.patterns import placement
from solver.synth.program import INPUT, Call, Op, Solution, as_output, substitute
from solver.synth.split import separated_parts

FORMS = ("parts", "blocks")
LATTICE_BITS = 6.0
_SEARCHES: dict[str, Search] = {
    "grids": grids.search_aside,
    "placement": placement.search,
    "cells": cells.search,
    "rules": rules.search,
}


def search(task: Task, deadline: Deadline) -> Iterator[Solution | None]:
    """Programs that work on the small grids of a task, and draw the result."""
    for form in FORMS:
        for drawn in (True, False):
            smaller = reduced(task, form, drawn)
            if smaller is None:
                continue
            for _, step in interleave(smaller, deadline, _SEARCHES, {}):
                if isinstance(step, Exception):
                    raise step
                yield step and _enlarged(task, step, form, drawn)
            break


def reduced(task: Task, form: str, drawn: bool) -> Task | None:
    """The task of small grids; None if a grid does not have the form.

    drawn: True if outputs have the form too, and become small.
    """
    inputs = [lattice(grid, form) for grid in (*(p.input for p in task.train), *task.tests)]
    outputs: list[Grid | None] = [
        lattice(p.output, form) if drawn else p.output for p in task.train
    ]
    made = [draw_lattice(out, p.input, form) if drawn else p.output
            for out, p in zip(outputs, task.train, strict=True)]  # fmt: skip
    grids_ = [grid for grid in (*inputs, *outputs) if grid is not None]
    exact = all(m is not None and same(m, p.output) for m, p in zip(made, task.train, strict=True))
    if len(grids_) < len(inputs) + len(outputs) or not exact:
        return None
    n = len(task.train)
    pairs = tuple(Pair(a, b) for a, b in zip(grids_[:n], grids_[len(inputs) :], strict=True))
    return Task(task.id, pairs, tuple(grids_[n : len(inputs)]))


def _enlarged(task: Task, found: Solution, form: str, drawn: bool) -> Solution | None:
    program = substitute(found.program, Call("lattice", (INPUT, form)))
    cost = found.cost + LATTICE_BITS
    if not drawn:
        return replace(found, program=program, cost=cost)
    outputs = [draw_lattice(o, g, form) for o, g in zip(found.outputs, task.tests, strict=True)]
    if any(output is None for output in outputs):
        return None
    shown = tuple(output for output in outputs if output is not None)
    return Solution(Call("draw_lattice", (program, INPUT, form)), shown, cost)


def lattice(value: Any, form: str) -> Grid | None:
    """A cell for each of the `parts` between lines, or for each of the largest uniform `blocks`.

    None if a part has several colours, or if there are no such parts or blocks.
    """
    grid = as_output(value)
    if grid is None:
        return None
    if form == "blocks":
        side = _block(grid)
        return freeze(grid[::side, ::side].copy()) if side > 1 else None
    parts = separated_parts(grid)
    if parts is None or parts.shape == (1, 1):
        return None
    stack = parts.stack(grid).reshape(parts.n, -1)
    if (stack != stack[:, :1]).any():
        return None
    return freeze(stack[:, 0].reshape(parts.count).copy())


def _block(grid: Grid) -> int:
    """The side of the largest square blocks of one colour that make up the grid."""
    for side in range(min(grid.shape), 1, -1):
        if grid.shape[0] % side == 0 and grid.shape[1] % side == 0:
            small = grid[::side, ::side]
            if small.size > 1 and (np.kron(small, np.ones((side, side), np.uint8)) == grid).all():
                return side
    return 1


def draw_lattice(value: Any, source: Any, form: str) -> Grid | None:
    """The small grid drawn with the parts and lines, or with the blocks, of the source.

    None if the small grid does not have a cell for each part, or if the result is too large.
    """
    small, grid = as_output(value), as_output(source)
    if small is None or grid is None:
        return None
    if form == "blocks":
        side = _block(grid)
        if max(small.shape) * side > MAX_SIDE:
            return None
        return freeze(np.kron(small, np.ones((side, side), np.uint8)))
    parts = separated_parts(grid)
    if parts is None or parts.count != small.shape:
        return None
    out = grid.copy()
    for (y, x), color in zip(parts.corners, small.ravel().tolist(), strict=True):
        out[y : y + parts.shape[0], x : x + parts.shape[1]] = color
    return freeze(out)


OPS = {
    "lattice": Op(lattice, "a cell for each part between lines, or for each uniform block"),
    "draw_lattice": Op(draw_lattice, "each cell drawn as large as in the source"),
}
