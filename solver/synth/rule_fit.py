"""The last step of every learner: run the program everywhere, accept it if it is exact."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solver.grid import Grid, Task, freeze, is_grid, key
from solver.synth.program import INPUT, Call, Solution

Cells = NDArray[np.uint8]
MOST_BITS = 48.0


def fit(
    task: Task, name: str, op: Callable[..., Cells | None], args: tuple[Any, ...], cost: float
) -> Solution | None:
    """`name(input, *args)` as a solution if it reproduces all demonstrations, else None.

    A program of more than `MOST_BITS` is no explanation but a copy of the demonstrations.
    """
    if cost > MOST_BITS:
        return None
    for pair in task.train:
        made = op(pair.input, *args)
        if made is None or made.shape != pair.output.shape or not (made == pair.output).all():
            return None
    outputs = []
    for grid in task.tests:
        made = op(grid, *args)
        if made is None or made.size == 0 or not is_grid(made):
            return None
        outputs.append(freeze(made))
    return Solution(Call(name, (INPUT, *args)), tuple(outputs), 8.0 + cost)


def distinct(solutions: Iterable[Solution | None], limit: int) -> Iterator[Solution]:
    """The first `limit` solutions that say different things about the tests."""
    seen: set[tuple[bytes, ...]] = set()
    for solution in solutions:
        if solution is None:
            continue
        mark = tuple(key(grid) for grid in solution.outputs)
        if mark not in seen:
            seen.add(mark)
            yield solution
            if len(seen) >= limit:
                return


def same_size(task: Task) -> bool:
    """True if every demonstration keeps the grid's shape."""
    return all(pair.input.shape == pair.output.shape for pair in task.train)


def scalar(grid: Grid) -> int | None:
    """The colour of a grid of one colour, else None."""
    first = int(grid.flat[0])
    return first if bool((grid == first).all()) else None
