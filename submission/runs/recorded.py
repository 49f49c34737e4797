"""A recorded run, read from its folder: the journal, the submission, and the run's tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from solver.data.arcio import Solutions, Source, read_leniently, read_solutions
from solver.data.journal import JOURNAL_FILE, Replay, replay
from solver.data.submissions import Submission, check_submission, read_submission
from solver.data.versions import task_digest
from solver.grid import DataError, Task, names


@dataclass(frozen=True)
class Recorded:
    """The files of a run, finished or not.

    source: the source named in the journal; the given source if the journal names none.
    solutions: the outputs of all tasks, from the source or from a given file; None if unknown.
    submission: the run's submission; None if the file is missing or does not fit the tasks.
    """

    folder: Path
    source: str
    tasks: tuple[Task, ...]
    solutions: Solutions | None
    replay: Replay
    submission: Submission | None

    @property
    def header(self) -> dict[str, Any]:
        """The header that the last process of the run wrote into the journal."""
        return self.replay.runs[-1]

    @property
    def config(self) -> dict[str, Any]:
        """The configuration of the last process, as JSON values; older runs may lack settings."""
        return table_of(self.header, "config")

    @property
    def ended(self) -> bool:
        """True if the last process has booked the end of every task.

        False for a process that was killed or is running.
        """
        return all(task.id in self.replay.terminal for task in self.tasks)


def read_run(
    folder: str | Path, source: str | None = None, solutions: str | None = None
) -> Recorded:
    """Read a run's folder.

    Args:
        source: where the tasks are now, if they have moved since the run.
        solutions: a solutions file to score with.

    Raises `DataError` if there is no run, or if the tasks differ from the run's tasks.
    """
    folder = Path(folder)
    if not (folder / JOURNAL_FILE).exists():
        raise DataError(f"{folder}: no run here (no {JOURNAL_FILE})")
    found = replay(folder / JOURNAL_FILE)
    if not found.runs:
        raise DataError(f"{folder / JOURNAL_FILE}: holds no run")
    name, loaded = _source(folder, found.runs[0], source)
    tasks = _tasks(folder, found.runs[0], loaded)
    known = loaded.solutions
    if solutions is not None:
        known = read_solutions(solutions, tasks)
    elif known is not None and not all(task.id in known for task in tasks):
        known = None
    return Recorded(folder, name, tasks, known, found, _submission(folder, tasks))


def table_of(header: dict[str, Any], name: str) -> dict[str, Any]:
    """A table of a run's header; empty if the header is older or damaged and lacks the table."""
    value = header.get(name)
    return value if isinstance(value, dict) else {}


def _source(folder: Path, header: dict[str, Any], given: str | None) -> tuple[str, Source]:
    name = header.get("source")
    if given is None and not isinstance(name, str):
        raise DataError(f"{folder / JOURNAL_FILE}: does not say where its tasks are; add --source")
    try:
        return str(name or given), read_leniently(given if given is not None else str(name))
    except DataError as error:
        hint = "" if given is not None else " (the run's tasks; --source says where they are now)"
        raise DataError(f"{error}{hint}") from None


def _tasks(folder: Path, header: dict[str, Any], loaded: Source) -> tuple[Task, ...]:
    """The run's tasks in the run's order."""
    known = {task.id: task for task in loaded.tasks}
    wanted = header.get("tasks")
    if not isinstance(wanted, list) or not wanted or not all(isinstance(i, str) for i in wanted):
        raise DataError(f"{folder / JOURNAL_FILE}: does not say which tasks it was about")
    missing = [task_id for task_id in wanted if task_id not in known]
    if missing:
        raise DataError(f"{loaded.name}: has no task {names(missing)} of the run in {folder}")
    tasks = tuple(known[task_id] for task_id in wanted)
    if header.get("digest", task_digest(tasks)) != task_digest(tasks):
        for task_id in wanted:
            if task_id in loaded.faults:
                raise DataError(loaded.faults[task_id])
        raise DataError(f"{loaded.name}: its tasks are not those of the run in {folder}")
    return tasks


def _submission(folder: Path, tasks: Sequence[Task]) -> Submission | None:
    path = folder / "submission.json"
    try:
        check_submission(path, tasks)
        return read_submission(path)
    except DataError:
        return None
