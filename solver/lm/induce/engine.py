"""The code model as an engine: it writes programs for a task (`solver.lm.induce.rounds`)."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass

from solver.deadline import Deadline
from solver.engines import Context
from solver.grid import Candidate, Task
from solver.lm.induce.rounds import Writer, propose
from solver.lm.induce.settings import Induction, read
from solver.lm.induce.writer import load_writer
from solver.sandbox.parent import Sandbox

log = logging.getLogger("solver")


def induce(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """Answers of verified programs. Further passes draw other programs."""
    worker = _worker(context)
    yield from propose(worker.writer, worker.sandbox, task, deadline, worker.settings, context.seed)


@dataclass(frozen=True)
class _Worker:
    """What a worker process keeps between tasks."""

    writer: Writer
    sandbox: Sandbox
    settings: Induction


def prepare(context: Context) -> None:
    """Start the sandbox and load the model before a slice begins."""
    _worker(context)


def _worker(context: Context) -> _Worker:
    return _loaded(json.dumps(dict(context.settings), sort_keys=True))


@functools.lru_cache(maxsize=1)  # there is no room for two models
def _loaded(given: str) -> _Worker:
    settings = read(json.loads(given))
    sandbox = Sandbox(settings.program_s, settings.program_mb)  # first: it may be refused
    for layer, why in sandbox.missing.items():
        log.info("the sandbox runs without %s: %s", layer, why)
    return _Worker(load_writer(settings), sandbox, settings)
