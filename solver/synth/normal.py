"""Colour normalisation: a task in which colours that change from grid to grid have ranks.

Many rules speak of "the commonest colour" of a grid, whatever it is. Ground and the colours
that every input holds stay, and so do those that outputs add; the others are renamed by
frequency, in each grid for itself (the 2020 winner did likewise). Any sub-engine can search
the renamed task; its programs are wrapped, so that they run on the original grids.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from solver.deadline import Deadline
from solver.grid import COLORS, Grid, Pair, Task, freeze
from solver.synth import grids
from solver.synth.program import INPUT, Call, Image, Op, Solution, as_output

VIEW_BITS = 4.0


def search(task: Task, deadline: Deadline) -> Iterator[Solution | None]:
    """The grid search on the renamed task."""
    renamed = normal_task(task)
    if renamed:
        yield from through(*renamed, grids.search, deadline, task)


def normal_task(task: Task) -> tuple[Task, tuple[int, ...]] | None:
    """The renamed task and the colours that stay, or None if nothing changes."""
    fixed = fixed_colors(task)
    pairs = []
    for pair in task.train:
        table = ranks(pair.input, fixed)
        pairs.append(Pair(freeze(table[pair.input]), freeze(table[pair.output])))
    tests = tuple(freeze(ranks(grid, fixed)[grid]) for grid in task.tests)
    normal = Task(task.id, tuple(pairs), tests)
    return None if normal == task else (normal, fixed)


def fixed_colors(task: Task) -> tuple[int, ...]:
    """Colours that keep their names: 0, those of every input, those an output adds."""
    inputs = [_colors(pair.input) for pair in task.train] + [_colors(grid) for grid in task.tests]
    fixed = {0} | set.intersection(*inputs)
    for pair in task.train:
        fixed |= _colors(pair.output) - _colors(pair.input)
    return tuple(sorted(fixed))


def ranks(grid: Grid, fixed: Sequence[int]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A permutation of the ten colours: free ones by frequency, then by first place."""
    cells = grid.ravel()
    count = np.bincount(cells, minlength=COLORS)
    first = [int(np.argmax(cells == c)) for c in range(COLORS)]
    free = [c for c in range(COLORS) if c not in fixed]
    table = np.arange(COLORS, dtype=np.uint8)
    for name, color in zip(free, sorted(free, key=lambda c: (-count[c], first[c], c)), strict=True):
        table[color] = name
    return table


def through(
    normal: Task, fixed: tuple[int, ...], engine: Any, deadline: Deadline, task: Task
) -> Iterator[Solution | None]:
    """Solutions of the renamed task as solutions of the task itself."""
    leaf = Call("rank_colors", (INPUT, fixed))
    for solution in engine(normal, deadline):
        if solution is None:
            yield None
            continue
        outputs = []
        for grid, output in zip(task.tests, solution.outputs, strict=True):
            outputs.append(freeze(np.argsort(ranks(grid, fixed)).astype(np.uint8)[output]))
        program = Call("unrank_colors", (_substitute(solution.program, leaf), INPUT, fixed))
        yield Solution(program, tuple(outputs), solution.cost + VIEW_BITS)


def _substitute(arg: Any, leaf: Call) -> Any:
    if arg == INPUT:
        return leaf
    if isinstance(arg, Call):
        return Call(arg.name, tuple(_substitute(entry, leaf) for entry in arg.args))
    if isinstance(arg, tuple):
        return tuple(_substitute(entry, leaf) for entry in arg)
    return arg


def _colors(grid: Grid) -> set[int]:
    return set(np.unique(grid).tolist())


def _rank(value: Any, fixed: tuple[int, ...]) -> Grid | None:
    grid = as_output(value)
    return None if grid is None else freeze(ranks(grid, fixed)[grid])


def _unrank(value: Any, source: Any, fixed: tuple[int, ...]) -> Image | None:
    grid, base = as_output(value), as_output(source)
    if grid is None or base is None:
        return None
    return Image(freeze(np.argsort(ranks(base, fixed)).astype(np.uint8)[grid]))


OPS: dict[str, Op] = {
    "rank_colors": Op(_rank, "rename colours by frequency, but for the given ones"),
    "unrank_colors": Op(_unrank, "undo rank_colors"),
}
