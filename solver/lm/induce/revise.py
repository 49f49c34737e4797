"""The choice of programs to revise: pure functions of their results.

Revision is a bandit problem (arXiv:2405.17503): every program is an arm, its chance of being
one revision away from the rule is unknown, and how near it came says something about that. So
arms are drawn by Thompson sampling: near programs get most revisions, none gets all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from solver.grid import Grid, Task, same

TRUST = 20.0  # how many revisions' worth of evidence a program's nearness is
NEAR_SHAPE = 0.9  # at most, for a demonstration of the right shape with wrong cells


@dataclass(frozen=True, eq=False)
class Draft:
    """A program that was run, what came of it on demonstrations and then on test inputs, and
    how near it came (0..1)."""

    program: str
    outcomes: tuple[Grid | str, ...]
    nearness: float
    revised: bool = False

    @property
    def verified(self) -> bool:
        """It reproduces every demonstration."""
        return self.nearness == 1.0


def nearness(task: Task, outcomes: Sequence[Grid | str]) -> float:
    """Mean over demonstrations: 1 for the right output, less for one of the right shape by its
    wrong cells, 0 for any other. 1.0 exactly if all are right."""
    marks = []
    for pair, outcome in zip(task.train, outcomes, strict=False):
        if isinstance(outcome, str) or outcome.shape != pair.output.shape:
            marks.append(0.0)
        elif same(outcome, pair.output):
            marks.append(1.0)
        else:
            marks.append(NEAR_SHAPE * float((outcome == pair.output).mean()))
    return sum(marks) / len(task.train)


def choose(
    drafts: Sequence[Draft], tries: Sequence[int], count: int, rng: np.random.Generator
) -> list[int | None]:
    """What each of the next `count` samples is for: the number of the draft to revise, or None
    to start afresh, which is as promising as fresh drafts were near on average.

    `tries` are the revisions that each draft has had. What is verified needs none.
    """
    fresh = [draft.nearness for draft in drafts if not draft.revised]
    arms: list[int | None] = [i for i, draft in enumerate(drafts) if not draft.verified]
    near = np.array([drafts[i].nearness for i in arms if i is not None])
    had = np.array([*(tries[i] for i in arms if i is not None), 0.0])
    arms, near = [*arms, None], np.append(near, sum(fresh) / len(fresh) if fresh else 0.0)
    chosen: list[int | None] = []
    for _ in range(count):
        drawn = int(rng.beta(1 + TRUST * near, 1 + TRUST * (1 - near) + had).argmax())
        had[drawn] += arms[drawn] is not None
        chosen.append(arms[drawn])
    return chosen
