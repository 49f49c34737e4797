"""A first engine: one or two plain grid transformations in a row.

Every composition of up to two steps is tried on the demonstrations; those that reproduce
all of them, after a recolouring learned from the demonstrations if need be, are programs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np

from solver.deadline import Deadline
from solver.engines import Context
from solver.grid import MAX_SIDE, Candidate, Grid, Task, freeze, same

Step = Callable[[Grid], Grid]
BITS_PER_STEP = 5.0


def plain(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """Yield the predictions of every program that reproduces all demonstrations.

    A candidate's logprob is minus its program's length, in nats.
    """
    for names in itertools.chain([()], itertools.product(STEPS), itertools.product(STEPS, STEPS)):
        if deadline.passed():
            return
        outputs = [_apply(names, pair.input) for pair in task.train]
        predictions = [_apply(names, grid) for grid in task.tests]
        recolor = _learn_recolor(task, outputs)
        if recolor is None:
            continue
        program = ".".join(("input", *names)) + _recolor_text(recolor)
        bits = BITS_PER_STEP * (len(names) + sum(a != b for a, b in recolor.items()))
        for test, grid in enumerate(predictions):
            if grid is not None and set(np.unique(grid).tolist()) <= recolor.keys():
                table = np.array([recolor.get(c, 0) for c in range(10)], dtype=np.uint8)
                yield Candidate(
                    task.id, test, freeze(table[grid]), "plain",
                    program=program, logprob=-bits * math.log(2),
                )  # fmt: skip


def _apply(names: tuple[str, ...], grid: Grid) -> Grid | None:
    for name in names:
        grid = STEPS[name](grid)
        if not (1 <= grid.shape[0] <= MAX_SIDE and 1 <= grid.shape[1] <= MAX_SIDE):
            return None
    return freeze(grid)


def _learn_recolor(task: Task, outputs: list[Grid | None]) -> dict[int, int] | None:
    """The one colour map that turns every grid into its demonstration's output, if any."""
    table: dict[int, int] = {}
    for grid, pair in zip(outputs, task.train, strict=True):
        if grid is None or grid.shape != pair.output.shape:
            return None
        for a, b in set(zip(grid.ravel().tolist(), pair.output.ravel().tolist(), strict=True)):
            if table.setdefault(a, b) != b:
                return None
    return table


def _recolor_text(table: dict[int, int]) -> str:
    changed = [f"{a}->{b}" for a, b in sorted(table.items()) if a != b]
    return f".recolor({', '.join(changed)})" if changed else ""


def _background(grid: Grid) -> int:
    return int(np.bincount(grid.ravel()).argmax())


def _crop(grid: Grid) -> Grid:
    """The box around everything that is not background."""
    rows, columns = np.nonzero(grid != _background(grid))
    if not rows.size:
        return grid
    return grid[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def _gravity(grid: Grid) -> Grid:
    """Cells that are not black fall to the bottom of their column."""
    fallen = np.zeros_like(grid)
    for c in range(grid.shape[1]):
        column = grid[:, c][grid[:, c] != 0]
        fallen[grid.shape[0] - column.size :, c] = column
    return fallen


def _turned(step: Step, quarter_turns: int) -> Step:
    return lambda grid: np.rot90(step(np.rot90(grid, quarter_turns)), -quarter_turns)


def _scaled(rows: int, columns: int) -> Step:
    return lambda grid: np.kron(grid, np.ones((rows, columns), dtype=np.uint8))


def _tiled(rows: int, columns: int) -> Step:
    return lambda grid: np.tile(grid, (rows, columns))


def _part(row: int, rows: int, column: int, columns: int) -> Step:
    """One of `rows` x `columns` equal parts; nothing if the grid does not divide."""

    def cut(grid: Grid) -> Grid:
        height, width = grid.shape[0] // rows, grid.shape[1] // columns
        if height * rows != grid.shape[0] or width * columns != grid.shape[1]:
            return grid[:0]
        return grid[row * height :, column * width :][:height, :width]

    return cut


def _dedupe_rows(grid: Grid) -> Grid:
    keep = [0, *(r for r in range(1, len(grid)) if not same(grid[r], grid[r - 1]))]
    return grid[keep]


def _fractal(grid: Grid) -> Grid:
    """The grid drawn in each of its own cells that is not black."""
    if max(grid.shape) > 5:
        return grid[:0]
    return np.kron((grid != 0).astype(np.uint8), grid)


STEPS: dict[str, Step] = {
    "rot90": lambda g: np.rot90(g),
    "rot180": lambda g: np.rot90(g, 2),
    "rot270": lambda g: np.rot90(g, 3),
    "flip_ud": lambda g: g[::-1],
    "flip_lr": lambda g: g[:, ::-1],
    "transpose": lambda g: g.T,
    "antitranspose": lambda g: np.rot90(g, 2).T,
    "crop": _crop,
    "mirror_right": lambda g: np.hstack([g, g[:, ::-1]]),
    "mirror_left": lambda g: np.hstack([g[:, ::-1], g]),
    "mirror_down": lambda g: np.vstack([g, g[::-1]]),
    "mirror_up": lambda g: np.vstack([g[::-1], g]),
    "fractal": _fractal,
    "dedupe_rows": _dedupe_rows,
    "dedupe_columns": lambda g: _dedupe_rows(g.T).T,
    **{f"gravity_{d}": _turned(_gravity, k) for k, d in enumerate(("down", "left", "up", "right"))},
    **{f"scale_{r}x{c}": _scaled(r, c) for r in range(1, 5) for c in range(1, 5) if r * c > 1},
    **{f"tile_{r}x{c}": _tiled(r, c) for r in range(1, 5) for c in range(1, 5) if r * c > 1},
    **{f"half_{i}_of_2_rows": _part(i, 2, 0, 1) for i in range(2)},
    **{f"half_{i}_of_2_columns": _part(0, 1, i, 2) for i in range(2)},
    **{f"third_{i}_of_3_rows": _part(i, 3, 0, 1) for i in range(3)},
    **{f"third_{i}_of_3_columns": _part(0, 1, i, 3) for i in range(3)},
}
