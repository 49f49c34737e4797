"""The recipe of `solve()`: template first, then work until the deadline, then a last write."""

from __future__ import annotations

import dataclasses
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

import solver
from solver.answers.ensemble import Answer
from solver.config import Config
from solver.data.arcio import Source
from solver.data.journal import FORMAT, JOURNAL_FILE, Replay, replay
from solver.data.submissions import HandIn
from solver.data.versions import task_digest
from solver.deadline import Budget, Clock, Deadline, RealClock, WorkClock
from solver.grid import DataError, Task
from solver.machine import address_limit, versions
from solver.runtime.board import Board, Snapshot
from solver.runtime.folder import run_folder
from solver.runtime.resume import plan_of
from solver.runtime.state import RunState
from solver.runtime.supervisor import Supervisor
from solver.runtime.worker_process import Seat
from solver.runtime.workers import NoWorkerError

SHARED = "shared"  # folder in the run's folder for files that workers leave for one another

log = logging.getLogger("solver")

# Signals from users and systems; the last three come from batch systems whose limit is near.
STOP = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP),
    *(signal.SIGXCPU, signal.SIGUSR1, signal.SIGUSR2),
)


class RunError(Exception):
    """A run that ended badly; the message says which files are on disk."""


@dataclass(frozen=True)
class Result:
    """The result of a run: the submission's path, every task's answer, errors and notes.

    `errors` contains a line for each failed job, by the id of its task. `notes` are facts about
    the whole run that the user should know.
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
    hand_in: HandIn | None = None,
) -> Result:
    """Solve the tasks within the budget; `folder` gets submission, journal and log.

    Args:
        started: the clock's time from which the budget counts (now, if left out).
        stop: asked several times a second; True ends the run cleanly.
        watch: told the progress several times a second.
        hand_in: another file for the answers, in a competition's form.

    Raises `DataError` if the folder cannot be used. Raises `RunError` if no worker served the run,
    if the run broke, or if its last answers could not be written. Known answers are written even
    then.
    """
    clock = clock or RealClock()
    begun = clock.now() if started is None else started
    with run_folder(folder, resume) as journal:
        replayed = _replayed(folder, source.tasks, config) if resume else Replay()
        path = folder / "submission.json"
        rules = config.selector, config.ensemble
        board = Board(source.tasks, *rules, journal, path, clock, hand_in)
        board.restore(replayed)
        _first_write(board)
        board.record(header(source, config))
        work_end = _work_end(config, begun, clock, board.write_cost_s, replayed)
        fault = "the run was cut off"
        try:
            fault = _fault(
                lambda: _work(config, board, replayed, work_end, folder, stop, watch),
                too_late=not config.steps and work_end.passed() and not stop(),
            )
        finally:
            result = _last_write(board)
        if fault:
            raise RunError(f"{fault}; what is known is in {board.path}")
        return result


def _work_end(
    config: Config, begun: float, clock: Clock, write_cost_s: float, replayed: Replay
) -> Deadline:
    """The end of the work.

    In a run in steps, the deadline's clock is moved by jobs, including those of earlier processes.
    A run that was cut off and resumed therefore does no more than any other run.
    """
    if config.steps:
        worked = WorkClock()
        for job in replayed.jobs:
            worked.sleep(0.0 if job.outcome == "stopped" else job.cost_s)
        return Deadline(config.budget_s, worked)
    # A slow disk must not make the last write late: keep twice the time of the first write.
    return Deadline(begun + Budget.of(config.budget_s).usable - 2 * write_cost_s, clock)


def _fault(work: Callable[[], None], *, too_late: bool) -> str:
    """The reason why the work ended early or did not begin; empty if all went well."""
    if too_late:
        return "no worker ever started (reading the tasks took the whole budget)"
    try:
        work()
    except NoWorkerError as error:
        log.error("%s", error)
        return str(error)
    except Exception as error:
        # A broken run must still write its answers: the error is raised after the last write.
        log.exception("the run broke")
        return f"the run broke, see run.log: {type(error).__name__}: {error}"
    return ""


def _work(
    config: Config,
    board: Board,
    replayed: Replay,
    deadline: Deadline,
    folder: Path,
    stop: Callable[[], bool],
    watch: Callable[[Snapshot], None],
) -> None:
    policy = plan_of(board.tasks, config, board, replayed, deadline.left())
    state = RunState(config, board, policy, deadline, watch)
    _tell_limits(config)
    clock = RealClock() if config.steps else deadline.clock
    supervisor = Supervisor(config, board.tasks, state, clock, folder / SHARED)
    supervisor.run(stop)
    board.say_silent([stage.engine for stage in config.stages if not stage.whole])
    state.show(supervisor.doing())


def _tell_limits(config: Config) -> None:
    allowed_mb, wanted_mb = address_limit() // 2**20, Seat(-1, config.memory_mb).addresses_mb
    if 0 < allowed_mb < wanted_mb:
        text = "the system allows each process %d MB of addresses; a worker's limit was to be %d MB"
        log.warning(text, allowed_mb, wanted_mb)


def _replayed(folder: Path, tasks: Sequence[Task], config: Config) -> Replay:
    replayed = replay(folder / JOURNAL_FILE) if (folder / JOURNAL_FILE).exists() else Replay()
    if replayed.broken:
        log.warning("%s: %d broken lines skipped", folder / JOURNAL_FILE, replayed.broken)
    for header in replayed.runs[:1]:
        if header.get("digest") != task_digest(tasks):
            raise DataError(f"{folder}: holds a run over other tasks; choose another --run")
    return replayed.by_ended_jobs() if config.steps else replayed


def _first_write(board: Board) -> None:
    try:
        board.write()
    except OSError as error:
        raise DataError(f"the submission cannot be written: {error}") from None


def _last_write(board: Board) -> Result:
    """Write the submission first, since all other bookings may wait.

    Raises `RunError` if the submission cannot be written.
    """
    try:
        if board.changed or not board.path.exists():
            board.write()
    except (OSError, DataError) as error:
        stands = f"{board.path} stands" if board.path.exists() else f"{board.path} is gone"
        raise RunError(f"the last answers cannot be written ({error}); {stands}") from None
    finally:
        board.close()
    return Result(board.path, board.answers(), board.errors(), tuple(board.notes))


def header(source: Source, config: Config) -> dict[str, Any]:
    return {
        "kind": "run",
        "format": FORMAT,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": source.name,
        "tasks": [task.id for task in source.tasks],
        "digest": task_digest(source.tasks),
        "data": source.digest,
        "config": dataclasses.asdict(config),
        "versions": {
            "solver": solver.__version__,
            **versions(),
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        },
        "argv": sys.argv[1:],
    }


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Turn the signals of `STOP` into a flag that `solve` asks, so that the run ends cleanly.

    These signals ask a program to end, or say that its end is near. `nohup` keeps its effect.
    """
    received: list[int] = []
    nohup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    signals = [number for number in STOP if not (nohup and number == signal.SIGHUP)]
    before = [signal.signal(s, lambda number, frame: received.append(number)) for s in signals]
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
