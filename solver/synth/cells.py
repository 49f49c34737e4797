"""Learned cell rules: the sub-engine that predicts every output cell from its features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from solver.deadline import Deadline
from solver.grid import Grid, Task, freeze
from solver.synth.cell_features import features
from solver.synth.cell_learn import (
    as_rule,
    enumerate_leaves,
    learn,
    surprise,
    vocabularies,
)
from solver.synth.cell_tests import enumerate_tests, gather
from solver.synth.cell_tree import paint
from solver.synth.program import INPUT, Call, Op, Solution

MAX_VOCABULARIES = 40


def cell_rule(grid: Grid, rule: tuple[Any, ...], background: str, times: int) -> Grid | None:
    """Colour every cell of a grid by a rule, `times` times."""
    cells = grid
    for _ in range(times):
        colors = paint(rule, features(cells, background))
        if colors.max() > 9:
            return None
        cells = freeze(colors.reshape(grid.shape).astype(np.uint8))
    return cells


OPS = {"cell_rule": Op(cell_rule, "colours every cell by a rule learned from the demonstrations")}


def search(task: Task, deadline: Deadline) -> Iterator[Solution]:
    """Cell rules that reproduce every demonstration, most trusted first."""
    if any(pair.input.shape != pair.output.shape for pair in task.train):
        return
    yield from _search_same(task, "0", deadline)


def _search_same(task: Task, background: str, deadline: Deadline) -> Iterator[Solution]:
    inputs = [pair.input for pair in task.train] + list(task.tests)
    cells = gather([features(grid, background) for grid in inputs], len(task.train))
    leaves = enumerate_leaves(cells, [pair.output for pair in task.train])
    tests = enumerate_tests(cells)
    train = cells.valid[: cells.train_words]
    votes: dict[tuple[bytes, ...], float] = {}
    best: dict[tuple[bytes, ...], tuple[float, Solution]] = {}
    for _, chosen in vocabularies(leaves, MAX_VOCABULARIES):
        if deadline.passed():
            break
        rules = learn(tests, leaves, chosen, train, deadline)
        if not rules:
            continue
        lost = surprise(tests, leaves, chosen, cells, deadline)
        penalty = sum(lost)
        for learned in rules:
            colors = learned.colors(leaves)
            outputs = tuple(
                colors[cells.grid(cells.demos + i)].reshape(grid.shape)
                for i, grid in enumerate(task.tests)
            )
            if max(o.max() for o in outputs) > 9:
                continue
            cost = learned.cost + penalty
            identity = tuple(o.tobytes() for o in outputs)
            votes[identity] = votes.get(identity, 0.0) + 2.0**-cost
            if identity not in best or best[identity][0] > cost:
                program = Call(
                    "cell_rule", (INPUT, as_rule(learned, tests, leaves), background, 1)
                )
                frozen = tuple(freeze(o.copy()) for o in outputs)
                best[identity] = (cost, Solution(program, frozen, cost))
    for identity in sorted(votes, key=lambda k: -votes[k]):
        cost, solution = best[identity]
        yield Solution(solution.program, solution.outputs, -float(np.log2(votes[identity])))
