"""Learned object rules, selections, summaries, and the learners under them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from solver.deadline import CpuClock, Deadline, FakeClock
from solver.grid import Grid, Pair, Task, freeze, same
from solver.synth import derived as rule_derive
from solver.synth import fit as rule_fit
from solver.synth.interpret import run
from solver.synth.objects import rule_select, rule_summary, rules
from solver.synth.objects.objects import Scene, segment
from solver.synth.objects.rule_learn import ALWAYS, enumerate_tests, holds, selectors
from solver.synth.program import INPUT, Call, Solution, parse

OPS = {**rules.OPS, **rule_select.OPS, **rule_summary.OPS, **rule_fit.OPS}
RNG = np.random.default_rng(7)

Cells = NDArray[Any]
Rule = Callable[[Grid], Cells]
Search = Callable[[Task, Deadline], Iterator[Solution | None]]


def make_task(rule: Rule, inputs: Sequence[Cells]) -> tuple[Task, Grid]:
    """A task of a hidden rule: all but the last input are demonstrations."""
    grids = [freeze(grid) for grid in inputs]
    pairs = tuple(Pair(grid, freeze(rule(grid))) for grid in grids[:-1])
    return Task("made", pairs, (grids[-1],)), freeze(rule(grids[-1]))


def bars(heights: Sequence[int], color: int = 5) -> Grid:
    grid = np.zeros((9, 2 * len(heights)), dtype=np.uint8)
    for k, height in enumerate(heights):
        grid[9 - height :, 2 * k] = color
    return grid


def squares(seed: int, n: int = 3, colors: Sequence[int] = (1, 2, 3)) -> Grid:
    """Squares of different sizes and colours that do not touch."""
    rng = np.random.default_rng(seed)
    grid = np.zeros((14, 14), dtype=np.uint8)
    sizes = rng.permutation([1, 2, 3])[:n]
    for size, column, color in zip(sizes, (0, 5, 10), colors, strict=False):
        row = int(rng.integers(0, 11))
        grid[row : row + size, column : column + size] = color
    return grid


def scene_of(grid: Cells, mode: str) -> Scene:
    scene = segment(freeze(grid), mode)
    assert scene is not None
    return scene


def best(search: Search, task: Task, seconds: float = 60.0) -> Solution:
    found = [s for s in search(task, Deadline.after(seconds, CpuClock())) if s is not None]
    assert found, "no program found"
    return min(found, key=lambda solution: solution.cost)


def check(search: Search, rule: Rule, inputs: Sequence[Cells]) -> Solution:
    task, answer = make_task(rule, inputs)
    solution = best(search, task)
    assert same(solution.outputs[0], answer)
    program = parse(str(solution.program))
    assert program == solution.program
    for pair in task.train:
        again = run(program, pair.input, OPS)
        assert again is not None
        assert same(again, pair.output)
    return solution


def test_recolour_by_property() -> None:
    def tallest_red_others_blue(grid: Grid) -> Cells:
        heights = (grid != 0).sum(0)
        out = np.where(grid != 0, 1, 0)
        out[:, heights == heights.max()] *= 2
        return out.astype(np.uint8)

    check(rules.search, tallest_red_others_blue, [bars([3, 7, 2]), bars([8, 4]), bars([1, 2, 5])])


def test_three_way_rule() -> None:
    def sizes(grid: Grid) -> Cells:
        heights = (grid != 0).sum(0)
        out = np.where(grid != 0, 0, 0)
        out[:, heights == heights.max()] = 1
        out[:, heights == heights[heights > 0].min()] = 2
        return np.where(grid != 0, out, 0).astype(np.uint8)

    heights = ([3, 7, 2], [5, 4, 8], [1, 6, 3, 2], [4, 2, 7])
    check(rules.search, sizes, [bars(h) for h in heights])


def test_move_until_contact() -> None:
    def drop(grid: Grid) -> Cells:
        out = np.zeros_like(grid)
        for c in range(grid.shape[1]):
            column = grid[:, c][grid[:, c] != 0]
            out[len(grid) - len(column) :, c] = column
        return out

    def scattered(seed: int) -> Cells:
        rng = np.random.default_rng(seed)
        return np.where(rng.random((6, 6)) < 0.25, 4, 0).astype(np.uint8)

    check(rules.search, drop, [scattered(k) for k in range(4)])


def test_several_paints_for_one_object() -> None:
    def halo(grid: Grid) -> Cells:
        out = grid.copy()
        for r, c in np.argwhere(grid == 3):
            out[r, :] = np.where(out[r] == 0, 3, out[r])
            out[:, c] = np.where(out[:, c] == 0, 3, out[:, c])
        return out

    def dots(*places: tuple[int, int]) -> Cells:
        grid = np.zeros((8, 8), dtype=np.uint8)
        for place in places:
            grid[place] = 3
        return grid

    check(rules.search, halo, [dots((2, 2)), dots((1, 6)), dots((5, 3), (2, 1)), dots((6, 6))])


def test_select_the_largest() -> None:
    def largest(grid: Grid) -> Cells:
        scene = scene_of(grid, "one color, 8 ways")
        return scene.crop(int(scene.column("area").argmax()))

    solution = check(rule_select.search, largest, [squares(k) for k in range(4)])
    assert solution.program.name == "select"


def test_selection_that_changes_colours() -> None:
    def swapped(grid: Grid) -> Cells:
        scene = scene_of(grid, "mixed, 8 ways")
        crop = scene.crop(0)
        return np.where(crop == 1, 2, np.where(crop == 2, 1, crop)).astype(np.uint8)

    def block(seed: int) -> Cells:
        rng = np.random.default_rng(seed)
        grid = np.zeros((9, 9), dtype=np.uint8)
        r, c = rng.integers(0, 5, 2)
        grid[r : r + 4, c : c + 4] = rng.integers(1, 3, (4, 4))
        grid[r, c], grid[r, c + 1] = 1, 2
        return grid

    check(rule_select.search, swapped, [block(k) for k in range(4)])


def test_list_of_colours_by_size() -> None:
    def by_size(grid: Grid) -> Cells:
        scene = scene_of(grid, "one color, 8 ways")
        order = np.argsort(-scene.column("area"), kind="stable")
        return scene.column("color")[order][:, None].astype(np.uint8)

    inputs = [squares(k, colors=RNG.permutation([1, 2, 3, 4])[:3].tolist()) for k in range(4)]
    assert check(rule_summary.search, by_size, inputs).program.name == "listing"


def test_table_of_parts() -> None:
    def downsample(grid: Grid) -> Cells:
        return grid[::3, ::3].copy()

    def blocks(seed: int) -> Cells:
        cells = np.random.default_rng(seed).integers(1, 9, (3, 3)).astype(np.uint8)
        return np.kron(cells, np.ones((3, 3), dtype=np.uint8))

    check(rule_summary.search, downsample, [blocks(k) for k in range(4)])


def test_lookup_by_colour() -> None:
    pictures = {1: np.eye(3, dtype=np.uint8), 2: np.ones((3, 3), dtype=np.uint8)}

    def known(grid: Grid) -> Cells:
        return pictures[int(grid.max())]

    inputs = [np.where(RNG.random((4, 4)) < 0.5, c, 0).astype(np.uint8) for c in (1, 2, 1, 2, 1)]
    inputs = [np.where(np.eye(4, dtype=bool), grid.max(), grid) for grid in inputs]
    check(rule_summary.search, known, inputs)


def test_learners_work_on_what_was_cut_out() -> None:
    def product(grid: Grid) -> Cells:
        scene = scene_of(grid, "ink")
        cells = scene.crop(0)
        return np.kron((cells != 0).astype(np.uint8), cells).astype(np.uint8)

    def corner(seed: int) -> Cells:
        rng = np.random.default_rng(seed)
        grid = np.zeros((9, 9), dtype=np.uint8)
        cells = np.where(rng.random((3, 3)) < 0.5, int(rng.integers(1, 9)), 0)
        cells[0, 0] = cells[2, 2] = cells.max() or 4
        r, c = rng.integers(1, 6, 2)
        grid[r : r + 3, c : c + 3] = cells
        return grid

    solution = check_derived(product, [corner(k) for k in range(4)])
    assert solution.program.args[0].name == "select"


def check_derived(rule: Rule, inputs: Sequence[Cells]) -> Solution:
    task, answer = make_task(rule, inputs)
    solution = best(rule_derive.search, task)
    assert same(solution.outputs[0], answer)
    assert parse(str(solution.program)) == solution.program
    return solution


def test_exchange_of_colours_is_learned() -> None:
    inputs = [RNG.integers(0, 4, (3, 3)).astype(np.uint8) for _ in range(4)]
    inputs[0][0, :4] = (1, 2, 3)
    task, answer = make_task(lambda g: np.array([0, 7, 2, 9], dtype=np.uint8)[g][:, ::-1], inputs)
    solution = rule_fit.fit(task, "flip", lambda grid: grid[:, ::-1], (), 5.0)
    assert solution is not None
    assert solution.program.name == "recolored"
    assert same(solution.outputs[0], answer)


def test_only_exact_programs_are_accepted() -> None:
    inputs = [RNG.integers(0, 4, (4, 4)).astype(np.uint8) for _ in range(3)]
    task, _ = make_task(lambda g: RNG.integers(0, 9, g.shape).astype(np.uint8), inputs)
    assert rule_fit.fit(task, "same", lambda grid: grid, (), 0.0) is None
    assert rule_fit.fit(task, "none", lambda grid: None, (), 0.0) is None
    assert rule_fit.fit(task, "long", lambda grid: grid, (), rule_fit.MAX_BITS + 1) is None


def test_tests_are_distinct_and_true_to_their_word() -> None:
    scenes = [scene_of(squares(k), "one color, 8 ways") for k in range(3)]
    table = enumerate_tests(scenes[:2], scenes[2:])
    rows = {row.tobytes() for row in table.truth}
    assert len(rows) == len(table.tests) > 5
    for test, row in zip(table.tests, table.truth, strict=True):
        assert np.concatenate([holds(test, scene) for scene in scenes]).tolist() == row.tolist()
    assert holds(ALWAYS, scenes[0]).all()


def test_selectors_pick_targets_only() -> None:
    scenes = [scene_of(squares(k), "one color, 8 ways") for k in range(3)]
    targets = np.concatenate([s.column("area") == s.column("area").max() for s in scenes[:2]])
    table = enumerate_tests(scenes[:2], scenes[2:])
    found = selectors(table, [s.n for s in scenes], targets, 2)
    assert ("area", "max", 0) in [test for _, test in found]


@pytest.mark.parametrize("search", [rules.search, rule_select.search, rule_summary.search])
def test_no_time_no_answer(search: Search) -> None:
    task, _ = make_task(lambda g: g[:2], [squares(k) for k in range(3)])
    clock = FakeClock(5.0)
    assert [s for s in search(task, Deadline(1.0, clock)) if s is not None] == []


@pytest.mark.parametrize("name", sorted(OPS))
def test_operations_refuse_what_does_not_apply(name: str) -> None:
    blank = freeze(np.zeros((3, 3), dtype=np.uint8))
    arguments: tuple[Any, ...] = {
        "object_rule": ("one color, 8 ways", "0", ((ALWAYS, ("keep",)),)),
        "object_rules": ("one color, 8 ways", "0", ((ALWAYS, ("keep",)),)),
        "object_table": ("one color, 8 ways", "0", "area", "value", ((1, ("keep",)),)),
        "select": ("one color, 8 ways", "0", "crop", "as is", ALWAYS),
        "places": ("one color, 8 ways", "0", ((ALWAYS, "own"),)),
        "places_table": ("one color, 8 ways", "0", "area", "value", ((1, "own"),)),
        "listing": ("one color, 8 ways", "0", "row", "area", "rising", 0),
        "lookup": ("one color, 8 ways", "0", "area", ((1, ((1,),)),)),
        "recolored": (((1, 2),),),
    }[name]
    made = run(Call(name, (INPUT, *arguments)), blank, OPS)
    if name != "recolored":
        assert made is None
    else:
        assert made is not None
        assert same(made, blank)


def test_objects_that_no_test_tells_apart_leave_an_empty_table_of_the_right_types() -> None:
    grid = np.zeros((5, 5), dtype=np.uint8)
    grid[2, 2] = 4
    alone = segment(freeze(grid), "one color, 4 ways")
    assert alone is not None
    table = enumerate_tests([alone], [alone])
    assert table.tests == ()
    assert table.truth.dtype == np.bool_
    assert table.truth.shape == (0, 2)
    assert table.costs.dtype == np.float64
    filled = grid.copy()
    filled[1:4, 1:4] = 4
    filled[2, 0] = filled[0, 2] = 7
    task = Task("alone", (Pair(freeze(grid), freeze(filled)),) * 2, (freeze(grid),))
    for solution in rules.search(task, Deadline.after(5.0, FakeClock())):
        assert solution is None or same(solution.outputs[0], freeze(filled))
