"""The grid search: it finds short programs, they run alone, and it keeps its limits."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from solver.deadline import CpuClock, Deadline
from solver.grid import Grid, Pair, Task, freeze, same
from solver.synth.grids import search as grids
from solver.synth.grids import space
from solver.synth.grids.primitives import as_images
from solver.synth.grids.sizes import size_rules
from solver.synth.interpret import _evaluate, run
from solver.synth.ops import all_ops
from solver.synth.program import Call, Solution, parse

Cells = NDArray[Any]
Shape = tuple[int, int]
STEPS = 120  # of a search: some ten thousand states, and what they solve


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    grids.prepare()


def soon(seconds: float = 30.0) -> Deadline:
    return Deadline.after(seconds, CpuClock())


def early(search: Iterator[Solution | None]) -> list[Solution]:
    return [solution for solution in itertools.islice(search, STEPS) if solution]


def grid(text: str) -> Grid:
    return freeze(np.array([[int(c) for c in row] for row in text.split()], dtype=np.uint8))


def task_of(function: Callable[[Cells], Cells], inputs: Sequence[Cells]) -> tuple[Task, Grid]:
    pairs = tuple(Pair(freeze(cells), freeze(function(cells))) for cells in inputs[:-1])
    return Task("made-up", pairs, (freeze(inputs[-1]),)), freeze(function(inputs[-1]))


def output(program: Call, cells: Grid) -> Grid:
    made = run(program, cells)
    assert made is not None
    return made


def scene(seed: int, shape: Shape = (6, 7), colors: Sequence[int] = (1, 2, 3)) -> Cells:
    rng = np.random.default_rng(seed)
    return rng.choice([0, 0, 0, 0, *colors], shape).astype(np.uint8)


def recolored_frame(cells: Cells) -> Cells:
    result = np.where(cells == 1, 4, cells)
    result[0], result[-1], result[:, 0], result[:, -1] = 8, 8, 8, 8
    return result


RULES: dict[str, Callable[[Cells], Cells]] = {
    "transposed": lambda cells: cells.T.copy(),
    "recolored": lambda cells: np.array([0, 5, 6, 7] + [0] * 6, np.uint8)[cells],
    "tiled and mirrored": lambda cells: np.hstack([cells, cells[:, ::-1]]),
    "scaled": lambda cells: np.kron(cells, np.ones((2, 2), np.uint8)),
    "one layer over another": recolored_frame,
}


@pytest.mark.parametrize("name", list(RULES))
def test_rules_are_found_and_their_programs_run_alone(name: str) -> None:
    task, answer = task_of(RULES[name], [scene(seed) for seed in range(4)])
    found = early(grids.search(task, soon()))
    assert any(same(solution.outputs[0], answer) for solution in found)
    for solution in found:
        program = parse(str(solution.program))
        for pair in task.train:
            assert same(output(program, pair.input), pair.output)
        assert same(output(program, task.tests[0]), solution.outputs[0])


def test_an_output_as_large_as_a_part_is_found() -> None:
    def largest(cells: Cells) -> Cells:
        return cells[1:4, 2:5]

    inputs = []
    for seed in range(4):
        cells = np.zeros((7, 9), np.uint8)
        cells[1:4, 2:5] = scene(seed, (3, 3)) | 4
        cells[6, seed] = 1
        inputs.append(cells)
    task, answer = task_of(largest, inputs)
    found = early(grids.search(task, soon()))
    assert same(min(found, key=lambda s: s.cost).outputs[0], answer)


def test_the_same_steps_give_the_same_programs() -> None:
    task, _ = task_of(RULES["one layer over another"], [scene(seed) for seed in range(3)])

    def first(n: int) -> list[str]:
        search = grids.search(task, soon())
        return [str(s.program) for s in (next(search) for _ in range(n)) if s]

    assert first(12) == first(12)


def test_the_deadline_is_kept() -> None:
    inputs = [scene(seed, (30, 30)) for seed in range(4)]
    task, _ = task_of(lambda cells: np.roll(cells, seed_of(cells)), inputs)
    clock = CpuClock()
    for seconds in (0.0, 0.05, 0.4):
        deadline = Deadline.after(seconds, clock)
        for _ in grids.search(task, deadline):
            pass
        assert deadline.left() > -0.1


def seed_of(cells: Cells) -> int:
    return int(cells.sum()) % 7 + 3


def test_a_full_space_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grids, "MAX_STATES", 300)
    task, _ = task_of(RULES["transposed"], [scene(seed) for seed in range(3)])
    found = [s for s in grids.search(task, soon()) if s]
    assert found


@pytest.mark.parametrize(
    ("inputs", "outputs", "tests", "expected"),
    [
        ([(3, 4), (5, 6)], [(3, 4), (5, 6)], [(7, 7)], (7, 7)),
        ([(3, 4), (5, 6)], [(2, 2), (2, 2)], [(7, 7)], (2, 2)),
        ([(2, 4), (3, 6)], [(4, 2), (6, 3)], [(5, 8)], (10, 4)),
        ([(3, 4), (5, 6)], [(4, 3), (6, 5)], [(7, 2)], (2, 7)),
        ([(3, 7), (5, 9)], [(3, 3), (5, 4)], [(7, 11)], (7, 5)),
    ],
)
def test_size_rules(
    inputs: list[Shape], outputs: list[Shape], tests: list[Shape], expected: Shape
) -> None:
    def blank(shape: Shape) -> Grid:
        return freeze(np.zeros(shape, np.uint8))

    pairs = tuple(Pair(blank(a), blank(b)) for a, b in zip(inputs, outputs, strict=True))
    rules = list(size_rules(Task("sizes", pairs, tuple(map(blank, tests)))))
    assert expected in [rule.shapes[-1] for rule in rules]
    assert run(rules[0].program, blank(tests[0])) is None  # a size is no grid


@pytest.mark.parametrize("seed", range(2))
def test_every_state_is_what_its_program_says(seed: int) -> None:
    task, _ = task_of(recolored_frame, [scene(10 * seed + n, (4 + n, 5)) for n in range(3)])
    search = grids.new_run(task, next(size_rules(task)))
    next(grids._explore(search, soon()))  # the first expansion
    inputs = [pair.input for pair in task.train] + list(task.tests)
    states = np.random.default_rng(seed).integers(1, search.space.used[space.STATES], 300)
    for state in {*range(1, 100), *states.tolist()}:
        program = grids.program_of(search, state)
        for k, cells in enumerate(inputs):
            images = as_images(_evaluate(program, cells, all_ops(), {}))
            assert images is not None
            refs = search.space.ref[slice(*search.space.first[state, k : k + 2])]
            assert len(images) == len(refs), program
            for image, (block, y, x) in zip(images, refs.tolist(), strict=True):
                assert (image.y, image.x) == (y, x), program
                assert same(image.cells, space.block_image(search.space, block)), program
