"""Tasks that the synthesizer solves within so many steps, at least two for each sub-engine.

A step is a look at the clock, so the numbers are the same on any machine, however busy it is. They
are about 1.5 times what was needed when they were written down: whoever makes a search better may
lower them, and whoever has to raise one has made it worse.
"""

from __future__ import annotations

from collections import Counter

import pytest

from solver.answers.ensemble import answer
from solver.data.arcio import Source, read_source
from solver.data.template import template
from solver.deadline import Deadline, StepClock
from solver.engines import Context
from solver.grid import key
from solver.synth.engine import SUBENGINES, prepare, synth

# A task of the training set, the sub-engine whose program answers it, and the steps of the whole
# synthesizer by which it has.
SOLVED = (
    ("de1cd16c", "grids", 110),
    ("681b3aeb", "grids", 145),
    ("e50d258f", "grids", 230),
    ("f9012d9b", "completion", 130),
    ("ff805c23", "completion", 310),
    ("e98196ab", "parts", 25),
    ("6430c8c4", "parts", 25),
    ("23b5c85d", "rule_select", 130),
    ("1cf80156", "rule_select", 150),
    ("d4469b4b", "rule_summary", 38),
    ("6e02f1e3", "rule_summary", 42),
    ("41e4d17e", "rules", 2400),
    ("8eb1be9a", "rules", 3250),
    ("447fd412", "placement", 725),
    ("0e206a2e", "placement", 925),
    ("5bd6f4ac", "cells", 80),
    ("ce9e57f2", "cells", 1190),
    ("db3e9e38", "cells", 1500),
    ("3de23699", "views", 60),
    ("ae3edfdc", "views", 1510),
    ("f25fbde4", "rule_derive", 2770),
    ("28bf18c6", "rule_derive", 3210),
    ("9f236235", "lattice", 90),
    ("06df4c85", "lattice", 200),
)


@pytest.fixture(scope="module")
def training() -> Source:
    prepare()
    return read_source("arc-agi-1:training")


def test_every_sub_engine_has_at_least_two_tasks() -> None:
    counts = Counter(name for _, name, _ in SOLVED)
    assert counts.keys() == SUBENGINES.keys()
    assert min(counts.values()) >= 2


@pytest.mark.parametrize(("name", "engine", "steps"), SOLVED)
def test_a_sub_engine_solves_a_task_within_so_many_steps(
    name: str, engine: str, steps: int, training: Source
) -> None:
    task = next(task for task in training.tasks if task.id == name)
    assert training.solutions
    truth = training.solutions[name]
    found = list(synth(task, Deadline.after(steps, StepClock()), Context(0, 0)))
    mine = {(one.test, key(one.grid)) for one in found if one.view == engine}
    assert {(test, key(grid)) for test, grid in enumerate(truth)} <= mine
    for right, two in zip(truth, answer(task, found, template(task)).attempts, strict=True):
        assert key(right) in [key(attempt.grid) for attempt in two]
