"""The supervisor: worker processes, jobs with slices, and kills.

A worker that overruns its slice and grace, outgrows its memory, dies or talks nonsense is
killed and replaced; what it had found counts, and its task is told. The supervisor imports
no engine and holds no model: nothing a task does can take it down.
"""

from __future__ import annotations

import selectors
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from solver.config import Config, cores
from solver.deadline import Clock, Deadline
from solver.grid import Candidate, Task, stable_seed
from solver.journal import ALL, JobRecord, candidate_of
from solver.process import GarbageError, WorkerProcess
from solver.schedule import WHOLE, Slot
from solver.worker import MAX_CANDIDATES, task_record

TICK_S = 0.2
MAX_FAILED_STARTS = 3
ERROR_CHARS = 4000
MAX_LOG_LINES, LOG_CHARS = 100, 500  # of one worker process


class Policy(Protocol):
    """Who decides what runs next (`schedule.Plan`)."""

    def take(self, left_s: float) -> Slot | None: ...


@dataclass(frozen=True)
class Events:
    """What the supervisor reports: each candidate, each job's end, and lines for the log."""

    candidate: Callable[[Slot, Candidate], None]
    job: Callable[[Slot, JobRecord], None]
    tick: Callable[[], None]
    log: Callable[[str], None]


@dataclass
class _Worker:
    """A place for a worker: the process in it now, and its job."""

    index: int
    process: WorkerProcess | None = None
    ready: bool = False
    slot: Slot | None = None
    job: int = 0  # its number: a message about any other job is garbage
    since: float = 0.0  # when the present phase (start, load, run) began
    running: bool = False  # the engine has started, the slice counts
    candidates: int = 0
    failed_starts: int = 0
    lines: int = 0  # that its process logged


