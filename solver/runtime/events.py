"""The interfaces around a supervisor: the policy that it asks, and the events that it reports."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from solver.data.journal import JobRecord, LoadRecord
from solver.grid import Candidate
from solver.schedule.backlog import Slot
from solver.schedule.loading import Load, Loading


class Policy(Protocol):
    """Who decides what runs next (`schedule.Plan`)."""

    loading: Loading

    def take(self, left_s: float, device: bool, loaded: Collection[int]) -> Slot | Load | None: ...

    def give_up(self, device: bool) -> None: ...


@dataclass(frozen=True)
class Events:
    """What the supervisor reports: each candidate, each job's end, each engine that was loaded,
    and lines for the log; and what it asks: what is known of a job's task."""

    candidate: Callable[[Slot, Candidate], None]
    job: Callable[[Slot, JobRecord], None]
    load: Callable[[Load, LoadRecord], None]
    tick: Callable[[], None]
    log: Callable[[str], None]
    known: Callable[[Slot], Sequence[Candidate]]
