"""Many tasks at once: each task learns and answers as it would alone, whatever its neighbours."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch

from solver.deadline import Deadline
from solver.grid import Pair, Task, freeze, stable_seed
from solver.lm.many.batches import beside
from solver.lm.many.learn import Lesson, StackedLearner
from solver.lm.many.stack import Stack
from solver.lm.many.trainer import StackedTrainer
from solver.lm.pair.adapter import Lora, LowRank
from solver.lm.pair.model import Size, TaskModel, build
from solver.lm.pair.ttt import CHECK_STEPS, RECIPE, Adaptation, Learned, Learner
from solver.lm.symbols import Batch
from solver.lm.training.loop import Recipe, Trainer, schedule

LORA = Lora(4, 8)
ADAPTATION = Adaptation(LORA, examples=40, tokens=200)
STEPS = 24


def model_of(dtype: torch.dtype = torch.float32) -> TaskModel:
    torch.set_num_threads(1)
    model: TaskModel = TaskModel(build(Size(64, 2), 0), 1).to(dtype)
    return model


def some_tasks(count: int) -> list[Task]:
    """Tasks of two to four demonstrations, whose grids have sides of two to six."""
    rng = np.random.default_rng(0)
    tasks = []
    for number in range(count):
        sides = rng.integers(2, 7, (4, 2))[: 2 + number % 3]
        grids = [freeze(rng.integers(0, 10, side).astype(np.uint8)) for side in sides]
        pairs = [Pair(grid, freeze(grid[:, ::-1].copy())) for grid in grids]
        tasks.append(Task(f"many{number}", tuple(pairs), (grids[0],)))
    return tasks


def batches(task: Task) -> Iterator[Batch]:
    return Learner(model_of(), ADAPTATION).batches(task, 0)


def rates(place: int, steps: int = STEPS) -> list[float]:
    """A schedule of another length for each place, after which the place rests."""
    length = steps - place % 5
    return [schedule(RECIPE, step, 1 - step / length) for step in range(steps)]


def alone(task: Task, scales: Sequence[float]) -> list[float]:
    """The losses of a task that the trainer of one task learns."""
    learner = Learner(model_of(), ADAPTATION)
    learner.reset(stable_seed(0, task.id, "adapter"))
    trainer = Trainer(learner.model, RECIPE, learner.adapter)
    each = zip(batches(task), scales, strict=False)
    return [trainer.step(batch, scale).loss for batch, scale in each if scale > 0]


def stacked(tasks: Sequence[Task], places: int) -> list[list[float]]:
    """The losses of tasks that learn side by side."""
    trainer = StackedTrainer(Stack(model_of(), LORA, places), RECIPE)
    for place, task in enumerate(tasks):
        trainer.reset(place, stable_seed(0, task.id, "adapter"))
    streams = list(map(batches, tasks))
    losses: list[list[float]] = [[] for _ in tasks]
    for now in zip(*map(rates, range(places)), strict=True):
        given = [next(s) if scale > 0 else None for s, scale in zip(streams, now, strict=True)]
        found = trainer.step(given, now).tolist()
        for place, scale in enumerate(now):
            losses[place] += [found[place]] if scale > 0 else []
    return losses


def test_sixteen_tasks_side_by_side_have_the_loss_curves_they_have_alone() -> None:
    tasks = some_tasks(16)
    for place, (task, curve) in enumerate(zip(tasks, stacked(tasks, 16), strict=True)):
        expected = alone(task, rates(place))
        assert len(curve) == STEPS - place % 5
        assert curve[-1] < curve[0] - 0.1
        np.testing.assert_allclose(curve, expected, atol=1e-4)


def test_a_broken_neighbour_and_a_resting_one_change_nothing() -> None:
    one, other = some_tasks(2)
    trainers = []
    for broken in (False, True):
        trainer = StackedTrainer(Stack(model_of(), LORA, 3), RECIPE)
        for place in range(2):
            trainer.reset(place, 7, torch.full((10, 64), torch.nan) if broken and place else None)
        for batch, more in itertools.islice(zip(batches(one), batches(other), strict=False), 4):
            trainer.step([batch, more, None], [1.0, 1.0, 0.0])
        trainers.append(trainer)
    well, ill = (trainer.stack.learned.detach() for trainer in trainers)
    torch.testing.assert_close(well[0], ill[0], rtol=0, atol=0)
    assert ill[1].isnan().any()
    assert torch.isfinite(well).all()
    fresh = StackedTrainer(Stack(model_of(), LORA, 1), RECIPE)
    fresh.reset(0, 7)
    assert not torch.equal(well[0], fresh.stack.learned[0])
    trainers[1].reset(1, 7)
    torch.testing.assert_close(trainers[1].stack.learned[1], fresh.stack.learned[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_task_that_is_handed_over_has_the_logits_of_its_place(dtype: torch.dtype) -> None:
    tasks, model = some_tasks(2), model_of(dtype)
    trainer = StackedTrainer(Stack(model, LORA, 2), RECIPE)
    streams = list(map(batches, tasks))
    for place in range(2):
        trainer.reset(place, place)
    for _ in range(6):
        trainer.step([next(stream) for stream in streams], [1.0, 1.0])
    shown = [next(stream) for stream in streams]
    line = beside(shown)
    with torch.no_grad():
        logits = trainer.stack.logits(line)
    adapter = LowRank(model, LORA)
    for place, batch in enumerate(shown):
        trainer.stack.hand_over(place, adapter)
        arrays = (batch.tokens, batch.positions, batch.prompts, batch.tasks)
        with torch.no_grad():
            whole = model(*map(torch.from_numpy, arrays))  # (B, T, V)
        read = line.sequences[place] >= 0
        row = line.sequences[place, read]
        column = torch.cat([torch.arange(int(n)) for n in torch.bincount(row)])
        near = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 0, "atol": 0.1}
        torch.testing.assert_close(logits[place, read], whole[row, column].float(), **near)


def test_a_recipe_that_places_cannot_follow_is_refused() -> None:
    stack = Stack(model_of(), LORA, 1)
    with pytest.raises(ValueError, match="AdamW without weight decay"):
        StackedTrainer(stack, Recipe())
    with pytest.raises(ValueError, match="no linear layer is called nothing"):
        Stack(model_of(), Lora(targets=("nothing",)), 1)


class TickingClock:
    """A clock that only moves when it is told to."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


