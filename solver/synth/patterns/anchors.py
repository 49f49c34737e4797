"""Anchors: templates drawn wherever only their markers show.

A template is an object that contains marker cells. At other places only the markers show. The
template is drawn there, turned and scaled so that the markers match.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from solver.grid import Grid
from solver.synth.fit import Cells
from solver.synth.objects.objects import background, segment
from solver.synth.program import position
from solver.views import turn

_MAX_MARKS = 60


TEMPLATES = ("kept", "cleared")


def anchors(grid: Grid, mode: str, turns: int, scales: int, kept: str | int) -> Cells | None:
    """Draw templates wherever only their markers show; None if nothing is drawn.

    Templates are objects of several colours, and of more than half the area of the largest such
    object. The markers of a template are its cells of colours that also stand outside of
    templates. Each template is tried at scales `scales`..1 and in the first `turns` D8 positions
    (`solver.views.turn`). A template is drawn where its markers match free marker cells exactly.
    The templates themselves are `kept` or `cleared`.
    """
    ground = background(grid, "0")
    scene = segment(grid, mode, "0")
    if scene is None or scene.n < 2:
        return None
    colors, area = scene.column("colors"), scene.column("area")
    single = [i for i in range(scene.n) if colors[i] > 1]
    if not single or len(single) > 30 or scene.n > 100:
        return None
    biggest = int(area[single].max())
    templates = [i for i in single if 2 * area[i] > biggest and area[i] > 2]
    inside = np.isin(scene.labels, np.array(templates) + 1)
    loose = np.where(inside, ground, grid)
    marks = [c for c in np.unique(loose).tolist() if c != ground]
    out = (
        np.where(inside, ground, grid).astype(np.uint8)
        if position(TEMPLATES, kept)
        else grid.copy()
    )
    drawn = 0
    for i in sorted(templates, key=lambda i: -int(area[i])):
        cells = np.where(scene.alone(i) == ground, 255, scene.alone(i))
        drawn += _draw_matches(cells, loose, marks, turns, scales, ground, out)
    return out if drawn else None


def partial_copies(grid: Grid, mode: str, turns: int) -> Cells | None:
    """Complete copies of templates of which only the cells of one colour show.

    Templates are objects of several colours. A template is drawn, in the first `turns` D8
    positions, where all its cells of one colour stand outside of templates. None if nothing is
    drawn, or if there are too many objects.
    """
    scene = segment(grid, mode, "0")
    if scene is None or not 2 <= scene.n <= 100:
        return None
    ground = scene.background
    templates = [i for i in range(scene.n) if scene.column("colors")[i] > 1]
    if not templates or len(templates) > 12:
        return None
    loose = np.where(np.isin(scene.labels, np.array(templates) + 1), ground, grid)
    out, drawn = grid.copy(), 0
    for i in sorted(templates, key=lambda i: -int(scene.column("area")[i])):
        cells = np.where(scene.alone(i) == ground, 255, scene.alone(i))
        colors, counts = np.unique(cells[cells < 255], return_counts=True)
        for k in np.argsort(-counts, kind="stable").tolist():
            drawn += _draw_matches(cells, loose, [int(colors[k])], turns, 1, ground, out)
    return out if drawn else None


def _draw_matches(
    cells: NDArray[np.uint8],
    loose: NDArray[np.uint8],
    marks: list[int],
    turns: int,
    scales: int,
    ground: int,
    out: NDArray[np.uint8],
) -> int:
    drawn = 0
    for scale in range(scales, 0, -1):
        for d8 in range(turns):
            big = np.kron(turn(cells, d8), np.ones((scale, scale), dtype=np.uint8))
            marked = np.isin(big, marks)
            if marked.sum() < 2 * scale * scale and turns > 1 and len(marks) > 1:
                continue
            for top, left in _matches(big, marked, loose, ground):
                _stamp(big, top, left, out)
                rows, columns = np.nonzero(marked)
                loose[rows + top, columns + left] = ground
                drawn += 1
    return drawn


def _matches(
    big: NDArray[np.uint8], marked: NDArray[np.bool_], loose: NDArray[np.uint8], ground: int
) -> list[tuple[int, int]]:
    """Places (top, left) at which all markers match; the template may reach over the border."""
    rows, columns = np.nonzero(marked)
    if not len(rows):
        return []
    found = []
    first = big[rows[0], columns[0]]
    h, w = loose.shape
    for r, c in np.argwhere(loose == first)[:_MAX_MARKS]:
        top, left = int(r - rows[0]), int(c - columns[0])
        y, x = rows + top, columns + left
        if y.min() < 0 or x.min() < 0 or y.max() >= h or x.max() >= w:
            continue
        if (loose[y, x] == big[rows, columns]).all():
            found.append((top, left))
    return found


def _stamp(big: NDArray[np.uint8], top: int, left: int, out: NDArray[np.uint8]) -> None:
    h, w = out.shape
    a, b = max(0, -top), max(0, -left)
    seen = big[a : h - top, b : w - left]
    place = out[top + a : top + a + seen.shape[0], left + b : left + b + seen.shape[1]]
    place[seen != 255] = seen[seen != 255]
