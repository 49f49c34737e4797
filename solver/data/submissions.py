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

Submission = dict[str, list[tuple[Grid, ...]]]


@dataclass(frozen=True)
class Form:
    """The form of a submission: the file's name, and the number of attempts for a test input."""

    file: str = "submission.json"
    attempts: int = 2


KITS = Form()  # of the kit's own files


@dataclass(frozen=True)
class HandIn:
    """A second file with the same answers, in the form of a competition."""

    path: Path
    attempts: int


def dump_task(attempts: Sequence[Attempts], number: int = KITS.attempts) -> str:
    """The submission entry of one task, as JSON, with `number` attempts for each test input.

    The second of the two attempts also takes the places after it.
    """
    return json.dumps(
        [
            {f"attempt_{i + 1}": two[min(i, 1)].grid.tolist() for i in range(number)}
            for two in attempts
        ],
        separators=(",", ":"),
    )


def write_submission(
    path: Path, entries: Mapping[str, str], tasks: Sequence[Task], attempts: int = KITS.attempts
) -> None:
    """Replace the submission atomically: write beside, fsync, read back and validate, rename.

    Args:
        entries: `dump_task` of every task, with as many `attempts`.

    Raises `DataError` if the submission would not be complete, and `OSError` if it cannot be
    written. The old file then stays as it was.
    """
    absent = [task.id for task in tasks if task.id not in entries]
    if absent:
        raise DataError(f"{path}: no entry for task {names(absent)}")
    text = submission_text(entries, tasks)
    atomic_write(path, text, check=lambda beside: check_submission(beside, tasks, attempts))


def submission_text(entries: Mapping[str, str], tasks: Sequence[Task]) -> str:
    """A whole submission from `dump_task` of every task."""
    body = ",\n".join(f"{json.dumps(task.id)}: {entries[task.id]}" for task in tasks)
    return f"{{{body}}}\n"


def read_submission(file: str | Path, attempts: int = KITS.attempts) -> Submission:
    """Read a submission with so many attempts for each test input.

    Raises `DataError` naming file, task and field.
    """
    path = Path(file)
    with uncollected():
        return _submission(path, attempts)


def _submission(path: Path, attempts: int) -> Submission:
    submission: Submission = {}
    for task_id, entries in object_at(path, load_json(path)).items():
        field = f"{path}: task {task_id!r}"
        submission[task_id] = [
            _attempts(f"{field}, test {i}", entry, attempts)
            for i, entry in enumerate(list_at(field, entries))
        ]
    return submission


def check_submission(
    file: str | Path, tasks: Sequence[Task], attempts: int = KITS.attempts
) -> None:
    """Raise `DataError` unless the file answers every test input of exactly these tasks."""
    submission = read_submission(file, attempts)
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

    `solved[task id][i]` is true if any attempt at test input i is exactly right.
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


def _attempts(field: str, entry: Any, attempts: int) -> tuple[Grid, ...]:
    return tuple(grid_field(field, entry, f"attempt_{i + 1}") for i in range(attempts))
