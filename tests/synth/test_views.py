"""Views: turned and colour-ranked tasks, and programs that run on the original grids."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from solver.deadline import CpuClock, Deadline
from solver.grid import Grid, Pair, Task, as_grid, freeze, same
from solver.synth.grids import search as grids
from solver.synth.interpret import run
from solver.synth.program import INPUT, Call, Solution, parse
from solver.synth.views import KINDS, GridView, Kind, fixed_colors, inverse, pooled, through
from solver.views import TURNS, turn, unturn

Cells = NDArray[Any]
STEPS = 120

any_grid = st.tuples(st.integers(1, 5), st.integers(1, 5)).flatmap(
    lambda size: st.lists(
        st.lists(st.integers(0, 9), min_size=size[1], max_size=size[1]),
        min_size=size[0],
        max_size=size[0],
    )
).map(as_grid)  # fmt: skip
any_view = st.builds(
    GridView,
    st.integers(0, 7),
    st.none() | st.sets(st.integers(0, 9)).map(lambda colors: tuple(sorted(colors | {0}))),
)


def soon(seconds: float = 30.0) -> Deadline:
    return Deadline.after(seconds, CpuClock())


def early(search: Iterator[Solution | None]) -> list[Solution]:
    return [solution for solution in itertools.islice(search, STEPS) if solution]


def task_of(function: Callable[[Cells], Cells], inputs: Sequence[Cells]) -> tuple[Task, Grid]:
    pairs = tuple(Pair(freeze(cells), freeze(function(cells))) for cells in inputs[:-1])
    return Task("made-up", pairs, (freeze(inputs[-1]),)), freeze(function(inputs[-1]))


def scene(seed: int, colors: Sequence[int] = (1, 2, 3)) -> Cells:
    rng = np.random.default_rng(seed)
    return rng.choice([0, 0, 0, 0, *colors], (6, 7)).astype(np.uint8)


@pytest.mark.parametrize("d8", range(8))
def test_every_turn_has_an_inverse(d8: int) -> None:
    cells = freeze(np.arange(6, dtype=np.uint8).reshape(2, 3))
    assert np.array_equal(turn(turn(cells, d8), inverse(d8)), cells)
    assert np.array_equal(unturn(cells, d8), turn(cells, inverse(d8)))


@given(any_grid, any_view)
def test_undo_brings_back_what_apply_shows(grid: Grid, view: GridView) -> None:
    assert same(view.undo(view.apply(grid), grid), grid)


@given(any_grid, any_view)
def test_a_wrapped_program_prints_parses_and_does_what_the_view_did(
    grid: Grid, view: GridView
) -> None:
    program = parse("map_colors(input, ((1, 5), (2, 1)))")
    seen = run(program, view.apply(grid))
    wrapped = view.wrap(program)
    assert seen is not None
    assert parse(str(wrapped)) == wrapped
    made = run(wrapped, grid)
    assert made is not None
    assert same(made, view.undo(seen, grid))


@pytest.mark.parametrize("d8", range(1, 8))
def test_outputs_turn_with_their_inputs(d8: int) -> None:
    """A rule that knows one direction only works in all."""
    task, answer = task_of(lambda cells: np.sort(cells, axis=0), [scene(n) for n in range(4)])
    turned = GridView(inverse(d8)).apply_task(task)
    found = early(through(GridView(d8), sorts, turned, soon()))
    assert [str(s.program) for s in found] == [
        f"turn(sorted_columns(turn(input, {TURNS[d8]!r})), {TURNS[inverse(d8)]!r})"
    ]
    assert same(found[0].outputs[0], freeze(turn(answer, inverse(d8))))
    assert found[0].cost > 8.0


def test_ranked_colors_make_different_grids_alike() -> None:
    inputs = []
    for seed, (common, rare) in enumerate([(1, 2), (3, 4), (5, 6), (7, 8)]):
        cells = scene(seed, (common,))
        cells[2, 1 + seed % 3] = rare
        inputs.append(cells)

    def rare_only(cells: Cells) -> Cells:
        values, count = np.unique(cells, return_counts=True)
        return np.where(cells == values[np.argmin(count)], cells, 0)

    task, answer = task_of(rare_only, inputs)
    found = early(through(GridView(fixed=fixed_colors(task)), grids.search, task, soon()))
    assert found
    assert same(found[0].outputs[0], answer)
    program = parse(str(found[0].program))
    made = run(program, task.train[0].input)
    assert made is not None
    assert same(made, task.train[0].output)


def sorts(task: Task, deadline: Deadline) -> Iterator[Solution | None]:
    """Knows one rule, in one orientation."""
    yield None
    if all(np.array_equal(np.sort(p.input, axis=0), p.output) for p in task.train):
        answers = tuple(freeze(np.sort(grid, axis=0)) for grid in task.tests)
        yield Solution(Call("sorted_columns", (INPUT,)), answers, 8.0)


def breaks(task: Task, deadline: Deadline) -> Iterator[Solution | None]:
    """Finds something, then fails."""
    yield Solution(INPUT, task.tests, 8.0)
    raise ValueError("broken")


def unwanted(task: Task, deadline: Deadline) -> Iterator[Solution | None]:
    raise AssertionError("the view shows nothing new")
    yield


def test_a_view_that_shows_the_same_task_is_not_searched() -> None:
    rows = [as_grid([[1, 2], [2, 1]]), as_grid([[2, 1], [1, 2]]), as_grid([[1, 2], [2, 1]])]
    task, _ = task_of(lambda cells: cells, rows)
    assert not list(through(GridView(fixed=fixed_colors(task)), unwanted, task, soon()))
    assert not list(through(GridView(4), unwanted, task, soon()))


def test_what_all_views_find_is_pooled() -> None:
    task, _ = task_of(lambda cells: np.sort(cells, axis=1), [scene(n) for n in range(4)])
    kinds = [Kind(sorts, share=1.0, d8=d8) for d8 in range(8)]
    found = early(pooled(task, soon(), kinds))
    assert {str(s.program) for s in found} == {
        f"turn(sorted_columns(turn(input, {TURNS[d8]!r})), {TURNS[inverse(d8)]!r})" for d8 in (3, 4)
    }


def test_a_failing_search_is_named() -> None:
    task, _ = task_of(lambda cells: np.sort(cells, axis=1), [scene(n) for n in range(4)])
    found = pooled(task, soon(), [Kind(breaks, share=1.0, d8=2)])
    assert next(found)
    with pytest.raises(ValueError, match="broken") as caught:
        next(found)
    assert "turn 2" in caught.value.__notes__[0]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_view_is_searched(kind: Kind) -> None:
    inputs = [scene(n, colors) for n, colors in enumerate([(1, 2), (2, 3), (3, 4), (4, 5)])]
    task, _ = task_of(lambda cells: np.roll(cells, int(cells.sum()) % 5), inputs)
    assert list(itertools.islice(pooled(task, soon(), [kind]), 2)) == [None, None]
