"""The pair model as an engine for several tasks in one job, which learns all of them at once.

Each task is learned, shown in views and answered as by `solver.lm.pair.engine`, from its own seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from solver.deadline import Deadline
from solver.engines import Context
from solver.grid import Candidate, Task
from solver.lm.held import Held
from solver.lm.many.learn import Lesson, StackedLearner
from solver.lm.pair.cache import PairModel
from solver.lm.pair.engine import ADAPTATION, Worker, options_of, views_of, worker_of
from solver.lm.pair.settings import PairSettings, read
from solver.lm.search.searches import Question
from solver.lm.search.strategies import STRATEGIES, propose
from solver.machine import give_back_memory


def together(
    tasks: Sequence[Task], deadline: Deadline, contexts: Sequence[Context]
) -> Iterator[Candidate]:
    """Learn several tasks side by side, then answer their test inputs."""
    settings = read(contexts[0].settings)
    worker = worker_of(contexts[0], settings)
    learning = deadline.slice(settings.learning * deadline.left())
    learned = _learn(worker, tasks, learning, contexts, settings)
    give_back_memory()
    tests = sum(len(task.tests) for task in tasks)
    for place, (task, context) in enumerate(zip(tasks, contexts, strict=True)):
        left = _show(worker, learned, place, task, context)
        known = PairModel(worker.learner.model, {task.id: 0})
        for test in range(len(task.tests)):
            part = deadline.slice(deadline.left() / tests)
            tests -= 1
            views = views_of(task, context, settings.views)
            asked = Question(task, test, views, known=context.known)
            strategy, options = STRATEGIES[settings.strategy], options_of(context)
            for found in propose(strategy, known, asked, part, options, engine="model"):
                yield replace(found, unlearned=left)


def _learn(
    worker: Worker,
    tasks: Sequence[Task],
    deadline: Deadline,
    contexts: Sequence[Context],
    settings: PairSettings,
) -> StackedLearner | None:
    """Learn the tasks, each in its place. None if memory or settings allow no learning."""
    if not contexts[0].rung.training or not settings.learning:
        return None
    worker.learner.reset()
    key = id(worker), len(tasks)
    model = worker.learner.model
    learner = HELD.get(key, lambda: StackedLearner(model, ADAPTATION, len(tasks)))
    lessons = [
        Lesson(task, context.seed, deadline, worker.vectors(task))
        for task, context in zip(tasks, contexts, strict=True)
    ]
    learner.learn(lessons)
    return learner


def _show(
    worker: Worker, learned: StackedLearner | None, place: int, task: Task, context: Context
) -> float:
    """Let the worker's model know a task. Returns the loss that learning left, in nats a token."""
    if learned is None:
        worker.learner.reset(context.seed, worker.vectors(task))
        return worker.unlearned
    learned.hand_over(place, worker.learner.adapter)
    result = learned.learned[place]
    return result.left if result.steps else worker.unlearned


HELD = Held[StackedLearner]()
