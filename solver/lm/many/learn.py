"""Test-time training for many tasks side by side, each until its own deadline.

Each task goes the way of `solver.lm.pair.ttt`: a trial without one demonstration, then learning of
all. A task whose trial ends begins to learn at once; its place does not wait for other tasks.
Losses are read, and decisions made, only between blocks of steps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from solver.deadline import Deadline
from solver.grid import Task, stable_seed
from solver.lm.many.stack import Stack
from solver.lm.many.trainer import StackedTrainer
from solver.lm.pair.model import TaskModel
from solver.lm.pair.ttt import (
    CHECK_STEPS,
    PACE_STEPS,
    Adaptation,
    Learned,
    Patience,
    batches_of,
    hold_out,
    too_slow,
)
from solver.lm.symbols import Batch
from solver.lm.training.loop import Recipe, schedule


@dataclass(frozen=True, eq=False)
class Lesson:
    """A task to learn by a deadline. `vectors` (K, D): the start of the task's vectors."""

    task: Task
    seed: int
    deadline: Deadline
    vectors: Tensor | None = None


class _Pupil:
    """A task in its place: the batches, rates and losses of its trial or of its learning."""

    def __init__(self, lesson: Lesson, adaptation: Adaptation) -> None:
        self._lesson, self._adaptation = lesson, adaptation
        self.trial: Patience | None = None
        self.watched: list[Batch] = []
        self._held_out: float | None = None
        if adaptation.trial and len(lesson.task.train) > 2:
            self.trial = Patience()
            rest, self.watched = hold_out(lesson.task, lesson.seed, adaptation.tokens)
            self._begin(rest, lesson.deadline.slice(adaptation.trial * lesson.deadline.left()))
        else:
            self._begin(lesson.task, lesson.deadline)

    def _begin(self, task: Task, deadline: Deadline) -> None:
        self._batches: Iterator[Batch] = batches_of(task, self._adaptation, self._lesson.seed)
        self._deadline, self._total_s = deadline, deadline.left()
        self._steps = self._tokens = 0
        self._losses: list[float] = []
        self._hurried = False

    @property
    def spent_s(self) -> float:
        return self._total_s - self._deadline.left()

    def steps(self, step_s: float) -> int:
        """The number of steps until the next decision, 0 at the end; `step_s` is 0 if unknown."""
        if self._hurried or (self.trial and self.trial.ended):
            return 0
        left_s = self._deadline.left()
        if not step_s:
            return int(left_s > 0)
        most = CHECK_STEPS
        if self.trial:  # looks are at fixed steps, whatever blocks other tasks need
            most = PACE_STEPS if self._steps < PACE_STEPS else CHECK_STEPS
            most -= self._steps % most
        return max(0, min(most, int(left_s / step_s)))

    def next(self, recipe: Recipe) -> tuple[Batch | None, float]:
        """The next batch and the part of the full rate; no batch if time is up."""
        part = self._deadline.left() / self._total_s if self._total_s > 0 else 0.0
        scale = schedule(recipe, self._steps, part)
        if scale <= 0:
            return None, 0.0
        batch = next(self._batches)
        self._steps += 1
        self._tokens += batch.real
        return batch, scale

    def book(self, losses: Sequence[float]) -> None:
        """Book the losses of a block of steps."""
        before = len(self._losses)
        self._losses += losses
        if self.trial and before < PACE_STEPS <= self._steps:
            self._hurried = too_slow(self.spent_s * PACE_STEPS / self._steps, self._total_s)

    def due(self) -> bool:
        """True if it is time to look at the held-out demonstration."""
        return self.trial is not None and self._steps % CHECK_STEPS == 0 < len(self._losses)

    def end_trial(self) -> bool:
        """Begin to learn all demonstrations, if this was a trial. False if all is over."""
        trial, self.trial = self.trial, None
        if trial is None:
            return False
        self._held_out = trial.best if trial.best_s else None
        task, deadline = self._lesson.task, self._lesson.deadline
        if trial.ended:
            more = len(task.train) / (len(task.train) - 1)
            deadline = deadline.slice(trial.best_s * more)
        self._begin(task, deadline)
        return True

    def learned(self) -> Learned:
        return Learned(self._steps, self._tokens, tuple(self._losses), self._held_out)


