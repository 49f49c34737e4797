"""Views: apply and undo, names, sampling."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solver.grid import Grid, Pair, Task, as_grid, key, same
from solver.views import View, output_only_colors, parse_view, sample_views, turn, unturn
from tests.strategies import complaint, grids, tasks, views

SMALL = Task(
    "small",
    (Pair(as_grid([[0, 1]]), as_grid([[5, 1]])), Pair(as_grid([[2]]), as_grid([[6]]))),
    (as_grid([[6, 3]]),),
)


def only_in_outputs(task: Task) -> frozenset[int]:
    inputs = [*(pair.input for pair in task.train), *task.tests]
    return output_only_colors(inputs, (pair.output for pair in task.train))


@given(grids(), views(0))
def test_undo_brings_back_every_grid(grid: Grid, view: View) -> None:
    assert same(view.undo(view.apply(grid)), grid)
    assert same(view.apply(view.undo(grid)), grid)


@given(st.data(), tasks(8))
def test_undo_brings_back_whole_tasks(data: st.DataObject, task: Task) -> None:
    view = data.draw(views(len(task.train)) | views(0))
    assert view.undo_task(view.apply_task(task)) == task
    assert view.apply_task(view.undo_task(task)) == task


@given(st.data(), tasks(8))
def test_a_view_treats_all_grids_of_a_task_alike(data: st.DataObject, task: Task) -> None:
    view = data.draw(views(len(task.train)))
    seen = view.apply_task(task)
    for place, demo in enumerate(view.order):
        pair = task.train[demo]
        assert seen.train[place] == Pair(view.apply(pair.input), view.apply(pair.output))
    assert list(map(key, seen.tests)) == [key(view.apply(grid)) for grid in task.tests]
    assert seen.id == task.id


def test_a_view_by_hand() -> None:
    swap = (0, 2, 1, 3, 4, 5, 6, 7, 8, 9)
    assert View(d8=1).apply(as_grid([[1, 2], [3, 4]])).tolist() == [[2, 4], [1, 3]]
    assert View(d8=4).apply(as_grid([[1, 2], [3, 4]])).tolist() == [[1, 3], [2, 4]]
    assert View(colors=swap).apply(as_grid([[1, 2], [3, 0]])).tolist() == [[2, 1], [3, 0]]
    assert View(order=(1, 0)).apply_task(SMALL).train == SMALL.train[::-1]


def test_the_eight_turns_are_the_symmetries_of_the_square() -> None:
    cells = as_grid([[1, 2, 3], [4, 5, 6]])
    assert len({key(np.ascontiguousarray(turn(cells, d8))) for d8 in range(8)}) == 8
    for d8 in range(8):
        assert np.array_equal(unturn(turn(cells, d8), d8), cells)


@given(st.integers(0, 12).flatmap(views))
def test_names_parse_back(view: View) -> None:
    assert parse_view(view.name) == view


@pytest.mark.parametrize(
    "name",
    [
        "",
        "d0",
        "d8.c0123456789.o",
        "d-1.c0123456789.o",
        "d0.c012345678.o",
        "d0.c0123456788.o",
        "d0.c0123456789.o1",
        "d0.c0123456789.o0-0",
        "d0.c0123456789.o-0",
        "d+0.c0123456789.o",
        "0.0123456789.",
        "d0.c0123456789.o0-1.",
        "d0.c0123456789.ox",
    ],
)
def test_other_text_is_no_view(name: str) -> None:
    with pytest.raises(ValueError, match="is no view name"):
        parse_view(name)


@given(st.text(alphabet="dco.-0123456789 ", max_size=20))
def test_parsing_text_gives_a_view_of_that_name_or_a_value_error(text: str) -> None:
    said = complaint(ValueError, parse_view, text)
    assert "is no view name" in said if said else parse_view(text).name == text


@given(tasks(4), st.integers(0, 60), st.integers(0, 5), st.booleans(), st.booleans(), st.booleans())
def test_sampled_views_are_distinct_balanced_and_keep_what_they_must(
    task: Task, n: int, seed: int, background: bool, output_only: bool, shuffle: bool
) -> None:
    kinds = {"keep_background": background, "keep_output_only": output_only, "shuffle": shuffle}
    found = sample_views(task, n, seed, **kinds)
    assert found == sample_views(task, n, seed, **kinds)
    assert len(set(found)) == len(found) <= n
    assert len(found) >= min(n, 8)
    for k in range(1, len(found) // 8 + 1):
        assert set(Counter(view.d8 for view in found[: 8 * k]).values()) == {k}
    for view in found:
        assert not background or view.colors[0] == 0
        assert not output_only or all(view.colors[c] == c for c in only_in_outputs(task))
        assert sorted(view.order) == (list(range(len(task.train))) if shuffle else [])
    for view in found[:1]:
        assert view.apply_task(task) == task


def test_a_longer_sample_begins_with_the_shorter() -> None:
    assert sample_views(SMALL, 40, 7)[:10] == sample_views(SMALL, 10, 7)


def test_seed_and_task_decide_the_sample() -> None:
    other = Task("other", SMALL.train, SMALL.tests)
    assert sample_views(SMALL, 9, 0) != sample_views(SMALL, 9, 1)
    assert sample_views(SMALL, 9, 0) != sample_views(other, 9, 0)


def test_all_views_are_found_where_there_are_few() -> None:
    """Eight outputs-only colours and the background fixed: one colour free, two orders."""
    outputs = as_grid([[1, 2, 3, 4, 5, 6, 7, 8]])
    demo = Pair(as_grid([[0]]), outputs)
    task = Task("few", (demo, demo), (as_grid([[0]]),))
    assert len(sample_views(task, 100, 0, keep_output_only=True)) == 16
    assert len(sample_views(task, 100, 0, keep_output_only=True, shuffle=False)) == 8
    two_free = sample_views(task, 100, 0, keep_output_only=True, keep_background=False)
    assert len(two_free) == 32


def test_colors_move_unless_they_must_stay() -> None:
    found = sample_views(SMALL, 64, 0, keep_background=False)
    for color in range(10):
        assert len({view.colors[color] for view in found}) > 1


def test_output_only_colors_by_hand() -> None:
    """5 stands in outputs alone; 6 does too, but a test input holds it."""
    assert only_in_outputs(SMALL) == {5}
