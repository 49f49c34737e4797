"""The choice of programs to revise: pure functions of their results.

Revision is a bandit problem (arXiv:2405.17503). Every program is an arm. The chance that one
revision of a program finds the rule is unknown, but the program's nearness to the demonstrations
is evidence. Arms are drawn by Thompson sampling, so near programs get most revisions, but no
program gets all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from solver.grid import Grid, Task, same

TRUST = 20.0  # weight of a program's nearness as evidence, in revisions
NEAR_SHAPE = 0.9  # upper limit of the mark for an output of the right shape with wrong cells


@dataclass(frozen=True, eq=False)
class Draft:
    """A program that was run, and the program's results.

    outcomes: an output or an error for each demonstration, then for each test input.
    nearness: 0..1, see `nearness`.
    revised: the program is a revision of another draft.
    """

    program: str
    outcomes: tuple[Grid | str, ...]
    nearness: float
    revised: bool = False

    @property
    def verified(self) -> bool:
        """True if the program reproduces every demonstration."""
        return self.nearness == 1.0


def nearness(task: Task, outcomes: Sequence[Grid | str]) -> float:
    """The mean mark of a program's outputs over demonstrations; exactly 1.0 if all are right.

    The mark is 1 for the right output. An output of the right shape gets `NEAR_SHAPE` times the
    share of right cells. Any other output, or an error, gets 0.
    """
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
    """The number of the draft to revise, for each of the next `count` samples; None for no draft.

    None stands for a new program without revision, which counts as an arm too. This arm's nearness
    is the mean nearness of all drafts that are not revisions. `tries`: revisions that each draft
    has had. Verified drafts are never revised.
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
