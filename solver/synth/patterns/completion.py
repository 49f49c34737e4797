"""Completion: unknown cells are filled by translations and reflections that the rest obeys.

Unknown cells have a colour that the demonstrations show, or a colour role (`least`, `most`).
`complete` searches the symmetries of the known cells: translations of a lattice, mirror axes
anywhere, and rotations. Unknown cells are filled from their images. The output is the whole grid,
the patch that was unknown, or a larger grid that continues the pattern. `regular` also corrects
known cells, by majority votes over periodic classes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from solver.deadline import Deadline
from solver.grid import COLORS, Grid, Task
from solver.synth.fit import Cells, distinct, fit, same_size, until
from solver.synth.patterns.completion_kernels import (
    agreement,
    best_mirrors,
    fill_mirror,
    fill_shift,
    shifts,
)
from solver.synth.program import Op, Solution, position

KINDS = ("tile", "mirror", "tile mirror", "row", "column", "diagonal", "mirror tile", "loose")
UNKNOWN = 255


def search(task: Task, deadline: Deadline) -> Iterator[Solution | None]:
    """Completions that reproduce every demonstration."""
    for stage in (_whole, _patches, _larger, _periodic):
        if deadline.passed():
            return
        yield from distinct(until(stage(task), deadline), 2)
        yield None


def prepare() -> None:
    """Compile the kernels of this module, or load them from the cache."""
    cells = np.diag([1, 1, 1, 1, 1]).astype(np.uint8)
    cells[0, 4] = UNKNOWN
    _apply(cells.copy(), "tile")
    _apply(cells, "mirror")
    agreement(cells, 2, 2)


# --- the operation --------------------------------------------------------------------


def complete(cells: NDArray[np.uint8], kinds: str) -> NDArray[np.uint8] | None:
    """Fill the unknown cells (255) by the symmetries of the others; None if some stay unknown.

    `kinds` names the symmetries to try, in order. `tile` means shifts of a lattice. `row`,
    `column` and `diagonal` mean shifts along this direction only. `mirror` means axes and turns.
    `loose` means mirrors in which a tenth of the cell pairs may differ.
    """
    cells = cells.copy()
    for kind in kinds.split():
        if (cells != UNKNOWN).any() and (cells == UNKNOWN).any():
            _apply(cells, kind)
    return None if (cells == UNKNOWN).any() else cells


def _apply(cells: NDArray[np.uint8], kind: str) -> None:
    allowed = 10 if kind == "loose" else 0
    if kind in ("mirror", "loose"):
        axes = np.zeros((6, 3), dtype=np.int64)
        best_mirrors(cells, allowed, axes)
        for k in np.argsort(-axes[:, 2], kind="stable"):
            if axes[k, 2]:
                fill_mirror(cells, int(k), int(axes[k, 0]), int(axes[k, 1]))
        return
    which = {"tile": 0, "row": 1, "column": 2, "diagonal": 3}[kind]
    found = np.zeros((200, 2), dtype=np.int64)
    n = shifts(cells, which, allowed, found)
    for dy, dx in found[:n]:
        fill_shift(cells, int(dy), int(dx))
        if not (cells == UNKNOWN).any():
            return


def mask_color(grid: Grid, ref: str) -> int:
    """The colour of unknown cells: a digit, or the `most` or `least` common colour."""
    if ref.isdigit():
        return int(ref)
    counts = np.bincount(grid.ravel(), minlength=COLORS)
    if ref == "most":
        return int(counts.argmax())
    return int(np.where(counts == 0, 999, counts).argmin())


def _masked(grid: Grid, ref: str) -> NDArray[np.uint8]:
    return np.where(grid == mask_color(grid, ref), UNKNOWN, grid).astype(np.uint8)


_REACHES = ("whole", "partly")
_IMAGES = ("as is", "left-right", "upside down")


def repair(grid: Grid, ref: str, kinds: str, reach: str | int) -> Cells | None:
    """The grid with the cells of one colour filled by the symmetries of the rest.

    With `partly`, cells that no symmetry reaches stay as they are. With `whole`, such cells give
    None.
    """
    cells = _masked(grid, ref)
    if not (cells == UNKNOWN).any():
        return np.asarray(grid)
    if not position(_REACHES, reach):
        return complete(cells, kinds)
    for kind in kinds.split():
        _apply(cells, kind)
    return np.where(cells == UNKNOWN, grid, cells)


def patch(grid: Grid, ref: str, kinds: str, image: str | int) -> Cells | None:
    """The completed contents of the box around the unknown cells, or None.

    `image` (one of `_IMAGES`) leaves the box as it is, or mirrors the box.
    """
    cells = _masked(grid, ref)
    open_cells = np.argwhere(cells == UNKNOWN)
    if not len(open_cells):
        return None
    full = complete(cells, kinds)
    if full is None:
        return None
    (a, b), (c, d) = open_cells.min(0), open_cells.max(0) + 1
    box = full[a:c, b:d]
    return (box, box[:, ::-1], box[::-1])[position(_IMAGES, image)]


def _mask_refs(task: Task) -> list[str]:
    """Names of colours that could mean unknown: those in all inputs, `least` and `most`."""
    refs = [str(c) for c in range(COLORS) if all((pair.input == c).any() for pair in task.train)]
    return [*refs, "least", "most"]


def _whole(task: Task) -> Iterator[Solution | None]:
    if not same_size(task):
        return
    for k, ref in enumerate(_mask_refs(task)):
        if not _only_mask_changes(task, ref):
            continue
        for j, kinds in enumerate(KINDS):
            for n, reach in enumerate(_REACHES):
                bits = 5.0 + j + 0.5 * k + 3 * n
                yield fit(task, "repair", repair, (ref, kinds, reach), bits)


def _only_mask_changes(task: Task, ref: str) -> bool:
    changed = False
    for pair in task.train:
        diff = pair.input != pair.output
        if (pair.input[diff] != mask_color(pair.input, ref)).any():
            return False
        changed = changed or bool(diff.any())
    return changed


def _patches(task: Task) -> Iterator[Solution | None]:
    if any(pair.output.size >= pair.input.size for pair in task.train):
        return
    for k, ref in enumerate(_mask_refs(task)):
        if any(_box_shape(p.input, ref) != p.output.shape for p in task.train):
            continue
        for j, kinds in enumerate(KINDS):
            for n, image in enumerate(_IMAGES):
                yield fit(task, "patch", patch, (ref, kinds, image), 5.0 + j + 0.5 * k + 2 * n)


def _box_shape(grid: Grid, ref: str) -> tuple[int, int] | None:
    found = np.argwhere(grid == mask_color(grid, ref))
    if not len(found):
        return None
    height, width = found.max(0) - found.min(0) + 1
    return int(height), int(width)


# --- larger outputs -------------------------------------------------------------------


def _sizes(task: Task) -> list[tuple[str, int, int]]:
    """Rules (name, down, across) for the output's size that hold in all demonstrations."""
    shapes = {pair.output.shape for pair in task.train}
    rules = []
    if len(shapes) == 1:
        h, w = shapes.pop()
        rules.append(("const", h, w))
    for name in ("times", "plus"):
        found = set()
        for pair in task.train:
            (h, w), (a, b) = pair.input.shape, pair.output.shape
            if name == "times" and (a % h or b % w):
                found |= {(0, 0), (1, 1)}
            else:
                found.add((a // h, b // w) if name == "times" else (a - h, b - w))
        if len(found) == 1:
            rules.append((name, *found.pop()))
    return rules


def _larger(task: Task) -> Iterator[Solution | None]:
    if same_size(task) or any(
        pair.output.shape[a] < pair.input.shape[a] for pair in task.train for a in (0, 1)
    ):
        return
    for size in _sizes(task):
        for refs in ("", "0"):
            for j, kinds in enumerate(("tile", "row", "column", "diagonal", "mirror")):
                for corner in ("start", "end", "middle"):
                    args = (*size, refs, kinds, corner)
                    yield fit(task, "continued", continued, args, 8.0 + j)


def continued(
    grid: Grid, rule: str, down: int, across: int, ref: str, kinds: str, corner: str
) -> Cells | None:
    """A larger grid that continues the pattern; None if some cells stay unknown.

    The new size is `down` by `across` (`const`), or the old size `times` or `plus` these
    numbers. None if a side would become smaller, or larger than 30 cells. The old grid stands at
    the `start` (top left), the `end` (bottom right) or the `middle`. Cells of colour `ref` are
    unknown too.
    """
    h, w = grid.shape
    a, b = {"const": (down, across), "times": (h * down, w * across),
            "plus": (h + down, w + across)}[rule]  # fmt: skip
    if not (h <= a <= 30 and w <= b <= 30):
        return None
    out = np.full((a, b), UNKNOWN, dtype=np.uint8)
    share = {"start": 0, "end": 2, "middle": 1}[corner]
    top, left = (a - h) * share // 2, (b - w) * share // 2
    out[top : top + h, left : left + w] = _masked(grid, ref) if ref else grid
    return complete(out, kinds)


# --- noisy periods --------------------------------------------------------------------


def _periodic(task: Task) -> Iterator[Solution | None]:
    if not same_size(task):
        return
    for ref in ("", *_mask_refs(task)):
        for kind in ("lattice", "rows", "columns", "stripes", "both mirrors"):
            yield fit(task, "regular", regular, (ref, kind), 9.0 + (ref != ""))


def regular(grid: Grid, ref: str, kind: str) -> Cells | None:
    """The grid in which each cell has the majority colour of its class.

    Cells of colour `ref` do not vote; None if a class has no votes. The classes, by `kind`:
    `lattice`: cells alike modulo the best period of both axes.
    `rows`, `columns`: cells of one row (column) alike modulo the best period along this line.
    `stripes`: the cells of a row, or of a column, whichever agrees with more cells.
    `both mirrors`: cells that are images of one another under the two middle mirror axes.
    """
    cells = _masked(grid, ref) if ref else grid.copy()
    h, w = grid.shape
    r, c = np.mgrid[:h, :w]
    if kind == "both mirrors":
        return _majority(cells, np.minimum(r, h - 1 - r) * 64 + np.minimum(c, w - 1 - c))
    if kind == "stripes":
        both = [made for made in (_majority(cells, r), _majority(cells, c)) if made is not None]
        return max(both, key=lambda made: int((made == cells).sum()), default=None)
    known = max(1, int((cells != UNKNOWN).sum()))
    periods = [
        (int(agreement(cells, p, q)) / known - 0.004 * p * q, -p, -q)
        for p in (range(1, h // 2 + 1) if kind != "rows" else (h,))
        for q in (range(1, w // 2 + 1) if kind != "columns" else (w,))
    ]
    if not periods:
        return None
    _, p, q = max(periods)
    return _majority(cells, (r % -p) * 64 + c % -q)


def _majority(cells: NDArray[np.uint8], classes: NDArray[np.int64]) -> Cells | None:
    _, index = np.unique(classes, return_inverse=True)
    index = index.reshape(cells.shape)
    votes = np.zeros((index.max() + 1, COLORS), dtype=np.int64)
    known = cells != UNKNOWN
    np.add.at(votes, (index[known], cells[known]), 1)
    if (votes.sum(1) == 0).any():
        return None
    return np.asarray(votes.argmax(1).astype(np.uint8)[index])


OPS = {
    "repair": Op(repair, "cells of one colour filled by the symmetries of the rest"),
    "patch": Op(patch, "the box of one colour, filled by the symmetries of the rest"),
    "continued": Op(continued, "a larger grid that continues the pattern"),
    "regular": Op(regular, "every cell takes the majority colour of its periodic class"),
}
