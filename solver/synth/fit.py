"""The last step of a learner: run the program on all grids, and accept it if it is exact."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solver.deadline import Deadline
from solver.grid import COLORS, Grid, Task, freeze, is_grid, key
from solver.synth.program import INPUT, Call, Op, Solution

Cells = NDArray[np.uint8]
MAX_BITS = 40.0


def fit(
    task: Task, name: str, op: Callable[..., Cells | None], args: tuple[Any, ...], cost: float
) -> Solution | None:
    """The program `name(input, *args)` as a solution if it reproduces all demonstrations.

    If its outputs only differ from the demonstrations by one exchange of colours, the program
    learns this exchange too. None for any other program, and for a program that does not apply
    to a test input. None also above `MAX_BITS`: so long a program copies the demonstrations
    instead of explaining them.
    """
    if cost > MAX_BITS:
        return None
    table: dict[int, int] = {}
    exact = True
    for pair in task.train:
        made = op(pair.input, *args)
        if made is None or made.shape != pair.output.shape:
            return None
        exact = exact and bool((made == pair.output).all())
        if not exact and not _learn_colors(made, pair.output, table):
            return None
    if not exact:
        return _recolored(task, name, op, args, cost, table)
    outputs = _outputs(task, op, args)
    return Solution(Call(name, (INPUT, *args)), outputs, 8.0 + cost) if outputs else None


def _learn_colors(made: Cells, out: Grid, table: dict[int, int]) -> bool:
    """Add each colour's new colour to the table; False if some colour has two new colours."""
    for code in np.unique(made.ravel().astype(np.int64) * COLORS + out.ravel()).tolist():
        old, new = divmod(code, COLORS)
        if table.setdefault(old, new) != new:
            return False
    return True


def _outputs(
    task: Task, op: Callable[..., Cells | None], args: tuple[Any, ...]
) -> tuple[Grid, ...] | None:
    outputs = []
    for grid in task.tests:
        made = op(grid, *args)
        if made is None or made.size == 0 or not is_grid(made):
            return None
        outputs.append(freeze(made))
    return tuple(outputs)


def _recolored(
    task: Task,
    name: str,
    op: Callable[..., Cells | None],
    args: tuple[Any, ...],
    cost: float,
    table: dict[int, int],
) -> Solution | None:
    for pair in task.train:  # the table lacks the pairs that matched before the first mismatch
        made = op(pair.input, *args)
        if made is None or not _learn_colors(made, pair.output, table):
            return None
    changes = tuple(sorted((old, new) for old, new in table.items() if old != new))
    bits = cost + 6.0 + 3.0 * len(changes)
    if len(changes) > 4 or len(set(table.values())) < 2 or bits > MAX_BITS:
        return None
    plain = _outputs(task, op, args)
    if plain is None:
        return None
    outputs = tuple(freeze(recolored(grid, changes)) for grid in plain)
    program = Call("recolored", (Call(name, (INPUT, *args)), changes))
    return Solution(program, outputs, 8.0 + bits)


def recolored(grid: Grid, changes: tuple[tuple[int, int], ...]) -> Cells:
    """The grid with colours exchanged by `changes`, pairs (old, new)."""
    table = np.arange(COLORS, dtype=np.uint8)
    for old, new in changes:
        table[old] = new
    return table[grid]


def distinct(solutions: Iterable[Solution | None], limit: int) -> Iterator[Solution | None]:
    """The first `limit` solutions with different outputs for the test inputs.

    None passes through, since a search may pause there.
    """
    seen: set[tuple[bytes, ...]] = set()
    for solution in solutions:
        if solution is None:
            yield None
            continue
        mark = tuple(key(grid) for grid in solution.outputs)
        if mark not in seen:
            seen.add(mark)
            yield solution
            if len(seen) >= limit:
                return


def until(solutions: Iterable[Solution | None], deadline: Deadline) -> Iterator[Solution | None]:
    """Solutions up to the first step that ends after the deadline."""
    for solution in solutions:
        yield solution
        if deadline.passed():
            return


def same_size(task: Task) -> bool:
    """True if the output of every demonstration has the shape of its input."""
    return all(pair.input.shape == pair.output.shape for pair in task.train)


OPS = {"recolored": Op(recolored, "colours exchanged by pairs (old, new)")}
