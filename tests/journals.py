"""Made-up runs of any size, written by the code that writes real ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from solver.config import Config, Stage
from solver.data.arcio import Source
from solver.data.journal import FORMAT, JOURNAL_FILE, JobRecord, Journal
from solver.data.versions import task_digest
from solver.deadline import FakeClock
from solver.grid import Candidate, Grid, Task, as_grid, freeze, stable_seed
from solver.runtime.board import Board
from solver.views import View

WORKERS = 4
PROGRAMS = (
    "turn(input, 3)",
    "turn(turn(input, 1), 4)",
    "scale_up(turn(input, 2), 2)",
    "flip(input)",
)
TRACEBACK = 'Traceback (most recent call last):\n  File "engine.py", line {}\nValueError: made up'


def made_up_run(folder: Path, source: Source, *, seed: int = 0, cut: bool = False) -> Path:
    """A run of a synthesizer and a model over the source's tasks, four workers.

    Half of the outputs are among the candidates, a few jobs die or fail. With `cut`, the run is
    killed: no terminal states.
    """
    folder.mkdir(parents=True)
    journal = Journal(folder / JOURNAL_FILE)
    board = Board(source.tasks, "experts", "each", journal, folder / "submission.json", FakeClock())
    board.record(header(source))
    ends = [0.5] * WORKERS
    for engine in ("synth", "model"):
        for i, task in enumerate(source.tasks):
            rng = np.random.default_rng(stable_seed(seed, engine, task.id))
            truth = (source.solutions or {}).get(task.id)
            for candidate in CANDIDATES[engine](task, truth, rng):
                board.candidate(i, candidate)
            worker = int(np.argmin(ends))
            job = made_up_job(task, engine, worker, ends[worker], rng)
            ends[worker] = job.started_s + job.cost_s
            board.job(i, job)
    if not cut:
        board.close()
    board.write()
    journal.close()
    return folder


def header(source: Source) -> dict[str, object]:
    """The first record of a process."""
    stages = (Stage("synth", max_slice_s=20), Stage("model", max_slice_s=90))
    config = Config(3600.0, stages, workers=WORKERS)
    return {
        "kind": "run",
        "format": FORMAT,
        "at": "2026-01-02T03:04:05+00:00",
        "source": source.name,
        "tasks": [task.id for task in source.tasks],
        "digest": task_digest(source.tasks),
        "config": dataclasses.asdict(config),
        "versions": {"solver": "0.1.0"},
        "argv": ["solve", source.name],
    }


def made_up_job(
    task: Task, engine: str, worker: int, free_s: float, rng: np.random.Generator
) -> JobRecord:
    outcome = str(rng.choice(["finished", "sliced", "died", "error"], p=[0.6, 0.32, 0.04, 0.04]))
    error = {"died": "killed: did not end within its slice", "error": TRACEBACK.format(worker)}
    cost = float(rng.gamma(2.0, 4.0 if engine == "synth" else 9.0))
    started = free_s + float(rng.gamma(1.0, 0.3))
    return JobRecord(
        *(task.id, engine, 0, outcome, round(cost, 3), 20.0, worker, round(started, 3)),
        error=error.get(outcome),
        given_s=round(free_s, 3),
    )


def programs(
    task: Task, truth: tuple[Grid, ...] | None, rng: np.random.Generator
) -> Iterator[Candidate]:
    """A program or two for two tasks in five."""
    if rng.random() < 0.6:
        return
    for program in rng.choice(PROGRAMS, 2, replace=False):
        for test, grid in enumerate(guesses(task, truth, rng)):
            yield Candidate(
                task.id, test, grid, "synth", "grids", -rng.gamma(2, 12), str(program), 0.5
            )


def votes(
    task: Task, truth: tuple[Grid, ...] | None, rng: np.random.Generator
) -> Iterator[Candidate]:
    """Up to eleven grids a test input, each found in some of eight views, measured in all."""
    for _ in range(int(rng.integers(1, 12))):
        for test, grid in enumerate(guesses(task, truth, rng)):
            center = -rng.gamma(2, 5)
            scores = tuple(float(s) for s in center - rng.gamma(1, 2, 8))
            for d8 in rng.choice(8, int(rng.integers(1, 6)), replace=False):
                yield Candidate(
                    *(task.id, test, grid, "model", View(int(d8)).name, float(max(scores))),
                    scores=scores,
                    votes=int(rng.integers(1, 4)),
                )


CANDIDATES = {"synth": programs, "model": votes}


def guesses(task: Task, truth: tuple[Grid, ...] | None, rng: np.random.Generator) -> Iterator[Grid]:
    """For each test input, the truth, a grid that is nearly right, or a grid of another shape."""
    for test, grid in enumerate(task.tests):
        base = np.array(truth[test] if truth else grid)
        kind = rng.choice(["right", "near", "shape"], p=[0.2, 0.6, 0.2])
        if kind == "near":
            base[rng.random(base.shape) < 0.08] = rng.integers(0, 10)
        elif kind == "shape":
            base = base[: max(1, base.shape[0] - 1)]
        yield freeze(as_grid(base))
