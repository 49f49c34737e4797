"""From all candidates of a task to its two attempts for every test input.

Programs reproduce every demonstration, a model's predictions were voted for and measured; the
two fail for different reasons. So where both have an answer each gets an attempt, and where
they agree the next best may have the second (the rule of arXiv:2411.07279, with no attempt
wasted on a grid that the other attempt already holds).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from solver.grid import Attempt, Attempts, Candidate, Task, key, same
from solver.select import SELECTORS, Ranked

# From the weakest to the strongest: where the first attempts of a task come from.
STATES = ("fallback", "model", "program", "agreement")


@dataclass(frozen=True)
class Answer:
    """What a task is answered with.

    `state` is one of `STATES`, that of the weakest first attempt: `agreement` of a program and
    the model, a `program`, the `model` alone, or the template as `fallback`.
    `confidence` (0..1) is the share of support behind the first attempts, at its lowest.
    """

    attempts: tuple[Attempts, ...]
    state: str
    confidence: float


def answer(
    task: Task,
    candidates: Sequence[Candidate],
    fallback: Sequence[Attempts],
    selector: str = "experts",
) -> Answer:
    """Fill two distinct attempts for every test input, best supported first.

    `selector` ranks what is no program's output.
    """
    by_test: list[list[Candidate]] = [[] for _ in task.tests]
    for candidate in candidates:
        by_test[candidate.test].append(candidate)
    merged = [_merge(found, selector) for found in by_test]
    attempts = tuple(_fill(r, two) for (r, _), two in zip(merged, fallback, strict=True))
    state = min((state for _, state in merged), key=STATES.index)
    pairs = zip(by_test, merged, strict=True)
    return Answer(attempts, state, min(_confidence(found, r) for found, (r, _) in pairs))


def _merge(found: Sequence[Candidate], selector: str) -> tuple[list[Ranked], str]:
    """Distinct grids in the order in which they are handed in, and the first one's state."""
    programs = SELECTORS["programs"]([c for c in found if c.program is not None])
    guesses = SELECTORS[selector]([c for c in found if c.program is None])
    if not programs or not guesses:
        return programs or guesses, "program" if programs else "model" if guesses else "fallback"
    state = "agreement" if same(programs[0].grid, guesses[0].grid) else "program"
    order = [programs[0], guesses[0], *programs[1:], *guesses[1:]]
    distinct: dict[bytes, Ranked] = {}
    for ranked in order:
        distinct.setdefault(key(ranked.grid), ranked)
    return list(distinct.values()), state


def _fill(ranked: list[Ranked], fallback: Attempts) -> Attempts:
    """The two best grids; free places go to template grids that are not there yet."""
    chosen = [Attempt(r.grid, r.support[0].engine) for r in ranked[:2]]
    for spare in fallback:
        if len(chosen) < 2 and not any(same(spare.grid, a.grid) for a in chosen):
            chosen.append(spare)
    return chosen[0], chosen[1]


def _confidence(found: Sequence[Candidate], ranked: list[Ranked]) -> float:
    """Laplace's rule over candidates: one lone program is no certainty, agreement nearly is."""
    agree = sum(same(candidate.grid, ranked[0].grid) for candidate in found)
    return (agree + 1) / (len(found) + 2) if found else 0.0
