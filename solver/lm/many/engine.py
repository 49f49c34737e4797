"""The pair model as an engine for several tasks in one job, which works on all of them at once.

Each task is learned, shown in views and answered as by `solver.lm.pair.engine`, from its own seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from solver.deadline import Deadline
from solver.engines import Context
from solver.grid import Candidate, Task
from solver.lm.held import Held
from solver.lm.many.answer import PlacedModel, StackedStepper
from solver.lm.many.learn import Lesson, StackedLearner
from solver.lm.many.meeting import Ask, meet
from solver.lm.memory import size_of
from solver.lm.pair.engine import (
    ADAPTATION,
    MAX_SEQUENCES,
    Worker,
    options_of,
    views_of,
    worker_of,
)
from solver.lm.pair.model import TaskModel
from solver.lm.pair.settings import PairSettings, read
from solver.lm.search.searches import Question
from solver.lm.search.strategies import STRATEGIES, propose
from solver.lm.symbols import MAX_OUTPUT
from solver.machine import give_back_memory

AT_ONCE = 64  # test inputs answered side by side, if memory allows
AT_ONCE_ON_CPU = 16
FREE_PART = 0.4  # of a GPU's free memory: for keys and values
COLUMNS = 2 * MAX_OUTPUT  # of a cache: a prompt and an output


def together(
    tasks: Sequence[Task], deadline: Deadline, contexts: Sequence[Context]
) -> Iterator[Candidate]:
    """Learn several tasks side by side, then answer all their test inputs side by side."""
    settings = read(contexts[0].settings)
    worker = worker_of(contexts[0], settings)
    learning = deadline.slice(settings.learning * deadline.left())
    learner = _learned(worker, tasks, learning, contexts, settings)
    give_back_memory()
    stepper = StackedStepper(worker.learner.model, learner.trainer.stack)
    at_once = most_at_once(worker.learner.model)
    tests = [
        _Test(place, test, at_once)
        for place, task in enumerate(tasks)
        for test in range(len(task.tests))
    ]
    searches = [
        _search(test, tasks, contexts, settings, stepper.model, deadline, tests[number:])
        for number, test in enumerate(tests)
    ]
    for found, place in meet(searches, stepper.answer, at_once):
        result = learner.learned[place]
        yield replace(found, unlearned=result.left if result.steps else worker.unlearned)


@dataclass(frozen=True)
class _Test:
    """A test input of the task in a place."""

    place: int
    test: int
    at_once: int


def _search(
    one: _Test,
    tasks: Sequence[Task],
    contexts: Sequence[Context],
    settings: PairSettings,
    model: TaskModel,
    deadline: Deadline,
    rest: Sequence[_Test],
) -> Callable[[Ask], Iterator[tuple[Candidate, int]]]:
    """The search for the answers to a test input. `rest`: this test input and those after it."""
    task, context = tasks[one.place], contexts[one.place]

    def begin(ask: Ask) -> Iterator[tuple[Candidate, int]]:
        known = PlacedModel(model, {task.id: one.place}, one.place, ask)
        part = deadline.slice(deadline.left() * min(1.0, one.at_once / len(rest)))
        views = views_of(task, context, settings.views)
        asked = Question(task, one.test, views, known=context.known)
        strategy, options = STRATEGIES[settings.strategy], options_of(context)
        for found in propose(strategy, known, asked, part, options, engine="model"):
            yield found, one.place

    return begin


def _learned(
    worker: Worker,
    tasks: Sequence[Task],
    deadline: Deadline,
    contexts: Sequence[Context],
    settings: PairSettings,
) -> StackedLearner:
    """The tasks in their places, learned if memory and settings allow it."""
    worker.learner.reset()  # the stack starts from the model as it was loaded
    model = worker.learner.model
    learner = HELD.get(
        (id(worker), len(tasks)), lambda: StackedLearner(model, ADAPTATION, len(tasks))
    )
    lessons = [
        Lesson(task, context.seed, deadline, worker.vectors(task))
        for task, context in zip(tasks, contexts, strict=True)
    ]
    if contexts[0].rung.training and settings.learning:
        learner.learn(lessons)
    else:
        learner.forget(lessons)
    return learner


def most_at_once(model: TaskModel) -> int:
    """The most test inputs whose keys and values fit in the free memory of the model's device."""
    if model.tasks.device.type != "cuda":
        return AT_ONCE_ON_CPU
    each = size_of(model.lm.config, MAX_SEQUENCES, COLUMNS, model.tasks.dtype)
    free, _ = torch.cuda.mem_get_info()
    return max(1, min(AT_ONCE, int(FREE_PART * free / each)))


HELD = Held[StackedLearner]()
