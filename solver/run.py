"""solve(): the recipe. Template first, then work until the deadline, then a last write."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import logging
import os
import platform
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import solver
from solver.arcio import Source
from solver.backlog import WHOLE, Slot
from solver.board import Board, Snapshot
from solver.config import Config
from solver.cost import work_of
from solver.deadline import Budget, Clock, Deadline, RealClock
from solver.ensemble import Answer
from solver.grid import Candidate, DataError, Task, key
from solver.journal import ALL, FILE, FORMAT, JobRecord, Journal, LoadRecord, Replay, replay
from solver.loading import Load
from solver.schedule import Plan
from solver.supervisor import Events, Supervisor

SHARED = "shared"  # what workers leave for one another, in the run's folder

log = logging.getLogger("solver")


class RunError(Exception):
    """A run that could not put its last answers on disk; the message says what stands there."""


@dataclass(frozen=True)
class Result:
    """What a run leaves: the submission's path, every task's answer, and what went wrong.

    `errors` holds a line for each failed job, by the id of its task; `notes` what the user should
    know of the whole run.
    """

    submission: Path
    answers: dict[str, Answer]
    errors: dict[str, list[str]]
    notes: tuple[str, ...] = ()


def solve(
    source: Source,
    config: Config,
    folder: Path,
    *,
    resume: bool = False,
    started: float | None = None,
    stop: Callable[[], bool] = lambda: False,
    watch: Callable[[Snapshot], None] = lambda snapshot: None,
    clock: Clock | None = None,
) -> Result:
    """Solve the tasks within the budget; `folder` gets submission, journal and log.

    Args:
        started: the clock's time from which the budget counts (now, if left out).
        stop: asked several times a second; True ends the run cleanly.
        watch: told the progress several times a second.

    Raises `DataError` if the folder cannot be used, `RunError` if the last answers could
    not be written.
    """
    clock = clock or RealClock()
    budget = Budget.of(config.budget_s)
    end = Deadline((clock.now() if started is None else started) + budget.usable, clock)
    with _run_folder(folder, resume) as journal:
        replayed = _replayed(folder, source.tasks) if resume else Replay()
        path = folder / "submission.json"
        board = Board(source.tasks, config.selector, config.ensemble, journal, path, clock)
        board.restore(replayed)
        _first_write(board)
        board.record(header(source, config))
        # A slow disk must not make the last write late: keep twice what the first one took.
        work_end = Deadline(end.at - 2 * board.write_cost_s, clock)
        _work(source.tasks, config, board, replayed, work_end, folder, stop, watch)
        return _last_write(board)


def _work(
    tasks: Sequence[Task],
    config: Config,
    board: Board,
    replayed: Replay,
    deadline: Deadline,
    folder: Path,
    stop: Callable[[], bool],
    watch: Callable[[Snapshot], None],
) -> None:
    plan = Plan([work_of(task) for task in tasks], config.stages, config.workers, config.devices)
    _resume_plan(plan, tasks, config, board, replayed)
    for late in plan.too_late(deadline.left()):
        board.too_late(*late)
    began = deadline.clock.now()

    def ended(slot: Slot, record: JobRecord) -> None:
        confidence = board.job(slot.task, record)
        loading_s = record.started_s - (record.given_s or 0.0)
        if plan.done(slot, record.outcome, record.cost_s, confidence, loading_s):
            board.end(slot.task)
        for engine, rates in plan.backlog.calibrated():
            first_s = deadline.clock.now() - began + plan.first_passes_s(deadline.left())
            board.calibrated(engine, rates, first_s)

    def loaded(load: Load, record: LoadRecord) -> None:
        board.load(record)
        plan.loaded(load, record.outcome, record.cost_s)

    def report() -> None:
        watch(board.snapshot(deadline.left(), supervisor.doing()))

    def tick() -> None:
        board.write_if_due()
        report()

    def found(slot: Slot, candidate: Candidate) -> None:
        board.candidate(slot.task, candidate)

    def known(slot: Slot) -> list[Candidate]:
        return [] if slot.task == WHOLE else board.known(slot.task)

    events = Events(found, ended, loaded, tick, log.info, known)
    supervisor = Supervisor(config, tuple(tasks), plan, events, deadline.clock, folder / SHARED)
    supervisor.run(deadline, stop)
    board.say_silent([stage.engine for stage in config.stages if not stage.whole])
    report()


def _resume_plan(
    plan: Plan, tasks: Sequence[Task], config: Config, board: Board, replayed: Replay
) -> None:
    """Book the jobs of earlier processes, so that no finished work is repeated."""
    index = {task.id: i for i, task in enumerate(tasks)} | {ALL: WHOLE}
    stage = {s.engine: i for i, s in enumerate(config.stages)}
    for job in replayed.jobs:
        if job.task in index and job.engine in stage:
            where = (index[job.task], stage[job.engine])
            plan.backlog.record(
                Slot(*where, job.pass_, job.slice_s, job.rung), job.outcome, job.cost_s
            )
    for load in replayed.loads:
        if load.engine in stage and load.outcome == "finished":
            plan.loading.record(stage[load.engine], load.outcome, load.cost_s)
    if replayed.jobs:
        plan.backlog.resume(board.answer(i).confidence for i in range(len(tasks)))
        for i in range(len(tasks)):
            if plan.backlog.ended(i):
                board.end(i)


# --- the run folder -------------------------------------------------------------------


@contextmanager
def _run_folder(folder: Path, resume: bool) -> Iterator[Journal]:
    """The folder, locked against a second run, with its journal and log open."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise DataError(f"{folder}: another run is using this folder") from None
    try:
        if not resume and (folder / FILE).exists():
            raise DataError(f"{folder}: holds a run already; add --resume, or choose another --run")
        with _opened(folder) as journal:
            yield journal
    finally:
        os.close(lock)  # frees the lock; a killed process frees it too


