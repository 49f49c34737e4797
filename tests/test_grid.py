"""Grids, their validation and their identity."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solver.grid import (
    Candidate,
    DataError,
    Grid,
    Pair,
    Task,
    as_grid,
    freeze,
    is_grid,
    key,
    names,
    same,
    stable_seed,
)
from tests.strategies import complaint, grids, tasks

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)


@given(grids())
def test_nested_lists_and_back_is_the_same_grid(grid: Grid) -> None:
    again = as_grid(grid.tolist())
    assert same(again, grid)
    assert again.dtype == np.uint8
    assert is_grid(again)


@given(grids())
def test_an_array_becomes_a_grid_of_its_own(grid: Grid) -> None:
    array = grid.astype(np.int64)
    frozen = as_grid(array)
    array[0, 0] = 9 - array[0, 0]
    assert same(frozen, grid)


def test_a_grid_is_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        as_grid([[1]])[0, 0] = 2


@given(grids())
def test_freezing_never_freezes_or_follows_the_callers_array(grid: Grid) -> None:
    array = grid.copy()
    frozen = freeze(array)
    array[0, 0] = 9 - array[0, 0]
    assert same(frozen, grid)
    assert not frozen.flags.writeable
    assert freeze(frozen) is frozen


@given(grids(8))
def test_freezing_makes_turned_and_cut_arrays_contiguous(grid: Grid) -> None:
    for array in (np.rot90(grid), grid.T, grid[::-1, ::-1], grid[:1]):
        frozen = freeze(array)
        assert frozen.flags.c_contiguous
        assert not frozen.flags.writeable
        assert np.array_equal(frozen, array)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (None, "non-empty list of rows, got None"),
        ([], "non-empty list of rows"),
        ("00", "non-empty list of rows"),
        ([[]], "row 0 is not a non-empty list"),
        ([[0], 3], "row 1 is not a non-empty list: 3"),
        ([[0], [0, 1]], "row 1 has 2 cells where row 0 has 1"),
        ([[0]] * 31, "31 rows, more than 30"),
        ([[0] * 31], "row 0 has 31 cells, more than 30"),
        ([[0, 10]], r"cell \(0, 1\) is 10"),
        ([[0], [-1]], r"cell \(1, 0\) is -1"),
        ([[1.0]], r"cell \(0, 0\) is 1.0"),
        ([[True]], r"cell \(0, 0\) is True"),
        ([["1"]], r"cell \(0, 0\) is '1'"),
        (np.zeros((2, 2)), r"cell \(0, 0\) is 0.0"),
        (np.zeros((1, 1, 1), dtype=np.uint8), r"cell \(0, 0\) is \[0\]"),
    ],
)
def test_what_is_no_grid_is_refused_with_the_place(value: Any, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        as_grid(value)


@given(JSON_VALUES)
def test_any_value_is_a_legal_grid_or_a_data_error(value: Any) -> None:
    said = complaint(DataError, as_grid, value)
    assert len(said) < 120 if said else is_grid(as_grid(value))


def test_a_value_nested_too_deeply_to_be_shown_is_refused_like_any_other() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(DataError, match=r"cell \(0, 0\) is \["):
        as_grid([[deep]])


@given(grids(), grids())
def test_equal_keys_mean_equal_grids(a: Grid, b: Grid) -> None:
    assert key(a) == key(a.copy())
    assert (key(a) == key(b)) == same(a, b)


def test_keys_tell_shapes_apart() -> None:
    assert key(as_grid([[0, 0]])) != key(as_grid([[0], [0]]))


def test_illegal_arrays_are_no_grids() -> None:
    for shape in ((0, 3), (31, 1), (1, 31), (3,)):
        assert not is_grid(np.zeros(shape, dtype=np.uint8))
    assert not is_grid(np.full((2, 2), 10, dtype=np.uint8))


@given(tasks(5))
def test_equal_tasks_are_equal_and_hash_alike(task: Task) -> None:
    pairs = tuple(Pair(p.input.copy(), p.output.copy()) for p in task.train)
    again = Task(task.id, pairs, tuple(g.copy() for g in task.tests))
    assert again == task
    assert hash(again) == hash(task)
    assert Task(task.id + "x", pairs, task.tests) != task
    assert Task(task.id, pairs, (*task.tests, task.tests[0])) != task


def test_a_seed_is_the_same_in_every_process() -> None:
    code = "from solver.grid import stable_seed; print(stable_seed(3, 'a', 1))"
    seeds = {
        subprocess.check_output([sys.executable, "-c", code], env={"PYTHONHASHSEED": hash_seed})
        for hash_seed in ("1", "2")
    }
    assert seeds == {f"{stable_seed(3, 'a', 1)}\n".encode()}
    assert stable_seed(3, "a", 1) != stable_seed(3, "a1") != stable_seed(4, "a1")


def test_identity_leaves_time_and_likelihood_out() -> None:
    grid = as_grid([[1]])
    one = Candidate("t", 0, grid, "synth", logprob=-1.0, cost_s=1)
    assert one.identity == Candidate("t", 0, grid, "synth", logprob=-2.0, cost_s=2).identity
    assert one.identity != Candidate("t", 0, as_grid([[2]]), "synth").identity
    assert one.identity != Candidate("t", 1, grid, "synth").identity


def test_a_long_list_of_names_is_cut_short() -> None:
    assert names(["a", "b"]) == "'a', 'b'"
    assert names(["a", "b", "c", "d", "e"]) == "'a', 'b', 'c' and 2 more"
