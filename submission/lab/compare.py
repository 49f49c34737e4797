"""`arcsub compare`: runs over the same tasks, each compared with the first run.

Runs are paired task by task. Differences between tasks make most of the spread of a score, and
pairing removes these differences from the comparison.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from solver.data.submissions import Submission, read_submission
from solver.deadline import format_duration
from solver.grid import DataError, Grid, Task, same
from submission.runs.history import History
from submission.runs.stats import Difference, Scores, difference


@dataclass(frozen=True)
class Entry:
    """One of the compared runs, on the tasks that all these runs have.

    scores: (T,), the fraction of each task's test inputs that are solved.
    work_s: seconds that the run's workers spent on these tasks.
    """

    name: str
    run: History
    submission: Submission
    scores: Scores
    work_s: float

    @property
    def per_solved_s(self) -> float | None:
        """Seconds of work for each solved task; None if no task is solved."""
        solved = float(self.scores.sum())
        return self.work_s / solved if solved else None


@dataclass(frozen=True)
class Contest:
    """A run compared with the first run.

    gained: ids of the tasks with a higher score than in the first run.
    lost: ids of the tasks with a lower score than in the first run.
    """

    entry: Entry
    change: Difference
    gained: tuple[str, ...]
    lost: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """The result of the comparison, in words."""
        if not self.change.significant:
            needed = self.change.needed
            told = f"; {needed} tasks like these would tell" if needed else ""
            return f"no significant difference{told}"
        return "significantly better" if self.change.mean > 0 else "significantly worse"


@dataclass(frozen=True)
class Comparison:
    """Runs compared on their common tasks, each with the first run.

    left_out: for each run, the number of its tasks that another run lacks.
    seed: the seed of the bootstrap.
    """

    tasks: tuple[Task, ...]
    truth: tuple[tuple[Grid, ...], ...]
    entries: tuple[Entry, ...]
    contests: tuple[Contest, ...]
    left_out: tuple[int, ...]
    seed: int


def compare(runs: Sequence[History], seed: int = 0) -> Comparison:
    """Compare runs with the first run.

    Raises `DataError` for fewer than two runs, without common tasks, and without known solutions.
    Also raises `DataError` if a run's submission cannot be read, or does not fit a common task.
    """
    if len(runs) < 2:
        raise DataError("compare needs two runs or more")
    tasks = _common(runs)
    truths = {
        task.id: outputs for task, outputs in zip(runs[0].tasks, runs[0].truth(), strict=True)
    }
    truth = tuple(truths[task.id] for task in tasks)
    entries = tuple(
        _entry(name, run, tasks, truth) for name, run in zip(_names(runs), runs, strict=True)
    )
    first, *others = entries
    contests = tuple(_contest(tasks, first, other, seed, len(others)) for other in others)
    left_out = tuple(len(run.tasks) - len(tasks) for run in runs)
    return Comparison(tasks, truth, entries, contests, left_out, seed)


def _common(runs: Sequence[History]) -> tuple[Task, ...]:
    """The tasks that all runs have, with the same grids, in the order of the first run."""
    others = [set(run.tasks) for run in runs[1:]]
    tasks = tuple(task for task in runs[0].tasks if all(task in other for other in others))
    if not tasks:
        raise DataError("these runs have no task in common")
    return tasks


def _names(runs: Sequence[History]) -> list[str]:
    """The last names of the runs' folders if all names differ, else the folders' paths."""
    short = [run.folder.resolve().name for run in runs]
    return short if len(set(short)) == len(runs) else [str(run.folder) for run in runs]


def _entry(
    name: str, run: History, tasks: Sequence[Task], truth: Sequence[Sequence[Grid]]
) -> Entry:
    path = run.folder / "submission.json"
    submission = read_submission(path)
    scores = []
    for task, outputs in zip(tasks, truth, strict=True):
        attempts = submission.get(task.id, [])
        if len(attempts) != len(outputs):
            raise DataError(f"{path}: task {task.id!r}: {len(attempts)} entries")
        hits = [any(same(a, o) for a in two) for two, o in zip(attempts, outputs, strict=True)]
        scores.append(float(np.mean(hits)))
    return Entry(name, run, submission, np.array(scores), _work_s(run, tasks))


def _work_s(run: History, tasks: Sequence[Task]) -> float:
    """Seconds of work on some of a run's tasks.

    The seconds of jobs over all tasks are divided equally among the run's tasks.
    """
    mine = {task.id for task in tasks}
    own = sum(j.record.cost_s for jobs in run.jobs for j in jobs if j.record.task in mine)
    return own + sum(record.cost_s for record in run.whole) * len(tasks) / len(run.tasks)


def _contest(
    tasks: Sequence[Task], first: Entry, other: Entry, seed: int, comparisons: int
) -> Contest:
    gains = other.scores - first.scores
    return Contest(
        other,
        difference(first.scores, other.scores, seed, comparisons),
        tuple(task.id for task, gain in zip(tasks, gains, strict=True) if gain > 0),
        tuple(task.id for task, gain in zip(tasks, gains, strict=True) if gain < 0),
    )


def summary(found: Comparison) -> Iterator[str]:
    """The comparison in sentences: for each run the verdict, and the tasks gained and lost."""
    first = found.entries[0].name
    yield f"{len(found.tasks)} tasks in common"
    for entry, left_out in zip(found.entries, found.left_out, strict=True):
        if left_out:
            yield f"{left_out} tasks of {entry.name} are left out: another run has not got them"
    for contest in found.contests:
        change, name = contest.change, contest.entry.name
        low, high = 100 * change.low, 100 * change.high
        yield (
            f"{name} against {first}: {100 * change.mean:+.1f} points, "
            f"{100 * (1 - change.alpha):.3g} % interval [{low:+.1f}, {high:+.1f}], "
            f"p = {change.p:.2g}: {contest.verdict}"
        )
        for what, ids in (("gained", contest.gained), ("lost", contest.lost)):
            if ids:
                yield f"  {what:7} {len(ids)}: {', '.join(ids)}"


def circumstances(entry: Entry) -> str:
    """The run's settings that most often cause a difference, in words."""
    config = entry.run.config
    stages = "+".join(stage.engine for stage in config.stages)
    ended = "" if entry.run.ended else ", cut off"
    return (
        f"{stages}, {format_duration(config.budget_s)}, {config.workers} "
        f"worker{'s' * (config.workers != 1)}, seed {config.seed}{ended}"
    )
