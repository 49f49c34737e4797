"""Palettes: the colours of a grid in an order, exchanged along this order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from solver.grid import COLORS, Grid, Pair, Task
from solver.synth.fit import Cells, fit, same_size
from solver.synth.program import Op, Solution

ORDERS = ("diagonal", "rows", "columns", "frequency", "filled by frequency")
CHANGES = ("reversed", "next", "previous", "pairs")


def exchanges(task: Task) -> Iterator[Solution | None]:
    """Exchanges of colours that reproduce every demonstration."""
    if same_size(task) and all(_is_exchange(pair) for pair in task.train):
        for k, order in enumerate(ORDERS):
            for change in CHANGES:
                args = (order, change)
                yield fit(task, "exchange_colors", exchange_colors, args, 7.0 + 0.5 * k)


def _is_exchange(pair: Pair) -> bool:
    """True if each colour becomes one colour, and no colour is lost or new."""
    table = {(a, b) for a, b in zip(pair.input.flat, pair.output.flat, strict=True)}
    before, after = {int(a) for a, _ in table}, {int(b) for _, b in table}
    return before == after and len(table) == len(before)


def exchange_colors(grid: Grid, order: str, change: str) -> Cells:
    """The grid with each colour replaced by another colour of the grid.

    order: `diagonal`, `rows` and `columns` order colours by their first cell along the main
    diagonal, in reading order or down the columns; `frequency` counts cells, with or without 0
    (`filled by frequency`).
    change: the colours are `reversed`, or exchanged in `pairs`; or each becomes the `next` or the
    `previous` colour.
    """
    colors = _ordered(grid, order)
    new = {
        "reversed": colors[::-1],
        "next": colors[1:] + colors[:1],
        "previous": colors[-1:] + colors[:-1],
        "pairs": [colors[min(k ^ 1, len(colors) - 1)] for k in range(len(colors))],
    }[change]
    table = np.arange(COLORS, dtype=np.uint8)
    table[colors] = new
    return table[grid]


def _ordered(grid: Grid, order: str) -> list[int]:
    if order.endswith("frequency"):
        counts = np.bincount(grid.ravel(), minlength=COLORS)
        counts[0] *= order == "frequency"
        return [c for c in np.argsort(-counts, kind="stable").tolist() if counts[c]]
    line = {"diagonal": np.diagonal(grid), "rows": grid.ravel(), "columns": grid.T.ravel()}[order]
    return list(dict.fromkeys(line.tolist()))


OPS = {"exchange_colors": Op(exchange_colors, "each colour becomes another one of the grid")}
