"""Test-time training for one task after another (arXiv:2411.07279), only on demonstrations.

A `Learner` lives as long as its worker. The model is laid out once and restored bit by bit before
every task. The training of a task therefore depends only on the task, the seed and the slice.
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
PATIENCE_CHECKS = 4  # looks in a row without a new best, which end a trial
PACE_STEPS = 4  # first steps, whose time shows if the trial has time to end
LAST_STEPS = 8  # last steps, whose loss is the loss that is left
RECIPE = Recipe(muon=False, matrix_lr=2e-3, vector_lr=3e-3, weight_decay=0.0, warmup=5, decay=1.0)


@dataclass(frozen=True)
class Adaptation:
    """Settings of learning a task.

    examples: most distinct examples.
    tokens: tokens of one batch, padding included.
    trial: part of the slice for a trial. The trial learns all demonstrations but one, to see when
    more learning does harm. If the trial sees no harm, the rest of the slice goes into learning.
    """

    lora: Lora = LORA
    recipe: Recipe = RECIPE
    examples: int = LIMIT
    tokens: int = 1024
    trial: float = 0.3


@dataclass(frozen=True)
class Learned:
    """The result of learning a task.

    steps, tokens: trained after the trial.
    losses: loss of each step on all demonstrations, in nats a token.
    held_out: the lowest loss on the demonstration held out in the trial, in nats a token; None if
    this loss was not measured.
    """

    steps: int
    tokens: int
    losses: tuple[float, ...]
    held_out: float | None

    @property
    def left(self) -> float:
        """Mean loss of the last steps on demonstrations, in nats a token; 0 without any steps."""
        last = self.losses[-LAST_STEPS:]
        return math.fsum(last) / max(1, len(last))


class Learner:
    """A model that learns one task at a time.

    `model` has one task's vectors, and keeps the task learned last until `reset` or the next
    `learn`. Every reset restores the weights that the model has now.
    """

    def __init__(self, model: TaskModel, adaptation: Adaptation) -> None:
        self.model, self.adaptation = model, adaptation
        self.adapter = LowRank(model, adaptation.lora)
        speed_up(model)
        self._start = model.tasks.detach().clone()

    def reset(self, seed: int = 0, vectors: Tensor | None = None) -> None:
        """Forget every task. `vectors` (K, D): the start of the next task's vectors."""
        self.adapter.reset(self._start if vectors is None else vectors[None], seed)

    def learn(
        self, task: Task, deadline: Deadline, seed: int, vectors: Tensor | None = None
    ) -> Learned:
        """Forget the last task and learn this one.

        Learning ends at the deadline, or earlier if a trial saw harm. Learning then takes the time
        to the lowest loss on the held-out demonstration, scaled to all demonstrations. With fewer
        than three demonstrations none is held out, since one demonstration shows no rule.
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
        """Learn all demonstrations but one, while the loss on the held-out demonstration falls.

        The seed decides which demonstration is held out.
        """
        rest, watched = hold_out(task, seed, self.adaptation.tokens)
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
        """Batches of the task's examples without end, in another order each round."""
        return batches_of(task, self.adaptation, seed)


def batches_of(task: Task, adaptation: Adaptation, seed: int) -> Iterator[Batch]:
    """Batches of a task's examples without end, in another order each round."""
    some = examples(task, adaptation.examples, seed, context=False)
    sequences = [(0, encode(example.pair, example.view.d8)) for example in some]
    rng = np.random.default_rng(stable_seed(seed, task.id, "batches"))
    while True:
        shuffled = [sequences[i] for i in rng.permutation(len(sequences))]
        batches = cut(shuffled, adaptation.tokens)
        for i in rng.permutation(len(batches)):
            yield batch_of(batches[i])


def hold_out(task: Task, seed: int, tokens: int) -> tuple[Task, list[Batch]]:
    """The task without the demonstration that the seed holds out, and this one in all turns.

    The turns are batches of at most `tokens` tokens.
    """
    out = stable_seed(seed, task.id, "held out") % len(task.train)
    rest = replace(task, train=(*task.train[:out], *task.train[out + 1 :]))
    turns = [(0, encode(View(d8).apply_pair(task.train[out]), d8)) for d8 in range(8)]
    return rest, [batch_of(part) for part in cut(turns, tokens)]


class Patience:
    """The looks at the loss of a held-out demonstration.

    best, best_s: the lowest loss so far, and the seconds of learning before it.
    ended: true after `PATIENCE_CHECKS` looks in a row without a new best.
    """

    def __init__(self) -> None:
        self._missed = 0
        self.best, self.best_s = float("inf"), 0.0
        self.ended = False

    def see(self, loss: float, seconds: float) -> None:
        """Book a look at the loss after `seconds` of learning."""
        self._missed += 1
        if loss < self.best:
            self.best, self.best_s, self._missed = loss, seconds, 0
        self.ended = self._missed >= PATIENCE_CHECKS


def too_slow(took_s: float, total_s: float) -> bool:
    """True if a trial of `total_s` has no time to end by itself.

    took_s: seconds of the first `PACE_STEPS` steps.
    """
    return took_s * CHECK_STEPS * (PATIENCE_CHECKS + 1) >= PACE_STEPS * total_s


class _HeldOut(Patience):
    """A watch on the loss of a held-out demonstration, which ends the training.

    The training ends when the loss no longer falls, or if there is no time to see that.
    """

    def __init__(self, model: TaskModel, watched: list[Batch], deadline: Deadline) -> None:
        super().__init__()
        self._model, self._watched, self._deadline = model, watched, deadline
        self._total = deadline.left()

    def watch(self, step: Step) -> bool:
        """True while training should continue, after each step.

        False after `PATIENCE_CHECKS` looks in a row without a new best. After `PACE_STEPS` steps
        also False if the slice is too short for one more look than that.
        """
        if step.number == PACE_STEPS:
            return not too_slow(self._total - self._deadline.left(), self._total)
        if step.number % CHECK_STEPS == 0:
            loss, _ = measure(self._model, self._watched)
            self.see(loss, self._total - self._deadline.left())
        return not self.ended
