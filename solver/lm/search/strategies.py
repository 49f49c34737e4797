"""Strategies by name: a search for candidates, their measurement, and their selector.

`propose` runs a strategy. If the strategy measures, the likelihood of distinct grids is measured
under fixed views. The model thus verifies its own grids.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from solver.deadline import Deadline, OutOfTimeError
from solver.grid import Candidate, key
from solver.lm.search.language import LanguageModel
from solver.lm.search.rescore import rescore
from solver.lm.search.reserve import MAX_RESERVE_SHARE, Ahead, Reserve, Timed
from solver.lm.search.searches import (
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
THRESHOLD_FACTOR = 4.0  # the next threshold is lower by this factor
PROVISIONAL = 200  # most candidates that are sent before they are measured


@dataclass(frozen=True)
class Strategy:
    """A search, and the use of its grids.

    measured: True if the found grids are measured under all views.
    selector: name of the selector that chooses the attempts.
    deepens: True to search again with a lower threshold while fewer grids than attempts are above
    the threshold.
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
) -> Iterator[Candidate]:
    """The candidates for a test input, first provisional, then final.

    Provisional candidates are yielded as they are found, so that a job that is stopped keeps them.
    At the end follows one final candidate for each distinct grid and view. Candidates of earlier
    jobs that were measured, too, follow with 0 votes.

    A candidate's `votes` is the number of times that its view gave the grid. Its `scores` are the
    grid's log-likelihoods under all views that were asked. They are empty if the strategy does not
    measure or time was too short.
    """
    found = Found(replace(asked, cut={} if strategy.deepens else None))
    for guess in _find_in_time(strategy, model, found, deadline, options):
        if found.add(guess) and len(found.guesses) <= PROVISIONAL:
            yield replace(_candidate(asked, [guess], (), engine), provisional=True)
    asked = replace(asked, views=found.views)
    scores = _measure(model, asked, found, deadline, options) if strategy.measured else {}
    for (grid, _), guesses in found.guesses.items():
        yield _candidate(asked, guesses, scores.get(grid, ()), engine)
    yield from _told(asked, scores, engine)


