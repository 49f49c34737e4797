"""Parts: splitting, combining, block matrices, products, expansions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from solver.deadline import CpuClock, Deadline
from solver.grid import Grid, Pair, Task, freeze, same
from solver.synth import fit as rule_fit
from solver.synth import split as part_split
from solver.synth.interpret import run
from solver.synth.patterns import parts
from solver.synth.program import Call, parse

Cells = NDArray[Any]
Rule = Callable[[Grid], Cells]
Mask = NDArray[np.bool_]

RNG = np.random.default_rng(3)
grids = arrays(np.uint8, st.tuples(st.integers(1, 8), st.integers(1, 8)),
               elements=st.integers(0, 2)).map(freeze)  # fmt: skip


def noise(h: int, w: int, density: float = 0.5, color: int = 1) -> Cells:
    return np.where(RNG.random((h, w)) < density, color, 0).astype(np.uint8)


def beside(a: Cells, b: Cells, color: int = 5) -> Cells:
    line = np.full((len(a), 1), color, dtype=np.uint8)
    return np.concatenate([a, line, b], axis=1)


def check(rule: Rule, inputs: Sequence[Cells]) -> Call:
    frozen = [freeze(grid) for grid in inputs]
    task = Task("t", tuple(Pair(g, freeze(rule(g))) for g in frozen[:-1]), (frozen[-1],))
    found = [s for s in parts.search(task, Deadline.after(60, CpuClock())) if s is not None]
    assert found
    solution = min(found, key=lambda s: s.cost)
    assert same(solution.outputs[0], freeze(rule(frozen[-1])))
    assert parse(str(solution.program)) == solution.program
    for pair in task.train:
        again = run(solution.program, pair.input, {**parts.OPS, **rule_fit.OPS})
        assert again is not None
        assert same(again, pair.output)
    return solution.program


def test_split_at_lines_of_a_colour() -> None:
    grid = freeze(beside(noise(4, 3), noise(4, 2)))
    cut = part_split.split(grid, "sep", 0)
    assert cut is not None
    assert (cut.rows, cut.columns, cut.color, cut.even) == (((0, 4),), ((0, 3), (4, 6)), 5, False)


@given(grids, st.sampled_from(part_split.WAYS))
def test_parts_lie_in_the_grid_and_apart(grid: Grid, way: str) -> None:
    cut = part_split.split(grid, way, 0)
    if cut is None:
        return
    seen = np.zeros(grid.shape, dtype=int)
    for a, b in cut.rows:
        for c, d in cut.columns:
            seen[a:b, c:d] += 1
    assert seen.max() == 1
    assert cut.n == len(cut.parts(grid)) >= 2
    if way in part_split.EQUAL:
        assert cut.even
        assert seen.min() == 1


@pytest.mark.parametrize("truth", [lambda a, b: a & b, lambda a, b: a ^ b, lambda a, b: ~(a | b)])
def test_boolean_combinations(truth: Callable[[Mask, Mask], Mask]) -> None:
    def rule(grid: Grid) -> Cells:
        a, b = grid[:, :4] != 0, grid[:, 5:] != 0
        return np.where(truth(a, b), 3, 0).astype(np.uint8)

    check(rule, [beside(noise(4, 4), noise(4, 4, color=2)) for _ in range(4)])


def test_overlay_in_an_order() -> None:
    def rule(grid: Grid) -> Cells:
        top, below = grid[4:], grid[:4]
        return np.where(top != 0, top, below)

    inputs = [np.concatenate([noise(4, 4, color=6), noise(4, 4, color=8)]) for _ in range(4)]
    assert check(rule, inputs).name in {"overlay", "combine", "combine_masks"}


def test_fold() -> None:
    def rule(grid: Grid) -> Cells:
        left, right = grid[:, :3], grid[:, 3:][:, ::-1]
        return np.where(left != 0, left, right)

    inputs = [np.concatenate([noise(5, 3, 0.4, 6), noise(5, 3, 0.4, 8)], axis=1) for _ in range(4)]
    assert check(rule, inputs).name == "fold"


def test_matrix_of_turned_copies() -> None:
    def rule(grid: Grid) -> Cells:
        return np.block([[grid, grid[:, ::-1]], [grid[::-1], np.rot90(grid, 2)]])

    assert check(rule, [RNG.integers(0, 5, (3, 3)).astype(np.uint8) for _ in range(4)]).name == (
        "blocks"
    )


def test_kronecker_product_with_itself() -> None:
    def rule(grid: Grid) -> Cells:
        return np.kron((grid != 0).astype(np.uint8), grid)

    inputs = [noise(3, 3, 0.6, k + 1) | np.eye(3, dtype=np.uint8) * (k + 1) for k in range(4)]
    assert check(rule, inputs).name == "fractal"


def test_product_of_two_parts() -> None:
    def rule(grid: Grid) -> Cells:
        return np.kron((grid[:, :3] != 0).astype(np.uint8), grid[:, 4:])

    inputs = [beside(noise(3, 3, 0.6, 8), noise(3, 3, 0.6, k + 1)) for k in range(4)]
    assert check(rule, inputs).name == "product"


def test_cells_that_become_blocks() -> None:
    pictures = RNG.integers(0, 6, (3, 2, 2)).astype(np.uint8)

    def rule(grid: Grid) -> Cells:
        return np.block([[pictures[c] for c in row] for row in grid.tolist()])

    assert check(rule, [RNG.integers(0, 3, (3, 4)).astype(np.uint8) for _ in range(4)]).name == (
        "expand"
    )


def test_unfolding_shares_the_edge() -> None:
    def rule(grid: Grid) -> Cells:
        return np.concatenate([grid, grid[:, -2::-1]], axis=1)

    assert check(rule, [RNG.integers(0, 5, (3, 4)).astype(np.uint8) for _ in range(4)]).name == (
        "unfold"
    )


def framed(seed: int) -> tuple[Cells, Cells]:
    """A shape within lines, coloured by quarters as the corners outside the lines are."""
    rng = np.random.default_rng(seed)
    inside = (rng.random((4, 4)) < 0.6).astype(np.uint8) * 8
    inside[0] = inside[3] = (8, 0, 0, 8)
    key = rng.integers(2, 7, (2, 2)).astype(np.uint8)
    grid = np.zeros((8, 8), dtype=np.uint8)
    grid[[1, -2]] = 1
    grid[:, [1, -2]] = 1
    grid[2:6, 2:6] = inside
    grid[np.ix_((0, 7), (0, 7))] = key
    return grid, np.where(inside > 0, np.kron(key, np.ones((2, 2), dtype=np.uint8)), 0)


def test_the_corners_tint_the_part_in_the_middle() -> None:
    wanted = {freeze(a).tobytes(): b for a, b in map(framed, range(4))}
    program = check(lambda grid: wanted[freeze(grid).tobytes()], [framed(k)[0] for k in range(4)])
    assert str(program) == "tint(input, '0', 'corner parts', 'largest')"


def test_a_small_part_tints_large_blocks() -> None:
    grid = beside(np.kron(np.array([[8, 0], [8, 8]]), np.ones((2, 2), dtype=np.uint8)), noise(4, 1))
    grid[:2, 5], grid[2:, 5] = 3, 4
    made = parts.tint(freeze(grid.astype(np.uint8)), "0", "smallest part", "smallest")
    assert made is None  # a column is no key for blocks of which one is half filled
    made = parts.tint(freeze(grid.astype(np.uint8)), "0", "smallest part", "largest")
    assert made is not None
    assert made.tolist() == [[3, 3, 0, 0], [3, 3, 0, 0], [4, 4, 4, 4], [4, 4, 4, 4]]


def test_an_object_of_blocks_shows_cells_of_a_colorful_object() -> None:
    grid = np.zeros((9, 12), dtype=np.uint8)
    grid[1:7, 1:7] = np.kron(np.array([[1, 0], [1, 1]]), np.ones((3, 3), dtype=np.uint8))
    grid[7:9, 9:11] = [[3, 1], [2, 8]]
    made = parts.tint(freeze(grid), "0", "colorful object", "smallest")
    assert made is not None
    assert made.tolist() == [[3, 0], [2, 8]]


def test_the_part_of_more_colours_may_stand_on_either_side() -> None:
    shape = np.array([[0, 8, 0], [8, 8, 8], [0, 8, 0]], dtype=np.uint8)
    keys = [np.array(k, dtype=np.uint8) for k in (
        [[2, 0, 4], [0, 3, 0], [0, 0, 0]], [[0, 4, 0], [1, 2, 4], [1, 0, 0]],
        [[2, 0, 0], [0, 2, 4], [0, 4, 2]])]  # fmt: skip
    pairs = [np.concatenate(two, axis=1) for two in
             ((keys[0], shape), (shape, keys[1]), (keys[2], shape))]  # fmt: skip
    wanted = {freeze(a).tobytes(): np.kron(k, shape > 0).astype(np.uint8)
              for a, k in zip(pairs, keys, strict=True)}  # fmt: skip
    program = check(lambda grid: wanted[freeze(grid).tobytes()], pairs)
    assert program.args[2] == "more colors"


ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "overlay": ("1x2", (0, 1)), "fold": ("1x2", (0, 1)), "product": ("1x2", 0, "mask"),
    "vote": ("1x2", "most"), "combine": ("1x2", (((0, 0), 1), ((0, 1), 2))),
    "combine_masks": ("1x2", ((0, 1), (1, 10), (2, 11), (3, 0))),
    "blocks": ((("0", "5"), ("blank", "7")),), "fractal": ("most", "0", "color"),
    "expand": (1, ((0, ((0, 3),)), (1, ((10, 10),)))), "unfold": (1, 2),
    "tint": ("0", "corner parts", "smallest"),
}  # fmt: skip


def test_every_operation_has_arguments_here() -> None:
    assert ARGUMENTS.keys() == parts.OPS.keys()


@given(grids, st.sampled_from(sorted(ARGUMENTS)))
def test_operations_never_raise(grid: Grid, name: str) -> None:
    made = parts.OPS[name].function(grid, *ARGUMENTS[name])
    assert made is None or (made.ndim == 2 and made.dtype == np.uint8)


@pytest.mark.parametrize(
    ("rule", "winners"), [("odd", [[2, 1]]), ("most", [[1, 1]]), ("any", [[2, 1]])]
)
def test_votes(rule: str, winners: list[list[int]]) -> None:
    grid = freeze(np.array([[1, 1, 1, 1, 2, 1]], dtype=np.uint8))
    made = parts.vote(grid, "1x3", rule)
    assert made is not None
    assert made.tolist() == winners
