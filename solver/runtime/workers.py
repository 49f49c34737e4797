"""The places of a run's workers: processes on cores, and one more on each device."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from solver.config import Config, cores, device_names
from solver.engines import ENGINES
from solver.runtime.worker_process import Seat, WorkerProcess
from solver.schedule.backlog import Slot
from solver.schedule.loading import Load

MAX_FAILED_STARTS = 3  # in a row; the process ended each time before it could take a job
PAUSE_S, LONGEST_PAUSE_S = 0.25, 10.0  # pause before the next start, doubled each time
ON_CORES = {"synth", "joint", "model"}  # engines that never use a device from a core


@dataclass
class Worker:
    """A place for a worker, with its present process and job."""

    index: int
    place: Seat
    device: bool = False
    process: WorkerProcess | None = None
    ready: bool = False
    slot: Slot | None = None
    load: Load | None = None  # the present loading ahead of jobs
    have: set[int] = field(default_factory=set)  # the stages whose engines its process has
    job: int = 0  # the number of the job: a message about any other job is garbage
    given: float = 0.0  # moment at which the job was given
    since: float = 0.0  # moment at which the present phase (start, load, run) began
    running: bool = False  # True: the engine has started, the slice counts
    worked_s: float = 0.0  # seconds that the job has used by its own clock, as last reported
    before_s: float = 0.0  # seconds that earlier jobs have used by their own clocks
    candidates: int = 0
    lines: int = 0  # number of lines that its process logged
    served: bool = False  # True: one of its processes could take a job
    failed_starts: int = 0  # since a process could last take a job
    refused: int = 0  # starts for which the system had no room, since the same moment
    failing_since: float = 0.0
    retry_at: float = 0.0
    given_up: bool = False
    trouble: str = ""

    @property
    def busy(self) -> bool:
        return self.slot is not None or self.load is not None

    @property
    def starting(self) -> bool:
        """True from the start of the process until the process can take a job."""
        return self.process is not None and not self.ready

    @property
    def waiting(self) -> bool:
        """True while the place has no process and another start is to be tried."""
        return self.process is None and not self.given_up

    def became_ready(self) -> None:
        self.ready = self.served = True
        self.failed_starts = self.refused = 0

    def start_failed(self, now: float, patience_s: float, why: str, *, refused: bool) -> None:
        """Wait before the next start, or give the place up.

        A process that ends is tried `MAX_FAILED_STARTS` times. If the system has no room for a
        process (`refused`), starts are tried for `patience_s` seconds.
        """
        tries = self.failed_starts + self.refused
        if not tries:
            self.failing_since = now
        self.trouble, self.retry_at = why, now + min(LONGEST_PAUSE_S, PAUSE_S * 2 ** min(tries, 9))
        if refused:
            self.refused += 1
            self.given_up = now - self.failing_since >= patience_s
        else:
            self.failed_starts += 1
            self.given_up = self.failed_starts >= MAX_FAILED_STARTS

    def times(self, now: float | None, began: float) -> tuple[float, float, float]:
        """The length, start and order time of the job or loading, in seconds since `began`.

        Without `now`, the times are those that jobs have used by their own clocks; loading uses
        none.
        """
        if now is None:
            took, start = self.worked_s, self.before_s
            self.before_s, self.worked_s = round(start + took, 4), 0.0
            return took, start, start
        moments = (now - self.since, self.since - began, self.given - began)
        cost_s, started_s, given_s = (round(moment, 4) for moment in moments)
        return cost_s, started_s, given_s

    def __str__(self) -> str:
        where = f" (device {self.place.visible})" if self.device else ""
        return f"worker {self.index}{where}"


class NoWorkerError(Exception):
    """A run that no worker served, or no worker until its end; the message says why."""


def check_service(workers: Sequence[Worker], *, stopped: bool) -> None:
    """Raise `NoWorkerError` at the end of a run without workers.

    In such a run no worker could ever take a job, or all workers were given up. A run that
    somebody stopped early raises nothing.
    """
    served = any(worker.served for worker in workers)
    if stopped or (served and not all(worker.given_up for worker in workers)):
        return
    reasons = [f"{worker} {worker.trouble}" for worker in workers if worker.trouble]
    first, *more = reasons[0].splitlines() if reasons else ["none was ready in time"]
    why = f"{first}: {more[-1]}" if more else first
    raise NoWorkerError(
        f"{'every worker was lost' if served else 'no worker ever started'} ({why})"
    )


def places(config: Config, tasks: int) -> list[Worker]:
    """A worker for each core and device that a stage of the run can use, none started yet.

    Workers that fill all cores are pinned to one core each. Fewer workers are not pinned, since
    another run's workers may use a core. Workers of cores see no device in a run that has workers
    for devices, nor if none of their engines could use one. Raises `DataError` if there are fewer
    devices than the configuration says.
    """
    kinds = {stage.device for stage in config.stages}
    engines = {stage.engine for stage in config.stages if not stage.device}
    hidden = "" if config.devices or engines <= ON_CORES else None
    usable, found, path = cores(), [], _own_path(config)
    if False in kinds:
        count = min(config.workers, tasks)
        for i in range(count):
            core = usable[i % len(usable)] if count >= len(usable) else -1
            found.append(Worker(i, Seat(core, config.memory_mb, hidden, path)))
    if True in kinds:
        for name in device_names(config.devices)[:tasks]:
            place = Seat(-1, config.device_memory_mb, name, path)
            found.append(Worker(len(found), place, device=True))
    return found


def _own_path(config: Config) -> tuple[str, ...]:
    """The folders in which this process looks for modules, if the run has a user's engine.

    Otherwise empty: a worker then needs only the kit and the installed packages.
    """
    if all(stage.engine in ENGINES for stage in config.stages):
        return ()
    return tuple(os.path.abspath(folder) for folder in sys.path)
