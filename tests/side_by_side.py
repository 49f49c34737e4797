"""Engines that answer one toy task, or several side by side in one job (`together`)."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace

from solver.deadline import Deadline
from solver.engines import Context
from solver.grid import Candidate, Task
from tests.fakes import BAD_TASK, right

MOST_WITH_MEMORY = 2  # tasks in one job


def answer(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """An answer that says where it was found, beside which tasks, and from what seed."""
    yield from _signed([task], [context], 1)


def together(
    tasks: Sequence[Task], deadline: Deadline, contexts: Sequence[Context]
) -> Iterator[Candidate]:
    """Answers to tasks side by side, as the settings say: dies, raises or lacks memory."""
    about = contexts[0]
    trouble, bad = about.settings.get("trouble"), any(task.id == BAD_TASK for task in tasks)
    yield from _signed(tasks[:1], contexts[:1], len(tasks))
    if trouble == "dies" and bad:
        os.kill(os.getpid(), signal.SIGSEGV)
    if trouble == "raises" and bad:
        raise RuntimeError("one of the tasks is strange")
    if trouble == "memory" and len(tasks) > MOST_WITH_MEMORY:
        raise MemoryError("for so many tasks")
    yield from _signed(tasks[1:], contexts[1:], len(tasks))


def _signed(tasks: Sequence[Task], contexts: Sequence[Context], beside: int) -> Iterator[Candidate]:
    where = os.environ.get("CUDA_VISIBLE_DEVICES")
    for task, context in zip(tasks, contexts, strict=True):
        assert {known.task for known in context.known} <= {task.id}
        for candidate in right(task):
            yield replace(candidate, program=f"{where} {beside} {context.seed}")
