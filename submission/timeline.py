"""Where a rehearsal's time went, and what that means for 240 tasks and 12 hours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import mean
from typing import Any

import nbformat

from solver.config import Config
from solver.deadline import Budget, format_duration
from solver.journal import ALL, JobRecord

TASKS, LIMIT_S = 240, 12 * 3600.0
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
    """Seconds by stage of a notebook, in its order, and what its cells printed,
    but for those that write files."""

    stages: dict[str, float]
    text: str

    @property
    def before_run(self) -> float:
        """Seconds until the run began."""
        names = list(self.stages)
        until = names.index("run") if "run" in names else len(names)
        return sum(self.stages[name] for name in names[:until])


def times_of(executed: Path) -> Times:
    """Of a notebook that ran, as far as it came."""
    stages: dict[str, float] = {}
    text: list[str] = []
    for cell in nbformat.read(executed, as_version=4).cells:
        if cell.cell_type == "code" and "execution" in cell.metadata:
            stage = cell.metadata.get("arcsub", {}).get("stage", "other")
            stages[stage] = stages.get(stage, 0.0) + _seconds(cell)
            if stage != "files":  # each says that it was written
                text += [output.get("text", "") for output in cell.outputs]
    return Times(stages, "".join(text))


def _seconds(cell: Any) -> float:
    """How long a cell took; 0 for one that was cut off."""
    seen = cell.metadata["execution"]
    try:
        start, end = (datetime.fromisoformat(seen[k]) for k in _FROM_TO)
    except KeyError:
        return 0.0
    return (end - start).total_seconds()


_FROM_TO = ("iopub.execute_input", "shell.execute_reply")


def stage_lines(times: Times) -> list[str]:
    """A line for each stage."""
    return [
        f"{STAGES.get(name, name):20} {format_duration(seconds):>8}"
        for name, seconds in times.stages.items()
    ]


def extrapolation(
    times: Times, jobs: Sequence[JobRecord], tasks: int, config: Config, budget_s: float
) -> list[str]:
    """What the same would be with 240 tasks and a budget of `budget_s`.

    The first passes are the measured ones, more of them; what they leave goes to further passes.
    """
    usable = Budget.of(budget_s).usable - times.before_run
    workers = config.workers
    each = usable * workers / TASKS
    lines = [
        f"{TASKS} tasks in {format_duration(budget_s)}: the run begins after "
        f"{format_duration(times.before_run)}; {workers} workers have "
        f"{format_duration(each)} for each task"
    ]
    for engine in dict.fromkeys(job.engine for job in jobs):
        first = [job for job in jobs if job.engine == engine and job.pass_ == 0]
        seconds = [job.cost_s for job in first if job.task != ALL]
        if not seconds:
            continue
        cut = sum(job.outcome == "sliced" for job in first) / len(first)
        whole = TASKS * mean(seconds) / workers
        lines.append(
            f"{engine}: {mean(seconds):.1f} s a task in its first pass ({len(seconds)} of {tasks} "
            f"tasks, {cut:.0%} cut by their slice); for {TASKS} that takes "
            f"{format_duration(whole)}, {whole / usable:.1%} of the time"
        )
    lines.append(f"{format_duration(LIMIT_S - budget_s)} remain to Kaggle's limit of 12 hours")
    return lines
