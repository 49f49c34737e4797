"""Cell rules end to end: learning, frames, iteration, stages, and programs as values."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from solver.deadline import Deadline, FakeClock
from solver.grid import Grid, Pair, Task, as_grid, freeze, same
from solver.synth.cells.frames import candidate_frames, frame_shape, framed
from solver.synth.cells.iterate import iterated, repeat
from solver.synth.cells.search import OPS, cell_rule, search
from solver.synth.cells.states import State, used_layers
from solver.synth.interpret import run
from solver.synth.program import INPUT, Call, Op, Solution, parse

Cells = NDArray[Any]
Change = Callable[[Grid], Cells]
LONG = Deadline.after(1e6, FakeClock())
STEPS = 30  # of a search: all frames, and the first iterated rules
small_grids = arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6)),
                     elements=st.integers(0, 4))  # fmt: skip


def random_grid(rng: np.random.Generator, height: int, width: int, filled: float = 0.35) -> Grid:
    cells_ = rng.integers(1, 5, (height, width)) * (rng.random((height, width)) < filled)
    return freeze(cells_.astype(np.uint8))


def make_task(
    function: Change,
    count: int = 4,
    height: int = 7,
    width: int = 8,
    seed: int = 0,
    filled: float = 0.35,
) -> tuple[Task, Grid]:
    rng = np.random.default_rng(seed)
    inputs = [random_grid(rng, height, width, filled) for _ in range(count + 1)]
    pairs = tuple(Pair(grid, freeze(function(grid).astype(np.uint8))) for grid in inputs[:-1])
    return Task("made", pairs, (inputs[-1],)), freeze(function(inputs[-1]).astype(np.uint8))


def gives(program: Call, grid: Grid, want: Grid | list[list[int]]) -> bool:
    got = run(program, grid)
    return got is not None and same(got, as_grid(want))


def best(task: Task) -> Solution | None:
    found = filter(None, itertools.islice(search(task, LONG), STEPS))
    return min(found, key=lambda solution: solution.cost, default=None)


def recolored(grid: Grid) -> Cells:
    return np.where(grid == 2, 5, grid)


def isolated_gone(grid: Grid) -> Cells:
    padded = np.pad(grid, 1)
    h, w = grid.shape
    near = sum(
        padded[1 + y : 1 + y + h, 1 + x : 1 + x + w] != 0
        for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)
    )  # fmt: skip
    return np.where(near == 0, 0, grid)


def halves_meet(grid: Grid) -> Cells:
    left, right = grid[:, : grid.shape[1] // 2], grid[:, grid.shape[1] // 2 :]
    return np.where((left != 0) & (right != 0), 6, 0)


def fractal(grid: Grid) -> Cells:
    return np.kron(grid != 0, grid)


CASES: dict[str, tuple[Change, dict[str, Any]]] = {
    "a colour replaced": (recolored, {}),
    "a mirror": (lambda g: g[:, ::-1], {}),
    "lonely cells erased": (isolated_gone, {"count": 6, "height": 10, "width": 10, "filled": 0.2}),
    "scaled up": (lambda g: np.kron(g, np.ones((2, 2), int)), {"height": 4, "width": 4}),
    "mirrored tiles": (lambda g: np.hstack([g, g[:, ::-1]]), {"height": 4, "width": 4}),
    "parts combined": (halves_meet, {"height": 4, "filled": 0.5}),
    "fractal": (fractal, {"height": 3, "width": 3, "filled": 0.6}),
}


@pytest.mark.parametrize("name", CASES)
def test_rule_is_learned_printed_and_run(name: str) -> None:
    function, how = CASES[name]
    task, answer = make_task(function, **how)
    solution = best(task)
    assert solution is not None
    assert same(solution.outputs[0], answer)
    program = parse(str(solution.program))
    assert program == solution.program
    for pair in task.train:
        assert gives(program, pair.input, pair.output)
    assert gives(program, task.tests[0], answer)


def test_every_solution_reproduces_the_demonstrations_and_its_own_outputs() -> None:
    task, _ = make_task(isolated_gone, count=3, height=6, filled=0.25)
    found = [solution for solution in itertools.islice(search(task, LONG), STEPS) if solution]
    assert found
    for solution in found:
        for pair in task.train:
            assert gives(solution.program, pair.input, pair.output)
        assert gives(solution.program, task.tests[0], solution.outputs[0])


def test_noise_is_not_explained() -> None:
    rng = np.random.default_rng(3)
    pairs = tuple(Pair(random_grid(rng, 6, 6), random_grid(rng, 6, 6)) for _ in range(4))
    task = Task("noise", pairs, (random_grid(rng, 6, 6),))
    assert best(task) is None


def test_same_answers_twice() -> None:
    task, _ = make_task(recolored, count=2, height=4, width=4, seed=5)
    first, second = (
        [(str(s.program), s.cost) for s in itertools.islice(search(task, LONG), STEPS) if s]
        for _ in range(2)
    )
    assert first == second


def test_search_stops_when_time_is_up() -> None:
    clock = FakeClock()
    task, _ = make_task(isolated_gone, count=3)
    steps = 0
    for _ in search(task, Deadline.after(0.0, clock)):
        steps += 1
    assert steps <= 2


def test_repeated_rule_draws_a_line_to_the_border() -> None:
    rule = ("if", ("at_w", "==", 3), ("const", 3), ("copy", "self"))
    grid = as_grid([[0, 3, 0, 0], [0, 0, 0, 0]])
    assert gives(Call("cell_rule_repeated", (INPUT, rule, "0")), grid, [[0, 3, 3, 3], [0] * 4])


def test_repeated_rule_that_never_settles_is_refused() -> None:
    flicker = ("if", ("self", "==", 0), ("const", 1), ("const", 0))
    assert repeat(as_grid([[0, 1]]), flicker, "0", 40) is None


def test_iteration_finds_a_growing_diagonal() -> None:
    def grow(grid: Grid) -> Cells:
        out = np.array(grid)
        for y, x in np.argwhere(grid == 1):
            for i in range(10):
                if y + i < len(out) and x + i < len(out[0]) and out[y + i, x + i] in (0, 1):
                    out[y + i, x + i] = 1
        return out

    grids = [np.zeros((6, 7), np.uint8) for _ in range(4)]
    for i, grid in enumerate(grids):
        grid[i, 1] = grid[0, 3] = 1
    task = Task("diagonal", tuple(Pair(freeze(g), freeze(grow(g))) for g in grids[:3]),
                (freeze(grids[3]),))  # fmt: skip
    ends = [stage for stage in iterated(task, "0", 30.0, LONG) if stage and stage.progress == 1]
    assert any(same(stage.task.tests[0], freeze(grow(grids[3]))) for stage in ends)


@pytest.mark.parametrize(
    ("frame", "shape"),
    [
        ("same", (4, 6)), ("scale 2 3", (8, 18)), ("tile 2 1", (8, 6)), ("overlay 1 2 0", (4, 3)),
        ("blocks 2 3 0", (2, 3)), ("blocks of 2 2 0", (2, 3)), ("constant 3 2", (3, 2)),
        ("crop content", (2, 3)), ("crop color_2", (1, 1)),
    ],
)  # fmt: skip
def test_frames_give_the_size_they_name(frame: str, shape: tuple[int, int]) -> None:
    grid = np.zeros((4, 6), np.uint8)
    grid[1:3, 2:5] = 1
    grid[1, 2] = 2
    assert frame_shape(freeze(grid), frame) == shape
    result = framed(freeze(grid), frame, "0")
    assert result is not None
    got, table = result
    assert got == shape
    assert table.shape[1] == shape[0] * shape[1]


@given(small_grids, small_grids)
def test_candidate_frames_fit(source: Grid, target: Grid) -> None:
    task = Task("fuzz", (Pair(freeze(source), freeze(target)),), (freeze(source),))
    for frame in candidate_frames(task):
        result = framed(freeze(source), frame, "0")
        assert result is not None
        shape, table = result
        assert shape == target.shape
        assert table.shape[1] == target.size


def test_rule_that_copies_what_is_not_there_gives_none() -> None:
    assert cell_rule(as_grid([[0, 0]]), ("copy", "at_n"), "same", "0", 1) is None


@pytest.mark.parametrize(
    "rule",
    [("paint", 3), ("copy", "no_such"), ("if", ("self", "=", 1), ("const", 1), ("const", 2))],
)
def test_malformed_rules_are_refused(rule: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match=r"no cell rule|no test"):
        cell_rule(as_grid([[0, 0]]), rule, "same", "0", 1)


def test_unknown_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="no frame"):
        cell_rule(as_grid([[0]]), ("const", 1), "sideways", "0", 1)


def test_layers_are_renumbered_without_gaps() -> None:
    layers = [State(Call(name), (), 1.0) for name in "abc"]
    rule = ("if", ("layer_2", "==", "self"), ("copy", "layer_0"), ("copy", "layer_most"))
    renamed, used = used_layers(rule, layers)
    assert renamed == ("if", ("layer_1", "==", "self"), ("copy", "layer_0"), ("copy", "layer_most"))
    assert [state.program.name for state in used] == ["a", "c"]


def test_rule_over_layers_runs() -> None:
    rule = ("if", ("layer_0", "==", "self"), ("copy", "self"), ("const", 4))
    program = Call("cell_rule_layers", (INPUT, (Call("flip", (INPUT,)),), rule, "0"))
    flip = Op(lambda grid: freeze(grid[:, ::-1].copy()), "left-right")
    got = run(program, as_grid([[1, 2, 1], [1, 0, 2]]), {**OPS, "flip": flip})
    assert got is not None
    assert got.tolist() == [[1, 2, 1], [4, 0, 4]]
