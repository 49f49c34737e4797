"""Searches for outputs: functions (model, question, deadline, options) -> iterator of `Guess`.

The searches are greedy, sampling, depth-first, and by rows; `solver.lm.search.strategies` gives
them names. A search yields each output as soon as the output is found, and ends at its deadline. A
search may raise `OutOfTimeError` if the deadline passes within a pass of the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from solver.deadline import Deadline, OutOfTimeError
from solver.grid import MAX_SIDE, Candidate, Grid, Task, stable_seed
from solver.lm.search.decode import Decoded, Sampler, as_written
from solver.lm.search.dfs import Cut, Row, deeper, depth_first
from solver.lm.search.language import LanguageModel
from solver.lm.search.rows import RowSearch, Width, row_order
from solver.lm.symbols import Tokens, decode, output_symbols
from solver.views import View


@dataclass(frozen=True)
class Options:
    """Limits of a search.

    side: cells in the longest side of an output; a small number saves memory and time.
    width: number of sequences decoded at once.
    samples: number of sampled outputs, over all views.
    temperature: of sampling, also for beam search and DVTS.
    threshold: lowest probability that depth-first search follows.
    lowest: lower bound of `threshold`, which falls while too few outputs are likely enough.
    beams: beams of beam search, trees of DVTS.
    tries: next rows tried for each beam.
    finalists: number of found grids that are measured, at most.
    probe: number of views asked first; the others are asked only if these views do not agree. 0
    asks all views at once.
    seed: of the random choices of sampling and of search by rows.
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
    """An output, its view, and its log-probability (nats) in that view.

    The grid is undone from the view: it is the output for the task itself.
    """

    grid: Grid
    view: View
    logprob: float


@dataclass(frozen=True, eq=False)
class Question:
    """A test input and the facts that a search may use.

    views: the views to search in.
    best: the likeliest guess of other views, or of an earlier search.
    known: the candidates of earlier jobs for the task.
    cut: by a view's name, the branches that depth-first search has cut in the view so far. A view
    is missing unless its last search came to its end. None if no deeper search will follow.
    """

    task: Task
    test: int
    views: Sequence[View]
    best: Guess | None = None
    known: tuple[Candidate, ...] = ()
    cut: dict[str, list[Row]] | None = None


Search = Callable[[LanguageModel, Question, Deadline, Options], Iterator[Guess]]


def greedy_search(
    model: LanguageModel, asked: Question, deadline: Deadline, options: Options
) -> Iterator[Guess]:
    """An output of the likeliest symbols, in each view."""
    yield from _generate(model, asked, Sampler(), deadline, options)


def sample_search(
    model: LanguageModel, asked: Question, deadline: Deadline, options: Options
) -> Iterator[Guess]:
    """Outputs sampled at a temperature, from each view in turn."""
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
    """All outputs of probability `options.threshold` or more, in each view.

    The search begins with `asked.best`, or else with the greedy output in the first view. Most
    often that grid is likely in all views: every view reads the grid in one pass, and only its
    branches are written. If no view finds a likely output and `asked.best` is not given, the search
    yields the greedy output of each view.

    In views that were searched at a higher threshold, the search goes on from the branches that
    were cut there, and yields only new outputs.
    """
    begun = {view.name: view for view in asked.views if asked.cut and view.name in asked.cut}
    if begun:
        yield from _deeper(model, replace(asked, views=[*begun.values()]), deadline, options)
        asked = replace(asked, views=[view for view in asked.views if view.name not in begun])
        if not asked.views:
            return
    first = replace(asked, views=asked.views[:1])
    best = asked.best or next(greedy_search(model, first, deadline, options), None)
    found = 0
    try:
        for guess in _above(model, asked, best, deadline, options):
            found += 1
            yield guess
    except OutOfTimeError:
        pass  # the greedy output may be all there is
    if not found and not asked.best:
        yield from [best] if best else []
        if not deadline.passed():
            others = replace(asked, views=asked.views[1:])
            yield from greedy_search(model, others, deadline, options)


def _above(
    model: LanguageModel, asked: Question, best: Guess | None, deadline: Deadline, options: Options
) -> Iterator[Guess]:
    """All outputs of at least probability `options.threshold`, in each view; reads `best` first."""
    for start in range(0, len(asked.views), options.width):
        if deadline.passed():  # before memory for a search is allocated
            return
        some = asked.views[start : start + options.width]
        prompts = [model.prompt(asked.task, asked.test, view) for view in some]
        limits = (options.threshold, deadline, options.side, options.width)
        cut = Cut(math.inf if asked.cut is None else options.lowest)
        for number, decoded in depth_first(model, prompts, *limits, _shown(best, some), cut):
            yield _guess(decoded, some[number])
        _keep(asked.cut, some, cut)


def _deeper(
    model: LanguageModel, asked: Question, deadline: Deadline, options: Options
) -> Iterator[Guess]:
    """The further outputs of at least probability `options.threshold`, from `asked.cut`."""
    held = asked.cut or {}
    for start in range(0, len(asked.views), options.width):
        some = asked.views[start : start + options.width]
        prompts = [model.prompt(asked.task, asked.test, view) for view in some]
        begun = [held.pop(view.name) for view in some]
        rows = [replace(row, prompt=number) for number, mine in enumerate(begun) for row in mine]
        cut = Cut(options.lowest, rows)
        limits = (options.threshold, deadline, options.side, options.width)
        for number, decoded in deeper(model, prompts, *limits, cut):
            yield _guess(decoded, some[number])
        _keep(held, some, cut)


def _keep(held: dict[str, list[Row]] | None, views: Sequence[View], cut: Cut) -> None:
    """Put the cut branches of a whole search in some views into `held`."""
    if held is not None and cut.whole:
        for number, view in enumerate(views):
            held[view.name] = [row for row in cut.rows if row.prompt == number]


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
    """Search by rows for each row order: its first view writes, its other views verify."""
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
