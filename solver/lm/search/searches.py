"""Searches for outputs: functions (model, question, deadline, options) -> iterator of `Guess`.

Greedy, sampling, depth-first, and by rows; which there are by name is said in
`solver.lm.search.strategies`. A search yields what it finds as soon as it finds it, ends at its
deadline, and raises `OutOfTimeError` where that passes within a pass of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from solver.deadline import Deadline, OutOfTimeError
from solver.grid import MAX_SIDE, Candidate, Grid, Task, stable_seed
from solver.lm.search.decode import Decoded, Sampler, as_written
from solver.lm.search.dfs import depth_first
from solver.lm.search.language import LanguageModel
from solver.lm.search.rows import RowSearch, Width, row_order
from solver.lm.symbols import Tokens, decode, output_symbols
from solver.views import View


@dataclass(frozen=True)
class Options:
    """How widely to search.

    side: no output is longer a side; what the caller knows of its size saves memory and time.
    width: sequences decoded at once. samples: of sampling, over all views, at `temperature`.
    threshold: the lowest probability that depth-first search follows; lowered as far as `lowest`
    where too little is as likely. beams, tries: of beam search and DVTS. finalists: at most so
    many grids are measured. probe: so many views are asked first, and the others only if those do
    not agree; 0 asks all at once.
    """

    side: int = MAX_SIDE
    width: int = 32
    samples: int = 32
    temperature: float = 0.8
    threshold: float = 0.1
    lowest: float = 0.002
    beams: int = 4
    tries: int = 4
    finalists: int = 24
    probe: int = 0
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Guess:
    """An output, turned back from the view it was written in, and its log-probability there."""

    grid: Grid
    view: View
    logprob: float


@dataclass(frozen=True, eq=False)
class Question:
    """A test input, the views to look at it in, the likeliest guess that others gave, and what
    earlier jobs found for the task."""

    task: Task
    test: int
    views: Sequence[View]
    best: Guess | None = None
    known: tuple[Candidate, ...] = ()


Search = Callable[[LanguageModel, Question, Deadline, Options], Iterator[Guess]]


def greedy_search(
    model: LanguageModel, asked: Question, deadline: Deadline, options: Options
) -> Iterator[Guess]:
    """The likeliest output, symbol by symbol, in each view."""
    yield from _generate(model, asked, Sampler(), deadline, options)


def sample_search(
    model: LanguageModel, asked: Question, deadline: Deadline, options: Options
) -> Iterator[Guess]:
    """Outputs drawn at a temperature, each view in turn."""
    drawn = [asked.views[i % len(asked.views)] for i in range(options.samples)]
    sampler = Sampler(options.temperature, _rng(asked, options))
    yield from _generate(model, replace(asked, views=drawn), sampler, deadline, options)


def _generate(
    model: LanguageModel,
    asked: Question,
    sampler: Sampler,
    deadline: Deadline,
    options: Options,
) -> Iterator[Guess]:
    for start in range(0, len(asked.views), options.width):
        some = asked.views[start : start + options.width]
        prompts = [model.prompt(asked.task, asked.test, view) for view in some]
        for number, decoded in as_written(model, prompts, sampler, deadline, options.side):
            yield _guess(decoded, some[number])
        if deadline.passed():
            return


def dfs_search(
    model: LanguageModel, asked: Question, deadline: Deadline, options: Options
) -> Iterator[Guess]:
    """All outputs above a probability, in each view.

    The likeliest output in the first view is written first: most often it is likely in the others
    too, so that all read it in one pass, and only what branches off it is written. Where no view
    finds anything likely enough, the likeliest outputs must do.
    """
    first = replace(asked, views=asked.views[:1])
    best = asked.best or next(greedy_search(model, first, deadline, options), None)
    found = 0
    try:
        for guess in _above(model, asked, best, deadline, options):
            found += 1
            yield guess
    except OutOfTimeError:
        pass  # the likeliest output may have to do
    if not found and not asked.best:
        yield from [best] if best else []
        if not deadline.passed():
            others = replace(asked, views=asked.views[1:])
            yield from greedy_search(model, others, deadline, options)


def _above(
    model: LanguageModel, asked: Question, best: Guess | None, deadline: Deadline, options: Options
) -> Iterator[Guess]:
    """All outputs above the threshold, in each view; `best` is read first."""
    for start in range(0, len(asked.views), options.width):
        if deadline.passed():  # before memory for a search is laid out
            return
        some = asked.views[start : start + options.width]
        prompts = [model.prompt(asked.task, asked.test, view) for view in some]
        limits = (options.threshold, deadline, options.side, options.width)
        for number, decoded in depth_first(model, prompts, *limits, _shown(best, some)):
            yield _guess(decoded, some[number])


def _shown(guess: Guess | None, views: Sequence[View]) -> list[Tokens]:
    """The grid of a guess as each view shows it, in symbols."""
    return [output_symbols(view.apply(guess.grid)) for view in views] if guess else []


def beam_search(
    model: LanguageModel, asked: Question, deadline: Deadline, options: Options
) -> Iterator[Guess]:
    """Beam search by rows, once for each order of rows among the views."""
    width = Width(1, options.beams, options.tries)
    yield from _by_rows(model, asked, width, deadline, options)


def dvts_search(
    model: LanguageModel, asked: Question, deadline: Deadline, options: Options
) -> Iterator[Guess]:
    """Diverse verifier tree search by rows, once for each order of rows among the views."""
    width = Width(options.beams, 1, options.tries)
    yield from _by_rows(model, asked, width, deadline, options)


def _by_rows(
    model: LanguageModel,
    asked: Question,
    width: Width,
    deadline: Deadline,
    options: Options,
) -> Iterator[Guess]:
    """The first view of each row order writes, the others of that order verify."""
    groups: dict[tuple[int, ...], list[View]] = {}
    for view in asked.views:
        groups.setdefault(row_order(view.d8), []).append(view)
    sampler = Sampler(options.temperature, _rng(asked, options))
    for writer, *judges in groups.values():
        if deadline.passed():
            return
        search = RowSearch(model, asked.task, asked.test, writer, judges)
        found = search.run(width, sampler, options.side, deadline)
        yield from (_guess(decoded, writer) for decoded, _ in found)


def _rng(asked: Question, options: Options) -> np.random.Generator:
    return np.random.default_rng(stable_seed(options.seed, asked.task.id, asked.test))


def _guess(decoded: Decoded, view: View) -> Guess:
    return Guess(view.undo(decode(decoded.tokens)), view, decoded.logprob)
