"""The likelihood of given grids under fixed views, for the comparison of candidates.

A grid's log-probability depends on the view. Numbers of different grids can be compared if all
grids are measured under the same views. The sum over views is a product of experts
(arXiv:2505.07859).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from solver.deadline import Deadline, OutOfTimeError
from solver.grid import Grid, Task
from solver.lm.search.language import Cache, LanguageModel, LogProbs
from solver.lm.symbols import PAD, Tokens, output_symbols
from solver.views import View

Scores = NDArray[np.float64]
UNTRIED = 2000  # cells; before more are read at once, the time for one grid is measured


def rescore(
    model: LanguageModel,
    task: Task,
    test: int,
    grids: Sequence[Grid],
    views: Sequence[View],
    deadline: Deadline,
    width: int = 32,
) -> Scores:
    """Log-likelihoods (nats) of distinct grids as the output of a test input: (C, V).

    C is the number of grids, V the number of views. At most `width` sequences are read at a time,
    and a view's prompt is read once for all grids. Views that do not end before the deadline
    are left out. If the time is too short for all grids under a single view, the last grids are
    left out. V and C are then smaller, but all remaining grids are measured under the same views.
    """
    together, took = max(1, width // max(1, len(grids))), 0.0
    if together * sum(grid.size for grid in grids) > UNTRIED and not deadline.passed():
        left = deadline.left()
        try:
            _score(model, task, test, grids[:1], views[:1], width, deadline)
        except OutOfTimeError:
            return np.empty((len(grids), 0))
        took = left - deadline.left()
        fit = int(max(0.0, deadline.left()) / max(took, 1e-9))
        grids = grids[: max(1, fit)]
        together = max(1, min(together, fit // len(grids)))
    columns, done = [np.empty((len(grids), 0))], 0
    while grids and done < len(views) and (left := deadline.left()) > took:
        some = views[done : done + min(together, int(left / took) if took else together)]
        try:
            columns.append(_score(model, task, test, grids, some, width, deadline))
        except OutOfTimeError:
            break
        took = (left - deadline.left()) / len(some)  # seconds for each view
        done += len(some)
    return np.concatenate(columns, axis=1)


def _score(
    model: LanguageModel,
    task: Task,
    test: int,
    grids: Sequence[Grid],
    views: Sequence[View],
    width: int,
    deadline: Deadline,
) -> Scores:
    """Log-likelihoods (C, V), with all views' prompts in one cache, where each is read once.

    Raises `OutOfTimeError` as the model does.
    """
    prompts = [model.prompt(task, test, view) for view in views]
    shown = [[output_symbols(view.apply(grid)) for grid in grids] for view in views]
    room = max(len(output) for outputs in shown for output in outputs)
    before, parts = min(width, len(grids)), []  # rows of a view in the cache
    cache, first = model.read(prompts, len(views) * before, room, deadline)
    for start in range(0, len(grids), width):
        outputs = [some[start : start + width] for some in shown]
        count = len(outputs[0])
        rows = np.repeat(np.arange(len(views)), count)
        inner = np.tile(np.arange(count), len(views))
        # Later passes find the prompt in all rows of a view, so that few rows move.
        sources = before * rows + inner if start else rows
        cache.gather(sources.tolist(), [0] * len(rows))
        found = likelihoods(cache, first[rows], [output for some in outputs for output in some])
        parts.append(found.reshape(len(views), count).T)
        before = count
    return np.concatenate(parts)


def likelihoods(cache: Cache, first: LogProbs, outputs: Sequence[Tokens]) -> Scores:
    """Log-probabilities (B,) of outputs after the sequences that a cache has read, in one pass.

    `first` (B, WRITABLE): log-probabilities of the first symbol. The cache reads each output
    without the last symbol.
    """
    counts = np.array([len(output) - 1 for output in outputs])
    symbols = np.full((len(outputs), max(1, counts.max())), PAD)
    for i, output in enumerate(outputs):
        symbols[i, : counts[i]] = output[:-1]
    after = np.concatenate([first[:, None], cache.extend(symbols, counts)], axis=1)
    return np.array(
        [
            following[np.arange(len(output)), output].sum()
            for following, output in zip(after, outputs, strict=True)
        ]
    )
