"""Thousands of tasks and little time: what is done for each before work and after it, counted."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solver.answers.ensemble import RULES, answer, unanswered
from solver.config import Config, Stage
from solver.data.arcio import Source
from solver.data.journal import JOURNAL_FILE, Journal
from solver.data.submissions import check_submission, read_submission
from solver.data.template import template
from solver.deadline import RealClock
from solver.grid import Task, as_grid, same
from solver.runtime.board import Board
from solver.runtime.run import RunError, _last_write, solve
from solver.schedule.backlog import Slot
from solver.schedule.cost import Work
from solver.schedule.policy import Policy
from tests.fakes import right, toy_tasks
from tests.runs import examples, journal_of
from tests.strategies import tasks

MANY = toy_tasks(64)


class Watched(Journal):
    """A journal that keeps how many records each write had, and what was answered by then."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.submission = path.with_name("submission.json")
        self.writes: list[tuple[int, bool]] = []

    def extend(self, lines: Sequence[dict[str, Any]]) -> None:
        super().extend(lines)
        answered = False
        if self.submission.exists():
            grid = read_submission(self.submission)[MANY[0].id][0][0]
            answered = same(grid, as_grid(MANY[0].tests[0][::-1]))
        self.writes.append((len(lines), answered))


def board_of(folder: Path, some: tuple[Task, ...]) -> tuple[Board, Watched]:
    journal, path = Watched(folder / JOURNAL_FILE), folder / "submission.json"
    return Board(some, "experts", "likeliest", journal, path, RealClock()), journal


def calls(action: Callable[[], object]) -> int:
    """The number of Python functions that an action calls."""
    counted = 0

    def count(frame: object, event: str, arg: object) -> None:
        nonlocal counted
        counted += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        action()
    finally:
        sys.setprofile(before)
    return counted


def test_at_the_end_the_submission_comes_first_and_the_rest_in_one_write(tmp_path: Path) -> None:
    board, journal = board_of(tmp_path, MANY)
    board.write()
    (found,) = right(MANY[0])
    board.candidate(0, found)
    journal.writes.clear()
    _last_write(board)
    assert journal.writes == [(len(MANY), True)]
    assert set(journal_of(tmp_path).terminal) == {task.id for task in MANY}


def test_what_is_done_for_each_task_before_work_and_after_it_stays_little(tmp_path: Path) -> None:
    boards: list[Board] = []
    before = calls(lambda: boards.append(board_of(tmp_path, MANY)[0]))
    assert before < 55 * len(MANY)
    boards[0].write()
    assert calls(lambda: _last_write(boards[0])) < 35 * len(MANY)


@given(tasks(), st.sampled_from(sorted(RULES)))
@examples(30)
def test_a_task_without_candidates_is_answered_as_if_they_were_weighed(
    task: Task, rule: str
) -> None:
    two = template(task)
    known, mine = answer(task, [], two, "experts", rule), unanswered(two)
    assert (mine.state, mine.confidence) == (known.state, known.confidence)
    for (first, second), (a, b) in zip(mine.attempts, known.attempts, strict=True):
        assert same(first.grid, a.grid)
        assert same(second.grid, b.grid)
        assert {first.source, second.source, a.source, b.source} == {"template"}


class Counted(list[float]):
    """A list that counts how much of it is walked through."""

    walked = 0

    def __iter__(self) -> Iterator[float]:
        for item in super().__iter__():
            self.walked += 1
            yield item


def test_no_decision_walks_through_all_tasks() -> None:
    works = [Work(10 + i) for i in range(512)]
    plan = Policy(works, [Stage("synth", max_slice_s=9)], 2)
    queue = plan.backlog.first[0]
    for job in range(40):
        if job == 33:  # after a calibration; the next one comes after 64
            queue._expected = expected = Counted(queue._expected)
        step = plan.take(1000.0 - job)
        assert isinstance(step, Slot)
        plan.done(step, "finished", 0.1, 0.5)
    assert queue.rates.jobs == 32
    assert expected.walked == 0


def test_a_budget_that_was_over_before_work_ends_at_once(tmp_path: Path) -> None:
    config, clock = Config(6.0, (Stage("tests.fakes:instant"),)), RealClock()
    with pytest.raises(RunError, match="reading the tasks took the whole budget"):
        solve(Source("toys", MANY), config, tmp_path, started=clock.now() - 7, clock=clock)
    check_submission(tmp_path / "submission.json", MANY)
    assert len(journal_of(tmp_path).terminal) == len(MANY)
    assert not (tmp_path / "shared").exists()
