"""A tiny task for the trial of a whole run, and the results of its engines."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from solver.data.journal import JOURNAL_FILE, replay
from solver.data.submissions import read_submission
from solver.deadline import Deadline
from solver.grid import DataError, as_grid, same
from solver.launch import follow, last_words
from solver.notebook.usable import Usable

TASK = "upside00"
LATE_S = 10.0  # seconds over its budget after which a run is ended
_INPUTS = ([[1, 2], [0, 3]], [[4, 0, 5], [0, 6, 0]], [[7, 7, 0], [0, 8, 0], [1, 0, 0]])
_TEST = [[2, 0, 3], [0, 4, 0], [5, 0, 0]]


@dataclass(frozen=True)
class Trial:
    """The result of a trial run.

    code: exit code of the run.
    solved: true if the task was solved.
    ended: the engines that ended a job.
    failed: reasons why other engines failed, by name.
    words: the last line that the run printed.
    """

    code: int
    solved: bool
    ended: frozenset[str]
    failed: dict[str, str]
    words: str


def try_run(folder: Path, profile: str, plan: Usable, seconds: float, deadline: Deadline) -> Trial:
    """Run the solver on the tiny task as the notebook does, for `seconds` seconds.

    `folder` is deleted and made again for this run.
    """
    shutil.rmtree(folder, ignore_errors=True)
    run = folder / "run"
    command = [
        *(sys.executable, "-m", "solver", str(write_trial(folder)), "--run", str(run)),
        *("--profile", profile, "--budget", f"{seconds:.1f}s", *plan.options()),
    ]
    words: list[str] = []
    code = follow(command, deadline.slice(seconds + LATE_S), plan.environment(), words.append)
    return Trial(code, solved(run), *_engines(run), last_words(words))


def write_trial(folder: Path) -> Path:
    """A challenges file with one task in `folder`: the output is the input upside down."""
    folder.mkdir(parents=True, exist_ok=True)
    train = [{"input": rows, "output": rows[::-1]} for rows in _INPUTS]
    path = folder / "challenges.json"
    path.write_text(json.dumps({TASK: {"train": train, "test": [{"input": _TEST}]}}), "utf-8")
    return path


def solved(run: Path) -> bool:
    """True if the run in a folder solved the task."""
    try:
        ((first, second),) = read_submission(run / "submission.json")[TASK]
    except (DataError, KeyError, ValueError):
        return False
    return any(same(as_grid(_TEST[::-1]), grid) for grid in (first, second))


def _engines(run: Path) -> tuple[frozenset[str], dict[str, str]]:
    """The engines that ended a job, and the engines whose every job failed or ran out of memory.

    The latter come with the last line of the reason. An engine that was still loading its model is
    in neither group.
    """
    try:
        jobs = replay(run / JOURNAL_FILE).jobs
    except DataError:
        return frozenset(), {}
    ended = frozenset(job.engine for job in jobs if job.outcome in ("finished", "sliced"))
    well = {job.engine for job in jobs if job.outcome not in ("error", "died", "memory")}
    failed = (job for job in jobs if job.engine not in well)
    why = {job.engine: last_words((job.error or job.outcome).splitlines()) for job in failed}
    return ended, why