class Supervisor:
    """Runs jobs from a policy on worker processes until a deadline."""

    def __init__(
        self,
        config: Config,
        tasks: tuple[Task, ...],
        policy: Policy,
        events: Events,
        clock: Clock,
        folder: Path,
    ) -> None:
        """`folder` is where workers leave things for one another."""
        self._config, self._tasks, self._policy, self._folder = config, tasks, policy, folder
        self._events, self._clock = events, clock
        self._cores = cores()
        self._workers = [_Worker(i) for i in range(min(config.workers, len(tasks)))]
        self._selector = selectors.DefaultSelector()
        self._job = 0
        self._began = clock.now()

    def run(self, deadline: Deadline, stop: Callable[[], bool]) -> None:
        """Work until the deadline, until `stop()`, or until no work is left. No worker
        process outlives this call, and no slice reaches past the deadline."""
        next_tick = self._clock.now()
        try:
            while not deadline.passed() and not stop():
                for worker in self._workers:
                    self._feed(worker, deadline)
                if not any(worker.slot or self._starting(worker) for worker in self._workers):
                    break
                self._poll(min(TICK_S, max(0.0, self._next_event(deadline))))
                if self._clock.now() >= next_tick:
                    self._events.tick()
                    next_tick = self._clock.now() + TICK_S
        finally:
            self._close()

    # --- giving work --------------------------------------------------------------

    def _starting(self, worker: _Worker) -> bool:
        return worker.process is not None and not worker.ready

    def _feed(self, worker: _Worker, deadline: Deadline) -> None:
        if worker.slot or worker.failed_starts >= MAX_FAILED_STARTS:
            return
        if worker.process is None:
            self._start(worker)
        elif worker.ready and (slot := self._policy.take(deadline.left())):
            self._give(worker, slot)

    def _start(self, worker: _Worker) -> None:
        core = self._cores[worker.index % len(self._cores)]
        worker.process = WorkerProcess(self._config.memory_mb, core)
        worker.ready, worker.running, worker.lines = False, False, 0
        worker.since = self._clock.now()
        self._selector.register(worker.process, selectors.EVENT_READ, worker)

    def _give(self, worker: _Worker, slot: Slot) -> None:
        assert worker.process
        self._job += 1
        worker.job = self._job
        tasks, name = self._about(slot)
        engine = self._engine(slot)
        worker.slot, worker.running, worker.candidates = slot, False, 0
        worker.since = self._clock.now()
        worker.process.send(
            {
                "number": self._job,
                "engine": engine,
                "tasks": [task_record(task) for task in tasks],
                "whole": slot.task == WHOLE,
                "folder": str(self._folder),
                "settings": dict(self._config.stages[slot.stage].settings),
                "pass_": slot.pass_,
                "seed": stable_seed(self._config.seed, name, engine, slot.pass_),
                "slice_s": slot.slice_s,
            }
        )

    def _about(self, slot: Slot) -> tuple[tuple[Task, ...], str]:
        """The tasks of a job, and their name in the journal."""
        if slot.task == WHOLE:
            return self._tasks, ALL
        task = self._tasks[slot.task]
        return (task,), task.id

    def _engine(self, slot: Slot) -> str:
        return self._config.stages[slot.stage].engine

    # --- hearing and enforcing ----------------------------------------------------

    def _next_event(self, deadline: Deadline) -> float:
        """Seconds until the deadline or the first worker is overdue."""
        overdue = [self._overdue_at(w) - self._clock.now() for w in self._workers if w.process]
        return min([deadline.left(), *overdue])

    def _overdue_at(self, worker: _Worker) -> float:
        if worker.slot is None and worker.ready:
            return float("inf")
        if not worker.running or worker.slot is None:
            return worker.since + self._config.load_s
        slice_s = worker.slot.slice_s
        return worker.since + slice_s + min(self._config.grace_s, max(0.25, 0.5 * slice_s))

    def _poll(self, timeout: float) -> None:
        for event, _ in self._selector.select(timeout):
            self._hear(event.data)
        for worker in self._workers:
            if worker.process:
                worker.process.pump()
                self._enforce(worker, worker.process)

    def _hear(self, worker: _Worker) -> None:
        assert worker.process
        try:
            for message in worker.process.receive():
                self._message(worker, message)
        except (GarbageError, KeyError, ValueError, TypeError) as error:
            self._lose(worker, f"sent garbage: {error}")

    def _message(self, worker: _Worker, message: dict[str, Any]) -> None:
        kind = message.pop("kind")
        if kind == "log":
            self._log(worker, str(message["line"]))
            return
        if kind == "ready" and worker.slot is None:
            worker.ready, worker.failed_starts = True, 0
            return
        if worker.slot is None or message.pop("number") != worker.job:
            raise ValueError(f"a {kind!r} out of turn")
        if kind == "started":
            worker.running, worker.since = True, self._clock.now()
        elif kind == "candidate":
            self._candidate(worker, worker.slot, candidate_of(message))
        elif kind == "done":
            self._end(worker, "finished" if message["finished"] is True else "sliced")
        elif kind == "failed":
            self._end(worker, "error", str(message["error"])[-ERROR_CHARS:])
        else:
            raise ValueError(f"a message of kind {kind!r}")

    def _log(self, worker: _Worker, line: str) -> None:
        worker.lines += 1
        if worker.lines <= MAX_LOG_LINES:
            self._events.log(f"worker {worker.index}: {line[:LOG_CHARS]}")

    def _candidate(self, worker: _Worker, slot: Slot, candidate: Candidate) -> None:
        (task, *others), _ = self._about(slot)
        mine = candidate.task == task.id and candidate.engine == self._engine(slot)
        worker.candidates += 1
        if (
            others
            or not mine
            or candidate.test >= len(task.tests)
            or worker.candidates > MAX_CANDIDATES
        ):
            raise ValueError("a candidate of another job, or too many")
        self._events.candidate(slot, candidate)

    def _enforce(self, worker: _Worker, process: WorkerProcess) -> None:
        """Kill what is overdue or too big; notice what is dead."""
        if how := process.ended():
            self._hear(worker)  # its last words
            if worker.process:
                self._lose(worker, f"died: {how}")
        elif (used := process.memory_mb()) > self._config.memory_mb:
            self._lose(worker, f"killed: {used:.0f} MB, over {self._config.memory_mb} MB")
        elif self._clock.now() >= self._overdue_at(worker):
            over = "its slice" if worker.running else "its time to load"
            self._lose(worker, f"killed: did not end within {over}")

    def _lose(self, worker: _Worker, why: str) -> None:
        """The worker is gone: free its place, and book its job as died."""
        if worker.process is None:
            return
        printed = worker.process.tail.decode("utf-8", "replace").strip()
        self._remove(worker)
        if worker.slot:
            self._end(worker, "died", why + (f"\n{printed}" if printed else ""))
        else:
            worker.failed_starts += 1
        self._events.log(f"worker {worker.index} {why}")
        if worker.failed_starts == MAX_FAILED_STARTS:
            self._events.log(f"worker {worker.index} is given up: it never became ready\n{printed}")

    def _end(self, worker: _Worker, outcome: str, error: str | None = None) -> None:
        slot, worker.slot = worker.slot, None
        assert slot
        now = self._clock.now()
        record = JobRecord(
            task=self._about(slot)[1],
            engine=self._engine(slot),
            pass_=slot.pass_,
            outcome=outcome,
            cost_s=round(now - worker.since, 4),
            slice_s=round(slot.slice_s, 4),
            worker=worker.index,
            started_s=round(worker.since - self._began, 4),
            error=error,
        )
        worker.running = False
        self._events.job(slot, record)

    # --- ending -------------------------------------------------------------------

    def _remove(self, worker: _Worker) -> None:
        if worker.process:
            self._selector.unregister(worker.process)
            worker.process.kill()
            worker.process, worker.ready = None, False

    def _close(self) -> None:
        """Hear what has arrived, then kill every worker; their jobs end as sliced."""
        for worker in self._workers:
            if worker.process:
                self._hear(worker)
        for worker in self._workers:
            self._remove(worker)
            if worker.slot:
                self._end(worker, "sliced")
        self._selector.close()
