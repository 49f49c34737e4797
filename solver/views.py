"""Views of a task: the same puzzle turned, recoloured and with its demonstrations reordered.

A view is one of the eight symmetries of the square (D8), a permutation of the ten colours
and an order of the demonstrations. `undo` reverses `apply`: a prediction in a view is brought
back by the same view. Averaging predictions over views is test-time augmentation as in
arXiv:2411.07279 and arXiv:2505.07859.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from solver.grid import COLORS, Grid, Pair, Task, freeze, stable_seed

IDENTITY_COLORS = tuple(range(COLORS))


@dataclass(frozen=True)
class View:
    """D8 element, colour map and demonstration order.

    `d8`: bits 0..1 are quarter turns counter-clockwise; bit 2 is a transposition after them.
    `colors[c]` is the colour that replaces colour c. `order[i]` is the demonstration shown at
    place i; an empty order keeps the demonstrations as they are.
    """

    d8: int = 0
    colors: tuple[int, ...] = IDENTITY_COLORS
    order: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """A short name that `parse_view` reads: `d3.c0213456789.o1-0`."""
        order = "-".join(map(str, self.order))
        return f"d{self.d8}.c{''.join(map(str, self.colors))}.o{order}"

    def apply(self, grid: Grid) -> Grid:
        """The grid as this view shows it."""
        return freeze(turn(np.array(self.colors, dtype=np.uint8)[grid], self.d8))

    def undo(self, grid: Grid) -> Grid:
        """The inverse of `apply`."""
        inverse = np.argsort(np.array(self.colors)).astype(np.uint8)
        return freeze(inverse[unturn(grid, self.d8)])

    def apply_pair(self, pair: Pair) -> Pair:
        """Both grids as this view shows them."""
        return Pair(self.apply(pair.input), self.apply(pair.output))

    def undo_pair(self, pair: Pair) -> Pair:
        """The inverse of `apply_pair`."""
        return Pair(self.undo(pair.input), self.undo(pair.output))

    def apply_task(self, task: Task) -> Task:
        """The whole task as this view shows it; the id stays."""
        pairs = tuple(map(self.apply_pair, task.train))
        if self.order:
            pairs = tuple(pairs[i] for i in self.order)
        return Task(task.id, pairs, tuple(self.apply(grid) for grid in task.tests))

    def undo_task(self, task: Task) -> Task:
        """The inverse of `apply_task`."""
        pairs = tuple(map(self.undo_pair, task.train))
        if self.order:
            pairs = tuple(pairs[self.order.index(i)] for i in range(len(pairs)))
        return Task(task.id, pairs, tuple(self.undo(grid) for grid in task.tests))


# Words for the numbers of `turn`, in their order.
TURNS = (
    *("as is", "counterclockwise", "half turn", "clockwise"),
    *("transposed", "left-right", "antitransposed", "upside down"),
)


def turn(cells: Grid, d8: int) -> Grid:
    """Rotate by `d8 % 4` quarter turns, then transpose if `d8 >= 4`."""
    turned = np.rot90(cells, d8 % 4)
    return turned.T if d8 >= 4 else turned


def unturn(cells: Grid, d8: int) -> Grid:
    """The inverse of `turn`."""
    return np.rot90(cells.T if d8 >= 4 else cells, -(d8 % 4))


def parse_view(name: str) -> View:
    """The view of a `View.name`. Raises `ValueError` for any other text."""
    try:
        d8, colors, order = name.split(".")
        view = View(
            int(d8.removeprefix("d")),
            tuple(int(c) for c in colors.removeprefix("c")),
            tuple(int(i) for i in order.removeprefix("o").split("-") if i),
        )
    except ValueError:
        raise ValueError(f"{name!r} is no view name") from None
    legal = 0 <= view.d8 < 8 and sorted(view.colors) == list(range(COLORS))
    if not legal or sorted(view.order) != list(range(len(view.order))) or view.name != name:
        raise ValueError(f"{name!r} is no view name")
    return view


def output_only_colors(inputs: Iterable[Grid], outputs: Iterable[Grid]) -> frozenset[int]:
    """Colours that some output contains and no input contains."""
    seen, shown = (
        {int(color) for grid in grids for color in np.unique(grid)} for grids in (inputs, outputs)
    )
    return frozenset(shown - seen)


def random_colors(rng: np.random.Generator, fixed: Collection[int]) -> tuple[int, ...]:
    """A random permutation of the colours that are not fixed."""
    free = [color for color in range(COLORS) if color not in fixed]
    colors = list(IDENTITY_COLORS)
    for source, target in zip(free, rng.permutation(free).tolist(), strict=True):
        colors[source] = int(target)
    return tuple(colors)


def sample_views(
    task: Task,
    n: int,
    seed: int,
    *,
    keep_background: bool = True,
    keep_output_only: bool = False,
    shuffle: bool = True,
) -> list[View]:
    """`n` distinct views (fewer if there are fewer), the same for the same seed.

    The first view is the identity. The D8 elements are balanced: the first 8k views contain each
    element k times. A prefix of the list is therefore as even as the whole list.

    Args:
        keep_background: colour 0 stays 0.
        keep_output_only: colours that only outputs contain stay as they are.
        shuffle: permute the order of the demonstrations too.
    """
    fixed = {0} if keep_background else set()
    if keep_output_only:
        inputs = [*(pair.input for pair in task.train), *task.tests]
        fixed |= output_only_colors(inputs, (pair.output for pair in task.train))
    demos = len(task.train) if shuffle else 0
    n = max(0, min(n, 8 * math.factorial(COLORS - len(fixed)) * math.factorial(demos)))
    rng = np.random.default_rng(stable_seed(seed, task.id, "views"))
    views = {View(order=tuple(range(demos))): None}  # a set that keeps its order
    for d8 in itertools.islice(_balanced_d8(rng), max(0, n - 1)):
        view = _random_view(rng, d8, fixed, demos)
        while view in views:  # the loop ends: every element still has an unused view
            view = _random_view(rng, d8, fixed, demos)
        views[view] = None
    return list(views)[:n]


def _balanced_d8(rng: np.random.Generator) -> Iterator[int]:
    yield from rng.permutation(np.arange(1, 8)).tolist()
    for _ in itertools.count():
        yield from rng.permutation(8).tolist()


def _random_view(rng: np.random.Generator, d8: int, fixed: set[int], demos: int) -> View:
    colors = random_colors(rng, fixed)
    return View(d8, colors, tuple(rng.permutation(demos).tolist()))
