"""Test-time training for one task after another (arXiv:2411.07279), on demonstrations alone.

A `Learner` lives as long as its worker: the model is laid out once and put back bit by bit
before every task, so that what one task gets depends on nothing but the task, the seed and
its slice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from solver.deadline import Deadline
from solver.grid import Task, stable_seed
from solver.lm.pair.adapter import LORA, Lora, LowRank
from solver.lm.pair.fused import speed_up
from solver.lm.pair.model import TaskModel
from solver.lm.symbols import Batch, encode
from solver.lm.training.examples import LIMIT, examples
from solver.lm.training.loop import Recipe, Step, Trainer, measure, train
from solver.lm.training.stream import batch_of, cut
from solver.views import View

CHECK_STEPS = 8  # steps between two looks at the held-out demonstration
PATIENCE_CHECKS = 4  # looks without a new best that end a trial
PACE_STEPS = 4  # steps that show whether a trial has time to end
LAST_STEPS = 8  # steps that show what is left to learn
RECIPE = Recipe(muon=False, matrix_lr=2e-3, vector_lr=3e-3, weight_decay=0.0, warmup=5, decay=1.0)


@dataclass(frozen=True)
class Adaptation:
    """How a task is learned.

    examples: distinct ones at most. tokens: of one batch, padding included. trial: the part of
    the slice in which one demonstration is held out, to see when learning more does harm; where
    that part is too short to show it, all of the slice goes into learning.
    """

    lora: Lora = LORA
    recipe: Recipe = RECIPE
    examples: int = LIMIT
    tokens: int = 1024
    trial: float = 0.3


@dataclass(frozen=True)
class Learned:
    """What was done for a task. `losses`: of each step on all demonstrations, in nats.
    `held_out`: the lowest loss of the demonstration held out in the trial, if it was looked at."""

    steps: int
    tokens: int
    losses: tuple[float, ...]
    held_out: float | None

    @property
    def left(self) -> float:
        """What the last steps still lost on the demonstrations, in nats a token; 0 without any."""
        last = self.losses[-LAST_STEPS:]
        return math.fsum(last) / max(1, len(last))


class Learner:
    """A model that learns one task at a time.

    `model` has room for one task's vectors, and holds what was learned last until `reset` or
    the next `learn`. Its weights at the start are what every reset returns to.
    """

    def __init__(self, model: TaskModel, adaptation: Adaptation) -> None:
        self.model, self.adaptation = model, adaptation
        self.adapter = LowRank(model, adaptation.lora)
        speed_up(model)
        self._start = model.tasks.detach().clone()

    def reset(self, seed: int = 0, vectors: Tensor | None = None) -> None:
        """Forget every task. `vectors` (K, D): where the next one's start."""
        self.adapter.reset(self._start if vectors is None else vectors[None], seed)

    def learn(
        self, task: Task, deadline: Deadline, seed: int, vectors: Tensor | None = None
    ) -> Learned:
        """Forget the last task and learn this one: until the deadline, or for as long as it
        helped on a held-out demonstration.

        With fewer than three demonstrations none is held out: a single one shows no rule.
        """
        trial = None
        if self.adaptation.trial and len(task.train) > 2:
            trial = self._try(task, deadline, seed, vectors)
            if trial.ended:
                more = len(task.train) / (len(task.train) - 1)
                deadline = deadline.slice(trial.best_s * more)
        losses: list[float] = []
        trainer = self._fit(task, deadline, seed, vectors, lambda s: losses.append(s.loss))
        held_out = trial.best if trial and trial.best_s else None
        return Learned(trainer.steps, trainer.tokens, tuple(losses), held_out)

    def _try(self, task: Task, deadline: Deadline, seed: int, vectors: Tensor | None) -> _HeldOut:
        """Learn all demonstrations but one, drawn by the seed, while that one gets likelier."""
        out = stable_seed(seed, task.id, "held out") % len(task.train)
        rest = replace(task, train=(*task.train[:out], *task.train[out + 1 :]))
        turns = [(0, encode(View(d8).apply_pair(task.train[out]), d8)) for d8 in range(8)]
        watched = [batch_of(part) for part in cut(turns, self.adaptation.tokens)]
        part = deadline.slice(self.adaptation.trial * deadline.left())
        trial = _HeldOut(self.model, watched, part)
        self._fit(rest, part, seed, vectors, trial.watch)
        return trial

    def _fit(
        self,
        task: Task,
        deadline: Deadline,
        seed: int,
        vectors: Tensor | None,
        watch: Callable[[Step], object],
    ) -> Trainer:
        self.reset(stable_seed(seed, task.id, "adapter"), vectors)
        trainer = Trainer(self.model, self.adaptation.recipe, self.adapter)
        train(trainer, self.batches(task, seed), deadline, watch)
        return trainer

    def batches(self, task: Task, seed: int) -> Iterator[Batch]:
        """The task's examples again and again, in another order each time."""
        some = examples(task, self.adaptation.examples, seed, context=False)
        sequences = [(0, encode(example.pair, example.view.d8)) for example in some]
        rng = np.random.default_rng(stable_seed(seed, task.id, "batches"))
        while True:
            shuffled = [sequences[i] for i in rng.permutation(len(sequences))]
            batches = cut(shuffled, self.adaptation.tokens)
            for i in rng.permutation(len(batches)):
                yield batch_of(batches[i])


class _HeldOut:
    """Watches the loss on a held-out demonstration; ends the training once it has risen, or if
    there is no time to see that."""

    def __init__(self, model: TaskModel, watched: list[Batch], deadline: Deadline) -> None:
        self._model, self._watched, self._deadline = model, watched, deadline
        self._total = deadline.left()
        self._missed = 0
        self.best, self.best_s = float("inf"), 0.0
        self.ended = False

    def watch(self, step: Step) -> bool:
        """False once `PATIENCE` looks in a row were no better than the best, or if so many will
        not be."""
        if step.number == PACE_STEPS:
            took = self._total - self._deadline.left()
            return took * CHECK_STEPS * (PATIENCE_CHECKS + 1) < PACE_STEPS * self._total
        if step.number % CHECK_STEPS == 0:
            loss, _ = measure(self._model, self._watched)
            self._missed += 1
            if loss < self.best:
                self.best, self.best_s = loss, self._total - self._deadline.left()
                self._missed = 0
            self.ended = self._missed >= PATIENCE_CHECKS
        return not self.ended
