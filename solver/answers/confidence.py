"""Confidence in an answer, from 0 to 1: it decides the attempts and the use of further time.

A program is believed for its shortness. A model's guess is believed for three reasons:

- the views that agree on the guess, by Laplace's rule: one view is not a certainty, many views that
  agree nearly are;
- its likelihood compared with the next best guess;
- the model's learning: a model that does not know the demonstrations yet is as sure of its guesses
  as a model that knows them.
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
HALVING_BITS = 8.0  # this many more bits halve a program's odds
NEXT_PROGRAM_CHANCE = 0.25  # chance of a program's grid, as a part of the chance of the one before
# Measured on training tasks that the model never saw (docs/experiments.md). An output of a guess's
# size would still cost some nats among the demonstrations; this part of these nats counts.
UNLEARNED = 0.3


def program_chances(ranked: Sequence[Ranked]) -> list[float]:
    """The chances of the grids that programs gave, best grid first.

    The chance of the first grid follows from the length of its shortest program. Given this
    length, the number of programs or kinds of search that agree adds nothing.
    """
    if not ranked:
        return []
    first = 1.0 / (1.0 + 2.0 ** min(1000.0, (bits(ranked[0]) - EVEN_BITS) / HALVING_BITS))
    return [first * NEXT_PROGRAM_CHANCE**place for place in range(len(ranked))]


def guess_chances(ranked: Sequence[Ranked]) -> list[float]:
    """The chances of the grids that a model gave, in the selector's order.

    A chance is agreement over views, times the margin in likelihood, times learning.

    Agreement: each view votes for the grid that it found most often, and for the likeliest among
    equals. A view that found no grid itself, and was only measured, does not vote.
    Margin: the grid and the strongest other measured grid have a probability together (a geometric
    mean over views). The margin is the grid's part of this probability.
    Learning: the probability that the model would give an output of this size among the
    demonstrations, to the power of `UNLEARNED`.

    No grid gets a higher chance than the grid before it.
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
    """The learning factor of a grid, by the model with the most learning.

    Only models that found or measured the grid count.
    """
    height, width = ranked.grid.shape
    left = min(candidate.unlearned for candidate in ranked.support)
    return math.exp(-UNLEARNED * left * height * (width + 1))


def _margin(score: float, rival: float) -> float:
    """The margin in likelihood: 1 without a measured rival.

    0 for a grid that was not measured beside a rival that was measured.
    """
    if not math.isfinite(rival):
        return 1.0
    return 1.0 / (1.0 + math.exp(min(700.0, rival - score))) if math.isfinite(score) else 0.0


def of_both(program: float, guess: float, *, agree: bool) -> float:
    """Confidence in a program's grid for which the model gave a guess too.

    Program and model count as two independent witnesses. Where they agree, either may be right;
    otherwise at most one is right.
    """
    if agree:
        return 1.0 - (1.0 - program) * (1.0 - guess)
    return program * (1.0 - guess) / (1.0 - program * guess)
