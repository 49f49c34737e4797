"""Ranking: which two answers to give for a test input, and how sure to be of each.

Every program here reproduces all demonstrations. A short program is more likely to be the
rule than a long one, and an answer that programs of different kinds agree on is more likely
than one that only programs of one kind give, because unrelated searches rarely make the
same mistake.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from solver.grid import Grid, key
from solver.synth.program import Solution

AGREEMENT_BITS = 12.0  # what another engine's agreement is worth, measured on training tasks
REPEAT_BITS = 1.0  # what doubling the number of programs is worth


@dataclass(frozen=True)
class Found:
    """A solution, the sub-engine that found it, and the seconds it took to."""

    engine: str
    solution: Solution
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class Answer:
    """A distinct answer to one test input: smaller `bits` are better."""

    grid: Grid
    bits: float
    confidence: int  # programs that agree, counting at most a few of each sub-engine
    best: Found


def answers(found: Sequence[Found], test: int) -> list[Answer]:
    """Distinct answers to one test input, best first."""
    groups: dict[bytes, list[Found]] = {}
    for one in found:
        groups.setdefault(key(one.solution.outputs[test]), []).append(one)
    ranked = [_answer(group, test) for group in groups.values()]
    return sorted(ranked, key=lambda answer: answer.bits)


def _answer(group: list[Found], test: int) -> Answer:
    cheapest: dict[str, float] = {}
    for one in group:
        cheapest[one.engine] = min(one.solution.cost, cheapest.get(one.engine, float("inf")))
    best = min(group, key=lambda one: one.solution.cost)
    programs = {str(one.solution.program) for one in group}
    bits = best.solution.cost
    bits -= AGREEMENT_BITS * (len(cheapest) - 1)
    bits -= REPEAT_BITS * (len(programs).bit_length() - 1)
    return Answer(best.solution.outputs[test], bits, len(programs), best)
