"""Learned cell rules: the sub-engine that predicts every output cell from its features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solver.deadline import Deadline, FakeClock
from solver.grid import Grid, Pair, Task, freeze
from solver.synth.cells.frames import Framed, candidate_frames, framed
from solver.synth.cells.iterate import MAX_STEPS, Stage, iterated, repeat
from solver.synth.cells.learn import (
    SLACK,
    Batch,
    as_rule,
    predictions,
    trusted,
)
from solver.synth.cells.leaves import enumerate_leaves
from solver.synth.cells.states import (
    OPS as STATE_OPS,
)
from solver.synth.cells.states import (
    State,
    batches,
    layered,
    reachable,
    used_layers,
)
from solver.synth.cells.tests import enumerate_tests, gather
from solver.synth.cells.tree import Rule, paint
from solver.synth.program import INPUT, Call, Op, Solution

WORST_COST = 48.0  # bits; fewer than half of the rules above this cost are right
STAGE_BITS = 6.0  # extra cost of a rule that leave-one-out does not check
MAX_STAGES = 16
MAX_ANSWERS = 8  # distinct answers of a frame


def cell_rule(
    grid: Grid, rule: tuple[Any, ...], frame: str, background: str, times: int
) -> Grid | None:
    """Colour every cell of the output by a rule, `times` times.

    None if the frame does not fit or the rule copies a colour that is absent.
    """
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


def cell_rule_repeated(grid: Grid, rule: tuple[Any, ...], background: str) -> Grid | None:
    """Colour every cell by a rule repeatedly until nothing changes.

    None if `MAX_STEPS` steps are not enough, or if the rule copies a colour that is absent.
    """
    return repeat(grid, rule, background, MAX_STEPS)


OPS = {
    **STATE_OPS,
    "cell_rule": Op(cell_rule, "colours every cell by a rule learned from the demonstrations"),
    "cell_rule_repeated": Op(cell_rule_repeated, "colours every cell by a rule until it settles"),
}


def search(task: Task, deadline: Deadline) -> Iterator[Solution | None]:
    """Cell rules that reproduce every demonstration.

    Frames are searched first, the best answers of each frame first. Then come repeated rules if
    the task keeps the shapes of its grids, and then rules over states of the grid search.
    """
    bound = WORST_COST
    for frame in candidate_frames(task):
        yield None
        if deadline.passed():
            return
        answers = search_frame(task, frame, "0", INPUT, bound, deadline)
        yield from answers
        bound = min([bound] + [answer.cost + SLACK for answer in answers])
    same_size = all(pair.input.shape == pair.output.shape for pair in task.train)
    if same_size and not deadline.passed():
        yield from _search_staged(task, "0", bound, deadline)
    if not deadline.passed():
        yield from _search_states(task, "0", bound, deadline)


def prepare() -> None:
    """Compile, or load from disk, every kernel that `search` calls."""
    first = freeze(np.array([[0, 1, 0], [2, 0, 0], [0, 0, 1]], dtype=np.uint8))
    pairs = tuple(
        Pair(grid, freeze(np.where(grid == 1, 3, grid).astype(np.uint8)))
        for grid in (first, freeze(first[::-1].copy()))
    )
    for _ in search(Task("prepare", pairs, (first,)), Deadline.after(60.0, FakeClock())):
        pass


def _search_staged(
    task: Task, background: str, bound: float, deadline: Deadline
) -> Iterator[Solution | None]:
    """Rules applied until nothing changes, and rules that continue where such a rule ended."""
    stages: list[Stage] = []
    for stage in iterated(task, background, bound - STAGE_BITS, deadline):
        if stage is not None and stage.progress == 1.0:
            program = Call("cell_rule_repeated", (INPUT, stage.rule, background))
            yield Solution(program, stage.task.tests, stage.bits + STAGE_BITS)
        elif stage is not None and stage.progress > 0:
            stages.append(stage)
        else:
            yield None
    stages.sort(key=lambda stage: stage.bits - 10.0 * stage.progress)
    for stage in stages[:MAX_STAGES]:
        if deadline.passed():
            return
        source = Call("cell_rule_repeated", (INPUT, stage.rule, background))
        rest = bound - STAGE_BITS - stage.bits
        for answer in search_frame(stage.task, "same", background, source, rest, deadline):
            yield replace(answer, cost=answer.cost + STAGE_BITS + stage.bits)
        yield None


def _search_states(
    task: Task, background: str, bound: float, deadline: Deadline
) -> Iterator[Solution | None]:
    """Rules that copy or ask about colours of states that the grid search reaches."""
    states: list[State] = []
    for step in reachable(task, deadline):
        states = states if step is None else step
        yield None
    for base, layers in batches(task, states):
        if deadline.passed():
            return
        stacks = zip(base.grids, *(layer.grids for layer in layers), strict=True)
        views = [(own.shape, layered(own, tuple(rest), background)) for own, *rest in stacks]
        for rule, outputs, cost in learn_views(task, views, bound - base.bits, deadline):
            renamed, used = used_layers(rule, layers)
            if not used:
                continue
            parts = tuple(layer.program for layer in used)
            program = Call("cell_rule_layers", (base.program, parts, renamed, background))
            bits = base.bits + sum(layer.bits for layer in used)
            yield Solution(program, outputs, cost + bits)
        yield None


def search_frame(
    task: Task, frame: str, background: str, source: Call, bound: float, deadline: Deadline
) -> list[Solution]:
    """Answers of cell rules in a frame that cost at most `bound` bits, best first.

    `source` is the program that made the task's inputs out of the original inputs.
    """
    inputs = [pair.input for pair in task.train] + list(task.tests)
    views = [framed(grid, frame, background) for grid in inputs]
    shown = [view for view in views if view is not None]
    if len(shown) < len(views):
        return []
    return [
        Solution(Call("cell_rule", (source, rule, frame, background, 1)), outputs, cost)
        for rule, outputs, cost in learn_views(task, shown, bound, deadline)
    ]


def learn_views(
    task: Task, views: Sequence[Framed], bound: float, deadline: Deadline
) -> list[tuple[Rule, tuple[Grid, ...], float]]:
    """Rules over features as (rule, outputs for the test inputs, bits), best first.

    `views` are the features of all grids, demonstrations first. `bound` limits the bits.
    """
    cells = gather([table for _, table in views], len(task.train))
    leaves = enumerate_leaves(cells, [pair.output for pair in task.train])
    tests = enumerate_tests(cells)
    votes = Votes([shape for shape, _ in views[cells.demos :]])
    for rules in trusted(tests, leaves, cells, bound, deadline):
        for row, length, colors in predictions(tests, leaves, rules.batch, cells):
            outputs = [colors[cells.grid(i)] for i in range(cells.demos, len(cells.sizes))]
            if max(int(o.max()) for o in outputs) <= 9:
                votes.add(outputs, length + rules.penalty, (rules.batch, row))
        if deadline.passed():
            break
    return [
        (as_rule(batch, row, tests, leaves), grids, cost)
        for grids, cost, (batch, row) in votes.answers()
        if cost <= bound
    ]


@dataclass
class Votes:
    """Distinct answers for the test inputs, and the weight of the votes for each answer.

    shapes: output shapes of the test inputs.
    weights: sum of 2^-bits over all rules, by answer.
    best: bits, outputs, and batch and row of the cheapest rule, by answer.
    """

    shapes: list[tuple[int, int]]
    weights: dict[bytes, float] = field(default_factory=dict)
    best: dict[bytes, tuple[float, list[NDArray[np.uint8]], tuple[Batch, int]]] = field(
        default_factory=dict
    )

    def add(self, outputs: list[NDArray[np.uint8]], bits: float, rule: tuple[Batch, int]) -> None:
        """Add a weight of 2^-bits to the answer `outputs`; `rule` is a rule that gives it."""
        identity = b"".join(o.tobytes() for o in outputs)
        self.weights[identity] = self.weights.get(identity, 0.0) + 2.0**-bits
        if identity not in self.best or bits < self.best[identity][0]:
            self.best[identity] = (bits, outputs, rule)

    def answers(self) -> Iterator[tuple[tuple[Grid, ...], float, tuple[Batch, int]]]:
        """The `MAX_ANSWERS` answers of most weight as (grids, cost, rule).

        The cost is the bits of all rules of the answer together, plus -log2 of the answer's
        share of the votes.
        """
        total = sum(self.weights.values())
        for identity in sorted(self.weights, key=lambda k: -self.weights[k])[:MAX_ANSWERS]:
            _, outputs, rule = self.best[identity]
            cost = -2.0 * np.log2(self.weights[identity]) + np.log2(total)
            grids = (o.reshape(s) for o, s in zip(outputs, self.shapes, strict=True))
            yield tuple(freeze(grid.copy()) for grid in grids), float(cost), rule
