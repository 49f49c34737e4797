"""Placement: anchors, centres, crossings, travelling rays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from solver.deadline import CpuClock, Deadline, FakeClock
from solver.grid import Grid, Pair, Task, freeze, same
from solver.synth import fit as rule_fit
from solver.synth.interpret import run
from solver.synth.patterns import placement
from solver.synth.program import Call, parse
from solver.views import turn

Cells = NDArray[Any]

grids = arrays(np.uint8, st.tuples(st.integers(1, 8), st.integers(1, 8)),
               elements=st.integers(0, 3)).map(freeze)  # fmt: skip
TEMPLATE = np.array([[0, 1, 2], [1, 1, 0], [3, 1, 3]], dtype=np.uint8)


def check(pairs: Sequence[tuple[Cells, Cells]]) -> Call:
    frozen = [Pair(freeze(a), freeze(b)) for a, b in pairs]
    task = Task("t", tuple(frozen[:-1]), (frozen[-1].input,))
    found = [s for s in placement.search(task, Deadline.after(60, CpuClock())) if s is not None]
    assert found
    solution = min(found, key=lambda s: s.cost)
    assert same(solution.outputs[0], frozen[-1].output)
    assert parse(str(solution.program)) == solution.program
    for pair in task.train:
        again = run(solution.program, pair.input, {**placement.OPS, **rule_fit.OPS})
        assert again is not None
        assert same(again, pair.output)
    return solution.program


def anchored(d8: int, place: tuple[int, int]) -> tuple[Cells, Cells]:
    """A template in a corner, and its markers alone, turned, somewhere else."""
    before = np.zeros((12, 12), dtype=np.uint8)
    before[0:3, 0:3] = TEMPLATE
    after = before.copy()
    turned = turn(TEMPLATE, d8)
    r, c = place
    before[r : r + 3, c : c + 3] = np.where(turned > 1, turned, 0)
    after[r : r + 3, c : c + 3] = turned
    return before, after


def test_template_is_drawn_at_its_markers() -> None:
    assert check([anchored(0, (5, 5)), anchored(0, (8, 2)), anchored(0, (4, 8))]).name == "anchors"


def test_template_may_be_turned() -> None:
    pairs = [anchored(1, (5, 5)), anchored(6, (8, 2)), anchored(3, (4, 8))]
    assert check(pairs).args[2] == 8


def centred(place: tuple[int, int], seed: int) -> tuple[Cells, Cells]:
    rng = np.random.default_rng(seed)
    quarter = np.where(rng.random((2, 2)) < 0.6, 4, 0)
    quarter[1, 1] = 4
    whole = np.zeros((5, 5), dtype=np.uint8)
    whole[2, 2] = 8
    whole[2, 1] = whole[1, 2] = whole[2, 3] = whole[3, 2] = 8
    before, after = (np.zeros((11, 11), dtype=np.uint8) for _ in range(2))
    r, c = place
    part = whole.copy()
    part[:2, :2] = np.where(quarter > 0, quarter, part[:2, :2])
    before[r : r + 5, c : c + 5] = part
    for d8 in (0, 5, 7, 2):
        whole = np.maximum(whole, turn(part, d8))
    after[r : r + 5, c : c + 5] = whole
    return before, after


def test_symmetry_about_a_centre() -> None:
    pairs = [centred((1, 2), 0), centred((5, 5), 1), centred((3, 0), 2)]
    assert check(pairs).name == "about_centre"


def crossed(rows: list[int], columns: list[int]) -> tuple[Cells, Cells]:
    before = np.zeros((9, 9), dtype=np.uint8)
    before[rows, 0] = 5
    before[0, columns] = 5
    after = before.copy()
    after[np.ix_(rows, columns)] = 2
    return before, after


def test_crossings_of_marked_rows_and_columns() -> None:
    assert check([crossed([2, 5], [3, 7]), crossed([4], [2, 6, 8]), crossed([3, 7], [4])]).name == (
        "crossings"
    )


def test_a_ray_bounces_between_walls() -> None:
    grid = np.zeros((4, 9), dtype=np.uint8)
    grid[3, 0] = 1
    out = placement.travel(freeze(grid), 1, 3, 1, "bounce")
    assert out is not None
    zigzag = [2, 1, 0, 1, 2, 3, 2]
    assert (out[zigzag, range(1, 8)] == 3).all()
    assert out[3, 0] == 1


def test_a_ray_turns_right_at_an_obstacle() -> None:
    grid = np.zeros((5, 5), dtype=np.uint8)
    grid[4, 2], grid[1, 2] = 1, 8
    out = placement.travel(freeze(grid), 1, 3, 0, "right")
    assert out is not None
    assert np.argwhere(out == 3).tolist() == [[2, 2], [2, 3], [2, 4], [3, 2]]
    assert out[1, 2] == 8


def test_a_ray_bounces_aside_and_ends_at_the_far_border() -> None:
    grid = np.zeros((5, 3), dtype=np.uint8)
    grid[4, 0] = 1
    out = placement.travel(freeze(grid), 1, 1, "up-right", "bounce aside")
    assert out is not None
    assert out.argmax(1).tolist() == [0, 1, 2, 1, 0]
    assert out.sum() == 5


def test_the_colours_of_rings_change_places() -> None:
    def rings(*colors: int) -> Cells:
        grid = np.zeros((2 * len(colors), 2 * len(colors)), dtype=np.uint8)
        for k, color in enumerate(colors):
            grid[k : len(grid) - k, k : len(grid) - k] = color
        return grid

    shown = [((3, 2, 0), (0, 3, 2)), ((4, 7, 1), (1, 4, 7)), ((5, 6, 8), (8, 5, 6))]
    program = check([(rings(*a), rings(*b)) for a, b in shown])
    assert program.name == "exchange_colors"


def partial(first: tuple[int, int], second: tuple[int, int]) -> tuple[Cells, Cells]:
    """A template in a corner; at one place its cells of colour 1 alone, at another of colour 3."""
    before = np.zeros((12, 12), dtype=np.uint8)
    before[0:3, 0:3] = TEMPLATE
    after = before.copy()
    for color, (r, c) in ((1, first), (3, second)):
        before[r : r + 3, c : c + 3] = np.where(color == TEMPLATE, color, 0)
        after[r : r + 3, c : c + 3] = TEMPLATE
    return before, after


def test_a_template_is_completed_where_one_of_its_colours_shows() -> None:
    pairs = [partial((5, 5), (1, 8)), partial((8, 2), (3, 5)), partial((4, 8), (8, 1))]
    assert check(pairs).name == "partial_copies"


def pasted(template: Cells, marks: Sequence[tuple[int, int]]) -> tuple[Cells, Cells]:
    """A template in a corner, and single markers whose place it takes."""
    before = np.zeros((11, 11), dtype=np.uint8)
    before[:3, :3] = template
    after = before.copy()
    for r, c in marks:
        before[r, c] = 5
        after[r - 1 : r + 2, c - 1 : c + 2] = template
    return before, after


def test_a_picture_is_pasted_at_markers() -> None:
    first = np.array([[1, 2, 1], [2, 3, 2], [4, 2, 1]])
    pairs = [(first, [(5, 5)]), (first[::-1], [(6, 2), (8, 8)]), (first.T, [(2, 8)])]
    assert check([pasted(template, marks) for template, marks in pairs]).name == "paste"


def test_the_largest_blank_rectangle_is_no_line() -> None:
    pairs = []
    for top, left in ((1, 4), (3, 0), (2, 7)):
        before = np.indices((7, 14)).sum(0).astype(np.uint8) % 2
        before[6] = 0  # a line with more cells than the rectangle
        before[5] = 1
        before[top : top + 2, left : left + 4] = 0
        after = before.copy()
        after[top : top + 2, left : left + 4] = 6
        pairs.append((before, after))
    assert check(pairs).name == "paint_rectangle"


ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "anchors": ("mixed, 8 ways", 8, 2, "kept"),
    "about_centre": ("one color, 8 ways", ("area", "max", 0), "all", "whole grid"),
    "crossings": (2, "own", 1), "travel": (1, -1, 3, "bounce"),
    "exchange_colors": ("diagonal", "next"),
    "paint_rectangle": (0, 3, 2), "partial_copies": ("mixed, 8 ways", 8),
    "paste": ("rest", ("", "all", 0), 1, "bottom right", "kept"),
}  # fmt: skip


@given(grids, st.sampled_from(sorted(ARGUMENTS)))
def test_operations_never_raise_and_keep_the_shape(grid: Grid, name: str) -> None:
    assert ARGUMENTS.keys() == placement.OPS.keys()
    made = placement.OPS[name].function(grid, *ARGUMENTS[name])
    assert made is None or (made.shape == grid.shape and made.max() < 10)


WALLS = ["stop", "right", "left", "back", "bounce", "bounce aside", "bounce up and down"]


@given(grids, st.integers(0, 7), st.sampled_from(WALLS))
def test_rays_paint_blank_cells_only(grid: Grid, first: int, wall: str) -> None:
    out = placement.travel(grid, 1, 2, first, wall)
    assert out is not None
    assert (out[grid != 0] == grid[grid != 0]).all()


def test_no_time_no_answer() -> None:
    before, after = anchored(0, (5, 5))
    task = Task("t", (Pair(freeze(before), freeze(after)),), (freeze(before),))
    assert list(placement.search(task, Deadline(0.0, FakeClock(1.0)))) == []
