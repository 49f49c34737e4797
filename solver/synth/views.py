"""Views: searches repeated on a task whose grids are turned or have their colours ranked.

A rule found in one orientation then works in all orientations. A rule about the most common
colour works for any colour. A view changes each grid separately. Programs found in a view are
wrapped, so that they run on the original grids. The solutions of all views are pooled.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from solver.deadline import Deadline
from solver.grid import COLORS, Grid, Pair, Task, freeze
from solver.synth.cells import search as cells
from solver.synth.grids import search as grids
from solver.synth.interleave import Search, interleave
from solver.synth.program import INPUT, Call, Image, Op, Solution, as_output, position, substitute
from solver.views import TURNS, turn, unturn

VIEW_BITS = 4.0


@dataclass(frozen=True)
class GridView:
    """A view of a grid: colours are ranked, then the grid is turned by a D8 element.

    d8: the D8 element, numbered as in `solver.views`.
    fixed: colours that keep their names in the ranking; None ranks no colours.
    """

    d8: int = 0
    fixed: tuple[int, ...] | None = None

    def apply(self, grid: Grid) -> Grid:
        """The grid as this view shows it."""
        seen = grid if self.fixed is None else ranks(grid, self.fixed)[grid]
        return freeze(turn(seen, self.d8))

    def undo(self, output: Grid, source: Grid) -> Grid:
        """The inverse of `apply` for an output; `source` is the original input of the output."""
        turned = unturn(output, self.d8)
        if self.fixed is not None:
            turned = np.argsort(ranks(source, self.fixed)).astype(np.uint8)[turned]
        return freeze(turned)

    def wrap(self, program: Call) -> Call:
        """`program` changed to run on original grids instead of grids of this view."""
        leaf = INPUT if self.fixed is None else Call("rank_colors", (INPUT, self.fixed))
        if self.d8:
            leaf = Call("turn", (leaf, TURNS[self.d8]))
        program = substitute(program, leaf)
        if self.d8:
            program = Call("turn", (program, TURNS[inverse(self.d8)]))
        if self.fixed is not None:
            program = Call("unrank_colors", (program, INPUT, self.fixed))
        return program

    def apply_task(self, task: Task) -> Task:
        """The whole task as this view shows it.

        An output is turned and recoloured exactly like the input of its pair.
        """
        pairs = []
        for pair in task.train:
            table = np.arange(COLORS) if self.fixed is None else ranks(pair.input, self.fixed)
            output = freeze(turn(table.astype(np.uint8)[pair.output], self.d8))
            pairs.append(Pair(self.apply(pair.input), output))
        return Task(task.id, tuple(pairs), tuple(map(self.apply, task.tests)))


@dataclass(frozen=True)
class Kind:
    """A search, the view that it uses, and its relative share of the time.

    d8: the D8 element of the view.
    ranked: True if the view ranks colours.
    after_s: seconds, divided by their shares, that the other kinds use before this kind begins.
    """

    search: Search
    share: float
    d8: int = 0
    ranked: bool = False
    after_s: float = 0.0

    @property
    def name(self) -> str:
        """The search's module, and the view's colours and turn."""
        return f"{self.search.__module__}, {'ranked colours, ' * self.ranked}turn {self.d8}"

    def view(self, task: Task) -> GridView:
        """The view of a task by this kind."""
        return GridView(self.d8, fixed_colors(task) if self.ranked else None)


# Kinds that found right answers to training tasks which no other search had found.
KINDS = (
    Kind(grids.search_aside, share=2.0, ranked=True),
    Kind(cells.search, share=1.0, d8=4, after_s=0.1),
    Kind(grids.search_aside, share=1.0, d8=4, after_s=0.1),
)


def search(task: Task, deadline: Deadline) -> Iterator[Solution | None]:
    """Solutions found by the kinds of views that are worth their time (`KINDS`)."""
    return pooled(task, deadline, KINDS)


def pooled(task: Task, deadline: Deadline, kinds: Sequence[Kind]) -> Iterator[Solution | None]:
    """Solutions of all kinds of views, side by side. Raises the first exception of a search."""
    searches = {
        kind.name: functools.partial(through, kind.view(task), kind.search) for kind in kinds
    }
    shares = {kind.name: kind.share for kind in kinds}
    after = {kind.name: kind.after_s for kind in kinds}
    for _, step in interleave(task, deadline, searches, shares, after):
        if isinstance(step, Exception):
            raise step
        yield step


def inverse(d8: int) -> int:
    """The D8 element that undoes `d8`: the opposite turn below 4; mirrors undo themselves."""
    return d8 if d8 >= 4 else -d8 % 4


def through(
    view: GridView, search: Search, task: Task, deadline: Deadline
) -> Iterator[Solution | None]:
    """Solutions found in a view of the task, as solutions of the task itself.

    There are no solutions if the view does not change the task.
    """
    seen = view.apply_task(task)
    if seen == task:
        return
    for solution in search(seen, deadline):
        if solution is None:
            yield None
            continue
        pairs = zip(solution.outputs, task.tests, strict=True)
        outputs = tuple(view.undo(output, grid) for output, grid in pairs)
        yield Solution(view.wrap(solution.program), outputs, solution.cost + VIEW_BITS)


def fixed_colors(task: Task) -> tuple[int, ...]:
    """Colours that keep their names: 0, colours common to all inputs, colours an output adds."""
    inputs = [_colors(pair.input) for pair in task.train] + [_colors(grid) for grid in task.tests]
    fixed = {0} | set.intersection(*inputs)
    for pair in task.train:
        fixed |= _colors(pair.output) - _colors(pair.input)
    return tuple(sorted(fixed))


def ranks(grid: Grid, fixed: Sequence[int]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A permutation of the ten colours, shape (10,): the new name of each colour.

    Fixed colours keep their names. The other colours get the free names in order of frequency,
    ties by first cell in reading order. The winner of the 2020 ARC competition renamed colours
    in the same way.
    """
    cells = grid.ravel()
    count = np.bincount(cells, minlength=COLORS)
    first = [int(np.argmax(cells == c)) for c in range(COLORS)]
    free = [c for c in range(COLORS) if c not in fixed]
    table = np.arange(COLORS, dtype=np.uint8)
    for name, color in zip(free, sorted(free, key=lambda c: (-count[c], first[c], c)), strict=True):
        table[color] = name
    return table


def _colors(grid: Grid) -> set[int]:
    return set(np.unique(grid).tolist())


def _turn(value: Any, how: str | int) -> Grid | None:
    grid = as_output(value)
    return None if grid is None else freeze(turn(grid, position(TURNS, how)))


def _rank(value: Any, fixed: tuple[int, ...]) -> Grid | None:
    grid = as_output(value)
    return None if grid is None else freeze(ranks(grid, fixed)[grid])


def _unrank(value: Any, source: Any, fixed: tuple[int, ...]) -> Image | None:
    grid, base = as_output(value), as_output(source)
    if grid is None or base is None:
        return None
    return Image(freeze(np.argsort(ranks(base, fixed)).astype(np.uint8)[grid]))


OPS: dict[str, Op] = {
    "turn": Op(_turn, "the grid by a symmetry of the square"),
    "rank_colors": Op(_rank, "rename colours by frequency, but for the given ones"),
    "unrank_colors": Op(_unrank, "undo rank_colors"),
}
