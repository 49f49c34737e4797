"""How sure an answer is: a number from 0 to 1 that decides where the rest of the time goes.

A program is believed for the others that agree with it, a model's prediction for the views
that agree on it and for its likelihood beside the next best. All by Laplace's rule: one lone
voice is no certainty, many that agree nearly are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from solver.grid import Candidate, key, same
from solver.select import Ranked, mean_score


def of_programs(ranked: Sequence[Ranked]) -> float:
    """Confidence in the first of some grids that programs gave.

    A grid counts once for each kind of search that found it, and once more each time that the
    number of its programs has doubled; only the strongest other grid counts against it.
    """
    strengths = [_strength(grid) for grid in ranked]
    rival = max(strengths[1:], default=0)
    return (strengths[0] + 1) / (strengths[0] + rival + 2)


def of_guesses(ranked: Sequence[Ranked]) -> float:
    """Confidence in the first of some grids that a model gave: agreement over views, times the
    margin in likelihood.

    Each view votes for what it found most often, the likeliest first; a view that was only
    measured, since it found nothing itself, votes for nothing. The margin is the first grid's
    part of the probability (the geometric mean over views) that it and the strongest other
    measured grid have together.
    """
    found = [candidate for grid in ranked for candidate in grid.support]
    votes: dict[str | None, Candidate] = {}
    voters = [candidate for candidate in found if candidate.votes]
    for candidate in sorted(voters, key=lambda c: (c.votes, c.logprob or 0.0, key(c.grid))):
        votes[candidate.view] = candidate
    views = max(len(votes), *(len(candidate.scores) for candidate in found))
    agree = sum(same(candidate.grid, ranked[0].grid) for candidate in votes.values())
    first = mean_score(ranked[0])
    rival = max(map(mean_score, ranked[1:]), default=-math.inf)
    margin = 1.0
    if math.isfinite(first) and math.isfinite(rival):
        margin = 1.0 / (1.0 + math.exp(min(700.0, rival - first)))
    return (agree + 1) / (views + 2) * margin


def of_both(program: float, guess: float, *, agree: bool) -> float:
    """Confidence in a program's grid that the model was asked about too, as two witnesses that
    know nothing of each other: either may be right where they agree, at most one where they
    do not."""
    if agree:
        return 1.0 - (1.0 - program) * (1.0 - guess)
    return program * (1.0 - guess) / (1.0 - program * guess)


def _strength(ranked: Ranked) -> int:
    kinds: set[str | None] = {candidate.view for candidate in ranked.support}
    programs = {candidate.program for candidate in ranked.support}
    return len(kinds) + len(programs).bit_length() - 1
