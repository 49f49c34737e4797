"""The pair model's engine with a device that fails once in every phase, in every way.

Each fault happens in one process only: a file in the run's shared folder says that it is over.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from solver.deadline import Deadline, RealClock
from solver.engines import Context
from solver.grid import Candidate, Task
from solver.lm.many.engine import together as answer_together
from solver.lm.pair.engine import model as answer_alone
from solver.lm.pair.engine import prepare as load

PHASES = ("loading", "learning", "answering")
WAYS = ("memory", "death")
LOOKS = 25  # at the clock: the job has begun to learn


def fault(folder: Path, phase: str) -> None:
    """Fail in the next way in which this phase has not failed yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for way in WAYS:
        try:
            (folder / f"{phase} {way}").touch(exist_ok=False)
        except FileExistsError:
            continue
        if way == "memory":
            raise torch.OutOfMemoryError(f"out of memory while {phase}")
        os.kill(os.getpid(), signal.SIGSEGV)


class _FailingClock(RealClock):
    """The real clock, which fails as the job is learning."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._looks = folder, 0

    def now(self) -> float:
        self._looks += 1
        if self._looks == LOOKS:
            fault(self._folder, "learning")
        return super().now()


def prepare(context: Context) -> None:
    fault(context.folder, "loading")
    load(context)


def model(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    assert context.device
    yield from _failing(answer_alone, task, deadline, context, context.folder)


def together(
    tasks: Sequence[Task], deadline: Deadline, contexts: Sequence[Context]
) -> Iterator[Candidate]:
    yield from _failing(answer_together, tasks, deadline, contexts, contexts[0].folder)


def _failing(
    engine: Callable[..., Iterator[Candidate]],
    tasks: Any,
    deadline: Deadline,
    contexts: Any,
    folder: Path,
) -> Iterator[Candidate]:
    failing = replace(deadline, clock=_FailingClock(folder))
    for number, candidate in enumerate(engine(tasks, failing, contexts)):
        yield candidate
        if not number:
            fault(folder, "answering")
