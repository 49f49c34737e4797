"""Submissions: round trip, validation, atomicity, score."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solver.data.submissions import (
    Submission,
    check_submission,
    dump_task,
    read_submission,
    score,
    write_submission,
)
from solver.data.template import template
from solver.grid import DataError, Pair, Task, as_grid, same
from tests.fakes import toy_tasks
from tests.runs import ROOT
from tests.strategies import tasks

ONE = as_grid([[1, 2]])
OTHER = as_grid([[3, 4]])
THIRD = as_grid([[5, 6]])

WRITER = """
import sys
from pathlib import Path
from solver.data.submissions import dump_task, write_submission
from solver.data.template import template
from tests.fakes import toy_tasks

tasks = toy_tasks(60)
attempts = {task.id: template(task) for task in tasks}
turned = {id: tuple(two[::-1] for two in entry) for id, entry in attempts.items()}
files = [{id: dump_task(entry) for id, entry in a.items()} for a in (attempts, turned)]
print("ready", flush=True)
while True:
    for entries in files:
        write_submission(Path(sys.argv[1]), entries, tasks)
"""


def task(name: str, tests: int = 1) -> Task:
    return Task(name, (Pair(ONE, OTHER),), (ONE,) * tests)


def entries_of(some: tuple[Task, ...]) -> dict[str, str]:
    return {task.id: dump_task(template(task)) for task in some}


@given(st.lists(tasks(6), min_size=1, max_size=4, unique_by=lambda task: task.id).map(tuple))
def test_what_is_written_is_read_and_valid(tmp_path: Path, some: tuple[Task, ...]) -> None:
    path = tmp_path / "submission.json"
    write_submission(path, entries_of(some), some)
    check_submission(path, some)
    submission = read_submission(path)
    assert list(submission) == [task.id for task in some]
    for task in some:
        for read, made in zip(submission[task.id], template(task), strict=True):
            assert all(same(a, b.grid) for a, b in zip(read, made, strict=True))


def test_the_file_is_what_kaggle_reads(tmp_path: Path) -> None:
    path = tmp_path / "submission.json"
    write_submission(path, entries_of((task("a", 2),)), [task("a", 2)])
    value = json.loads(path.read_text())
    assert list(value) == ["a"]
    assert [list(entry) for entry in value["a"]] == [["attempt_1", "attempt_2"]] * 2


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ({"a": [{}]}, "task 'a', test 0: attempt_1 is missing"),
        ({"a": [{"attempt_1": [[1]]}]}, "task 'a', test 0: attempt_2 is missing"),
        ({"a": [{"attempt_1": [[1]], "attempt_2": [[10]]}]}, "test 0, attempt_2: cell"),
        ({"a": [{"attempt_1": None, "attempt_2": [[1]]}]}, "test 0, attempt_1: expected"),
        ({"a": []}, "task 'a': expected a non-empty list"),
        ({"a": {"attempt_1": [[1]]}}, "task 'a': expected a non-empty list"),
        ({"a": [3]}, "task 'a', test 0: expected an object with attempt_1"),
        ([], "expected an object of tasks, got list"),
    ],
)
def test_a_malformed_submission_is_refused_with_the_place(
    tmp_path: Path, value: Any, complaint: str
) -> None:
    path = tmp_path / "submission.json"
    path.write_text(json.dumps(value))
    with pytest.raises(DataError, match=complaint) as raised:
        read_submission(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ([task("a"), task("b", 2), task("c")], "task 'c' is missing"),
        ([task("a")], "task 'b' is not in the challenges"),
        ([task("a"), task("b", 3)], "task 'b': 2 entries for 3 test inputs"),
        ([task("a"), task("b", 1)], "task 'b': 2 entries for 1 test inputs"),
    ],
)
def test_an_incomplete_submission_is_refused(
    tmp_path: Path, asked: list[Task], complaint: str
) -> None:
    path = tmp_path / "submission.json"
    written = (task("a"), task("b", 2))
    write_submission(path, entries_of(written), written)
    with pytest.raises(DataError, match=complaint):
        check_submission(path, asked)


@pytest.mark.parametrize(
    "entries",
    [
        {},
        {"a": dump_task(template(task("a", 2)))},
        {"a": "[]"},
        {"a": "null"},
        {"a": "not json"},
        {"a": '[{"attempt_1":[[0]],"attempt_2":[[0],[0,0]]}]'},
    ],
)
def test_a_write_that_would_not_be_valid_leaves_the_old_submission(
    tmp_path: Path, entries: dict[str, str]
) -> None:
    path = tmp_path / "submission.json"
    write_submission(path, entries_of((task("a"),)), [task("a")])
    before = path.read_bytes()
    with pytest.raises(DataError):
        write_submission(path, entries, [task("a")])
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["submission.json"]


def test_a_writer_killed_at_any_moment_leaves_a_valid_submission(tmp_path: Path) -> None:
    path = tmp_path / "submission.json"
    some = toy_tasks(60)
    write_submission(path, entries_of(some), some)
    for round_ in range(10):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout
            assert writer.stdout.readline() == "ready\n"
            time.sleep(0.004 * round_)
            writer.send_signal(signal.SIGKILL)
        check_submission(path, some)


def two_tasks() -> Submission:
    """`a` has two test inputs, `b` has one."""
    return {"a": [(ONE, OTHER), (ONE, ONE)], "b": [(THIRD, OTHER)]}


def test_either_attempt_counts() -> None:
    result = score(two_tasks(), {"a": (OTHER, OTHER), "b": (THIRD,)})
    assert result.solved == {"a": (True, False), "b": (True,)}


def test_the_two_averages_differ_where_tasks_have_several_tests() -> None:
    """Score by task: (1/2 + 1) / 2 = 75 %. Score by output: 2 of 3."""
    result = score(two_tasks(), {"a": (OTHER, OTHER), "b": (THIRD,)})
    assert result.by_task == pytest.approx(3 / 4)
    assert result.by_output == pytest.approx(2 / 3)


def test_all_and_nothing() -> None:
    assert score(two_tasks(), {"a": (ONE, ONE), "b": (THIRD,)}).by_task == 1.0
    assert score(two_tasks(), {"a": (THIRD, THIRD), "b": (ONE,)}).by_output == 0.0


def test_a_grid_of_another_shape_is_wrong() -> None:
    tall = as_grid([[1], [2]])
    assert score({"a": [(tall, tall)]}, {"a": (ONE,)}).solved == {"a": (False,)}


def test_solutions_of_other_tasks_do_not_count() -> None:
    solutions = {"a": (ONE, ONE), "b": (THIRD,), "c": (ONE,)}
    assert score(two_tasks(), solutions).solved.keys() == {"a", "b"}


@pytest.mark.parametrize(
    ("submission", "complaint"),
    [
        ({}, "file: no tasks"),
        ({"z": [(ONE, ONE)]}, "file: task 'z' has no solution"),
        ({"a": [(ONE, ONE)]}, "file: task 'a': 1 entries for 2 solutions"),
    ],
)
def test_what_cannot_be_scored_is_refused(submission: Submission, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        score(submission, {"a": (ONE, ONE)}, "file")
