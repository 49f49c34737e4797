"""Journals of runs that nobody ran: made-up candidates of known worth, written by the real code."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from solver.config import Config, Stage
from solver.data.arcio import Source, read_source
from solver.data.journal import ALL_TASKS, JOURNAL_FILE, JobRecord, Journal, LoadRecord
from solver.deadline import FakeClock
from solver.grid import Candidate, Grid, Task, as_grid, stable_seed
from solver.runtime.board import Board
from solver.runtime.run import header
from solver.schedule.backlog import WHOLE
from tests.fakes import toy_tasks
from tests.runs import write_challenges

STAGES = (Stage("synth"), Stage("model", repeats=True))
CONFIG = Config(budget_s=60, stages=STAGES, ensemble="each")  # worked by hand

Heard = tuple[JobRecord, Sequence[Candidate]]  # a job and what it found
Script = Callable[[Task, Grid], Iterable[Heard]]  # from a task and its truth


def write_run(
    folder: Path,
    script: Script,
    tasks: Sequence[Task] = toy_tasks(8),
    config: Config = CONFIG,
    whole: Sequence[JobRecord] = (),
    finished: bool = True,
    loads: Sequence[tuple[str, float]] = (),
) -> Path:
    """A run's folder as `solve` leaves it, beside its challenges with their outputs; `loads` are
    engines and the seconds that loading them took."""
    folder.mkdir(parents=True)
    challenges = write_solved(folder.parent / f"{folder.name}.json", tasks)
    source = Source(str(challenges), tuple(tasks), read_source(str(challenges)).solutions)
    journal = Journal(folder / JOURNAL_FILE)
    path = folder / "submission.json"
    board = Board(tasks, config.selector, config.ensemble, journal, path, FakeClock())
    board.write()
    board.record(header(source, config))
    for engine, seconds in loads:
        board.load(LoadRecord(engine, "finished", seconds, 0, 0.0))
    for record in whole:
        board.job(WHOLE, record)
    for i, task in enumerate(tasks):
        for record, found in script(task, truth_of(task)):
            for candidate in found:
                board.candidate(i, candidate)
            board.job(i, record)
    if finished:
        board.close()
        board.write()
    journal.close()
    return folder


def write_solved(path: Path, tasks: Sequence[Task]) -> Path:
    """A challenges file of toy tasks that holds the outputs too."""
    write_challenges(path, tuple(tasks))
    raw = json.loads(path.read_text())
    for task in tasks:
        for test in raw[task.id]["test"]:
            test["output"] = test["input"][::-1]
    path.write_text(json.dumps(raw))
    return path


def truth_of(task: Task) -> Grid:
    """The output of a toy task."""
    return as_grid(task.tests[0][::-1])


def wrong(grid: Grid, number: int) -> Grid:
    """One of nine grids that are not this one."""
    cells = grid.copy()
    cells[0, 0] = (cells[0, 0] + 1 + number) % 10
    return as_grid(cells)


def job(task: Task, engine: str, pass_: int = 0, cost_s: float = 1.0) -> JobRecord:
    return JobRecord(task.id, engine, pass_, "finished", cost_s, 10.0, 0, 0.0)


def whole_job(engine: str, cost_s: float) -> JobRecord:
    return JobRecord(ALL_TASKS, engine, 0, "finished", cost_s, 100.0, 0, 0.0)


def guess(
    task: Task,
    grid: Grid,
    view: str = "d0",
    scores: tuple[float, ...] = (),
    votes: int = 1,
    cost_s: float = 0.5,
) -> Candidate:
    """A model's candidate."""
    return Candidate(
        task.id, 0, grid, "model", view, -1.0, cost_s=cost_s, scores=scores, votes=votes
    )


def program(task: Task, grid: Grid, text: str, bits: float = 10, kind: str = "grids") -> Candidate:
    """A program's candidate."""
    return Candidate(task.id, 0, grid, "synth", kind, -bits, text, cost_s=0.5)


def noisy(seed: int, chance: float = 0.5) -> Script:
    """Both engines, right with some chance: the model under four views in two passes."""

    def script(task: Task, truth: Grid) -> Iterable[Heard]:
        rng = np.random.default_rng(stable_seed(seed, task.id))

        def draw() -> Grid:
            return truth if rng.random() < chance else wrong(truth, int(rng.integers(9)))

        if rng.random() < 0.6:
            yield job(task, "synth"), [program(task, draw(), f"p{i}", 10 + i) for i in range(2)]
        for pass_ in range(2):
            found = [
                guess(task, draw(), f"d{i}.c{pass_}", votes=int(rng.integers(1, 5)))
                for i in range(4)
            ]
            scored = [replace(c, scores=tuple((-20 * rng.random(4)).tolist())) for c in found]
            yield job(task, "model", pass_, cost_s=4.0), scored

    return script
