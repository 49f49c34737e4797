"""The supervisor: worker processes, jobs with slices, and kills.

A worker that overruns its slice and grace, exceeds its memory, dies or sends garbage is killed
and replaced. The worker's candidates count, and its task gets the error. The supervisor imports no
engine and has no model, so nothing that a task does can end the supervisor.
"""

from __future__ import annotations

import itertools
import logging
import selectors
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from solver.config import Config, Stage
from solver.data.journal import JobRecord, LoadRecord
from solver.deadline import Clock, Deadline
from solver.grid import Candidate, Task
from solver.ladder import says_out_of_memory, step_down
from solver.runtime.messages import (
    Done,
    Failed,
    Found,
    Loaded,
    LoadOrder,
    Log,
    Ready,
    Report,
    Started,
)
from solver.runtime.orders import about, doing, job_order, load_order
from solver.runtime.state import RunState
from solver.runtime.worker import MAX_CANDIDATES
from solver.runtime.worker_process import GarbageError, WorkerProcess
from solver.runtime.workers import Worker, check_service, places
from solver.schedule.backlog import WHOLE, Slot, shares
from solver.schedule.first_passes import grace_s
from solver.schedule.loading import Load

log = logging.getLogger("solver")

TICK_S = 0.2
ERROR_CHARS = 4000
MAX_LOG_LINES, LOG_CHARS = 100, 500  # of one worker process


