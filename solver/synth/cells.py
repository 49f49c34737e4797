"""Learned cell rules: the sub-engine that predicts every output cell from its features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from solver.deadline import Deadline
from solver.grid import Grid, Task, freeze
from solver.synth.cell_features import features
from solver.synth.cell_frames import Framed, candidate_frames, framed
from solver.synth.cell_learn import (
    SLACK,
    as_rule,
    learn,
    predictions,
    surprise,
    vocabularies,
)
from solver.synth.cell_leaves import enumerate_leaves
from solver.synth.cell_tests import enumerate_tests, gather
from solver.synth.cell_tree import paint
from solver.synth.program import INPUT, Call, Op, Solution

MAX_VOCABULARIES = 40
WORST_COST = 48.0  # bits; of rules above it less than half are right
MAX_ANSWERS = 8  # distinct answers of one frame


def cell_rule(
    grid: Grid, rule: tuple[Any, ...], frame: str, background: str, times: int
) -> Grid | None:
    """Colour every cell of the output by a rule, `times` times."""
    cells = grid
    for _ in range(times):
        result = framed(cells, frame, background)
        if result is None:
            return None
        shape, table = result
        colors = paint(rule, table)
        if colors.max() > 9:
            return None
        cells = freeze(colors.reshape(shape).astype(np.uint8))
    return cells


OPS = {"cell_rule": Op(cell_rule, "colours every cell by a rule learned from the demonstrations")}


def search(task: Task, deadline: Deadline) -> Iterator[Solution | None]:
    """Cell rules that reproduce every demonstration, most trusted first."""
    for frame in candidate_frames(task):
        yield from _search_frame(task, frame, "0", deadline)
        yield None


def _search_frame(
    task: Task, frame: str, background: str, deadline: Deadline
) -> Iterator[Solution | None]:
    inputs = [pair.input for pair in task.train] + list(task.tests)
    views = [framed(grid, frame, background) for grid in inputs]
    shown: list[Framed] = [view for view in views if view is not None]
    if len(shown) < len(views):
        return
    cells = gather([table for _, table in shown], len(task.train))
    leaves = enumerate_leaves(cells, [pair.output for pair in task.train])
    tests = enumerate_tests(cells)
    train = cells.valid[: cells.train_words]
    votes: dict[tuple[bytes, ...], float] = {}
    best: dict[tuple[bytes, ...], tuple[float, Solution]] = {}
    lowest = 1e9
    for bits, chosen in vocabularies(leaves, MAX_VOCABULARIES):
        if deadline.passed() or bits > lowest + SLACK:
            break
        batches = learn(tests, leaves, chosen, train, deadline)
        if not batches:
            continue
        penalty = sum(surprise(tests, leaves, chosen, cells, deadline))
        for batch in batches:
            for row, length, colors in predictions(tests, leaves, batch, cells):
                outputs = tuple(
                    colors[cells.grid(cells.demos + i)].reshape(shape)
                    for i, (shape, _) in enumerate(shown[cells.demos :])
                )
                if max(o.max() for o in outputs) > 9:
                    continue
                identity = tuple(o.tobytes() for o in outputs)
                votes[identity] = votes.get(identity, 0.0) + 2.0 ** -(length + penalty)
                cost = float(batch.costs[row]) + penalty
                if identity not in best or best[identity][0] > cost:
                    rule = as_rule(batch, row, tests, leaves)
                    program = Call("cell_rule", (INPUT, rule, frame, background, 1))
                    frozen = tuple(freeze(o.copy()) for o in outputs)
                    best[identity] = (cost, Solution(program, frozen, cost))
        lowest = min(lowest, min(cost for cost, _ in best.values()) if best else lowest)
    total = sum(votes.values())
    for identity in sorted(votes, key=lambda k: -votes[k])[:MAX_ANSWERS]:
        cost = -2.0 * float(np.log2(votes[identity])) + float(np.log2(total))
        if cost > WORST_COST:
            break
        yield Solution(best[identity][1].program, best[identity][1].outputs, cost)
