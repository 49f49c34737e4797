"""The summary after a run: the files on disk, in figures and pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from solver.answers.ensemble import STATES
from solver.data.arcio import read_leniently
from solver.data.journal import JOURNAL_FILE, Replay, replay
from solver.data.submissions import Submission, check_submission, read_submission
from solver.data.svg import CELL, strip_svg
from solver.grid import Grid, Task

PICTURES = 4
WIDTH = 750  # of all grids of a picture, in pixels
UNTOUCHED = "template"


def summarize(
    challenges: Path, working: Path, say: Callable[[str], None] = print
) -> tuple[str, ...]:
    """Validate the submission in `working`, and print the kinds of answers and the errors.

    Returns SVG pictures of a few tasks: the best supported of every kind. Raises `DataError` if
    the submission is not valid for the challenges.
    """
    path = working / "submission.json"
    tasks = read_leniently(str(challenges)).tasks
    check_submission(path, tasks)
    outputs = sum(len(task.tests) for task in tasks)
    say(f"{path} is valid: {len(tasks)} tasks, {outputs} test inputs, two attempts each.")
    journal = replay(working / JOURNAL_FILE) if (working / JOURNAL_FILE).exists() else Replay()
    states = Counter(_state(journal, task) for task in tasks)
    say("answered by: " + ", ".join(f"{kind} {n}" for kind, n in states.most_common()))
    proposed = Counter(candidate.engine for candidate in journal.candidates)
    say("candidates: " + (", ".join(f"{k} {n}" for k, n in proposed.most_common()) or "none"))
    for line in _engines(journal):
        say(line)
    submission = read_submission(path)
    return tuple(_picture(task, submission, journal) for task in _chosen(tasks, journal))


def _state(journal: Replay, task: Task) -> str:
    return str(journal.terminal.get(task.id, {}).get("state", UNTOUCHED))


def _engines(journal: Replay) -> list[str]:
    """A line for each engine with its jobs and its time, and a line for its first error."""
    lines = []
    for engine in dict.fromkeys(job.engine for job in journal.jobs):
        jobs = [job for job in journal.jobs if job.engine == engine]
        failed = [job for job in jobs if job.error]
        seconds = sum(job.cost_s for job in jobs)
        loading = sum(load.cost_s for load in journal.loads if load.engine == engine)
        about = f"{len(jobs)} jobs, {seconds:.0f} s, {loading:.0f} s loading, {len(failed)} failed"
        lines.append(f"{engine:8} {about}")
        lines += [
            f"         first: {(job.error or '').strip().splitlines()[-1]}" for job in failed[:1]
        ]
    return lines


def _chosen(tasks: tuple[Task, ...], journal: Replay) -> list[Task]:
    """A few tasks, one of each state in turn, the most confident first."""
    places = Counter[str]()
    ranked = []
    for task in sorted(tasks, key=lambda t: (-_confidence(journal.terminal, t), t.id)):
        state = _state(journal, task)
        strength = STATES.index(state) if state in STATES else -1
        ranked.append((places[state], -strength, task.id, task))
        places[state] += 1
    return [task for *_, task in sorted(ranked, key=lambda place: place[:3])[:PICTURES]]


def _confidence(terminal: Mapping[str, dict[str, Any]], task: Task) -> float:
    return float(terminal.get(task.id, {}).get("confidence", 0.0))


def _picture(task: Task, submission: Submission, journal: Replay) -> str:
    """A demonstration, and the first test input with its two attempts."""
    pair, (first, second) = task.train[0], submission[task.id][0]
    row: list[tuple[str, Grid]] = [
        ("demonstration", pair.input),
        ("its output", pair.output),
        ("test input", task.tests[0]),
        ("attempt 1", first),
        ("attempt 2", second),
    ]
    title = f"{task.id}: {_state(journal, task)}"
    if task.id in journal.terminal:
        title += f", confidence {_confidence(journal.terminal, task):.2f}"
    columns = sum(grid.shape[1] for _, grid in row)
    return strip_svg(title, [row], cell=min(CELL, WIDTH // columns))