class StackedLearner:
    """A model that learns up to `places` tasks at a time, and keeps them until the next `learn`.

    learned: the results of the last `learn`, by place.
    """

    def __init__(self, model: TaskModel, adaptation: Adaptation, places: int) -> None:
        self.adaptation = adaptation
        self.learned: list[Learned] = []
        self.trainer = StackedTrainer(Stack(model, adaptation.lora, places), adaptation.recipe)

    def learn(
        self, lessons: Sequence[Lesson], after: Callable[[], object] = lambda: None
    ) -> list[Learned]:
        """Learn tasks, each in the place of its number. `after` is called after each step.

        What a task learns depends on the task, its seed and the time of the steps. Raises
        `ValueError` for more tasks than places.
        """
        if len(lessons) > self.trainer.stack.places:
            raise ValueError(f"{len(lessons)} tasks for {self.trainer.stack.places} places")
        self.forget(lessons)
        pupils = [_Pupil(lesson, self.adaptation) for lesson in lessons]
        took: deque[float] = deque(maxlen=4)  # seconds of a step in the last blocks
        clock = lessons[0].deadline.clock
        while True:
            step_s = max(took, default=0.0)
            steps = {
                place: self._steps(place, pupils, lessons, step_s) for place in range(len(pupils))
            }
            active = {place: pupils[place] for place, count in steps.items() if count}
            if not active:
                self.learned = [pupil.learned() for pupil in pupils]
                return self.learned
            begun, count = clock.now(), min(filter(None, steps.values()))
            self._block(active, count, after)
            self._look(active)
            took.append((clock.now() - begun) / count)

    def forget(self, lessons: Sequence[Lesson]) -> None:
        """Give each task a place that has learned nothing."""
        self.learned = [Learned(0, 0, (), None)] * len(lessons)
        for place, lesson in enumerate(lessons):
            self._reset(place, lesson)

    def _steps(
        self, place: int, pupils: Sequence[_Pupil], lessons: Sequence[Lesson], step_s: float
    ) -> int:
        """The steps of a place in the next block, which may begin the learning after a trial."""
        pupil = pupils[place]
        count = pupil.steps(step_s)
        if not count and pupil.end_trial():
            self._reset(place, lessons[place])
            count = pupil.steps(step_s)
        return count

    def _reset(self, place: int, lesson: Lesson) -> None:
        seed = stable_seed(lesson.seed, lesson.task.id, "adapter")
        self.trainer.reset(place, seed, lesson.vectors)

    def _block(self, pupils: Mapping[int, _Pupil], count: int, after: Callable[[], object]) -> None:
        """Take some steps without a look at their results, then read all losses at once."""
        places = self.trainer.stack.places
        losses, moved = [], []
        for _ in range(count):
            batches: list[Batch | None] = [None] * places
            scales = [0.0] * places
            for place, pupil in pupils.items():
                batches[place], scales[place] = pupil.next(self.adaptation.recipe)
            losses.append(self.trainer.step(batches, scales))
            moved.append([batch is not None for batch in batches])
            after()
        found = torch.stack(losses).tolist()  # waits for the device
        for place, pupil in pupils.items():
            now = zip(found, moved, strict=True)
            pupil.book([each[place] for each, did in now if did[place]])

    def _look(self, pupils: Mapping[int, _Pupil]) -> None:
        """Measure the held-out demonstrations of the trials that are due."""
        due = [pupil for pupil in pupils.values() if pupil.due()]
        measured = []
        for number in range(max((len(pupil.watched) for pupil in due), default=0)):
            batches: list[Batch | None] = [None] * self.trainer.stack.places
            for place, pupil in pupils.items():
                some = pupil.watched[number:] if pupil in due else []
                batches[place] = next(iter(some), None)
            measured.append(torch.stack(self.trainer.measure(batches)))
        if not due:
            return
        costs, counts = torch.stack(measured).sum(0).tolist()
        for place, pupil in pupils.items():
            if pupil.trial and pupil in due:
                pupil.trial.see(costs[place] / counts[place], pupil.spent_s)