def learned(tasks: Sequence[Task], places: int, seconds: Sequence[float]) -> list[Learned]:
    """The tasks learned side by side, where each step takes a second."""
    clock = TickingClock()
    learner = StackedLearner(model_of(), ADAPTATION, places)
    lessons = [
        Lesson(task, 3, Deadline(until, clock)) for task, until in zip(tasks, seconds, strict=True)
    ]
    return learner.learn(lessons, lambda: clock.sleep(1.0))


def test_each_task_keeps_its_own_deadline_and_early_stop() -> None:
    tasks, seconds = some_tasks(8), [30.0 + 40 * (n % 4) for n in range(8)]
    found = learned(tasks, 8, seconds)
    for place in (0, 1, 2, 7):
        (alone,) = learned(tasks[place : place + 1], 1, seconds[place : place + 1])
        assert (found[place].steps, found[place].tokens) == (alone.steps, alone.tokens)
        np.testing.assert_allclose(found[place].losses, alone.losses, atol=1e-4)
        trial = len(tasks[place].train) > 2 and found[place].held_out
        assert trial is False or trial == pytest.approx(alone.held_out, abs=1e-4)
    for task, until, one in zip(tasks, seconds, found, strict=True):
        long_enough = until > 140  # for a trial to end by itself
        assert (one.held_out is not None) == (len(task.train) > 2 and long_enough)
        assert 0 < one.steps == len(one.losses) <= until
        if len(task.train) == 2:  # no trial: all the time is for learning
            assert one.steps > until - CHECK_STEPS


def test_a_task_whose_trial_sees_harm_learns_for_less_time() -> None:
    rng = np.random.default_rng(1)
    noise = [freeze(rng.integers(0, 10, (2, 3)).astype(np.uint8)) for _ in range(8)]
    random = Task("noise", tuple(map(Pair, noise[::2], noise[1::2])), ())
    calm, harmed = learned([some_tasks(3)[2], random], 2, [600.0, 600.0])
    assert harmed.held_out is not None
    assert harmed.steps < calm.steps


def test_no_time_and_too_many_tasks() -> None:
    assert learned(some_tasks(2), 2, [0.0, -1.0]) == [Learned(0, 0, (), None)] * 2
    with pytest.raises(ValueError, match="2 tasks for 1 places"):
        learned(some_tasks(2), 1, [1.0, 1.0])
