"""Examples of a task's demonstrations: all are asked, none is shown twice, no answer is shown."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solver.grid import MAX_SIDE, Grid, Pair, Task, as_grid, freeze, is_grid, same
from solver.lm.training.examples import Example, examples
from solver.lm.training.reshape import AS_IT_IS, MAX_SHIFT, Reshape, draw
from solver.views import parse_view


def task_of(n: int, tests: int = 1) -> Task:
    rng = np.random.default_rng(n)
    grids = [freeze(grid.astype(np.uint8)) for grid in rng.integers(1, 7, (n, 3, 4))]
    pairs = tuple(Pair(grid, freeze(grid[::-1].copy())) for grid in grids)
    return Task(f"task{n}", pairs, tuple(as_grid([[9, t]]) for t in range(tests)))


def drawn(
    n: int, limit: int, context: bool, seed: int = 0, views: int = 4, reshaped: float = 0.0
) -> list[Example]:
    some = examples(task_of(n), limit, seed, context=context, views=views, reshaped=reshaped)
    return list(some)


@given(
    n=st.integers(1, 5),
    limit=st.integers(0, 60),
    context=st.booleans(),
    seed=st.integers(0, 9),
    reshaped=st.sampled_from([0.0, 0.6]),
)
def test_examples_are_distinct_even_and_undone_by_their_view_and_shape(
    n: int, limit: int, context: bool, seed: int, reshaped: float
) -> None:
    some = drawn(n, limit, context, seed, reshaped=reshaped)
    assert len(some) == limit
    assert len({example.identity for example in some}) == limit
    train = task_of(n).train
    asked: Counter[int] = Counter()
    for example in some:
        view = parse_view(example.view.name)
        back = [example.reshape.undo_pair(view.undo_pair(pair)) for pair in example.shown]
        pair = example.reshape.undo_pair(view.undo_pair(example.pair))
        asked[train.index(pair)] += 1
        assert pair not in back
        assert len(set(back)) == len(back)
        assert set(back) <= set(train)
        assert [back.index(p) for p in sorted(back, key=train.index)] == [
            view.order.index(i) for i in range(len(back))
        ]
    if not context or n < 3:
        assert max(asked.values(), default=0) - min(asked.values(), default=0) <= 1


grids = st.tuples(st.integers(1, 30), st.integers(1, 30), st.integers(0, 999)).map(
    lambda t: freeze(np.random.default_rng(t[2]).integers(0, 10, t[:2]).astype(np.uint8))
)
side = st.integers(1, 3)
reshapes = st.builds(
    Reshape, st.tuples(st.integers(0, 40), st.integers(0, 40)), st.tuples(side, side)
)


@given(reshape=reshapes, grid=grids)
def test_what_is_shifted_and_enlarged_comes_back(reshape: Reshape, grid: Grid) -> None:
    fits = all(side * n <= MAX_SIDE for side, n in zip(grid.shape, reshape.scale, strict=True))
    assert reshape.fits(grid) == fits
    if not fits:
        return
    seen = reshape.apply(grid)
    assert is_grid(seen)
    assert same(reshape.undo(seen), grid)
    (rows, columns), (down, right) = reshape.scale, reshape.shift
    height, width = grid.shape
    for r, c in np.ndindex(*seen.shape):
        assert seen[r, c] == grid[(r // rows - down) % height, (c // columns - right) % width]


@given(pairs=st.lists(st.builds(Pair, grids, grids), min_size=1, max_size=3), seed=st.integers(0))
def test_no_pair_grows_too_large_or_is_shifted_far(pairs: list[Pair], seed: int) -> None:
    reshape = draw(np.random.default_rng(seed), pairs)
    for pair in pairs:
        shown = reshape.apply_pair(pair)
        assert is_grid(shown.input)
        assert is_grid(shown.output)
        assert reshape.undo_pair(shown) == pair
    assert max(reshape.shift) <= MAX_SHIFT
    assert reshape.shift == (0, 0) or reshape.scale == (1, 1)


def test_as_many_are_shifted_and_enlarged_as_the_recipe_says() -> None:
    some = drawn(3, 400, True, views=400, reshaped=0.6)
    shapes = Counter(example.reshape.scale for example in some if example.reshape != AS_IT_IS)
    assert 0.5 < shapes.total() / len(some) < 0.7
    assert set(shapes) == {(1, 1), (2, 2), (2, 1), (1, 2)}
    assert 0.6 < shapes[2, 2] / shapes.total() < 0.8
    assert {example.reshape for example in drawn(3, 50, True)} == {AS_IT_IS}


def test_the_seed_decides_and_a_shorter_list_is_the_beginning_of_a_longer() -> None:
    for context in (False, True):
        first = [e.identity for e in drawn(3, 50, context)]
        assert first == [e.identity for e in drawn(3, 50, context)]
        assert first[:20] == [e.identity for e in drawn(3, 20, context)]
        assert first != [e.identity for e in drawn(3, 50, context, seed=1)]


def test_leave_one_out_comes_first_and_leave_two_out_tops_up() -> None:
    some = drawn(4, 4 * 4 + 4 * 3 * 4 + 8, True, views=4)
    sizes = [len(example.shown) for example in some]
    assert sizes == [3] * 16 + [2] * 48 + [3] * 8
    assert {len(example.shown) for example in drawn(2, 40, True)} == {1}
    assert {len(example.shown) for example in drawn(4, 40, False)} == {0}


def test_all_turns_are_taken_equally_often() -> None:
    turns = Counter(example.view.d8 for example in drawn(3, 48, False))
    assert turns == dict.fromkeys(range(8), 6)


def test_a_task_without_more_views_ends() -> None:
    blank = as_grid([[0, 0], [0, 0]])
    task = Task("blank", (Pair(blank, blank),), ())
    assert len(list(examples(task, 250, 0, context=False))) == 8
    assert list(examples(Task("none", (), ()), 250, 0, context=True)) == []


def test_colors_that_only_outputs_hold_stay() -> None:
    pair = Pair(as_grid([[1, 2, 0]]), as_grid([[5, 1, 0]]))
    for example in examples(Task("five", (pair,), ()), 100, 0, context=False):
        assert example.view.colors[0] == 0
        assert example.view.colors[5] == 5


@pytest.mark.parametrize("context", [False, True])
def test_tests_are_never_looked_at(context: bool) -> None:
    with_tests, without = task_of(3, 2), task_of(3, 0)
    pairs = zip(
        examples(with_tests, 60, 0, context=context),
        examples(without, 60, 0, context=context),
        strict=True,
    )
    assert all(a.identity == b.identity for a, b in itertools.islice(pairs, 60))