class _LogFile(logging.FileHandler):
    """A log that a full disk cannot turn into an error of the run."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Drop the line."""

    def close(self) -> None:
        try:
            super().close()
        except OSError:
            pass  # the last lines did not fit


@contextmanager
def _opened(folder: Path) -> Iterator[Journal]:
    try:
        journal = Journal(folder / FILE)
        handler = _LogFile(folder / "run.log", encoding="utf-8")
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror}") from None
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield journal
    finally:
        log.removeHandler(handler)
        handler.close()
        journal.close()


def _replayed(folder: Path, tasks: Sequence[Task]) -> Replay:
    replayed = replay(folder / FILE) if (folder / FILE).exists() else Replay()
    if replayed.broken:
        log.warning("%s: %d broken lines skipped", folder / FILE, replayed.broken)
    for header in replayed.runs[:1]:
        if header.get("digest") != task_digest(tasks):
            raise DataError(f"{folder}: holds a run over other tasks; choose another --run")
    return replayed


def _first_write(board: Board) -> None:
    try:
        board.write()
    except OSError as error:
        raise DataError(f"the submission cannot be written: {error}") from None


def _last_write(board: Board) -> Result:
    board.close()
    try:
        if board.changed:
            board.write()
    except OSError as error:
        raise RunError(
            f"the last answers cannot be written ({error}); {board.path} stands"
        ) from None
    return Result(board.path, board.answers(), board.errors(), tuple(board.notes))


def header(source: Source, config: Config) -> dict[str, Any]:
    return {
        "kind": "run",
        "format": FORMAT,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": source.name,
        "tasks": [task.id for task in source.tasks],
        "digest": task_digest(source.tasks),
        "config": dataclasses.asdict(config),
        "versions": {
            "solver": solver.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        },
        "argv": sys.argv[1:],
    }


def task_digest(tasks: Sequence[Task]) -> str:
    """Identity of a list of tasks: ids and grids."""
    digest = hashlib.blake2b(digest_size=16)
    for task in tasks:
        digest.update(repr((task.id, len(task.train), len(task.tests))).encode())
        for grid in [g for p in task.train for g in (p.input, p.output)] + list(task.tests):
            digest.update(key(grid))
    return digest.hexdigest()


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Turn SIGTERM, SIGINT and SIGHUP into a flag that `solve` asks, so that it ends cleanly."""
    received: list[int] = []
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.signal(s, lambda number, frame: received.append(number)) for s in signals]
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
