"""Strategies by name: how candidates are searched for, whether they are measured, how chosen.

`propose` runs one and, where the strategy says so, measures each distinct grid by its likelihood
under fixed views: the model is its own verifier.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from solver.deadline import Deadline
from solver.grid import Candidate, key
from solver.lm.language import LanguageModel
from solver.lm.rescore import rescore
from solver.lm.reserve import Reserve
from solver.lm.searches import (
    Guess,
    Options,
    Question,
    Search,
    beam_search,
    dfs_search,
    dvts_search,
    greedy_search,
    sample_search,
)
from solver.views import View

ATTEMPTS = 2
DEEPER = 4.0  # times lower is the next threshold


@dataclass(frozen=True)
class Strategy:
    """A search, whether what it finds is measured under all views, and the selector to use.

    deepens: it searches again below its threshold where fewer grids than attempts are above it.
    """

    search: Search
    measured: bool
    selector: str
    deepens: bool = False


STRATEGIES = {
    "greedy": Strategy(greedy_search, False, "majority"),
    "majority": Strategy(sample_search, False, "majority"),
    "best-of-n": Strategy(sample_search, True, "experts"),
    "weighted-best-of-n": Strategy(sample_search, True, "weighted"),
    "beam": Strategy(beam_search, True, "experts"),
    "dvts": Strategy(dvts_search, True, "experts"),
    "dfs": Strategy(dfs_search, True, "experts", deepens=True),
}


def propose(
    strategy: Strategy,
    model: LanguageModel,
    asked: Question,
    deadline: Deadline,
    options: Options,
    engine: str = "lm",
) -> list[Candidate]:
    """Candidates for a test input, one for each distinct grid and view; then, without a vote,
    those that earlier jobs found, as far as they were measured too.

    `votes` counts how often a view gave the grid; `scores` are its log-likelihoods under all
    the views that were asked, where the strategy measures and there was time.
    """
    found: dict[tuple[bytes, str], list[Guess]] = {}
    guesses, views = _find_in_time(strategy, model, asked, deadline, options)
    for guess in guesses:
        found.setdefault((key(guess.grid), guess.view.name), []).append(guess)
    asked = replace(asked, views=views)
    scores = _measure(model, asked, found, deadline, options) if strategy.measured else {}
    return [*_own(asked, found, scores, engine), *_told(asked, scores, engine)]


def _own(
    asked: Question,
    found: Mapping[tuple[bytes, str], Sequence[Guess]],
    scores: Mapping[bytes, tuple[float, ...]],
    engine: str,
) -> Iterator[Candidate]:
    """What the search found."""
    for (grid, view), guesses in found.items():
        yield Candidate(
            asked.task.id,
            asked.test,
            guesses[0].grid,
            engine,
            view=view,
            logprob=max(guess.logprob for guess in guesses),
            scores=scores.get(grid, ()),
            votes=len(guesses),
        )


def _told(
    asked: Question, scores: Mapping[bytes, tuple[float, ...]], engine: str
) -> Iterator[Candidate]:
    """What earlier jobs found, with this engine's measurements and without a vote."""
    for known in _known(asked):
        if measured := scores.get(key(known.grid)):
            yield replace(known, engine=engine, scores=measured, votes=0)


def _known(asked: Question) -> list[Candidate]:
    return [candidate for candidate in asked.known if candidate.test == asked.test]


def _find_in_time(
    strategy: Strategy, model: LanguageModel, asked: Question, deadline: Deadline, options: Options
) -> tuple[list[Guess], Sequence[View]]:
    """As `_find`, with time left for measuring what is found if the strategy measures."""
    if not strategy.measured:
        return _find(strategy, model, asked, deadline, options)
    grids = [known.grid for known in _known(asked)]
    reserve = Reserve(model, len(asked.views), grids, options.finalists, deadline)
    watching = replace(strategy, search=reserve.watching(strategy.search))
    return _find(watching, reserve, asked, reserve.deadline, options)


def _find(
    strategy: Strategy, model: LanguageModel, asked: Question, deadline: Deadline, options: Options
) -> tuple[list[Guess], Sequence[View]]:
    """What is found, and the views that were asked: the first few alone if those agree."""
    search, first = strategy.search, asked.views[: options.probe] or asked.views
    guesses = list(search(model, replace(asked, views=first), deadline, options))
    if unanimous(guesses, first):
        return guesses, first
    if deadline.passed():
        return guesses, asked.views
    if len(first) < len(asked.views):
        rest = replace(asked, views=asked.views[len(first) :], best=likeliest(guesses))
        guesses += search(model, rest, deadline, options)
    if strategy.deepens:
        guesses = _deepen(search, model, asked, guesses, deadline, options)
    return guesses, asked.views


def _deepen(
    search: Search,
    model: LanguageModel,
    asked: Question,
    guesses: Sequence[Guess],
    deadline: Deadline,
    options: Options,
) -> list[Guess]:
    """What was found, and what is found below the threshold, which falls until grids above it
    fill both attempts."""
    found = {(key(guess.grid), guess.view.name): guess for guess in guesses}
    threshold = options.threshold
    while (
        distinct(found.values(), threshold) < ATTEMPTS
        and threshold > options.lowest
        and not deadline.passed()
    ):
        threshold = max(options.lowest, threshold / DEEPER)
        again = replace(asked, best=likeliest(found.values()))
        for guess in search(model, again, deadline, replace(options, threshold=threshold)):
            found.setdefault((key(guess.grid), guess.view.name), guess)
    return list(found.values())


def likeliest(guesses: Iterable[Guess]) -> Guess | None:
    """The guess that its view gives the highest probability."""
    return max(guesses, key=lambda guess: guess.logprob, default=None)


def distinct(guesses: Iterable[Guess], threshold: float) -> int:
    """The number of grids that a view gives such a probability."""
    return len({key(guess.grid) for guess in guesses if guess.logprob >= math.log(threshold)})


def unanimous(guesses: Sequence[Guess], views: Sequence[View]) -> bool:
    """True if every view finds one and the same grid likelier than all others together."""
    sure = [guess for guess in guesses if guess.logprob > math.log(0.5)]
    voters = {guess.view.name for guess in sure}
    return voters == {view.name for view in views} and len({key(g.grid) for g in sure}) == 1


def _measure(
    model: LanguageModel,
    asked: Question,
    found: Mapping[tuple[bytes, str], Sequence[Guess]],
    deadline: Deadline,
    options: Options,
) -> dict[bytes, tuple[float, ...]]:
    """Scores of the grids found most often, the likelier first among equals, and then of those
    that earlier jobs found."""
    by_grid: dict[bytes, list[Guess]] = {}
    for (grid, _), guesses in found.items():
        by_grid.setdefault(grid, []).extend(guesses)
    ranked = sorted(
        by_grid, key=lambda g: (-len(by_grid[g]), -max(x.logprob for x in by_grid[g]), g)
    )[: options.finalists]
    grids = {name: by_grid[name][0].grid for name in ranked}
    grids |= {key(known.grid): known.grid for known in _known(asked)}
    measured = list(grids.values())
    scores = rescore(model, asked.task, asked.test, measured, asked.views, deadline, options.width)
    return {name: tuple(row.tolist()) for name, row in zip(grids, scores, strict=False)}
