"""Engines of a module that takes its time to load, as its stage's settings say."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from solver.deadline import Deadline
from solver.engines import Context
from solver.grid import Candidate, Task
from tests.fakes import right
from tests.fakes import slow as _slow


def prepare(context: Context) -> None:
    """Sleep, or fail as the settings say, at least while no memory is spared."""
    time.sleep(context.settings.get("load_s", 1.0))
    if context.rung.batch == 1.0:
        match context.settings.get("fails"):
            case "memory":
                raise MemoryError
            case "death":
                os._exit(9)
            case "error":
                raise RuntimeError("no such weights")


def slow(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """Never has enough time, and stops when it is up."""
    yield from _slow(task, deadline, context)


def late(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """Sees only long after its deadline that its time is up."""
    yield from _slow(task, deadline, context)
    time.sleep(context.settings["late_s"])


def instant(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    yield from right(task)
