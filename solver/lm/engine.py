"""The language model as an engine: it learns one task, then answers it.

It starts from what all tasks of the run taught it together (`solver.lm.joint`), or from the
bundled model if that is missing; it learns the task by an adapter and answers its test inputs
under the eight turns, measured by the model itself.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from solver.deadline import Deadline
from solver.engines import Context
from solver.grid import Candidate, Task, stable_seed
from solver.lm.cache import PairModel
from solver.lm.corpus import lesson_of
from solver.lm.joint import ADAPTED, VECTORS, load_adapted, task_vectors
from solver.lm.model import BUNDLE, TaskModel, compile_layers, dequantized, load
from solver.lm.strategies import STRATEGIES, Options, Question, propose
from solver.lm.stream import random_view
from solver.lm.ttt import Adaptation, Learner
from solver.views import View

STRATEGY = "dfs"
LEARNING = 0.5  # of a slice; the rest is for answering
TURNS = 8


def model(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """Learn one task, then answer it. Further passes see it in other colours."""
    worker = _worker(context.folder)
    vectors = worker.vectors(task.id)
    learned = deadline.slice(LEARNING * deadline.left())
    worker.learner.learn(task, learned, context.seed, vectors)
    views = views_of(task, context)
    known = PairModel(worker.learner.model, {task.id: 0})
    for test in range(len(task.tests)):
        part = deadline.slice(deadline.left() / (len(task.tests) - test))
        asked = Question(task, test, views)
        options = Options(seed=context.seed)
        yield from propose(STRATEGIES[STRATEGY], known, asked, part, options, engine="model")


def views_of(task: Task, context: Context) -> list[View]:
    """The eight turns; in the first pass with the colours as they are."""
    if context.pass_ == 0:
        return [View(d8) for d8 in range(TURNS)]
    rng = np.random.default_rng(stable_seed(context.seed, task.id, "views"))
    fixed = lesson_of(task).fixed_colors
    return [View(d8, random_view(rng, fixed).colors) for d8 in range(TURNS)]


def prepare(context: Context) -> None:
    """Load and compile the model, adapted if a run has done that, before a slice begins."""
    _worker(context.folder)


@dataclass(frozen=True)
class _Worker:
    """What a worker process keeps between tasks."""

    learner: Learner
    adapted: Path | None

    def vectors(self, task: str) -> torch.Tensor | None:
        """Where learning a task starts from."""
        return task_vectors(self.adapted, task) if self.adapted else None


@functools.cache
def _worker(folder: Path) -> _Worker:
    torch.set_num_threads(1)
    adapted = folder / ADAPTED
    whole = (adapted / VECTORS).exists()
    start = load_adapted(adapted, "") if whole else _bundled()
    compile_layers(start.lm)
    learner = Learner(start, Adaptation())
    learner.warm_up()
    return _Worker(learner, adapted if whole else None)


def _bundled() -> TaskModel:
    lm = dequantized(load(BUNDLE))
    return TaskModel(lm, 1).to(lm.dtype)