class Supervisor:
    """Runs jobs on worker processes until the deadline; the run's state decides the jobs."""

    def __init__(
        self,
        config: Config,
        tasks: tuple[Task, ...],
        state: RunState,
        clock: Clock,
        folder: Path,
    ) -> None:
        """`folder` is the place where workers leave things for one another."""
        self._config, self._tasks, self._folder = config, tasks, folder
        self._state, self._clock = state, clock
        self._workers = places(config, len(tasks))
        self._selector = selectors.DefaultSelector()
        self._numbers = itertools.count(1)  # of orders
        self._began = clock.now()

    def run(self, stop: Callable[[], bool]) -> None:
        """Work until the deadline, until `stop()`, or until no work is left.

        No worker process outlives this call, and no slice reaches past the deadline. Raises
        `NoWorkerError` if there was no worker in a run that nobody stopped.
        """
        deadline, next_tick = self._state.deadline, self._clock.now()
        try:
            while not deadline.passed() and not stop():
                for worker in self._workers:
                    self._feed(worker)
                if not any(map(self._active, self._workers)):
                    break
                self._poll(min(TICK_S, max(0.0, self._next_event(deadline))))
                if self._clock.now() >= next_tick:
                    self._state.tick(self.doing())
                    next_tick = self._clock.now() + TICK_S
        finally:
            self._close()
        used_up = self._config.steps > 0 and deadline.passed()  # perhaps by earlier processes
        check_service(self._workers, stopped=stop() or used_up)

    def _active(self, worker: Worker) -> bool:
        """True if the worker may still do work.

        Where another worker of its kind is ready but found no work, there is no work to wait for.
        """
        idle = (other.ready for other in self._workers if other.device == worker.device)
        return worker.busy or worker.starting or (worker.waiting and not any(idle))

    def doing(self) -> tuple[str, ...]:
        """Each worker's present work, in words."""
        given = (self._config, self._tasks, self._clock.now())
        return tuple(doing(worker, *given) for worker in self._workers)

    # --- giving work --------------------------------------------------------------

    def _feed(self, worker: Worker) -> None:
        if worker.busy:
            return
        if worker.waiting:
            self._start(worker)
        elif worker.ready:
            step = self._state.take(worker.device, worker.have)
            if isinstance(step, Load):
                worker.load = step
                order = load_order(next(self._numbers), step, self._config, self._folder)
                self._send(worker, order)
            elif step:
                worker.slot, worker.running, worker.candidates = step, False, 0
                given = (self._tasks, self._state.known(step), self._config, self._folder)
                self._send(worker, job_order(next(self._numbers), step, *given))

    def _start(self, worker: Worker) -> None:
        if self._clock.now() < worker.retry_at:
            return
        worker.ready, worker.running, worker.lines = False, False, 0
        worker.since = self._clock.now()
        try:
            worker.process = WorkerProcess(worker.place)
            self._selector.register(worker.process, selectors.EVENT_READ, worker)
        except (OSError, MemoryError) as error:
            self._remove(worker)
            self._start_failed(worker, f"cannot be started: {error}", refused=True)

    def _start_failed(self, worker: Worker, why: str, *, refused: bool = False) -> None:
        worker.start_failed(self._clock.now(), self._config.load_s, why, refused=refused)
        if not refused or worker.refused == 1:
            log.info(f"{worker} {why}")
        if worker.given_up:
            self._state.given_up(worker.device)
            log.info(f"{worker} is given up: it never became ready")

    def _send(self, worker: Worker, order: LoadOrder) -> None:
        assert worker.process
        worker.job = order.number
        worker.given = worker.since = self._clock.now()
        worker.process.send(order)

    def _stage(self, slot: Slot) -> Stage:
        return self._config.stages[slot.stage]

    # --- hearing and enforcing ----------------------------------------------------

    def _next_event(self, deadline: Deadline) -> float:
        """Seconds until the deadline or the first worker is overdue."""
        overdue = [self._overdue_at(w) - self._clock.now() for w in self._workers if w.process]
        return min([TICK_S if self._config.steps else deadline.left(), *overdue])

    def _overdue_at(self, worker: Worker) -> float:
        if not worker.busy and worker.ready:
            return float("inf")
        if not worker.running or worker.slot is None:
            return worker.since + self._config.load_s
        if self._config.steps:
            return float("inf")  # a step may take any time
        slice_s = worker.slot.job_s
        replacement_s = self._state.replacement_s(worker.have)
        return worker.since + slice_s + grace_s(slice_s, self._config.grace_s, replacement_s)

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
            for report in worker.process.receive():
                self._listen(worker, report)
        except GarbageError as error:
            self._lose(worker, f"sent garbage: {error}")

    def _listen(self, worker: Worker, report: Report) -> None:
        """Act on a report. Raises `GarbageError` for a report of another order or out of turn."""
        if isinstance(report, Log):
            self._log(worker, report.line)
        elif isinstance(report, Ready) and not worker.busy:
            worker.became_ready()
        elif isinstance(report, Ready) or not worker.busy or report.number != worker.job:
            raise GarbageError(f"a {type(report).__name__} out of turn")
        elif isinstance(report, Failed):
            worker.worked_s = report.worked_s
            self._fail(worker, report.error.strip(), memory=report.memory)
        elif worker.slot:
            self._hear_of_job(worker, worker.slot, report)
        elif isinstance(report, Loaded):
            self._end(worker, "finished")
        else:
            raise GarbageError(f"a {type(report).__name__} while loading")

    def _hear_of_job(
        self, worker: Worker, slot: Slot, report: Loaded | Started | Found | Done
    ) -> None:
        if isinstance(report, Started):
            worker.running, worker.since = True, self._clock.now()
        elif isinstance(report, Found):
            self._candidate(worker, slot, report.candidate)
        elif isinstance(report, Done):
            worker.worked_s = report.worked_s
            self._end(worker, "finished" if report.finished else "sliced")
            if slot.task == WHOLE and not worker.device:  # its process keeps memory of all tasks
                self._remove(worker)
        else:
            raise GarbageError("a Loaded for a job")

    def _fail(self, worker: Worker, error: str, *, memory: bool) -> None:
        """Book an exception of the worker's engine."""
        if memory and (worker.slot is None or self._stage(worker.slot).ladder):
            last = error.rpartition("\n")[2]
            self._lose(worker, f"ran out of memory: {last}", memory=True, printed=error)
            return
        # Of several tasks one may be at fault: as after a death, each is tried alone.
        outcome = "died" if worker.slot and worker.slot.beside else "error"
        self._end(worker, outcome, error[-ERROR_CHARS:])
        if worker.device:  # after most errors of a device, its process can no longer compute
            self._remove(worker)

    def _log(self, worker: Worker, line: str) -> None:
        worker.lines += 1
        if worker.lines <= MAX_LOG_LINES:
            log.info(f"{worker}: {line[:LOG_CHARS]}")

    def _candidate(self, worker: Worker, slot: Slot, candidate: Candidate) -> None:
        own = (one for one in slot.every if slot.task != WHOLE)
        mine = next((one for one in own if self._tasks[one.task].id == candidate.task), None)
        worker.candidates += 1
        worker.worked_s = candidate.cost_s
        legal = candidate.engine == self._stage(slot).engine and mine is not None
        if not legal or worker.candidates > MAX_CANDIDATES * len(slot.every):
            raise GarbageError("a candidate of another job, or too many")
        assert mine
        if candidate.test >= len(self._tasks[mine.task].tests):
            raise GarbageError("a candidate for a test that the task lacks")
        self._state.found(mine, candidate)

    def _enforce(self, worker: Worker, process: WorkerProcess) -> None:
        """Kill a process that is overdue or too big, and notice a process that is dead."""
        limit_mb = worker.place.memory_mb
        if how := process.ended():
            process.pump()
            self._hear(worker)  # the last reports of the process
            if worker.process:
                # A SIGKILL that the kit did not send comes from a system without memory left.
                memory = how == "signal SIGKILL" or says_out_of_memory(process.printed())
                self._lose(worker, f"died: {how}", memory=memory)
        elif (used := process.memory_mb()) > limit_mb:
            self._lose(worker, f"killed: {used:.0f} MB, over {limit_mb} MB", memory=True)
        elif self._clock.now() >= self._overdue_at(worker):
            over = "its slice" if worker.running else "its time to load"
            self._lose(worker, f"killed: did not end within {over}")

    def _lose(self, worker: Worker, why: str, *, memory: bool = False, printed: str = "") -> None:
        """Free the place of a useless worker for another one, and book its job as died.

        If memory ran out and the stage can do with less, the job is booked as out of memory.
        """
        if worker.process is None:
            return
        printed = (printed or worker.process.printed())[-ERROR_CHARS:]
        said = f"\n{printed}" if printed else ""
        self._remove(worker)
        if worker.busy:
            ladder = self._stage(worker.slot).ladder if worker.slot else ()
            if memory and ladder and worker.slot:
                why = f"{why}; {step_down(ladder, worker.slot.rung)}"
            outcome = "memory" if memory and (ladder or worker.load) else "died"
            self._end(worker, outcome, why + said)
            log.info(f"{worker} {why}")
        else:
            self._start_failed(worker, why + said)

    def _end(self, worker: Worker, outcome: str, error: str | None = None) -> None:
        """Book the end of the worker's job or loading."""
        slot, load, worker.slot, worker.load = worker.slot, worker.load, None, None
        now = None if self._config.steps else self._clock.now()
        cost_s, started_s, given_s = worker.times(now, self._began)
        if load:
            engine = self._config.stages[load.stage].engine
            record = LoadRecord(engine, outcome, cost_s, worker.index, started_s, load.rung, error)
            if outcome == "finished":
                worker.have.add(load.stage)
            self._state.load_ended(load, record)
            return
        assert slot
        worker.running = False
        engine = self._stage(slot).engine
        # Tasks side by side are booked as if one had come after the other.
        for one, share_s in shares(slot, cost_s):
            name = about(one, self._tasks)[1]
            times = (round(share_s, 4), round(one.slice_s, 4), worker.index, round(started_s, 4))
            job = JobRecord(name, engine, one.pass_, outcome, *times, error, given_s, one.rung)
            started_s += share_s
            given_s = round(started_s, 4)
            self._state.job_ended(one, job)

    # --- ending -------------------------------------------------------------------

    def _remove(self, worker: Worker) -> None:
        if worker.process:
            with suppress(KeyError):  # the process was never registered
                self._selector.unregister(worker.process)
            worker.process.kill()
            worker.process, worker.ready = None, False
            self._state.process_ended(worker.have)
            worker.have.clear()

    def _close(self) -> None:
        """Read the arrived reports, then kill every worker; their jobs end as stopped."""
        for worker in self._workers:
            if worker.process:
                self._hear(worker)
        for worker in self._workers:
            self._remove(worker)
            if worker.busy:
                self._end(worker, "stopped")
        self._selector.close()
