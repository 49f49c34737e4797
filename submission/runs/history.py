"""The candidates of a run, job by job, for `arcsub lab`, `compare` and `simulate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from solver.config import Config, recorded_config
from solver.data.arcio import Solutions
from solver.data.journal import ALL_TASKS, JOURNAL_FILE, JobRecord, Replay
from solver.grid import Candidate, DataError, Grid, Task, settled
from submission.runs.recorded import read_run


@dataclass(frozen=True)
class Job:
    """A job over one task, and the candidates that it reported, including provisional ones."""

    record: JobRecord
    found: tuple[Candidate, ...]

    @cached_property
    def settled(self) -> tuple[Candidate, ...]:
        """The candidates without replaced provisional reports (`solver.grid.settled`)."""
        return tuple(settled(self.found))


@dataclass(frozen=True)
class History:
    """A recorded run.

    ended: False if the run was killed, or is still running.
    jobs: `jobs[i]` are the jobs of `tasks[i]`, in the order of their ends.
    whole: the records of jobs over all tasks.
    """

    folder: Path
    tasks: tuple[Task, ...]
    solutions: Solutions | None
    config: Config
    replay: Replay
    ended: bool
    jobs: tuple[tuple[Job, ...], ...]
    whole: tuple[JobRecord, ...]

    @property
    def engines(self) -> tuple[str, ...]:
        """The engines that reported candidates, in the order of the stages.

        Engines without a stage come last, in the order of their names.
        """
        seen = {candidate.engine for candidate in self.replay.candidates}
        staged = [stage.engine for stage in self.config.stages if stage.engine in seen]
        return tuple(dict.fromkeys([*staged, *sorted(seen)]))

    def truth(self) -> tuple[tuple[Grid, ...], ...]:
        """The solutions in the order of the tasks. Raises `DataError` if they are unknown."""
        if self.solutions is None:
            raise DataError(f"{self.folder}: its source holds no solutions; add --solutions FILE")
        return tuple(self.solutions[task.id] for task in self.tasks)

    def pool(self) -> list[list[Candidate]]:
        """The settled candidates of each task."""
        return [[found for job in jobs for found in job.settled] for jobs in self.jobs]


def read_history(folder: str, source: str | None = None, solutions: str | None = None) -> History:
    """Read a run of any version, killed or not. The arguments are the same as of `read_run`.

    Raises `DataError` if there is no run, or if the run's tasks or settings cannot be read.
    """
    run = read_run(folder, source, solutions)
    try:
        config = recorded_config(run.config)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DataError(f"{run.folder / JOURNAL_FILE}: its settings cannot be read") from None
    jobs = _jobs(run.replay, run.tasks)
    whole = tuple(record for record in run.replay.jobs if record.task == ALL_TASKS)
    return History(run.folder, run.tasks, run.solutions, config, run.replay, run.ended, jobs, whole)


def _jobs(replayed: Replay, tasks: Sequence[Task]) -> tuple[tuple[Job, ...], ...]:
    """Give each candidate to its job: the next job to end with the same task and engine."""
    jobs: dict[str, list[Job]] = {task.id: [] for task in tasks}
    inputs = {task.id: len(task.tests) for task in tasks}
    waiting: dict[tuple[str, str], list[Candidate]] = {}
    heard = 0
    for record, until in zip(replayed.jobs, replayed.heard, strict=True):
        _wait(waiting, replayed.candidates[heard:until], inputs)
        heard = until
        if record.task in jobs:
            found = waiting.pop((record.task, record.engine), [])
            jobs[record.task].append(Job(record, tuple(found)))
    _wait(waiting, replayed.candidates[heard:], inputs)
    for (task, engine), found in waiting.items():
        jobs[task].append(_cut_off(task, engine, found, jobs[task]))
    return tuple(tuple(some) for some in jobs.values())


def _wait(
    waiting: dict[tuple[str, str], list[Candidate]],
    candidates: Sequence[Candidate],
    inputs: dict[str, int],
) -> None:
    for candidate in candidates:
        if candidate.test < inputs.get(candidate.task, 0):
            waiting.setdefault((candidate.task, candidate.engine), []).append(candidate)


def _cut_off(task: str, engine: str, found: list[Candidate], before: Sequence[Job]) -> Job:
    """A job that a killed run did not book.

    The job's seconds are those until its last candidate: the job took at least this long.
    """
    took = max(candidate.cost_s for candidate in found)
    passes = sum(job.record.engine == engine for job in before)
    return Job(JobRecord(task, engine, passes, "cut off", took, took, -1, 0.0), tuple(found))
