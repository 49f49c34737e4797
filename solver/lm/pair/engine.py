"""The pair model as an engine, which learns one task and then answers its test inputs.

The engine starts from the model that was trained on all tasks together (`solver.lm.pair.joint`).
Without such a model, the engine starts from the bundled model or the model in the settings. An
adapter learns the task. Test inputs are answered in up to eight views, one for each turn. The
model itself scores the answers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from solver.deadline import Deadline
from solver.engines import Context
from solver.grid import Candidate, Task, stable_seed
from solver.lm.held import Held
from solver.lm.pair.cache import PairModel
from solver.lm.pair.checkpoint import VECTORS
from solver.lm.pair.joint import ADAPTED, load_adapted, task_vectors
from solver.lm.pair.model import BUNDLE, load_tasks
from solver.lm.pair.settings import PairSettings, read
from solver.lm.pair.ttt import Adaptation, Learner
from solver.lm.precision import own_device
from solver.lm.search.searches import Options, Question
from solver.lm.search.strategies import STRATEGIES, propose
from solver.lm.symbols import WRITABLE
from solver.lm.training.corpus import lesson_of
from solver.lm.training.stream import random_view
from solver.machine import give_back_memory
from solver.views import View

PROBE_VIEWS = 4  # views to ask first
MAX_SEQUENCES = 32  # sequences decoded at once
ADAPTATION = Adaptation()


def model(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """Learn one task, then answer its test inputs. Further passes show the task in other colours.

    If the first views settle the task, the rest of the slice is given back.
    """
    settings = read(context.settings)
    worker = worker_of(context, settings)
    learning = deadline.slice(settings.learning * deadline.left())
    left = worker.learn(task, learning, context, settings)
    give_back_memory()  # of learning: answering needs as much again
    views = views_of(task, context, settings.views)
    known = PairModel(worker.learner.model, {task.id: 0})
    options = options_of(context)
    for test in range(len(task.tests)):
        part = deadline.slice(deadline.left() / (len(task.tests) - test))
        asked = Question(task, test, views, known=context.known)
        strategy = STRATEGIES[settings.strategy]
        for found in propose(strategy, known, asked, part, options, engine="model"):
            yield replace(found, unlearned=left)


def views_of(task: Task, context: Context, turns: int) -> list[View]:
    """The views of a pass: the first `turns` turns in the task's own colours.

    Later passes are for tasks whose views disagreed. Their views are the turns in each of two
    other colourings. The rung may leave out the last views.
    """
    views = [View(d8) for d8 in range(turns)]
    if context.pass_ > 0:
        rng = np.random.default_rng(stable_seed(context.seed, task.id, "views"))
        fixed = lesson_of(task).fixed_colors
        colors = [random_view(rng, fixed).colors for _ in range(2)]
        views = [View(view.d8, shown) for shown in colors for view in views]
    return views[: max(1, round(len(views) * context.rung.views))]


def options_of(context: Context) -> Options:
    """The options of a search, as far as memory allows."""
    width = round(MAX_SEQUENCES * context.rung.batch)
    return Options(seed=context.seed, probe=PROBE_VIEWS, width=width)


def prepare(context: Context) -> None:
    """Load the model before a slice begins: the jointly trained model if there is one."""
    worker_of(context, read(context.settings))


@dataclass(frozen=True)
class Worker:
    """The state that a worker process keeps between tasks.

    adapted: the folder of the jointly trained model; None if there is none.
    """

    learner: Learner
    adapted: Path | None

    @property
    def unlearned(self) -> float:
        """The loss that is assumed before any step of learning, in nats a token."""
        return 0.0 if self.adapted else math.log(WRITABLE)  # any symbol is as likely

    def vectors(self, task: Task) -> Tensor | None:
        """The vectors (K, D) of a task after joint training, if there are any."""
        return task_vectors(self.adapted, task.id) if self.adapted else None

    def learn(
        self, task: Task, deadline: Deadline, context: Context, settings: PairSettings
    ) -> float:
        """Forget the last task and learn this one, as far as memory allows.

        Returns the loss that is left (`Learned.left`), in nats a token. Without any step of
        learning: 0 for a jointly trained model, otherwise the loss of guessing a symbol.
        """
        vectors, before = self.vectors(task), self.unlearned
        if not context.rung.training or not settings.learning:
            self.learner.reset(context.seed, vectors)
            return before
        tokens = round(ADAPTATION.tokens * context.rung.batch)
        self.learner.adaptation = replace(ADAPTATION, tokens=tokens)
        learned = self.learner.learn(task, deadline, context.seed, vectors)
        return learned.left if learned.steps else before


HELD = Held[Worker]()


def worker_of(context: Context, settings: PairSettings) -> Worker:
    """The model that the run adapted or, if there is none, the one that the settings name."""
    key = context.folder, settings.folder, own_device(context)
    return HELD.get(key, lambda: _load(*key))


def _load(folder: Path, model: str, device: torch.device) -> Worker:
    torch.set_num_threads(1)
    adapted = folder / ADAPTED
    whole = (adapted / VECTORS).exists()
    if whole:
        start = load_adapted(adapted, "", device)
    else:
        start = load_tasks(Path(model or BUNDLE), 1, device)
    return Worker(Learner(start, ADAPTATION), adapted if whole else None)
