"""Selection: many candidates for one test input in, a ranked list of distinct grids out.

Each selector is a pure function in `SELECTORS`; ties are broken by the grid itself, so the
order in which candidates arrive never matters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from solver.grid import Candidate, Grid, key


@dataclass(frozen=True, eq=False)
class Ranked:
    """A distinct grid, how strongly it is supported, and the candidates behind it, likeliest
    first."""

    grid: Grid
    score: float
    support: tuple[Candidate, ...]


def majority(candidates: Sequence[Candidate]) -> list[Ranked]:
    """Rank grids by the number of candidates that agree on them; ties by likelihood."""
    return _rank(candidates, lambda group: (float(len(group)), _best(group)))


def weighted(candidates: Sequence[Candidate]) -> list[Ranked]:
    """Rank grids by the total probability of the candidates that agree on them.

    Weighted best-of-N (arXiv:2408.03314): a candidate's weight is exp(logprob). A program's
    logprob is minus its description length, so short programs and agreement both count.
    """
    return _rank(candidates, lambda group: (_logsumexp(group), float(len(group))))


def programs(candidates: Sequence[Candidate]) -> list[Ranked]:
    """Rank grids by the shortest program behind them, and by who else agrees.

    A candidate's logprob is minus its program's description length, its view names the kind
    of search that found it. Kinds that agree count more than programs of one kind, because
    unrelated searches rarely make the same mistake.
    """
    return _rank(candidates, lambda group: (_program_bits(group), float(len(group))))


AGREEMENT_BITS = 12.0  # what another kind's agreement is worth, measured on training tasks


def _program_bits(group: list[Candidate]) -> float:
    kinds = {candidate.view for candidate in group}
    doublings = len({candidate.program for candidate in group}).bit_length() - 1
    return _best(group) / math.log(2) + AGREEMENT_BITS * (len(kinds) - 1) + doublings


SELECTORS: dict[str, Callable[[Sequence[Candidate]], list[Ranked]]] = {
    "majority": majority,
    "weighted": weighted,
    "programs": programs,
}


def _rank(
    candidates: Sequence[Candidate], score: Callable[[list[Candidate]], tuple[float, float]]
) -> list[Ranked]:
    groups: dict[bytes, list[Candidate]] = {}
    unique: dict[object, Candidate] = {}
    for candidate in sorted(candidates, key=_strength):  # so that float sums come out the same
        if unique.setdefault(candidate.identity, candidate) is candidate:
            groups.setdefault(key(candidate.grid), []).append(candidate)
    scored = [(score(group), grid_key, group) for grid_key, group in groups.items()]
    scored.sort(key=lambda item: (-item[0][0], -item[0][1], item[1]))
    return [Ranked(group[0].grid, points[0], tuple(group)) for points, _, group in scored]


def _strength(candidate: Candidate) -> tuple[object, ...]:
    """Sorts the likeliest first, then by name."""
    texts = (candidate.engine, candidate.view or "", candidate.program or "")
    return (-_logprob(candidate), *texts)


def _logprob(candidate: Candidate) -> float:
    return 0.0 if candidate.logprob is None else candidate.logprob


def _best(group: list[Candidate]) -> float:
    return max(map(_logprob, group))


def _logsumexp(group: list[Candidate]) -> float:
    best = _best(group)
    return best + math.log(sum(math.exp(_logprob(c) - best) for c in group))
