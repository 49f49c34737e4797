"""The time of a rehearsal by stage, extrapolated to the scored run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import mean
from typing import Any

import nbformat

from solver.config import Config
from solver.data.journal import ALL_TASKS, JobRecord
from solver.deadline import Budget, format_duration

STAGES = {
    "template": "template",
    "files": "the solver's files",
    "session": "settings",
    "wheels": "wheels",
    "preflight": "preflight",
    "run": "run",
    "summary": "summary",
}


@dataclass(frozen=True)
class Times:
    """The times and the output of a notebook.

    stages: seconds by stage, in the notebook's order.
    before_run: seconds until the stage `run` began.
    text: output of all cells, except cells that write files.
    """

    stages: dict[str, float]
    before_run: float
    text: str


@dataclass(frozen=True)
class Hidden:
    """The scored run: the number of hidden tasks, the notebook's budget, and Kaggle's limit."""

    tasks: int
    budget_s: float
    limit_s: float


def times_of(executed: Path) -> Times:
    """The times of an executed notebook, as far as the notebook ran."""
    stages: dict[str, float] = {}
    begun: dict[str, datetime] = {}
    text: list[str] = []
    for cell in nbformat.read(executed, as_version=4).cells:
        stage = cell.metadata.get("arcsub", {}).get("stage", "other")
        start, end = (_moment(cell, what) for what in _FROM_TO)
        if start:
            begun.setdefault(stage, start)
            stages[stage] = stages.get(stage, 0.0) + (_between(start, end) if end else 0.0)
        if stage != "files":  # these cells only say that a file was written
            text += [output.get("text", "") for output in cell.get("outputs", [])]
    until = begun.get("run", max(begun.values(), default=None))
    first = min(begun.values(), default=None)
    return Times(stages, _between(first, until) if first and until else 0.0, "".join(text))


def _moment(cell: Any, what: str) -> datetime | None:
    """The time at which a cell began or ended; None if the cell did not get so far."""
    seen = cell.metadata.get("execution", {}).get(what)
    return datetime.fromisoformat(seen) if seen else None


def _between(start: datetime, end: datetime) -> float:
    return (end - start).total_seconds()


_FROM_TO = ("iopub.execute_input", "shell.execute_reply")


def stage_lines(times: Times) -> list[str]:
    """A line for each stage."""
    return [
        f"{STAGES.get(name, name):20} {format_duration(seconds):>8}"
        for name, seconds in times.stages.items()
    ]


def extrapolation(
    times: Times, jobs: Sequence[JobRecord], tasks: int, config: Config, hidden: Hidden
) -> list[str]:
    """Lines about the same run with the hidden tasks and the scored run's budget.

    `jobs` are the jobs of a rehearsal of `tasks` tasks. By engine, the mean seconds of measured
    first passes are expected for each of the hidden tasks. Time left by first passes goes to
    further passes.
    """
    usable = Budget.of(hidden.budget_s).usable - times.before_run
    workers = config.workers
    each = usable * workers / hidden.tasks
    lines = [
        f"{hidden.tasks} tasks in {format_duration(hidden.budget_s)}: the run begins after "
        f"{format_duration(times.before_run)}; {workers} workers have "
        f"{format_duration(each)} for each task"
    ]
    for engine in dict.fromkeys(job.engine for job in jobs):
        first = [job for job in jobs if job.engine == engine and job.pass_ == 0]
        seconds = [job.cost_s for job in first if job.task != ALL_TASKS]
        if not seconds:
            continue
        cut = sum(job.outcome == "sliced" for job in first) / len(first)
        whole = hidden.tasks * mean(seconds) / workers
        lines.append(
            f"{engine}: {mean(seconds):.1f} s a task in its first pass ({len(seconds)} of {tasks} "
            f"tasks, {cut:.0%} cut by their slice); for {hidden.tasks} that takes "
            f"{format_duration(whole)}, {whole / usable:.1%} of the time"
        )
    left, limit = hidden.limit_s - hidden.budget_s, format_duration(hidden.limit_s)
    lines.append(f"{format_duration(left)} remain to Kaggle's limit of {limit}")
    return lines
