"""Reading tasks and solutions; drawing and naming tasks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solver.data.arcio import Source, pick_tasks, read_solutions, read_source
from solver.grid import DataError, Task
from tests.fakes import toy_tasks
from tests.runs import write_challenges
from tests.strategies import tasks

BUILT_IN = {
    "arc-agi-1:training": (400, 416),
    "arc-agi-1:evaluation": (400, 419),
    "arc-agi-2:training": (1000, 1076),
    "arc-agi-2:evaluation": (120, 167),
}
TASK: dict[str, Any] = {
    "train": [{"input": [[1, 2]], "output": [[2, 1]]}],
    "test": [{"input": [[3, 4]], "output": [[4, 3]]}],
}
WITHOUT: dict[str, Any] = TASK | {"test": [{"input": [[3, 4]]}]}


@given(st.lists(tasks(6), min_size=1, max_size=4, unique_by=lambda task: task.id).map(tuple))
def test_a_challenges_file_gives_its_tasks_in_order(tmp_path: Path, some: tuple[Task, ...]) -> None:
    path = write_challenges(tmp_path / "challenges.json", some)
    assert read_source(str(path)) == Source(str(path), some, None)


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_built_in_sets_are_complete(name: str) -> None:
    source = read_source(name)
    assert source.solutions
    outputs = [grid for grids in source.solutions.values() for grid in grids]
    assert (len(source.tasks), len(outputs)) == BUILT_IN[name]
    for task in source.tasks:
        assert len(source.solutions[task.id]) == len(task.tests)


def test_a_folder_gives_its_task_files_by_name(tmp_path: Path) -> None:
    ids = [f"t{i:02d}" for i in range(40)]
    for name in ids[::-1]:
        (tmp_path / f"{name}.json").write_text(json.dumps(TASK))
    (tmp_path / "readme.txt").write_text("no task")
    source = read_source(str(tmp_path))
    assert [task.id for task in source.tasks] == ids
    assert source.solutions
    assert source.solutions["t07"][0].tolist() == [[4, 3]]


def test_solutions_are_known_only_if_every_test_has_one(tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps({"a": TASK, "b": WITHOUT}))
    assert read_source(str(path)).solutions is None
    path.write_text(json.dumps({"a": TASK | {"test": [*TASK["test"], *WITHOUT["test"]]}}))
    assert read_source(str(path)).solutions is None


def test_no_test_output_can_be_reached_from_a_task(tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps({"a": TASK}))
    with_outputs = read_source(str(path)).tasks
    path.write_text(json.dumps({"a": WITHOUT}))
    assert with_outputs == read_source(str(path)).tasks
    assert set(vars(with_outputs[0])) == {"id", "train", "tests"}


def test_unknown_fields_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps({"a": TASK | {"name": "mirror"}}))
    assert [task.id for task in read_source(str(path)).tasks] == ["a"]


def test_solutions_of_other_tasks_are_let_stand(tmp_path: Path) -> None:
    path = tmp_path / "solutions.json"
    path.write_text(json.dumps({"t000": [[[1]]], "other": [[[1]], [[2]]]}))
    assert set(read_solutions(path, toy_tasks(1))) == {"t000", "other"}
    with pytest.raises(DataError, match="no solution for task 't001'"):
        read_solutions(path, toy_tasks(2))


@given(st.integers(1, 19), st.integers(0, 3))
def test_a_smaller_draw_is_a_part_of_a_larger_one(number: int, seed: int) -> None:
    some = toy_tasks(20)
    small, large = (pick_tasks(some, str(n), seed) for n in (number, number + 1))
    assert len(small) == number
    assert set(small) < set(large)
    assert list(small) == [task for task in some if task in small]


def test_a_draw_depends_on_the_seed_and_not_on_the_order_of_the_source() -> None:
    some = toy_tasks(40)
    assert set(pick_tasks(some, "10", 0)) == set(pick_tasks(some[::-1], "10", 0))
    assert set(pick_tasks(some, "10", 0)) != set(pick_tasks(some, "10", 1))


def test_tasks_are_named_in_any_order_and_kept_in_that_of_the_source() -> None:
    some = toy_tasks(5)
    assert pick_tasks(some, None, 0) == some
    assert pick_tasks(some, "t003, t001,", 0) == (some[1], some[3])


def test_an_id_of_digits_is_an_id_before_it_is_a_number() -> None:
    numbered = tuple(Task(str(i), task.train, task.tests) for i, task in enumerate(toy_tasks(5)))
    assert pick_tasks(numbered, "3", 0) == (numbered[3],)
    assert len(pick_tasks(numbered, "5", 0)) == 5
