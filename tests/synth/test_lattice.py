"""The learners on small grids of parts and blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from solver.deadline import Deadline, StepClock
from solver.grid import Grid, Pair, Task, freeze, same
from solver.synth import lattice as lattices
from solver.synth.interpret import run
from solver.synth.lattice import draw_lattice, lattice

small_grids = arrays(np.uint8, st.tuples(st.integers(2, 4), st.integers(2, 4)),
                     elements=st.integers(0, 4)).map(freeze)  # fmt: skip


def parted(small: Grid, side: int = 3, line: int = 9) -> Grid:
    """A grid with a part of one colour for each cell, and lines between the parts."""
    step = side + 1
    grid = np.full((small.shape[0] * step - 1, small.shape[1] * step - 1), line, dtype=np.uint8)
    for (r, c), color in np.ndenumerate(small):
        grid[r * step : r * step + side, c * step : c * step + side] = color
    return freeze(grid)


@given(small_grids)
def test_a_grid_of_parts_is_small_and_large_again(small: Grid) -> None:
    grid = parted(small)
    found = lattice(grid, "parts")
    assert found is not None
    assert same(found, small)
    drawn = draw_lattice(small, grid, "parts")
    assert drawn is not None
    assert same(drawn, grid)


@given(small_grids, st.integers(2, 4))
def test_a_grid_of_blocks_is_small_and_large_again(small: Grid, side: int) -> None:
    grid = freeze(np.kron(small, np.ones((side, side), dtype=np.uint8)))
    found = lattice(grid, "blocks")
    assert found is None or same(draw_lattice(found, grid, "blocks"), grid)  # type: ignore[arg-type]
    assert (found is None) <= (np.unique(small).size == 1)


def test_parts_of_several_colours_are_no_lattice() -> None:
    grid = np.array(parted(freeze(np.eye(3, dtype=np.uint8))))
    grid[0, 0] = 5
    assert lattice(freeze(grid), "parts") is None


@pytest.mark.parametrize("drawn", [True, False])
def test_a_rule_is_found_on_the_small_grids(drawn: bool) -> None:
    smalls = [
        freeze(np.roll(np.triu(np.full((3, 3), k)), k, 1).astype(np.uint8)) for k in (1, 2, 3)
    ]
    outputs = [freeze(small[:, ::-1].copy()) for small in smalls]
    pairs = [
        Pair(parted(a), parted(b) if drawn else b) for a, b in zip(smalls, outputs, strict=True)
    ]
    task = Task("t", tuple(pairs[:2]), (pairs[2].input,))
    found = [s for s in lattices.search(task, Deadline.after(3000, StepClock())) if s is not None]
    best = min(found, key=lambda solution: solution.cost)
    assert same(best.outputs[0], pairs[2].output)
    again = run(best.program, pairs[2].input)
    assert again is not None
    assert same(again, pairs[2].output)
    assert (best.program.name == "draw_lattice") == drawn
