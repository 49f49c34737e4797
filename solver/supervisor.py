"""The supervisor: worker processes, jobs with slices, and kills.

A worker that overruns its slice and grace, outgrows its memory, dies or talks nonsense is
killed and replaced; what it had found counts, and its task is told. The supervisor imports
no engine and holds no model: nothing a task does can take it down.
"""

from __future__ import annotations

import selectors
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from solver.config import Config, Stage
from solver.deadline import Clock, Deadline, format_duration
from solver.grid import Candidate, Task, stable_seed
from solver.journal import ALL, JobRecord, candidate_of, candidate_record
from solver.ladder import says_out_of_memory, step_down
from solver.places import Worker, places
from solver.process import GarbageError, WorkerProcess
from solver.schedule import WHOLE, Slot
from solver.worker import MAX_CANDIDATES, task_record

TICK_S = 0.2
MAX_FAILED_STARTS = 3
ERROR_CHARS = 4000
MAX_LOG_LINES, LOG_CHARS = 100, 500  # of one worker process


class Policy(Protocol):
    """Who decides what runs next (`schedule.Plan`)."""

    def take(self, left_s: float, device: bool) -> Slot | None: ...

    def give_up(self, device: bool) -> None: ...


@dataclass(frozen=True)
class Events:
    """What the supervisor reports: each candidate, each job's end, and lines for the log; and
    what it asks: what is known of a job's task."""

    candidate: Callable[[Slot, Candidate], None]
    job: Callable[[Slot, JobRecord], None]
    tick: Callable[[], None]
    log: Callable[[str], None]
    known: Callable[[Slot], Sequence[Candidate]]


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
        self._workers = places(config, len(tasks))
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
                if not any(worker.slot or worker.starting for worker in self._workers):
                    break
                self._poll(min(TICK_S, max(0.0, self._next_event(deadline))))
                if self._clock.now() >= next_tick:
                    self._events.tick()
                    next_tick = self._clock.now() + TICK_S
        finally:
            self._close()

    def doing(self) -> tuple[str, ...]:
        """What each worker is at, in words."""
        return tuple(map(self._at, self._workers))

    def _at(self, worker: Worker) -> str:
        if worker.slot is None:
            return "starting" if worker.starting else "idle"
        work = f"{self._stage(worker.slot).engine} {self._about(worker.slot)[1]}"
        for_s = format_duration(self._clock.now() - worker.since)
        return f"{work} {for_s}" if worker.running else f"{work} loading {for_s}"

    # --- giving work --------------------------------------------------------------

    def _feed(self, worker: Worker, deadline: Deadline) -> None:
        if worker.slot or worker.failed_starts >= MAX_FAILED_STARTS:
            return
        if worker.process is None:
            self._start(worker)
        elif worker.ready and (slot := self._policy.take(deadline.left(), worker.device)):
            self._give(worker, slot)

    def _start(self, worker: Worker) -> None:
        worker.process = WorkerProcess(worker.place)
        worker.ready, worker.running, worker.lines = False, False, 0
        worker.since = self._clock.now()
        self._selector.register(worker.process, selectors.EVENT_READ, worker)

    def _give(self, worker: Worker, slot: Slot) -> None:
        assert worker.process
        self._job += 1
        worker.job = self._job
        tasks, name = self._about(slot)
        stage = self._stage(slot)
        # A job over all tasks is one job however often it is begun: it goes on where it was.
        again = 0 if slot.task == WHOLE else slot.pass_
        worker.slot, worker.running, worker.candidates = slot, False, 0
        worker.given = worker.since = self._clock.now()
        worker.process.send(
            {
                "number": self._job,
                "engine": stage.engine,
                "tasks": [task_record(task) for task in tasks],
                "whole": slot.task == WHOLE,
                "folder": str(self._folder),
                "settings": dict(self._config.stages[slot.stage].settings),
                "pass_": slot.pass_,
                "seed": stable_seed(self._config.seed, name, stage.engine, again),
                "slice_s": slot.slice_s,
                "without": stage.ladder[: slot.rung],
                "known": list(map(candidate_record, self._events.known(slot))),
            }
        )

    def _about(self, slot: Slot) -> tuple[tuple[Task, ...], str]:
        """The tasks of a job, and their name in the journal."""
        if slot.task == WHOLE:
            return self._tasks, ALL
        task = self._tasks[slot.task]
        return (task,), task.id

    def _stage(self, slot: Slot) -> Stage:
        return self._config.stages[slot.stage]

    # --- hearing and enforcing ----------------------------------------------------

    def _next_event(self, deadline: Deadline) -> float:
        """Seconds until the deadline or the first worker is overdue."""
        overdue = [self._overdue_at(w) - self._clock.now() for w in self._workers if w.process]
        return min([deadline.left(), *overdue])

    def _overdue_at(self, worker: Worker) -> float:
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

    def _hear(self, worker: Worker) -> None:
        assert worker.process
        try:
            for message in worker.process.receive():
                self._message(worker, message)
        except (GarbageError, KeyError, ValueError, TypeError) as error:
            self._lose(worker, f"sent garbage: {error}")

    def _message(self, worker: Worker, message: dict[str, Any]) -> None:
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
            whole = worker.slot.task == WHOLE
            self._end(worker, "finished" if message["finished"] is True else "sliced")
            if whole and not worker.device:  # what all tasks took stays behind in its process
                self._remove(worker)
        elif kind == "failed" or (kind == "exhausted" and not self._stage(worker.slot).ladder):
            self._end(worker, "error", str(message["error"])[-ERROR_CHARS:])
            if worker.device:  # after most errors of a device its process can compute no more
                self._remove(worker)
        elif kind == "exhausted":
            error = str(message["error"]).strip()
            last = error.rpartition("\n")[2]
            self._lose(worker, f"ran out of memory: {last}", memory=True, printed=error)
        else:
            raise ValueError(f"a message of kind {kind!r}")

    def _log(self, worker: Worker, line: str) -> None:
        worker.lines += 1
        if worker.lines <= MAX_LOG_LINES:
            self._events.log(f"{worker}: {line[:LOG_CHARS]}")

    def _candidate(self, worker: Worker, slot: Slot, candidate: Candidate) -> None:
        (task, *others), _ = self._about(slot)
        named = candidate.task == task.id and candidate.engine == self._stage(slot).engine
        mine = named and not others and candidate.test < len(task.tests)
        worker.candidates += 1
        if not mine or worker.candidates > MAX_CANDIDATES:
            raise ValueError("a candidate of another job, or too many")
        self._events.candidate(slot, candidate)

    def _enforce(self, worker: Worker, process: WorkerProcess) -> None:
        """Kill what is overdue or too big; notice what is dead."""
        limit_mb = worker.place.memory_mb
        if how := process.ended():
            process.pump()
            self._hear(worker)  # its last words
            if worker.process:
                # A signal that was not ours comes from a system that has run out of memory.
                memory = how == "signal SIGKILL" or says_out_of_memory(process.printed())
                self._lose(worker, f"died: {how}", memory=memory)
        elif (used := process.memory_mb()) > limit_mb:
            self._lose(worker, f"killed: {used:.0f} MB, over {limit_mb} MB", memory=True)
        elif self._clock.now() >= self._overdue_at(worker):
            over = "its slice" if worker.running else "its time to load"
            self._lose(worker, f"killed: did not end within {over}")

    def _lose(self, worker: Worker, why: str, *, memory: bool = False, printed: str = "") -> None:
        """The worker is of no more use: free its place for another, and book its job as died or,
        where its stage can do with less memory, as out of that."""
        if worker.process is None:
            return
        printed = (printed or worker.process.printed())[-ERROR_CHARS:]
        self._remove(worker)
        if worker.slot:
            outcome, ladder = "died", self._stage(worker.slot).ladder
            if memory and ladder:
                outcome, why = "memory", f"{why}; {step_down(ladder, worker.slot.rung)}"
            self._end(worker, outcome, why + (f"\n{printed}" if printed else ""))
        else:
            worker.failed_starts += 1
        self._events.log(f"{worker} {why}")
        if worker.failed_starts == MAX_FAILED_STARTS:
            self._policy.give_up(worker.device)
            self._events.log(f"{worker} is given up: it never became ready\n{printed}")

    def _end(self, worker: Worker, outcome: str, error: str | None = None) -> None:
        slot, worker.slot = worker.slot, None
        assert slot
        now = self._clock.now()
        record = JobRecord(
            task=self._about(slot)[1],
            engine=self._stage(slot).engine,
            pass_=slot.pass_,
            outcome=outcome,
            cost_s=round(now - worker.since, 4),
            slice_s=round(slot.slice_s, 4),
            worker=worker.index,
            started_s=round(worker.since - self._began, 4),
            error=error,
            given_s=round(worker.given - self._began, 4),
            rung=slot.rung,
        )
        worker.running = False
        self._events.job(slot, record)

    # --- ending -------------------------------------------------------------------

    def _remove(self, worker: Worker) -> None:
        if worker.process:
            self._selector.unregister(worker.process)
            worker.process.kill()
            worker.process, worker.ready = None, False

    def _close(self) -> None:
        """Hear what has arrived, then kill every worker; their jobs end as stopped."""
        for worker in self._workers:
            if worker.process:
                self._hear(worker)
        for worker in self._workers:
            self._remove(worker)
            if worker.slot:
                self._end(worker, "stopped")
        self._selector.close()
