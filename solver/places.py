"""Where a run's workers are: processes on cores, and one more on each device."""

from __future__ import annotations

from dataclasses import dataclass, field

from solver.backlog import Slot
from solver.config import Config, cores, device_names
from solver.loading import Load
from solver.process import Place, WorkerProcess


@dataclass
class Worker:
    """A place for a worker: the process in it now, and its job."""

    index: int
    place: Place
    device: bool = False
    process: WorkerProcess | None = None
    ready: bool = False
    slot: Slot | None = None
    load: Load | None = None  # what it is loading ahead of its jobs
    have: set[int] = field(default_factory=set)  # the stages whose engines its process has
    job: int = 0  # its number: a message about any other job is garbage
    given: float = 0.0  # when it got its job
    since: float = 0.0  # when the present phase (start, load, run) began
    running: bool = False  # the engine has started, the slice counts
    candidates: int = 0
    failed_starts: int = 0
    lines: int = 0  # that its process logged

    @property
    def busy(self) -> bool:
        return self.slot is not None or self.load is not None

    @property
    def starting(self) -> bool:
        """True from the start of the process until it can take a job."""
        return self.process is not None and not self.ready

    def __str__(self) -> str:
        where = f" (device {self.place.visible})" if self.device else ""
        return f"worker {self.index}{where}"


def places(config: Config, tasks: int) -> list[Worker]:
    """A worker for each core and device that a stage of the run can use, none started yet.

    Workers that fill all cores are pinned to one each; fewer are not, since another run's may be
    there. Workers of cores see no device in a run that has workers for devices. Raises `DataError`
    if there are fewer devices than the configuration says.
    """
    kinds = {stage.device for stage in config.stages}
    hidden = "" if config.devices else None
    usable, found = cores(), []
    if False in kinds:
        count = min(config.workers, tasks)
        for i in range(count):
            core = usable[i % len(usable)] if count >= len(usable) else -1
            found.append(Worker(i, Place(core, config.memory_mb, hidden)))
    if True in kinds:
        for name in device_names(config.devices)[:tasks]:
            place = Place(-1, config.device_memory_mb, name)
            found.append(Worker(len(found), place, device=True))
    return found
