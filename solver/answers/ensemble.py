"""The two attempts for every test input, from all candidates of a task.

Programs reproduce every demonstration. A model's guesses were voted for and measured. Programs and
guesses fail for different reasons. `RULES` contains the ways to bring both into one order. By
default the likeliest grids are handed in, whichever engine found them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from solver.answers.confidence import guess_chances, of_both, program_chances
from solver.answers.select import SELECTORS, Ranked
from solver.grid import Attempt, Attempts, Candidate, Task, key, same

# Sources of the first attempts of a task, from the weakest to the strongest.
STATES = ("fallback", "model", "program", "agreement")


@dataclass(frozen=True)
class Answer:
    """The answer to a task.

    `state` is one of `STATES`, by the weakest first attempt. The states are `agreement` of a
    program and the model, a `program`, only the `model`, or the template as `fallback`.
    `confidence` (0..1) is the confidence in the least sure of the first attempts
    (`confidence.py`).
    """

    attempts: tuple[Attempts, ...]
    state: str
    confidence: float


@dataclass(frozen=True)
class Evidence:
    """The candidates for one test input, and their rankings by a selector.

    `selector` ranks a model's guesses, and other grids that the model measured.
    """

    found: tuple[Candidate, ...]
    selector: str = "experts"

    @cached_property
    def programs(self) -> list[Ranked]:
        return SELECTORS["programs"]([c for c in self.found if c.program is not None])

    @cached_property
    def guesses(self) -> list[Ranked]:
        """The grids that a model knows, including programs' grids that the model only measured."""
        return SELECTORS[self.selector]([c for c in self.found if c.program is None or not c.votes])

    @cached_property
    def program_chances(self) -> list[float]:
        return program_chances(self.programs)

    @cached_property
    def guess_chances(self) -> list[float]:
        return guess_chances(self.guesses)

    @cached_property
    def together(self) -> list[Ranked]:
        """Programs and guesses in one list, ranked by the selector."""
        return SELECTORS[self.selector](self.found)

    @cached_property
    def agree(self) -> bool:
        """True if the best program and the best guess are the same grid."""
        both = bool(self.programs and self.guesses)
        return both and same(self.programs[0].grid, self.guesses[0].grid)


def answer(
    task: Task,
    candidates: Sequence[Candidate],
    fallback: Sequence[Attempts],
    selector: str = "experts",
    rule: str = "likeliest",
) -> Answer:
    """Fill two distinct attempts for every test input, best supported first.

    `selector` (a name in `SELECTORS`) ranks grids that are no program's output. `rule` (a name in
    `RULES`) brings these grids and the programs' grids into one order.
    """
    return decide(
        [Evidence(found, selector) for found in by_test(task, candidates)], fallback, rule
    )


def unanswered(fallback: Sequence[Attempts]) -> Answer:
    """`answer` for a task without candidates.

    Nothing is weighed, since there may be thousands of tasks before the first write.
    """
    return Answer(tuple(fallback), "fallback", 0.0)


def by_test(task: Task, candidates: Sequence[Candidate]) -> list[tuple[Candidate, ...]]:
    """A task's candidates for each of its test inputs.

    Grids that were only measured, and that no engine found, are left out.
    """
    there = {(c.test, key(c.grid)) for c in candidates if c.votes}
    found: list[list[Candidate]] = [[] for _ in task.tests]
    for candidate in candidates:
        if (candidate.test, key(candidate.grid)) in there:
            found[candidate.test].append(candidate)
    return [tuple(some) for some in found]


def decide(
    evidence: Sequence[Evidence], fallback: Sequence[Attempts], rule: str = "likeliest"
) -> Answer:
    """The answer to a task by the evidence for each of its test inputs."""
    orders = [RULES[rule](each) for each in evidence]
    attempts = tuple(_fill(order, two) for order, two in zip(orders, fallback, strict=True))
    pairs = list(zip(evidence, orders, strict=True))
    state = min((_state(each, order) for each, order in pairs), key=STATES.index)
    return Answer(attempts, state, min(map(_confidence, evidence)))


# --- rules: the order in which grids are handed in ------------------------------------


