"""The two attempts for every test input, from all candidates of a task.

Programs reproduce every demonstration, a model's predictions were voted for and measured; the
two fail for different reasons. `RULES` holds the ways to bring both into one order; by default
the likeliest grids are handed in, whoever found them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from solver.answers.confidence import guess_chances, of_both, program_chances
from solver.answers.select import SELECTORS, Ranked
from solver.grid import Attempt, Attempts, Candidate, Task, key, same

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


@dataclass(frozen=True)
class Evidence:
    """The candidates for one test input, and what a selector makes of them.

    `selector` ranks what is no program's output: a model's guesses, and what else it measured.
    """

    found: tuple[Candidate, ...]
    selector: str = "experts"

    @cached_property
    def programs(self) -> list[Ranked]:
        return SELECTORS["programs"]([c for c in self.found if c.program is not None])

    @cached_property
    def guesses(self) -> list[Ranked]:
        """The grids that a model knows, those of programs that it only measured among them."""
        return SELECTORS[self.selector]([c for c in self.found if c.program is None or not c.votes])

    @cached_property
    def program_chances(self) -> list[float]:
        return program_chances(self.programs)

    @cached_property
    def guess_chances(self) -> list[float]:
        return guess_chances(self.guesses)

    @cached_property
    def together(self) -> list[Ranked]:
        """Programs and guesses in one list, by the selector."""
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

    `selector` (a name in `SELECTORS`) ranks what is no program's output, `rule` (in `RULES`)
    says what of it and of the programs' comes first.
    """
    return decide(
        [Evidence(found, selector) for found in by_test(task, candidates)], fallback, rule
    )


def unanswered(fallback: Sequence[Attempts]) -> Answer:
    """`answer` where there is no candidate, without weighing anything: there may be thousands of
    tasks before the first write."""
    return Answer(tuple(fallback), "fallback", 0.0)


def by_test(task: Task, candidates: Sequence[Candidate]) -> list[tuple[Candidate, ...]]:
    """A task's candidates for each of its test inputs; what nobody found, whoever measured it, is
    left out."""
    there = {(c.test, key(c.grid)) for c in candidates if c.votes}
    found: list[list[Candidate]] = [[] for _ in task.tests]
    for candidate in candidates:
        if (candidate.test, key(candidate.grid)) in there:
            found[candidate.test].append(candidate)
    return [tuple(some) for some in found]


def decide(
    evidence: Sequence[Evidence], fallback: Sequence[Attempts], rule: str = "likeliest"
) -> Answer:
    """The answer that the evidence for each test input of a task amounts to."""
    orders = [RULES[rule](each) for each in evidence]
    attempts = tuple(_fill(order, two) for order, two in zip(orders, fallback, strict=True))
    pairs = list(zip(evidence, orders, strict=True))
    state = min((_state(each, order) for each, order in pairs), key=STATES.index)
    return Answer(attempts, state, min(map(_confidence, evidence)))


# --- rules: in which order grids are handed in ----------------------------------------


def each_first(evidence: Evidence) -> list[Ranked]:
    """The best program, then the best guess: an attempt for each.

    Where they agree the next best has the second (the rule of arXiv:2411.07279, with no attempt
    wasted on a grid that the other attempt already holds).
    """
    programs, guesses = evidence.programs, evidence.guesses
    return _distinct([*programs[:1], *guesses[:1], *programs[1:], *guesses[1:]])


def likeliest(evidence: Evidence) -> list[Ranked]:
    """By the chance that a grid is right, of which programs and model are two witnesses: a short
    program is believed, a long one gives way to guesses that views agree on."""
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
    """A program's answer first if no other program contradicts it, otherwise the guesses.

    arXiv:2411.07279: where the best of both agree, take it; programs are believed where they
    are of one mind.
    """
    certain = len(evidence.programs) == 1 or evidence.agree
    return each_first(evidence) if certain else guesses_first(evidence)


def fused(evidence: Evidence) -> list[Ranked]:
    """By the sum of 1 / place in the two lists, programs first among equals (reciprocal rank
    fusion, doi:10.1145/1571941.1572114, without its constant, which is for long lists)."""
    points: dict[bytes, float] = {}
    for ranking in (evidence.programs, evidence.guesses):
        for place, ranked in enumerate(ranking, start=1):
            grid = key(ranked.grid)
            points[grid] = points.get(grid, 0.0) + 1 / place
    return sorted(programs_first(evidence), key=lambda ranked: -points[key(ranked.grid)])


def together(evidence: Evidence) -> list[Ranked]:
    """One list of all: the selector judges programs like any other candidate."""
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
    """Where the first attempt comes from."""
    if not order:
        return "fallback"
    first = order[0].grid
    if evidence.agree and same(first, evidence.programs[0].grid):
        return "agreement"
    return "program" if any(same(first, r.grid) for r in evidence.programs) else "model"


def _confidence(evidence: Evidence) -> float:
    """How sure the answer is, whatever rule orders it: what is believed is the best program and
    the best guess, and whether they agree."""
    programs, guesses = evidence.program_chances, evidence.guess_chances
    if not guesses:
        return programs[0] if programs else 0.0
    if not programs:
        return guesses[0]
    return of_both(programs[0], guesses[0], agree=evidence.agree)


def _fill(ranked: list[Ranked], fallback: Attempts) -> Attempts:
    """The two best grids; free places go to template grids that are not there yet."""
    chosen = [Attempt(r.grid, r.support[0].engine) for r in ranked[:2]]
    for spare in fallback:
        if len(chosen) < 2 and not any(same(spare.grid, a.grid) for a in chosen):
            chosen.append(spare)
    return chosen[0], chosen[1]
