"""Search strategies by name: how candidates are found, whether they are measured, how chosen.

A search is a function (model, question, deadline, options) -> iterator of `Guess`.
`propose` runs one and, where the strategy says so, measures each distinct grid by its likelihood
under fixed views: the model is its own verifier.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from solver.deadline import Deadline
from solver.grid import MAX_SIDE, Candidate, Grid, Task, key, stable_seed
from solver.lm.decode import Decoded, Sampler, generate
from solver.lm.dfs import depth_first
from solver.lm.formats import END, Tokens, decode, output_symbols
from solver.lm.language import LanguageModel
from solver.lm.rescore import rescore
from solver.lm.rows import RowSearch, Width, row_order
from solver.views import View

SEARCH_SHARE = 0.7  # of the time: what is left is for measuring what was found


@dataclass(frozen=True)
class Options:
    """How widely to search.

    side: no output is longer a side; what the caller knows of its size saves memory and time.
    width: sequences decoded at once. samples: of sampling, over all views, at `temperature`.
    threshold: the lowest probability that depth-first search follows. beams, tries: of beam
    search and DVTS. finalists: at most so many grids are measured.
    """

    side: int = MAX_SIDE
    width: int = 32
    samples: int = 32
    temperature: float = 0.8
    threshold: float = 0.1
    beams: int = 4
    tries: int = 4
    finalists: int = 24
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Guess:
    """An output, turned back from the view it was written in, and its log-probability there."""

    grid: Grid
    view: View
    logprob: float


@dataclass(frozen=True, eq=False)
class Question:
    """A test input, and the views to look at it in."""

    task: Task
    test: int
    views: Sequence[View]


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
        written = generate(model, prompts, sampler, deadline, options.side)
        yield from (_guess(d, v) for d, v in zip(written, some, strict=True) if _ended(d))
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
    best = next(greedy_search(model, first, deadline, options), None)
    found = 0
    for start in range(0, len(asked.views), options.width):
        if deadline.passed():
            return
        some = asked.views[start : start + options.width]
        prompts = [model.prompt(asked.task, asked.test, view) for view in some]
        guesses = _shown(best, some)
        limits = (options.threshold, deadline, options.side, options.width)
        for number, decoded in depth_first(model, prompts, *limits, guesses):
            found += 1
            yield _guess(decoded, some[number])
    if not found and not deadline.passed():
        yield from greedy_search(model, asked, deadline, options)


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


def _ended(decoded: Decoded) -> bool:
    return bool(len(decoded.tokens)) and int(decoded.tokens[-1]) == END


def _guess(decoded: Decoded, view: View) -> Guess:
    return Guess(view.undo(decode(decoded.tokens)), view, decoded.logprob)


@dataclass(frozen=True)
class Strategy:
    """A search, whether what it finds is measured under all views, and the selector to use."""

    search: Search
    measured: bool
    selector: str


STRATEGIES = {
    "greedy": Strategy(greedy_search, False, "majority"),
    "majority": Strategy(sample_search, False, "majority"),
    "best-of-n": Strategy(sample_search, True, "experts"),
    "weighted-best-of-n": Strategy(sample_search, True, "weighted"),
    "beam": Strategy(beam_search, True, "experts"),
    "dvts": Strategy(dvts_search, True, "experts"),
    "dfs": Strategy(dfs_search, True, "experts"),
}


def propose(
    strategy: Strategy,
    model: LanguageModel,
    asked: Question,
    deadline: Deadline,
    options: Options,
    engine: str = "lm",
) -> list[Candidate]:
    """Candidates for a test input, one for each distinct grid and view.

    `votes` counts how often a view gave the grid; `scores` are its log-likelihoods under all
    the views, where the strategy measures and there was time.
    """
    kept_back = (1 - SEARCH_SHARE) * deadline.left() if strategy.measured else 0.0
    found: dict[tuple[bytes, str], list[Guess]] = {}
    for guess in strategy.search(model, asked, deadline.earlier(kept_back), options):
        found.setdefault((key(guess.grid), guess.view.name), []).append(guess)
    scores = _measure(model, asked, found, deadline, options) if strategy.measured else {}
    return [
        Candidate(
            asked.task.id,
            asked.test,
            guesses[0].grid,
            engine,
            view=view,
            logprob=max(guess.logprob for guess in guesses),
            scores=scores.get(grid, ()),
            votes=len(guesses),
        )
        for (grid, view), guesses in found.items()
    ]


def _measure(
    model: LanguageModel,
    asked: Question,
    found: Mapping[tuple[bytes, str], Sequence[Guess]],
    deadline: Deadline,
    options: Options,
) -> dict[bytes, tuple[float, ...]]:
    """Scores of the grids found most often, the likelier first among equals."""
    by_grid: dict[bytes, list[Guess]] = {}
    for (grid, _), guesses in found.items():
        by_grid.setdefault(grid, []).extend(guesses)
    ranked = sorted(
        by_grid, key=lambda g: (-len(by_grid[g]), -max(x.logprob for x in by_grid[g]), g)
    )[: options.finalists]
    grids = [by_grid[name][0].grid for name in ranked]
    scores = rescore(model, asked.task, asked.test, grids, asked.views, deadline, options.width)
    return {name: tuple(row.tolist()) for name, row in zip(ranked, scores, strict=True)}
