"""Submissions: written atomically, read back, validated, scored.

A submission is `{task id: [{"attempt_1": grid, "attempt_2": grid}, ...]}` with one object
for each test input, in order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from solver.data.arcio import Solutions
from solver.data.jsonio import atomic_write, grid_field, list_at, load_json, object_at, uncollected
from solver.grid import Attempts, DataError, Grid, Task, names, same

Submission = dict[str, list[tuple[Grid, Grid]]]


def dump_task(attempts: Sequence[Attempts]) -> str:
    """The submission entry of one task, as JSON."""
    return json.dumps(
        [
            {"attempt_1": first.grid.tolist(), "attempt_2": second.grid.tolist()}
            for first, second in attempts
        ],
        separators=(",", ":"),
    )


def write_submission(path: Path, entries: Mapping[str, str], tasks: Sequence[Task]) -> None:
    """Replace the submission atomically: write beside, fsync, read back and validate, rename.

    Args:
        entries: `dump_task` of every task.

    Raises `DataError` if the submission would not be complete, and `OSError` if it cannot be
    written. The old file then stays as it was.
    """
    absent = [task.id for task in tasks if task.id not in entries]
    if absent:
        raise DataError(f"{path}: no entry for task {names(absent)}")
    text = submission_text(entries, tasks)
    atomic_write(path, text, check=lambda beside: check_submission(beside, tasks))


def submission_text(entries: Mapping[str, str], tasks: Sequence[Task]) -> str:
    """A whole submission from `dump_task` of every task."""
    body = ",\n".join(f"{json.dumps(task.id)}: {entries[task.id]}" for task in tasks)
    return f"{{{body}}}\n"


def read_submission(file: str | Path) -> Submission:
    """Read a submission. Raises `DataError` naming file, task and field."""
    path = Path(file)
    with uncollected():
        return _submission(path)


def _submission(path: Path) -> Submission:
    submission: Submission = {}
    for task_id, entries in object_at(path, load_json(path)).items():
        field = f"{path}: task {task_id!r}"
        submission[task_id] = [
            _attempts(f"{field}, test {i}", entry)
            for i, entry in enumerate(list_at(field, entries))
        ]
    return submission


def check_submission(file: str | Path, tasks: Sequence[Task]) -> None:
    """Raise `DataError` unless the file answers every test input of exactly these tasks."""
    submission = read_submission(file)
    missing = [task.id for task in tasks if task.id not in submission]
    if missing:
        raise DataError(f"{file}: task {names(missing)} is missing")
    extra = sorted(submission.keys() - {task.id for task in tasks})
    if extra:
        raise DataError(f"{file}: task {names(extra)} is not in the challenges")
    for task in tasks:
        have, want = len(submission[task.id]), len(task.tests)
        if have != want:
            raise DataError(f"{file}: task {task.id!r}: {have} entries for {want} test inputs")


@dataclass(frozen=True)
class Score:
    """A submission against its solutions (pass@2), by both averages that the competition has used.

    `solved[task id][i]` is true if either attempt at test input i is exactly right.
    """

    solved: dict[str, tuple[bool, ...]]

    @property
    def by_task(self) -> float:
        """Mean over tasks of the fraction of a task's test inputs solved."""
        return sum(sum(hits) / len(hits) for hits in self.solved.values()) / len(self.solved)

    @property
    def by_output(self) -> float:
        """Fraction of all test inputs solved."""
        hits = [hit for task in self.solved.values() for hit in task]
        return sum(hits) / len(hits)


def score(submission: Submission, solutions: Solutions, file: str = "submission") -> Score:
    """Score every task of the submission. Raises `DataError` if a solution is missing."""
    if not submission:
        raise DataError(f"{file}: no tasks")
    solved = {}
    for task_id, entries in submission.items():
        if task_id not in solutions:
            raise DataError(f"{file}: task {task_id!r} has no solution to score against")
        outputs = solutions[task_id]
        if len(outputs) != len(entries):
            have, want = len(entries), len(outputs)
            raise DataError(f"{file}: task {task_id!r}: {have} entries for {want} solutions")
        solved[task_id] = tuple(
            any(same(attempt, output) for attempt in attempts)
            for attempts, output in zip(entries, outputs, strict=True)
        )
    return Score(solved)


def _attempts(field: str, entry: Any) -> tuple[Grid, Grid]:
    first, second = (grid_field(field, entry, name) for name in ("attempt_1", "attempt_2"))
    return first, second
