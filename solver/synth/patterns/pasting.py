"""Pasting: the picture of one object drawn in the places of all objects of a colour."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from solver.grid import Grid, Task, freeze
from solver.synth.fit import Cells, fit
from solver.synth.objects.objects import Ints, Mask, Scene, segment
from solver.synth.objects.rule_learn import ALWAYS, Test, holds
from solver.synth.program import Op, Solution

_MODES = ("mixed, 8 ways", "one color, 8 ways", "rest")
_TESTS: tuple[Test, ...] = (("colors", "max", 0), ("area", "max", 0), ("area", "min", 0))
ANCHORS = ("middle", "top left", "top right", "bottom left", "bottom right")
TEMPLATES = ("kept", "cleared")


def pasted(task: Task) -> Iterator[Solution | None]:
    """Programs that draw a template in the places of the objects of a colour."""
    lost = (set(p.input[p.input != p.output].tolist()) for p in task.train)
    shared = set.intersection(*lost) - {0}
    for mode in _MODES:
        for k, test in enumerate(_TESTS if mode != "rest" else (ALWAYS,)):
            for color in sorted(shared):
                for anchor in ANCHORS:
                    for kept in TEMPLATES:
                        args = (mode, test, color, anchor, kept)
                        yield fit(task, "paste", paste, args, 12.0 + k)


def paste(grid: Grid, mode: str, test: Test, color: int, anchor: str, kept: str) -> Cells | None:
    """Draw the template in the places of all other objects of a colour, and clear these.

    The template is the first object that meets the test; with the mode `rest` it is all cells of
    other colours. It is then `kept` or `cleared`. The `anchor` says which point of two boxes
    falls together. None if there is no template, or no object of the colour.
    """
    found = _rest(grid, color) if mode == "rest" else _object(grid, mode, test, color)
    if found is None:
        return None
    source, targets = found
    (r, c), ground = np.nonzero(source), 0
    colors = grid[r, c]
    out = np.array(grid)
    if kept == "cleared":
        out[r, c] = ground
    for i in range(targets.n):
        if source[targets.labels == i + 1].any():
            continue
        out[targets.labels == i + 1] = ground
        box = targets.box(i)
        y = r + _shift(r, box[0], box[2], _ENDS[anchor][0])
        x = c + _shift(c, box[1], box[3], _ENDS[anchor][1])
        inside = (y >= 0) & (x >= 0) & (y < grid.shape[0]) & (x < grid.shape[1])
        out[y[inside], x[inside]] = colors[inside]
    return out


def _object(grid: Grid, mode: str, test: Test, color: int) -> tuple[Mask, Scene] | None:
    """The cells of the first object that meets a test, and the objects of one colour."""
    scene = segment(grid, mode, "0")
    if scene is None or scene.n < 2:
        return None
    hits = np.flatnonzero(holds(test, scene))
    loose = np.isin(scene.labels, np.flatnonzero(scene.column("colors") == 1) + 1)
    targets = segment(freeze(np.where(loose & (grid == color), grid, 0).astype(np.uint8)), mode)
    if not len(hits) or targets is None or targets.n == 0:
        return None
    return scene.masks[hits[0]], targets


def _rest(grid: Grid, color: int) -> tuple[Mask, Scene] | None:
    """The filled cells of other colours, and the objects of one colour."""
    source = (grid != 0) & (grid != color)
    alone = freeze(np.where(grid == color, grid, 0).astype(np.uint8))
    targets = segment(alone, "one color, 8 ways")
    return (source, targets) if targets is not None and targets.n and source.any() else None


_ENDS = {
    "middle": (1, 1), "top left": (0, 0), "top right": (0, 2), "bottom left": (2, 0),
    "bottom right": (2, 2),
}  # fmt: skip


def _shift(cells: Ints, low: int, high: int, end: int) -> int:
    """The shift by which cells share an end (0 or 2), or the middle (1), with a span."""
    first, last = int(cells.min()), int(cells.max()) + 1
    return (low - first, (low + high - first - last) // 2, high - last)[end]


OPS = {"paste": Op(paste, "one object's picture in the places of all objects of a colour")}
