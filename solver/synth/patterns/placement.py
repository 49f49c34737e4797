"""Placement: pictures at the places of markers or symmetries, and lines that travel.

Anchors: templates are drawn where only their markers show (`anchors`). Centres: the picture is
completed to a symmetry about the middle of an object. Crossings: cells are painted where the rows
and the columns of markers cross. Travellers: rays start at the cells of a colour, and stop, turn
or bounce at obstacles.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from solver.deadline import Deadline
from solver.grid import Grid, Task, freeze
from solver.synth.fit import Cells, distinct, fit, same_size, until
from solver.synth.jit import kernel
from solver.synth.objects.objects import segment
from solver.synth.objects.rule_learn import Test, holds
from solver.synth.patterns.anchors import TEMPLATES, anchors, partial_copies
from solver.synth.patterns.palettes import OPS as PALETTE_OPS
from solver.synth.patterns.palettes import exchanges
from solver.synth.patterns.pasting import OPS as PASTE_OPS
from solver.synth.patterns.pasting import pasted
from solver.synth.patterns.rectangles import OPS as RECTANGLE_OPS
from solver.synth.patterns.rectangles import paint_rectangle, rectangles
from solver.synth.program import Op, Solution, position

_CENTRES = ("half turn", "four turns", "mirrors", "all")


def search(task: Task, deadline: Deadline) -> Iterator[Solution | None]:
    """Placements that reproduce every demonstration."""
    if not same_size(task):
        return
    for stage in _STAGES:
        if deadline.passed():
            return
        yield from distinct(until(stage(task), deadline), 2)
        yield None


def prepare() -> None:
    """Compile the kernels that placements use, or load them from the cache."""
    grid = np.diag([1, 2, 0, 0]).astype(np.uint8)
    segment(grid, "one color, 8 ways")
    travel(grid, 1, 2, 0, "stop")
    paint_rectangle(grid, 0, 1, 1)


# --- anchors --------------------------------------------------------------------------


def _anchors(task: Task) -> Iterator[Solution | None]:
    for mode in ("mixed, 8 ways", "mixed, 4 ways"):
        for turns in (1, 8):
            for scales in (1, 3):
                for k, templates in enumerate(TEMPLATES):
                    bits = 8.0 + turns / 4 + scales / 2 + k
                    yield fit(task, "anchors", anchors, (mode, turns, scales, templates), bits)


def _partial_copies(task: Task) -> Iterator[Solution | None]:
    for mode in ("mixed, 8 ways", "mixed, 4 ways"):
        for turns in (1, 8):
            args = (mode, turns)
            yield fit(task, "partial_copies", partial_copies, args, 9.0 + turns / 4)


# --- symmetry about an object ---------------------------------------------------------


def _centres(task: Task) -> Iterator[Solution | None]:
    tests: tuple[Test, ...] = (
        ("area", "max", 0), ("area", "min", 0), ("square", "max", 0), ("full_square", "max", 0),
        ("colors", "max", 0), ("color_cells", "min", 0), ("sym_diag", "max", 0),
        *((("color", "==", c)) for c in range(1, 10)),
    )  # fmt: skip
    for mode in ("mixed, 8 ways", "one color, 8 ways", "one color, 4 ways"):
        for k, test in enumerate(tests):
            for kind in _CENTRES:
                for reach in _REACHES:
                    args = (mode, test, kind, reach)
                    yield fit(task, "about_centre", about_centre, args, 8.0 + 0.5 * k)


_REACHES = ("near", "whole grid")


def about_centre(grid: Grid, mode: str, test: Test, kind: str, reach: str | int) -> Cells | None:
    """Blank cells take the colour of their images about the middle of the chosen objects.

    The images come from a `half turn`, `four turns`, `mirrors` (left-right and up-down) or `all`.
    Only the cells that are 8-connected with the object are copied (`near`), or the `whole grid`.
    None if there are more than six chosen objects.
    """
    scene = segment(grid, mode, "0")
    whole = segment(grid, "mixed, 8 ways", "0")
    if scene is None or whole is None or scene.n == 0:
        return None
    out = grid.copy()
    chosen = np.flatnonzero(holds(test, scene))
    if len(chosen) > 6:
        return None
    for i in chosen:
        top, left, bottom, right = scene.box(int(i))
        sums = (top + bottom - 1, left + right - 1)
        around = whole.labels == whole.labels[scene.masks[i]][0]
        _reflect(grid, out, around | bool(position(_REACHES, reach)), sums, kind, scene.background)
    return out


def _reflect(
    grid: Grid,
    out: NDArray[np.uint8],
    source: NDArray[np.bool_],
    sums: tuple[int, int],
    kind: str,
    ground: int,
) -> None:
    """Copy `source` cells to their images in `out`; `sums` is twice the centre (row, column)."""
    t, s = sums
    h, w = grid.shape
    for r, c in np.argwhere(source & (grid != ground)):
        y, x = 2 * r - t, 2 * c - s  # twice the offset from the centre
        images = {
            "half turn": [(-y, -x)],
            "four turns": [(-y, -x), (x, -y), (-x, y)],
            "mirrors": [(-y, x), (y, -x), (-y, -x)],
            "all": [(-y, x), (y, -x), (-y, -x), (x, y), (-x, y), (x, -y), (-x, -y)],
        }[kind]
        for b, a in images:
            p, q = (b + t) // 2, (a + s) // 2
            on_cell = (b + t) % 2 == 0 and (a + s) % 2 == 0 and 0 <= p < h and 0 <= q < w
            if on_cell and out[p, q] == ground:
                out[p, q] = grid[r, c]


# --- crossings ------------------------------------------------------------------------


def _crossings(task: Task) -> Iterator[Solution | None]:
    """Programs that paint the cells where the rows and the columns of markers cross."""
    new = _new_colors(task)
    for color in new:
        for rows in ("any", "top", "left", "own"):
            for over in (0, 1):
                yield fit(task, "crossings", crossings, (color, rows, over), 9.0)


def _new_colors(task: Task) -> list[int]:
    found: set[int] = set()
    for pair in task.train:
        found |= set(pair.output[pair.output != pair.input].tolist())
    return sorted(found)


def crossings(grid: Grid, color: int, where: str, over: int) -> Cells | None:
    """Paint cells whose row and column both contain a marker.

    The markers, by `where`: `any` filled cell; `top`: filled cells of the left and top edges;
    `left`: filled cells of all four edges; `own`: filled cells of one colour in row and column.
    Only blank cells are painted, unless `over` is true.
    """
    ink = grid != 0
    if where == "any":
        hit = ink.any(1)[:, None] & ink.any(0)[None]
    elif where == "top":
        hit = ink[:, 0][:, None] & ink[0][None]
    elif where == "left":
        hit = (ink[:, 0] | ink[:, -1])[:, None] & (ink[0] | ink[-1])[None]
    else:
        hit = np.zeros_like(ink)
        for c in np.unique(grid[ink]).tolist():
            same = grid == c
            hit |= same.any(1)[:, None] & same.any(0)[None]
    if not over:
        hit = hit & ~ink
    return np.where(hit, color, grid).astype(np.uint8)


# --- travellers -----------------------------------------------------------------------


def _travellers(task: Task) -> Iterator[Solution | None]:
    shown = [c for c in range(1, 10) if all((p.input == c).any() for p in task.train)]
    paints = [*_new_colors(task), "own"]
    for source in shown:
        for paint in paints:
            for first in _EIGHTHS:
                for at_wall in _WALLS:
                    args = (source, paint, first, at_wall)
                    yield fit(task, "travel", travel, args, 11.0 + (at_wall != "stop"))


_WALLS = ("stop", "right", "left", "back", "bounce", "bounce aside", "bounce up and down")
_EIGHTHS = ("up", "up-right", "right", "down-right", "down", "down-left", "left", "up-left")
_STEPS = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))


def travel(
    grid: Grid, source: int, paint: int | str, first: int | str, at_wall: str
) -> Cells | None:
    """Rays from all cells of a colour through blank cells, in the colour `paint` or their `own`.

    `first` is the direction (`_EIGHTHS`); None if there is no such direction. At an obstacle, a
    ray stops, turns by a quarter (`right`, `left`) or goes `back`. `bounce` mirrors a ray at
    obstacles and borders, and `bounce aside` or `bounce up and down` turns only its step along
    the rows or along the columns. All other rays end at the border.
    """
    eighth = position(_EIGHTHS, first)
    if not 0 <= eighth < len(_EIGHTHS):
        return None
    grid = freeze(grid)
    out = grid.copy()
    wall = _WALLS.index(at_wall)
    dy, dx = _STEPS[eighth]
    ink = source if isinstance(paint, str) or paint < 0 else paint
    _travel(grid, out, source, ink, dy, dx, wall)
    return out


@kernel
def _travel(grid, out, source, paint, dy0, dx0, wall):
    h, w = grid.shape
    for r in range(h):
        for c in range(w):
            if grid[r, c] != source:
                continue
            y, x, dy, dx = r, c, dy0, dx0
            turns = 0
            for _ in range(4 * (h + w)):
                p, q = y + dy, x + dx
                inside = 0 <= p < h and 0 <= q < w
                if inside and grid[p, q] == 0:
                    y, x = p, q
                    out[y, x] = paint
                    turns = 0
                    continue
                if wall == 0 or turns >= 4 or (not inside and wall < 4):
                    break
                turns += 1
                if wall == 1:
                    dy, dx = dx, -dy
                elif wall == 2:
                    dy, dx = -dx, dy
                elif wall == 3:
                    dy, dx = -dy, -dx
                elif wall == 5:
                    dx = -dx
                elif wall == 6:
                    dy = -dy
                else:
                    side = 0 <= y + dy < h and grid[y + dy, x] == 0
                    level = 0 <= x + dx < w and grid[y, x + dx] == 0
                    if side and not level:
                        dx = -dx
                    elif level and not side:
                        dy = -dy
                    else:
                        dy, dx = -dy, -dx


# Stages that end at once on most tasks come first, and the most programs last.
_STAGES = (
    exchanges, _anchors, rectangles, _partial_copies, pasted, _crossings, _centres, _travellers,
)  # fmt: skip

OPS = {
    **PALETTE_OPS,
    **PASTE_OPS,
    **RECTANGLE_OPS,
    "anchors": Op(anchors, "templates drawn wherever only their markers are"),
    "partial_copies": Op(partial_copies, "templates completed where one of their colours shows"),
    "about_centre": Op(about_centre, "completed to a symmetry about the middle of an object"),
    "crossings": Op(crossings, "cells where marked rows and columns cross"),
    "travel": Op(travel, "rays from cells of a colour that turn or bounce at obstacles"),
}
