"""The pieces of the cell learner: features against plain code, tests, clauses, leaves."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from solver.deadline import Deadline, FakeClock
from solver.grid import Grid, as_grid
from solver.synth.cells import kernels as cell_kernels
from solver.synth.cells import tests as cell_tests
from solver.synth.cells.learn import learn, surprise, vocabularies
from solver.synth.cells.leaves import Leaves, enumerate_leaves
from solver.synth.cells.tests import Cells, enumerate_tests, gather, pack
from solver.synth.cells.tree import holds, negate, paint
from solver.synth.features import components as cell_components
from solver.synth.features import compute as cell_features
from solver.synth.features import neighbours as cell_neighbours
from solver.synth.features import patterns as cell_patterns
from solver.synth.features.components import label
from solver.synth.features.compute import features
from solver.synth.features.crops import crops
from solver.synth.features.neighbours import OUT
from solver.synth.features.table import FEATURES, INDEX
from solver.synth.split import equal_parts, separated_parts
from tests.runs import examples

LONG = Deadline.after(1e6, FakeClock())
grids = arrays(np.uint8, st.tuples(st.integers(1, 7), st.integers(1, 7)),
               elements=st.sampled_from([0, 0, 0, 1, 2, 3]))  # fmt: skip
quick = examples(30)


def feature(grid: Grid, name: str) -> NDArray[np.uint8]:
    cells: NDArray[np.uint8] = features(grid)[INDEX[name]].reshape(grid.shape)
    return cells


def test_feature_names_are_distinct() -> None:
    assert len(INDEX) == len(FEATURES)


@quick
@given(grids)
def test_plain_features(grid: Grid) -> None:
    h, w = grid.shape
    assert (feature(grid, "self") == grid).all()
    assert (feature(grid, "flip_columns") == grid[:, ::-1]).all()
    assert (feature(grid, "flip_both") == grid[::-1, ::-1]).all()
    assert (feature(grid, "row_filled") == (grid != 0).sum(axis=1)[:, None]).all()
    assert (feature(grid, "column_end") == np.arange(w)[::-1]).all()
    assert (feature(grid, "wrap_n") == np.roll(grid, 1, axis=0)).all()
    expected = np.full((h, w), OUT)
    expected[1:] = grid[:-1]
    assert (feature(grid, "at_n") == expected).all()


@quick
@given(grids)
def test_rays_see_the_first_filled_cell(grid: Grid) -> None:
    ray, distance = feature(grid, "ray_e"), feature(grid, "distance_e")
    for y, x in np.ndindex(grid.shape):
        ahead = np.flatnonzero(grid[y, x + 1 :])
        assert ray[y, x] == (grid[y, x + 1 + ahead[0]] if len(ahead) else OUT)
        assert distance[y, x] == (ahead[0] + 1 if len(ahead) else 31)


@quick
@given(grids)
def test_falling_keeps_columns(grid: Grid) -> None:
    fallen = feature(grid, "fall_s")
    for column, after in zip(grid.T, fallen.T, strict=True):
        filled = column[column != 0]
        assert (after == np.concatenate([np.zeros(len(column) - len(filled)), filled])).all()


@quick
@given(grids)
def test_features_turn_with_the_grid(grid: Grid) -> None:
    pairs = (("ray_n", "ray_w"), ("at_se", "at_se"), ("row_color", "column_color"),
             ("c8_height", "c8_width"), ("c4_size", "c4_size"), ("edge_s", "edge_e"),
             ("in_square2", "in_square2"), ("boxed_from_top", "boxed_from_left"))  # fmt: skip
    turned = np.ascontiguousarray(grid.T)
    for here, there in pairs:
        if (
            here.startswith("boxed")
            and len(np.unique(label(grid, np.int64(0), np.int64(1))[0])) > 3
        ):
            continue  # equal boxes are told apart by reading order
        assert (feature(turned, there) == feature(grid, here).T).all(), here


def test_components_and_holes() -> None:
    ring = as_grid([[1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 1, 2]])
    assert feature(ring, "c4_holes")[0, 0] == 1
    assert feature(ring, "c4_size")[0, 0] == 8
    assert feature(ring, "c4_touched")[1, 1] == 1
    assert feature(ring, "c4_edge")[1, 1] == 0
    assert feature(ring, "c8_rank")[2, 3] == 1
    assert feature(ring, "x8_minor")[0, 0] == 2
    assert feature(ring, "next_color")[1, 3] == 1
    assert feature(ring, "boxed_color")[1, 1] == 1


def test_period_and_axis() -> None:
    pattern = np.tile(np.array([[1, 2, 3], [4, 5, 6]], np.uint8), (4, 3))
    broken = pattern.copy()
    broken[2:4, 3:5] = 0
    assert (feature(broken, "tile") == pattern).all()
    mirrored = np.hstack([pattern[:, :4], pattern[:, :4][:, ::-1]])
    broken = mirrored.copy()
    broken[1:3, 1:3] = 0
    assert (feature(broken, "mirror")[1:3, 1:3] == mirrored[1:3, 1:3]).all()


@quick
@given(st.lists(grids, min_size=1, max_size=3))
def test_named_tests_say_what_their_bits_say(some: list[Grid]) -> None:
    tables = [features(grid) for grid in some]
    cells = gather(tables, len(tables))
    tests = enumerate_tests(cells)
    assert (np.diff(tests.costs) >= 0).all()
    for t in range(0, len(tests.costs), 17):
        bits = np.unpackbits(tests.bits[t].view(np.uint8), bitorder="little")
        for i, table in enumerate(tables):
            answer = bits[cells.grid(i)].astype(bool)
            assert (holds(tests.name(t), table) == answer).all(), tests.name(t)
            assert (holds(negate(tests.name(t)), table) == ~answer).all()


def test_pack_is_undone_by_unpacking() -> None:
    rows = np.random.default_rng(0).integers(0, 2, (3, 128)).astype(np.uint8)
    assert (
        np.unpackbits(pack(rows).view(np.uint8), bitorder="little").reshape(3, 128) == rows
    ).all()


@pytest.mark.parametrize("seed", range(6))
def test_separators_are_exactly_the_clauses_of_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, (14, 64)).astype(np.uint8)
    bits, costs = pack(truth), np.sort(rng.random(14) * 4 + 1)
    chosen = truth[3].astype(bool) & ~truth[9].astype(bool)
    keep = rng.random(64) < 0.4
    must, never = (pack((rows & keep)[None].astype(np.uint8))[0] for rows in (chosen, ~chosen))
    rows, found_costs = cell_kernels.separators(bits, costs, must, never, 1e6, 5000)
    literals = [(2 * t + n, truth[t] ^ n, costs[t] + 0.5 * n) for t in range(14) for n in (0, 1)]
    want: dict[tuple[int, ...], float] = {}
    inside, outside = chosen & keep, ~chosen & keep
    whole = [x for x in literals if x[1][inside].all()]
    for code, row, cost in whole:
        if not row[outside].any():
            want[(code,)] = cost
    for i, (code, row, cost) in enumerate(whole):
        for other, second, price in whole[i + 1 :]:
            if (code,) in want or (other,) in want or (row & second)[outside].any():
                continue
            if row[outside].all() or second[outside].all():
                continue
            want[tuple(sorted((code, other)))] = cost + price + 1.0
    got = {tuple(sorted(c for c in row if c >= 0)): p for row, p in
           zip(rows.tolist(), found_costs.tolist(), strict=True)}  # fmt: skip
    assert got.keys() == want.keys()
    assert all(abs(got[k] - want[k]) < 1e-9 for k in want)


def learned(pairs: list[tuple[Any, Any]]) -> tuple[Cells, cell_tests.Tests, Leaves]:
    inputs = [features(as_grid(a)) for a, _ in pairs]
    cells = gather(inputs, len(inputs))
    targets = [as_grid(b) for _, b in pairs]
    return cells, enumerate_tests(cells), enumerate_leaves(cells, targets)


def test_table_leaf_and_its_support() -> None:
    pairs = [([[1, 2, 0]], [[4, 5, 0]]), ([[2, 1, 0]], [[5, 4, 0]]), ([[3, 1, 2]], [[6, 4, 5]])]
    cells, tests, leaves = learned(pairs)
    table = ("map", "self", ((1, 4), (2, 5), (3, 6)))
    assert table in leaves.rules
    j = leaves.rules.index(table)
    assert not leaves.wrong[j].any()
    held = leaves.wrong_held[j]  # only the last demonstration knows what becomes of 3
    assert [bool(held[k]) for k in range(3)] == [False, False, True]
    assert surprise(tests, leaves, (j,), cells, 99.0, LONG) > 5.9
    assert paint(table, features(as_grid([[3, 0, 1]]))).tolist() == [6, 0, 4]


def test_vocabularies_are_minimal_and_rules_are_right() -> None:
    rng = np.random.default_rng(1)
    inputs = rng.integers(0, 3, (3, 5, 5))
    pairs = [(g.tolist(), np.where(g == 1, 7, g).tolist()) for g in inputs]
    cells, tests, leaves = learned(pairs)
    train = cells.valid[: cells.train_words]
    for bits, chosen in vocabularies(leaves, 10):
        assert bits == pytest.approx(leaves.costs[list(chosen)].sum())
        assert not np.bitwise_and.reduce(leaves.wrong[list(chosen)], axis=0).any()
        for batch in learn(tests, leaves, chosen, train, LONG):
            assert batch.hits(tests, leaves.wrong, train).all()


def test_partitions() -> None:
    grid = np.zeros((5, 7), np.uint8)
    grid[2] = grid[:, 3] = 4
    parts = separated_parts(as_grid(grid))
    assert parts is not None
    assert parts.count == (2, 2)
    assert parts.shape == (2, 3)
    halves = equal_parts(as_grid(grid), 1, 2, 1)
    assert halves is not None
    assert halves.shape == (5, 3)
    assert equal_parts(as_grid(grid), 2, 2, 0) is None
    assert feature(grid, "on_line").sum() == 11
    assert feature(grid, "part_column")[0, 4] == 1


@quick
@given(grids)
def test_crops_lie_in_the_grid(grid: Grid) -> None:
    for top, bottom, left, right in crops(grid).values():
        assert 0 <= top < bottom <= grid.shape[0]
        assert 0 <= left < right <= grid.shape[1]


@pytest.mark.parametrize(("shape", "box"), [((6, 3), (0, 3, 0, 3)), ((2, 8), (0, 2, 0, 4))])
def test_half_a_grid_is_cut_across_its_longer_side(
    shape: tuple[int, int], box: tuple[int, int, int, int]
) -> None:
    assert crops(np.zeros(shape, dtype=np.uint8))["half"] == box


KERNELS = [
    (cell_features, "_local"), (cell_features, "_rays"), (cell_features, "_lines"),
    (cell_patterns, "pattern_features"), (cell_components, "component_features"),
    (cell_neighbours, "squares"),
]  # fmt: skip


@pytest.mark.parametrize(("module", "name"), KERNELS)
@examples(8)
@given(grid=grids)
def test_kernels_stay_inside_their_arrays(module: ModuleType, name: str, grid: Grid) -> None:
    """The interpreted kernel checks indices, and agrees with the compiled one."""
    kernel = getattr(module, name)
    tables = [np.zeros((len(FEATURES), *grid.shape), np.uint8) for _ in range(2)]
    arguments: tuple[Any, ...] = (grid,) if name == "squares" else (grid, 0)
    with np.errstate(over="ignore"):
        kernel.py_func(*arguments, tables[0])
    kernel(*arguments, tables[1])
    assert (tables[0] == tables[1]).all()
