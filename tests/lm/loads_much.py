"""An engine that loads a model larger than a worker's memory, unless it may do so in 4 bits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from solver.deadline import Deadline
from solver.engines import Context
from solver.grid import Candidate, Task
from tests.fakes import right


def prepare(context: Context) -> None:
    np.zeros(1 if context.rung.four_bit else 2**36, dtype=np.uint8)


def answer(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    yield from right(task)