@dataclass(eq=False)
class Found:
    """The guesses for a question so far, by grid and view, and the views that were asked."""

    asked: Question
    guesses: dict[tuple[bytes, str], list[Guess]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.views = self.asked.views

    def add(self, guess: Guess) -> bool:
        """Add a guess. True if its view gave this grid for the first time."""
        mine = self.guesses.setdefault((key(guess.grid), guess.view.name), [])
        mine.append(guess)
        return len(mine) == 1

    @property
    def all(self) -> list[Guess]:
        """All guesses so far."""
        return [guess for some in self.guesses.values() for guess in some]


def _candidate(
    asked: Question, guesses: Sequence[Guess], scores: tuple[float, ...], engine: str
) -> Candidate:
    """The candidate of one grid that one view found, in one or more guesses."""
    return Candidate(
        asked.task.id,
        asked.test,
        guesses[0].grid,
        engine,
        view=guesses[0].view.name,
        logprob=max(guess.logprob for guess in guesses),
        scores=scores,
        votes=len(guesses),
    )


def _told(
    asked: Question, scores: Mapping[bytes, tuple[float, ...]], engine: str
) -> Iterator[Candidate]:
    """The measured candidates of earlier jobs, with this engine's scores and 0 votes."""
    for known in _known(asked):
        if measured := scores.get(key(known.grid)):
            yield replace(known, engine=engine, scores=measured, votes=0, provisional=False)


def _known(asked: Question) -> list[Candidate]:
    return [candidate for candidate in asked.known if candidate.test == asked.test]


def _find_in_time(
    strategy: Strategy, model: LanguageModel, found: Found, deadline: Deadline, options: Options
) -> Iterator[Guess]:
    """The guesses of `_find`, until time is up.

    If the strategy measures, the search ends early enough to measure the found grids.
    """
    grids = [known.grid for known in _known(found.asked)]
    longest_s = MAX_RESERVE_SHARE * deadline.left()
    reserve = Reserve(len(found.asked.views), grids, options.finalists, longest_s)
    if strategy.measured:
        model = Timed(model, reserve, deadline.clock)
        deadline = Deadline(deadline.at, Ahead(deadline.clock, reserve))
    try:
        for guess in _find(strategy, model, found, deadline, options):
            reserve.found(guess.grid)
            yield guess
    except OutOfTimeError:
        pass  # guesses found before are kept


def _find(
    strategy: Strategy, model: LanguageModel, found: Found, deadline: Deadline, options: Options
) -> Iterator[Guess]:
    """The guesses in the first `options.probe` views; if these do not agree, also in all others.

    If the first views agree, they become `found.views`. The caller must add each guess to `found`
    before asking for the next guess.
    """
    search, asked = strategy.search, found.asked
    first = asked.views[: options.probe] or asked.views
    yield from search(model, replace(asked, views=first), deadline, options)
    if unanimous(found.all, first):
        found.views = first
        return
    if deadline.passed():
        return
    if len(first) < len(asked.views):
        rest = replace(asked, views=asked.views[len(first) :], best=likeliest(found.all))
        yield from search(model, rest, deadline, options)
    if strategy.deepens:
        yield from _deepen(search, model, found, deadline, options)


def _deepen(
    search: Search, model: LanguageModel, found: Found, deadline: Deadline, options: Options
) -> Iterator[Guess]:
    """The new guesses of further searches with lower thresholds.

    The threshold falls until as many grids as attempts are above it, but not below
    `options.lowest`.
    """
    threshold = options.threshold
    while (
        distinct(found.all, threshold) < ATTEMPTS
        and threshold > options.lowest
        and not deadline.passed()
    ):
        threshold = max(options.lowest, threshold / THRESHOLD_FACTOR)
        again = replace(found.asked, best=likeliest(found.all))
        for guess in search(model, again, deadline, replace(options, threshold=threshold)):
            if (key(guess.grid), guess.view.name) not in found.guesses:
                yield guess


def likeliest(guesses: Iterable[Guess]) -> Guess | None:
    """The guess with the highest probability in its view; None if there is no guess."""
    return max(guesses, key=lambda guess: guess.logprob, default=None)


def distinct(guesses: Iterable[Guess], threshold: float) -> int:
    """The number of grids to which some view gives at least the probability `threshold`."""
    return len({key(guess.grid) for guess in guesses if guess.logprob >= math.log(threshold)})


def unanimous(guesses: Sequence[Guess], views: Sequence[View]) -> bool:
    """True if one grid has a probability of more than one half in every view."""
    sure = [guess for guess in guesses if guess.logprob > math.log(0.5)]
    voters = {guess.view.name for guess in sure}
    return voters == {view.name for view in views} and len({key(g.grid) for g in sure}) == 1


def _measure(
    model: LanguageModel, asked: Question, found: Found, deadline: Deadline, options: Options
) -> dict[bytes, tuple[float, ...]]:
    """Scores of the best `options.finalists` found grids, and of the grids of earlier jobs.

    Found grids are ranked by their number of guesses, then by their log-probability. Grids that
    time was too short for are missing.
    """
    by_grid: dict[bytes, list[Guess]] = {}
    for (grid, _), guesses in found.guesses.items():
        by_grid.setdefault(grid, []).extend(guesses)
    ranked = sorted(
        by_grid, key=lambda g: (-len(by_grid[g]), -max(x.logprob for x in by_grid[g]), g)
    )[: options.finalists]
    grids = {name: by_grid[name][0].grid for name in ranked}
    grids |= {key(known.grid): known.grid for known in _known(asked)}
    measured = list(grids.values())
    scores = rescore(model, asked.task, asked.test, measured, asked.views, deadline, options.width)
    return {name: tuple(row.tolist()) for name, row in zip(grids, scores, strict=False)}
