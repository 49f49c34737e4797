"""Many tasks at once: each task learns and answers as it would alone, whatever its neighbours."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import numpy as np
import pytest
import torch

from solver.deadline import Deadline, OutOfTimeError, StepClock
from solver.grid import Candidate, Pair, Task, freeze, same, stable_seed
from solver.lm.many.answer import PlacedModel, StackedStepper
from solver.lm.many.batches import beside
from solver.lm.many.learn import Lesson, StackedLearner
from solver.lm.many.meeting import Ask, meet
from solver.lm.many.stack import Stack
from solver.lm.many.trainer import StackedTrainer
from solver.lm.pair.adapter import Lora
from solver.lm.pair.cache import PairModel
from solver.lm.pair.model import Size, TaskModel, build
from solver.lm.pair.ttt import CHECK_STEPS, RECIPE, Adaptation, Learned, Learner
from solver.lm.search.searches import Options, Question
from solver.lm.search.strategies import STRATEGIES, propose
from solver.lm.symbols import Batch
from solver.lm.training.loop import Recipe, Trainer, schedule
from solver.views import View

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


@torch.no_grad()
def become(model: TaskModel, stack: Stack, place: int) -> None:
    """Let a model of one task be what the stack has in a place."""
    for name, layer in model.lm.named_modules():
        if ".layers." in name and isinstance(layer, torch.nn.Linear):
            layer.weight.copy_(stack.weight(name, layer.weight)[place])
    model.tasks[0].copy_(stack.vectors()[place])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_task_of_one_place_has_the_logits_of_its_place(dtype: torch.dtype) -> None:
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
    for place, batch in enumerate(shown):
        become(model, trainer.stack, place)
        arrays = (batch.tokens, batch.positions, batch.prompts, batch.tasks)
        with torch.no_grad():
            whole = model(*map(torch.from_numpy, arrays))  # (B, T, V)
        read = line.sequences[place] >= 0
        row = line.sequences[place, read]
        column = torch.cat([torch.arange(int(n)) for n in torch.bincount(row)])
        rtol, atol = (1e-4, 1e-4) if dtype == torch.float32 else (0.0, 0.1)
        torch.testing.assert_close(
            logits[place, read], whole[row, column].float(), rtol=rtol, atol=atol
        )


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


# --- answering ------------------------------------------------------------------------


def proposals(model: PairModel, task: Task, test: int, strategy: str) -> Iterator[Candidate]:
    asked = Question(task, test, [View(d8) for d8 in range(4)])
    options = Options(probe=2, width=8, threshold=0.2)
    deadline = Deadline.after(1e9, StepClock())
    return propose(STRATEGIES[strategy], model, asked, deadline, options, engine="model")


@pytest.mark.parametrize(("strategy", "at_once"), [("dfs", 8), ("dfs", 2), ("beam", 8)])
def test_test_inputs_side_by_side_have_the_answers_they_have_alone(
    strategy: str, at_once: int
) -> None:
    small = [
        Pair(freeze(np.full((1, n), n, np.uint8)), freeze(np.full((1, n), 3, np.uint8)))
        for n in (1, 2, 3)
    ]
    tasks = [Task(f"small{n}", (small[n],) * 2, (small[0].input, small[n].input)) for n in range(3)]
    model = model_of()
    trainer = StackedTrainer(Stack(model, LORA, 3), RECIPE)
    streams = list(map(batches, tasks))
    for place in range(3):
        trainer.reset(place, place)
    for _ in range(60):
        trainer.step([next(stream) for stream in streams], [5.0, 5.0, 5.0])
    stepper = StackedStepper(model, trainer.stack)

    def search(place: int, test: int) -> Callable[[Ask], Iterator[tuple[int, Candidate]]]:
        def begin(ask: Ask) -> Iterator[tuple[int, Candidate]]:
            known = PlacedModel(stepper.model, {tasks[place].id: place}, place, ask)
            for found in proposals(known, tasks[place], test, strategy):
                yield place, found

        return begin

    asked = [(place, test) for place in range(3) for test in range(2)]
    beside = list(meet([search(*one) for one in asked], stepper.answer, at_once))
    for place, test in asked:
        alone_model = model_of()
        become(alone_model, trainer.stack, place)
        known = PairModel(alone_model, {tasks[place].id: 0})
        expected = list(proposals(known, tasks[place], test, strategy))
        found = [c for where, c in beside if (where, c.test) == (place, test)]
        assert expected
        assert [c.identity[:4] for c in found] == [c.identity[:4] for c in expected]
        for one, other in zip(found, expected, strict=True):
            assert same(one.grid, other.grid)
            np.testing.assert_allclose(one.scores, other.scores, atol=1e-3)


def test_a_search_out_of_time_or_in_error_ends_and_others_go_on() -> None:
    def search(number: int) -> Callable[[Ask], Iterator[int]]:
        def begin(ask: Ask) -> Iterator[int]:
            with suppress(OutOfTimeError):
                for _ in range(3):
                    yield ask(number)

        return begin

    def answer(asked: Sequence[int]) -> list[int | OutOfTimeError]:
        return [OutOfTimeError() if n == 1 else 10 * n + len(asked) for n in asked]

    assert list(meet([search(n) for n in range(3)], answer, 2)) == [2, 2, 22, 2, 22, 21]
    finds = meet([search(0)], answer, 2)
    assert next(finds) == 1
    before = threading.active_count()
    finds.close()  # as when a job is cut
    assert threading.active_count() < before

    def broken(ask: Ask) -> Iterator[int]:
        raise KeyError("no such task")
        yield

    with pytest.raises(KeyError, match="no such task"):
        list(meet([search(0), broken], answer, 2))
