"""Test-time training for one task after another (arXiv:2411.07279), on demonstrations alone.

A `Learner` lives as long as its worker: the model is compiled once and put back bit by bit
before every task, so that what one task gets depends on nothing but the task, the seed and
its slice.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from solver.deadline import Deadline
from solver.grid import DataError, Task, stable_seed
from solver.lm.adapter import Lora, LowRank
from solver.lm.examples import LIMIT, Example, examples
from solver.lm.formats import Batch, Sequence3D, collate, encode
from solver.lm.model import TaskModel
from solver.lm.stream import cut
from solver.lm.train import Recipe, Step, Trainer, train


@dataclass(frozen=True)
class Adaptation:
    """How a task is learned. `examples`: distinct ones at most. `tokens`: of one batch."""

    lora: Lora = Lora()
    recipe: Recipe = Recipe(muon=False, matrix_lr=2e-3, vector_lr=3e-3, warmup=5, decay=1.0, weight_decay=0.0)
    examples: int = LIMIT
    tokens: int = 1024


@dataclass(frozen=True)
class Learned:
    """What was done for a task: steps, tokens (without padding), the losses (nats) by step."""

    steps: int
    tokens: int
    losses: tuple[float, ...]


class Learner:
    """A model that learns one task at a time. `model` keeps one task's vectors, and holds what
    was learned last until `reset` or the next `learn`."""

    def __init__(self, model: TaskModel, adaptation: Adaptation) -> None:
        self.model, self.adaptation = model, adaptation
        self.adapter = LowRank(model, adaptation.lora)
        self._start = model.tasks.detach().clone()

    def reset(self, seed: int = 0, vectors: Tensor | None = None) -> None:
        """Forget every task. `vectors` (K, D): where the next one's start."""
        self.adapter.reset(self._start if vectors is None else vectors[None], seed)

    def learn(
        self, task: Task, deadline: Deadline, seed: int, vectors: Tensor | None = None, watch=lambda s: None
    ) -> Learned:
        """Forget the last task and learn this one until the deadline."""
        self.reset(stable_seed(seed, task.id, "adapter"), vectors)
        losses: list[float] = []
        trainer = Trainer(self.model, self.adaptation.recipe, self.adapter)
        batches = self.batches(task, seed)
        def w(s):
            losses.append(s.loss); return watch(s)
        train(trainer, batches, deadline, w)
        return Learned(trainer.steps, trainer.tokens, tuple(losses))

    def batches(self, task: Task, seed: int) -> Iterator[Batch]:
        """The task's examples again and again, in an order of their own each time."""
        some = examples(task, self.adaptation.examples, seed, context=False)
        sequences = [encode(e.pair, e.view.d8) for e in some]
        rng = np.random.default_rng(stable_seed(seed, task.id, "batches"))
        while True:
            order = rng.permutation(len(sequences))
            batches = cut([(0, sequences[i]) for i in order], self.adaptation.tokens)
            for i in rng.permutation(len(batches)):
                yield collate([sequence for _, sequence in batches[i]], [task for task, _ in batches[i]])
