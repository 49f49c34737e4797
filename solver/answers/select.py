"""Selection: many candidates for one test input in, a ranked list of distinct grids out.

Each selector is a pure function in `SELECTORS`. Ties are broken by the grid itself, so the order
in which candidates arrive never matters.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from solver.grid import Candidate, Grid, key, settled


@dataclass(frozen=True, eq=False)
class Ranked:
    """A distinct grid, the strength of its support, and its candidates, likeliest first."""

    grid: Grid
    score: float
    support: tuple[Candidate, ...]


def majority(candidates: Sequence[Candidate]) -> list[Ranked]:
    """Rank grids by the number of votes for them; ties by likelihood."""
    return _rank(candidates, lambda group: (_votes(group), _best(group)))


def hierarchical(candidates: Sequence[Candidate]) -> list[Ranked]:
    """Rank grids by the number of transformations that have them among their best three.

    arXiv:2411.07279: the first vote is within each transformation (a view's turn of the grid), with
    ties by likelihood. The second vote is among all transformations, with ties by all votes, then
    by likelihood. A turn under which many candidates were drawn therefore has no more weight than
    any other turn.
    """
    by_turn: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        by_turn.setdefault((candidate.view or "").partition(".")[0], []).append(candidate)
    chosen: Counter[bytes] = Counter()
    for group in by_turn.values():
        chosen.update(key(ranked.grid) for ranked in majority(group)[:3])

    def score(group: list[Candidate]) -> tuple[float, ...]:
        return float(chosen[key(group[0].grid)]), _votes(group), _best(group)

    return _rank(candidates, score)


def weighted(candidates: Sequence[Candidate]) -> list[Ranked]:
    """Rank grids by the total probability of the candidates that agree on them.

    Weighted best-of-N (arXiv:2408.03314): the weight of a vote is exp(mean score) where the
    grid was measured, else exp(logprob). A program's logprob is minus its description length.
    Short programs and agreement therefore both count.
    """
    return _rank(candidates, lambda group: (_logsumexp(group), _votes(group)))


def experts(candidates: Sequence[Candidate]) -> list[Ranked]:
    """Rank grids by the product of their likelihoods under all views (arXiv:2505.07859).

    The score is the logarithm of this product for each view (the mean, not the sum). Grids that
    were measured under fewer views can therefore be compared with others. Grids that were never
    measured come last.
    """
    return _rank(candidates, lambda group: (_over_views(group, _mean), _best(group)))


def median(candidates: Sequence[Candidate]) -> list[Ranked]:
    """Rank grids by the median of their log-likelihoods over views.

    One view that fails to see the rule does not exclude a grid. Grids that were never measured
    come last.
    """
    return _rank(candidates, lambda group: (_over_views(group, statistics.median), _best(group)))


def kgmon(candidates: Sequence[Candidate]) -> list[Ranked]:
    """Rank grids by their votes less their mean negative log-likelihood over views.

    This is the selection of the ARC Prize 2025 winner. Without scores, the likelihood under the
    view that found the grid counts.
    """

    def score(group: list[Candidate]) -> tuple[float, float]:
        beliefs = [_belief(candidate) for candidate in group]
        return _votes(group) + max(beliefs), _best(group)

    return _rank(candidates, score)


def probmul(candidates: Sequence[Candidate]) -> list[Ranked]:
    """Rank grids by their lead over a baseline of `BASELINE_NATS`, over finds and measurements.

    Selection of the ARC Prize 2024 winner: the baseline less the negative log-likelihood, summed
    over all finds of the grid, and over all views under which the grid was measured.
    """

    def score(group: list[Candidate]) -> tuple[float, float]:
        found = math.fsum(c.votes * (BASELINE_NATS + _logprob(c)) for c in group)
        measured = max((c.scores for c in group), key=len)
        return found + math.fsum(BASELINE_NATS + s for s in measured), _best(group)

    return _rank(candidates, score)


def programs(candidates: Sequence[Candidate]) -> list[Ranked]:
    """Rank grids by their shortest program, and by the agreement of other programs.

    A candidate's logprob is minus its program's description length. A candidate's view names the
    kind of search that found the program. Kinds that agree count more than programs of one kind,
    because unrelated searches rarely make the same mistake.
    """
    return _rank(candidates, lambda group: (_program_bits(group), float(len(group))))


AGREEMENT_BITS = 12.0  # value of the agreement of another kind, measured on training tasks


def _program_bits(group: list[Candidate]) -> float:
    kinds = {candidate.view for candidate in group}
    doublings = len({candidate.program for candidate in group}).bit_length() - 1
    return -_length(group) + AGREEMENT_BITS * (len(kinds) - 1) + doublings


BASELINE_NATS = 3.0  # a less likely grid counts against itself


SELECTORS: dict[str, Callable[[Sequence[Candidate]], list[Ranked]]] = {
    "majority": majority,
    "hierarchical": hierarchical,
    "weighted": weighted,
    "experts": experts,
    "median": median,
    "kgmon": kgmon,
    "probmul": probmul,
    "programs": programs,
}


def _rank(
    candidates: Sequence[Candidate], score: Callable[[list[Candidate]], tuple[float, ...]]
) -> list[Ranked]:
    groups: dict[bytes, list[Candidate]] = {}
    unique: dict[object, Candidate] = {}
    for candidate in sorted(
        settled(candidates), key=_strength
    ):  # in a fixed order, so that float sums are always the same
        if unique.setdefault(candidate.identity, candidate) is candidate:
            groups.setdefault(key(candidate.grid), []).append(candidate)
    scored = [(score(group), grid_key, group) for grid_key, group in groups.items()]
    scored.sort(key=lambda item: ([-points for points in item[0]], item[1]))
    return [Ranked(group[0].grid, points[0], tuple(group)) for points, _, group in scored]


def _strength(candidate: Candidate) -> tuple[object, ...]:
    """A sort key for candidates.

    Candidates that were found come before measured ones, the likeliest first, then by name, then
    those with more evidence first.
    """
    texts = (candidate.engine, candidate.view or "", candidate.program or "")
    evidence = (-len(candidate.scores), candidate.scores, -candidate.votes)
    return (not candidate.votes, -_logprob(candidate), *texts, *evidence)


def _logprob(candidate: Candidate) -> float:
    return 0.0 if candidate.logprob is None else candidate.logprob


def _best(group: Sequence[Candidate]) -> float:
    return max(map(_logprob, group))


def _votes(group: list[Candidate]) -> float:
    return float(sum(candidate.votes for candidate in group))


def _belief(candidate: Candidate) -> float:
    """Log-likelihood of the grid: the mean of its scores if measured, else its logprob."""
    return _mean(candidate.scores) if candidate.scores else _logprob(candidate)


def _over_views(group: Sequence[Candidate], average: Callable[[Sequence[float]], float]) -> float:
    """The best average among a group's measured candidates; -inf without any."""
    return max((average(c.scores) for c in group if c.scores), default=-math.inf)


def bits(ranked: Ranked) -> float:
    """Description length, in bits, of the shortest program behind a grid."""
    return _length(ranked.support)


def _length(group: Sequence[Candidate]) -> float:
    return -_best(group) / math.log(2)


def mean_score(ranked: Ranked) -> float:
    """A grid's mean log-likelihood over views, the score of `experts`; -inf if not measured."""
    return _over_views(ranked.support, _mean)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _logsumexp(group: list[Candidate]) -> float:
    beliefs = [_belief(candidate) for candidate in group]
    best = max(beliefs)
    weights = zip(group, beliefs, strict=True)
    total = math.fsum(c.votes * math.exp(b - best) for c, b in weights)
    return best + math.log(total) if total else -math.inf
