"""Confidence in an answer, from 0 to 1: it decides the attempts and where further time goes.

A program is believed for its shortness, a model's prediction for the views that agree on it (by
Laplace's rule: one lone voice is no certainty, many that agree nearly are), for its likelihood
beside the next best, and for what the model has learned: one that does not know the demonstrations
yet is as sure of its guesses as one that does.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate

from solver.answers.select import Ranked, bits, mean_score
from solver.grid import Candidate, key

# Measured on training tasks, with demonstrations hidden from the synthesizer (docs/synth.md).
EVEN_BITS = 30.0  # a program of this length is as likely right as wrong
HALVING_BITS = 8.0  # so many more halve its odds
NEXT_PROGRAM_CHANCE = 0.25  # the chance of the next best program's grid, of the one's before it
# Measured on training tasks that the model never saw (docs/experiments.md): the part that counts of
# the nats which an output of a guess's size would still cost among the demonstrations.
UNLEARNED = 0.3


def program_chances(ranked: Sequence[Ranked]) -> list[float]:
    """The chance of each of some grids that programs gave, the best first.

    The first one's follows from the length of the shortest program behind it. Beside length,
    it adds nothing how many programs or kinds of search agree.
    """
    if not ranked:
        return []
    first = 1.0 / (1.0 + 2.0 ** min(1000.0, (bits(ranked[0]) - EVEN_BITS) / HALVING_BITS))
    return [first * NEXT_PROGRAM_CHANCE**place for place in range(len(ranked))]


def guess_chances(ranked: Sequence[Ranked]) -> list[float]:
    """The chance of each of some grids that a model gave: agreement over views, times the margin
    in likelihood, times what the model has learned.

    Each view votes for what it found most often, the likeliest first; a view that was only
    measured, since it found nothing itself, votes for nothing. The margin is a grid's part of the
    probability (the geometric mean over views) that it and the strongest other measured grid have
    together. What has been learned is the probability that the model would give an output of this
    size among the demonstrations, to the power of `UNLEARNED`. No grid has more than the one before
    it: their order is the selector's.
    """
    found = [candidate for grid in ranked for candidate in grid.support]
    votes: dict[str | None, Candidate] = {}
    voters = [candidate for candidate in found if candidate.votes]
    for candidate in sorted(voters, key=lambda c: (c.votes, c.logprob or 0.0, key(c.grid))):
        votes[candidate.view] = candidate
    views = max(len(votes), *(len(candidate.scores) for candidate in found), 0)
    agree = Counter(key(candidate.grid) for candidate in votes.values())
    scores = list(map(mean_score, ranked))
    rivals = sorted([-math.inf, *scores])[-2:]
    chances = [
        (agree[key(grid.grid)] + 1)
        / (views + 2)
        * _margin(score, rivals[0] if score == rivals[1] else rivals[1])
        * _learned(grid)
        for grid, score in zip(ranked, scores, strict=True)
    ]
    return list(accumulate(chances, min))


def _learned(ranked: Ranked) -> float:
    """By the model that had learned most of those that found or measured a grid."""
    height, width = ranked.grid.shape
    left = min(candidate.unlearned for candidate in ranked.support)
    return math.exp(-UNLEARNED * left * height * (width + 1))


def _margin(score: float, rival: float) -> float:
    """1 where there is nothing to compare, 0 for what was not measured beside what was."""
    if not math.isfinite(rival):
        return 1.0
    return 1.0 / (1.0 + math.exp(min(700.0, rival - score))) if math.isfinite(score) else 0.0


def of_both(program: float, guess: float, *, agree: bool) -> float:
    """Confidence in a program's grid that the model was asked about too, as two witnesses that
    know nothing of each other: either may be right where they agree, at most one where they
    do not."""
    if agree:
        return 1.0 - (1.0 - program) * (1.0 - guess)
    return program * (1.0 - guess) / (1.0 - program * guess)
