"""A user's language model as an engine, which learns a task by an adapter and then answers it.

The engine `llm` trains and answers task by task. The engine `llm-joint` trains one adapter on all
tasks of the run; `llm` starts from this adapter if there is one. Both engines take the settings of
`solver.lm.settings`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from solver.deadline import Deadline
from solver.engines import Context
from solver.grid import Candidate, DataError, Pair, Task, freeze, stable_seed
from solver.ladder import Rung
from solver.lm.held import Held
from solver.lm.llm.causal import ContextModel, cut_vocabulary
from solver.lm.llm.reader import Reader
from solver.lm.llm.tune import ADAPTER, ContextLearner
from solver.lm.load import load_causal
from solver.lm.ready import read_vocabulary
from solver.lm.search.searches import Options, Question
from solver.lm.search.strategies import STRATEGIES, propose
from solver.lm.settings import MIN_LENGTH_TOKENS, Settings, read
from solver.lm.symbols import WRITABLE, output_symbols
from solver.lm.vocabulary import VOCABULARY_FILE
from solver.views import View, sample_views

log = logging.getLogger("solver")
JOINT = "llm"  # in the folder that a run's workers share
# The settings that the loaded model depends on; the others may change from job to job.
LOADED = (
    *("model", "backend", "quantization", "max_seq_length", "style"),
    *("rank", "alpha", "rslora", "targets", "checkpointing"),
)
TOLERANCE = {torch.float32: 1e-2}  # nats: largest difference between two ways of computing
LOOSE_TOLERANCE = 0.5  # nats: the same in 16 bits


def llm(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """Learn one task, then answer its test inputs.

    Each pass has another seed, so further passes show the task in other colours and orders.
    """
    asked = read(context.settings)
    worker = worker_of(asked, context.rung)
    worker.start(context.folder / JOINT / ADAPTER)
    settings = spared(asked, context.rung)
    worker.learner.use(settings)
    if context.rung.training:
        learned = deadline.slice(settings.learning * deadline.left())
        worker.learner.learn(task, learned, context.seed)
    else:
        worker.learner.reset()
    views = views_of(task, settings, context.seed)
    options = Options(width=settings.width, threshold=settings.threshold, seed=context.seed)
    reader = Reader(worker.learner.model)
    for test in range(len(task.tests)):
        part = deadline.slice(deadline.left() / (len(task.tests) - test))
        question = Question(task, test, views, known=context.known)
        strategy = STRATEGIES[settings.strategy]
        reader.forget()
        yield from propose(strategy, reader, question, part, options, engine="llm")


def joint(tasks: Sequence[Task], deadline: Deadline, context: Context) -> None:
    """Train one adapter on all tasks together: the engine of a job over all tasks."""
    asked = read(context.settings)
    learner = worker_of(asked, context.rung).learner
    learner.use(spared(asked, context.rung))
    learner.learn_all(tasks, context.folder / JOINT, deadline, context.seed)


def prepare(context: Context) -> None:
    """Load the model in the form of the rung before a slice begins."""
    worker_of(read(context.settings), context.rung)


def spared(settings: Settings, rung: Rung) -> Settings:
    """The settings, reduced to the memory that the rung allows."""
    return replace(
        settings,
        batch=max(1, round(settings.batch * rung.batch)),
        width=max(1, round(settings.width * rung.batch)),
        views=max(1, round(settings.views * rung.views)),
        max_seq_length=max(MIN_LENGTH_TOKENS, round(settings.max_seq_length * rung.context)),
        checkpointing=settings.checkpointing or rung.checkpointing,
        quantization="nf4" if rung.four_bit else settings.quantization,
    )


def views_of(task: Task, settings: Settings, seed: int) -> list[View]:
    """The views in which a test input is answered, with balanced turns."""
    if settings.view_colors != "none":
        every = settings.view_colors == "all"
        return sample_views(
            task,
            settings.views,
            seed,
            keep_background=not every,
            keep_output_only=not every,
        )
    rng = np.random.default_rng(stable_seed(seed, task.id, "views"))
    orders = [tuple(rng.permutation(len(task.train)).tolist()) for _ in range(settings.views)]
    return [View(i % 8, order=order) for i, order in enumerate(orders)]


class _Worker:
    """The state that a worker process keeps between tasks."""

    def __init__(self, learner: ContextLearner) -> None:
        self.learner = learner
        self._started = False

    def start(self, adapter: Path) -> None:
        """Let tasks start from the adapter trained on all tasks, as soon as its file exists."""
        if not self._started and adapter.exists():
            self.learner.start_from(adapter)
            self._started = True


HELD = Held[_Worker]()


def worker_of(asked: Settings, rung: Rung) -> _Worker:
    """The worker's model in the form of the rung, loaded again if the rung needs another form."""
    settings = replace(spared(asked, rung), max_seq_length=asked.max_seq_length)
    wanted = tuple(getattr(settings, name) for name in LOADED)
    return HELD.get(wanted, lambda: _Worker(load_learner(settings)))


def load_learner(settings: Settings) -> ContextLearner:
    """Load the model that settings name, ready to learn, on the GPU if there is one.

    Raises `DataError` if the model cannot be loaded or fails `verify`.
    """
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    folder = Path(settings.model)
    vocabulary = read_vocabulary(folder, settings.style)

    def finish(lm: Any) -> ContextModel:
        if not (folder / VOCABULARY_FILE).exists():
            cut_vocabulary(lm, vocabulary.kept)
        lm.requires_grad_(False)
        model = ContextModel(lm, vocabulary, settings.max_seq_length)
        verify(model)
        return model

    return ContextLearner(load_causal(settings, device, finish), settings)


def verify(model: ContextModel) -> None:
    """Raise `DataError` unless reading step by step and reading at once agree.

    Without this check, a backend that ignores positions or masks would silently answer nonsense.
    If only a copy of the layers does not agree, no copy will be made, and the log says so.
    """
    most = TOLERANCE.get(model.lm.dtype, LOOSE_TOLERANCE)
    worst = difference(model, Reader(model, copied=False))
    if not worst <= most:
        raise DataError(f"computes otherwise step by step than at once, by {worst:.2g} nats")
    if model.copied and not (worst := difference(model, Reader(model))) <= most:
        model.copied = False
        log.warning("the model's own layers answer: a copy differs by %.2g nats", worst)


@torch.no_grad()
def difference(model: ContextModel, reader: Reader) -> float:
    """The largest difference (nats) between reading step by step and reading at once."""
    small = freeze(np.arange(6, dtype=np.uint8).reshape(2, 3))
    task = Task("verify", (Pair(small, small),), (small,))
    prompt = model.prompt(task, 0, View())
    symbols = output_symbols(small)[:-1]
    cache, first = reader.read([prompt, prompt], 2, len(symbols), Deadline(math.inf))
    counts = np.array([len(symbols), 2])
    steps = cache.extend(np.stack([symbols, symbols]), counts)[0]
    tokens = np.concatenate([prompt.sequence.tokens, symbols])
    device = next(model.parameters()).device
    logits = model(torch.from_numpy(tokens)[None].to(device))[0, len(prompt) - 1 :, :WRITABLE]
    colors = slice(0, 10)
    at_once = torch.log_softmax(logits[:, colors].double(), -1).cpu().numpy()
    found = np.concatenate([first[:1], steps])[:, colors]
    found = found - np.logaddexp.reduce(found, axis=-1, keepdims=True)
    return float(np.abs(found - at_once).max())
