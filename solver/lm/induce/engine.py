"""The code model as an engine, which writes programs for a task (`solver.lm.induce.rounds`)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from solver.deadline import Deadline
from solver.engines import Context
from solver.grid import Candidate, Task
from solver.lm.held import Held
from solver.lm.induce.rounds import Writer, propose
from solver.lm.induce.settings import Induction, read
from solver.lm.induce.writer import load_writer
from solver.sandbox.parent import Sandbox

log = logging.getLogger("solver")


def induce(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """Yield the answers of verified programs. Further passes sample other programs."""
    settings = read(context.settings)
    worker = worker_of(settings)
    yield from propose(worker.writer, worker.sandbox, task, deadline, settings, context.seed)


@dataclass(frozen=True)
class _Worker:
    """The state that a worker process keeps between tasks."""

    writer: Writer
    sandbox: Sandbox


def prepare(context: Context) -> None:
    """Start the sandbox and load the model before a slice begins."""
    worker_of(read(context.settings))


HELD = Held[_Worker]()


def worker_of(settings: Induction) -> _Worker:
    """The sandbox and the model for these settings."""
    return HELD.get(settings, lambda: _load(settings))


def _load(settings: Induction) -> _Worker:
    sandbox = Sandbox(settings.program_s, settings.program_mb)  # first, since it may fail
    for layer, why in sandbox.missing.items():
        log.info("the sandbox runs without %s: %s", layer, why)
    return _Worker(load_writer(settings), sandbox)