def each_first(evidence: Evidence) -> list[Ranked]:
    """The best program, then the best guess: an attempt for each.

    Where both agree, the next best grid gets the second attempt. This is the rule of
    arXiv:2411.07279, except that no attempt is wasted on the grid of the other attempt.
    """
    programs, guesses = evidence.programs, evidence.guesses
    return _distinct([*programs[:1], *guesses[:1], *programs[1:], *guesses[1:]])


def likeliest(evidence: Evidence) -> list[Ranked]:
    """Grids by the chance that they are right, with programs and model as two witnesses.

    A short program comes first; a long program comes after guesses that views agree on.
    """
    wrong: dict[bytes, float] = {}
    grids = [key(ranked.grid) for ranked in (*evidence.programs, *evidence.guesses)]
    chances = [*evidence.program_chances, *evidence.guess_chances]
    for grid, chance in zip(grids, chances, strict=True):
        wrong[grid] = wrong.get(grid, 1.0) * (1.0 - chance)
    return sorted(each_first(evidence), key=lambda ranked: wrong[key(ranked.grid)])


def programs_first(evidence: Evidence) -> list[Ranked]:
    """All programs, then all guesses."""
    return _distinct([*evidence.programs, *evidence.guesses])


def guesses_first(evidence: Evidence) -> list[Ranked]:
    """All guesses, then all programs."""
    return _distinct([*evidence.guesses, *evidence.programs])


def lone_program(evidence: Evidence) -> list[Ranked]:
    """A program's grid first if no other program contradicts this grid, otherwise the guesses.

    arXiv:2411.07279: a grid that is the best program's and the best guess is taken. Programs are
    believed where they all agree.
    """
    certain = len(evidence.programs) == 1 or evidence.agree
    return each_first(evidence) if certain else guesses_first(evidence)


def fused(evidence: Evidence) -> list[Ranked]:
    """Grids by the sum of 1 / place in the two lists, programs first among equals.

    This is reciprocal rank fusion (doi:10.1145/1571941.1572114) without its constant, which is for
    long lists.
    """
    points: dict[bytes, float] = {}
    for ranking in (evidence.programs, evidence.guesses):
        for place, ranked in enumerate(ranking, start=1):
            grid = key(ranked.grid)
            points[grid] = points.get(grid, 0.0) + 1 / place
    return sorted(programs_first(evidence), key=lambda ranked: -points[key(ranked.grid)])


def together(evidence: Evidence) -> list[Ranked]:
    """One list of all grids: the selector ranks programs like any other candidate."""
    return evidence.together


RULES: dict[str, Callable[[Evidence], list[Ranked]]] = {
    "each": each_first,
    "likeliest": likeliest,
    "programs-first": programs_first,
    "guesses-first": guesses_first,
    "lone-program": lone_program,
    "fused": fused,
    "together": together,
}


def _distinct(order: Sequence[Ranked]) -> list[Ranked]:
    """Every grid once, at its first place."""
    distinct: dict[bytes, Ranked] = {}
    for ranked in order:
        distinct.setdefault(key(ranked.grid), ranked)
    return list(distinct.values())


def _state(evidence: Evidence, order: Sequence[Ranked]) -> str:
    """The source of the first attempt."""
    if not order:
        return "fallback"
    first = order[0].grid
    if evidence.agree and same(first, evidence.programs[0].grid):
        return "agreement"
    return "program" if any(same(first, r.grid) for r in evidence.programs) else "model"


def _confidence(evidence: Evidence) -> float:
    """Confidence in an answer, whatever rule orders its grids.

    The confidence depends on the best program, the best guess, and their agreement.
    """
    programs, guesses = evidence.program_chances, evidence.guess_chances
    if not guesses:
        return programs[0] if programs else 0.0
    if not programs:
        return guesses[0]
    return of_both(programs[0], guesses[0], agree=evidence.agree)


def _fill(ranked: list[Ranked], fallback: Attempts) -> Attempts:
    """The two best grids; free places go to template grids that are not among them."""
    chosen = [Attempt(r.grid, r.support[0].engine) for r in ranked[:2]]
    for spare in fallback:
        if len(chosen) < 2 and not any(same(spare.grid, a.grid) for a in chosen):
            chosen.append(spare)
    return chosen[0], chosen[1]
