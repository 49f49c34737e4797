"""From all candidates of a task to its two attempts for every test input.

Programs reproduce every demonstration, a model's predictions were voted for and measured; the
two fail for different reasons. So where both have an answer each gets an attempt, and where
they agree the next best may have the second (the rule of arXiv:2411.07279, with no attempt
wasted on a grid that the other attempt already holds).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from solver.confidence import of_both, of_guesses, of_programs
from solver.grid import Attempt, Attempts, Candidate, Task, key, same
from solver.select import SELECTORS, Ranked

# From the weakest to the strongest: where the first attempts of a task come from.
STATES = ("fallback", "model", "program", "agreement")


@dataclass(frozen=True)
class Answer:
    """What a task is answered with.

    `state` is one of `STATES`, that of the weakest first attempt: `agreement` of a program and
    the model, a `program`, the `model` alone, or the template as `fallback`.
    `confidence` (0..1) is how sure the least sure of the first attempts is (`confidence.py`).
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
    attempts = tuple(_fill(m.ranked, two) for m, two in zip(merged, fallback, strict=True))
    state = min((m.state for m in merged), key=STATES.index)
    return Answer(attempts, state, min(m.confidence for m in merged))


@dataclass(frozen=True)
class _Merged:
    """Distinct grids in the order in which they are handed in; state and confidence are those
    of the first."""

    ranked: list[Ranked]
    state: str
    confidence: float


def _merge(found: Sequence[Candidate], selector: str) -> _Merged:
    programs = SELECTORS["programs"]([c for c in found if c.program is not None])
    guesses = SELECTORS[selector]([c for c in found if c.program is None])
    if not guesses:
        state, sure = ("program", of_programs(programs)) if programs else ("fallback", 0.0)
        return _Merged(programs, state, sure)
    if not programs:
        return _Merged(guesses, "model", of_guesses(guesses))
    agree = same(programs[0].grid, guesses[0].grid)
    order = [programs[0], guesses[0], *programs[1:], *guesses[1:]]
    distinct = list({key(ranked.grid): ranked for ranked in reversed(order)}.values())[::-1]
    sure = of_both(of_programs(programs), of_guesses(guesses), agree=agree)
    return _Merged(distinct, "agreement" if agree else "program", sure)


def _fill(ranked: list[Ranked], fallback: Attempts) -> Attempts:
    """The two best grids; free places go to template grids that are not there yet."""
    chosen = [Attempt(r.grid, r.support[0].engine) for r in ranked[:2]]
    for spare in fallback:
        if len(chosen) < 2 and not any(same(spare.grid, a.grid) for a in chosen):
            chosen.append(spare)
    return chosen[0], chosen[1]
