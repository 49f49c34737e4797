"""From all candidates of a task to its two attempts for every test input.

Programs that reproduce every demonstration come first, then whatever the template says;
no attempt is ever wasted on a grid that the other attempt already holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from solver.grid import Attempt, Attempts, Candidate, Task, same
from solver.select import SELECTORS, Ranked


@dataclass(frozen=True)
class Answer:
    """What a task is answered with.

    `state` is `program` or `fallback`: where the first attempts come from at their weakest.
    `confidence` (0..1) is the share of support behind the first attempts, at its lowest.
    """

    attempts: tuple[Attempts, ...]
    state: str
    confidence: float


def answer(
    task: Task,
    candidates: Sequence[Candidate],
    fallback: Sequence[Attempts],
    selector: str = "programs",
) -> Answer:
    """Fill two distinct attempts for every test input, best supported first."""
    by_test: list[list[Candidate]] = [[] for _ in task.tests]
    for candidate in candidates:
        by_test[candidate.test].append(candidate)
    ranked = [SELECTORS[selector](group) for group in by_test]
    attempts = tuple(_fill(r, two) for r, two in zip(ranked, fallback, strict=True))
    state = "program" if all(ranked) else "fallback"
    return Answer(attempts, state, min(map(_confidence, ranked)))


def _fill(ranked: list[Ranked], fallback: Attempts) -> Attempts:
    """The two best grids; free places go to template grids that are not there yet."""
    chosen = [Attempt(r.grid, r.support[0].engine) for r in ranked[:2]]
    for spare in fallback:
        if len(chosen) < 2 and not any(same(spare.grid, a.grid) for a in chosen):
            chosen.append(spare)
    return chosen[0], chosen[1]


def _confidence(ranked: list[Ranked]) -> float:
    """Laplace's rule over candidates: one lone program is no certainty, agreement nearly is."""
    total = sum(len(r.support) for r in ranked)
    return (len(ranked[0].support) + 1) / (total + 2) if ranked else 0.0
