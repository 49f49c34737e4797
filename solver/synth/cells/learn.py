"""Learning cell rules: every short list of clauses that explains all training cells.

A leaf is a constant or a feature to copy; a vocabulary is a small set of leaves of which, at
every training cell, at least one is right. Cells where only one of them is right have to be
separated from those where it is wrong: a clause is a conjunction of up to three tests that
does. All clauses of nearly minimal cost are kept (a version space), weighted by 2^-cost, so
what they say about a new grid is a vote. Leaving a demonstration out and asking what share
of the votes would have predicted it tells how far a vocabulary can be trusted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from solver.deadline import Deadline
from solver.synth.cells.kernels import all_right, covers, fingerprints, region_of, separators
from solver.synth.cells.leaves import Leaves
from solver.synth.cells.tests import Bits, Cells, Tests
from solver.synth.cells.tree import Rule, negate

SLACK = 9.0  # bits above the best clause that still get a vote
MAX_CLAUSES = 300
MAX_BATCHES = 40
MAX_VOCABULARIES = 40
MAX_COVERS = 1000
MAX_GROUPS = 30  # distinct answers of one batch
BEAM = 3  # clauses tried at each step of a longer list
WORST = 6.0  # bits charged for a demonstration that no kept rule predicts


@dataclass(frozen=True, eq=False)
class Step:
    """One clause of a list: where `region` holds, the colour is that of `leaf`."""

    codes: tuple[int, ...]  # 2 * test + (1 if negated); -1 for none
    region: Bits  # over the words of all grids
    leaf: int


@dataclass(frozen=True, eq=False)
class Batch:
    """Rules that differ in one clause: the steps of `head`, then `rows[i]` -> `leaf`, else
    `default`. `costs[i]` is the description length of the whole rule, in bits."""

    head: tuple[Step, ...]
    rows: NDArray[np.int64]  # (n, 3) codes
    leaf: int
    default: int
    costs: NDArray[np.float64]

    def hits(self, tests: Tests, wrong: Bits, held: Bits) -> NDArray[np.bool_]:
        """For each rule, whether it is right on all cells of `held` (train words)."""
        rest = held
        for step in self.head:
            region = step.region[: len(held)]
            if (rest & region & wrong[step.leaf]).any():
                return np.zeros(len(self.rows), dtype=np.bool_)
            rest = rest & ~region
        hits: NDArray[np.bool_] = all_right(
            tests.bits, self.rows, rest & wrong[self.leaf], rest & wrong[self.default]
        )
        return hits


def as_rule(batch: Batch, i: int, tests: Tests, leaves: Leaves) -> Rule:
    """The readable form of one learned rule."""
    rule = leaves.rules[batch.default]
    steps = [(step.codes, step.leaf) for step in batch.head]
    steps.append((tuple(batch.rows[i].tolist()), batch.leaf))
    for codes, leaf in steps[::-1]:
        parts = [_literal(tests, code) for code in codes if code >= 0]
        if parts:
            test: Rule = parts[0] if len(parts) == 1 else ("and", *parts)
            rule = ("if", test, leaves.rules[leaf], rule)
    return rule


def _literal(tests: Tests, code: int) -> Rule:
    name = tests.name(code // 2)
    return negate(name) if code % 2 else name


def vocabularies(leaves: Leaves, limit: int) -> list[tuple[float, tuple[int, ...]]]:
    """Minimal sets of leaves that explain every training cell, cheapest first."""
    found: list[tuple[float, tuple[int, ...]]] = []
    for size in range(1, 7):
        if len(leaves.rules) == 0 or (size >= 4 and found):
            break
        for row in covers(leaves.wrong, np.int64(size), np.int64(MAX_COVERS)):
            chosen = tuple(row[:size].tolist())
            found.append((float(leaves.costs[list(chosen)].sum()), chosen))
    found.sort()
    return found[:limit]


def learn(
    tests: Tests, leaves: Leaves, chosen: tuple[int, ...], cells: Bits, deadline: Deadline
) -> list[Batch]:
    """Rules over the chosen leaves that are right on all of `cells` (train words)."""
    for leaf in chosen:
        if not (cells & leaves.wrong[leaf]).any():
            cost = leaves.costs[leaf : leaf + 1]
            return [Batch((), np.full((1, 3), -1, dtype=np.int64), leaf, leaf, cost)]
    if len(chosen) == 1 or deadline.passed():
        return []
    if len(chosen) == 2:
        return _learn_two(tests, leaves, chosen, cells)
    found: list[Batch] = []
    for leaf in chosen:
        if deadline.passed():
            break
        others = tuple(j for j in chosen if j != leaf)
        rows, costs = _split(tests, leaves, leaf, others, cells)
        for i in np.argsort(costs, kind="stable")[:BEAM]:
            region = region_of(tests.bits, rows[i])
            step = Step(tuple(rows[i].tolist()), region, leaf)
            more = float(costs[i] + leaves.costs[leaf]) + 1.0
            for tail in learn(tests, leaves, others, cells & ~region[: len(cells)], deadline):
                found.append(replace(tail, head=(step, *tail.head), costs=tail.costs + more))
    return _cheapest(found)


def _learn_two(tests: Tests, leaves: Leaves, chosen: tuple[int, ...], cells: Bits) -> list[Batch]:
    found = []
    for leaf, default in (chosen, chosen[::-1]):
        rows, costs = _split(tests, leaves, leaf, (default,), cells)
        if default == chosen[0]:  # single tests were found in the other order
            several = rows[:, 1] >= 0
            rows, costs = rows[several], costs[several]
        if len(rows):
            total = costs + leaves.costs[leaf] + leaves.costs[default] + 1.0
            found.append(Batch((), rows, leaf, default, total))
    return _cheapest(found)


def _cheapest(found: list[Batch]) -> list[Batch]:
    if not found:
        return found
    bound = min(float(batch.costs.min()) for batch in found) + SLACK
    kept = []
    for batch in found:
        cheap = batch.costs <= bound
        if cheap.any():
            kept.append(replace(batch, rows=batch.rows[cheap], costs=batch.costs[cheap]))
    return sorted(kept, key=lambda batch: float(batch.costs.min()))[:MAX_BATCHES]


def _split(
    tests: Tests, leaves: Leaves, leaf: int, others: tuple[int, ...], cells: Bits
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Clauses that hold where only `leaf` is right, and nowhere it is wrong; their costs."""
    must = cells & np.bitwise_and.reduce(leaves.wrong[list(others)], axis=0)
    never = cells & leaves.wrong[leaf]
    busy = np.flatnonzero(must | never)
    if not must.any():
        return np.empty((0, 3), dtype=np.int64), np.empty(0)
    narrow = np.take(tests.bits, busy, axis=1)
    result: tuple[NDArray[np.int64], NDArray[np.float64]] = separators(
        narrow, tests.costs, must[busy], never[busy], SLACK, MAX_CLAUSES
    )
    return result


def predictions(
    tests: Tests, leaves: Leaves, batch: Batch, cells: Cells
) -> Iterator[tuple[int, float, NDArray[np.uint8]]]:
    """The distinct answers of a batch: its cheapest rule's row, the bits of all rules that
    give it together, and the colours of all cells (64 * words,)."""
    prints = fingerprints(tests.bits, batch.rows, cells.valid, cells.train_words)
    order = np.argsort(batch.costs, kind="stable")
    groups: dict[int, list[int]] = {}
    for i in order.tolist():
        groups.setdefault(int(prints[i]), []).append(i)
    for rows in list(groups.values())[:MAX_GROUPS]:
        first = float(batch.costs[rows[0]])
        weight = float((2.0 ** (first - batch.costs[rows])).sum())
        region = unpack(region_of(tests.bits, batch.rows[rows[0]]))
        colors = np.where(region, leaves.values[batch.leaf], leaves.values[batch.default])
        for step in batch.head[::-1]:
            colors = np.where(unpack(step.region), leaves.values[step.leaf], colors)
        yield rows[0], first - float(np.log2(weight)), colors


def unpack(bits: Bits) -> NDArray[np.bool_]:
    """The inverse of `pack` for one row."""
    return np.unpackbits(bits.view(np.uint8), bitorder="little").view(np.bool_)


@dataclass(frozen=True, eq=False)
class Trusted:
    """Rules over one vocabulary, and the bits they pay for what they failed to foresee."""

    batch: Batch
    penalty: float


def trusted(
    tests: Tests, leaves: Leaves, cells: Cells, bound: float, deadline: Deadline
) -> Iterator[Trusted]:
    """Rules that are right on all demonstrations and cost at most `bound` bits, or `SLACK`
    more than the best: cheap vocabularies first."""
    train = cells.valid[: cells.train_words]
    for bits, chosen in vocabularies(leaves, MAX_VOCABULARIES):
        if deadline.passed() or bits > bound:
            return
        batches = learn(tests, leaves, chosen, train, deadline)
        cost = min((float(batch.costs.min()) for batch in batches), default=bound)
        if cost >= bound:
            continue
        penalty = surprise(tests, leaves, chosen, cells, bound - cost, deadline)
        if cost + penalty <= bound:
            bound = min(bound, cost + penalty + SLACK)
            yield from (Trusted(batch, penalty) for batch in batches)


def surprise(
    tests: Tests,
    leaves: Leaves,
    chosen: tuple[int, ...],
    cells: Cells,
    limit: float,
    deadline: Deadline,
) -> float:
    """The bits by which rules learned without a demonstration miss it, over all of them.

    Each costs -log2 of the share of votes that predict it, at most `WORST`. The count stops
    once it exceeds `limit`.
    """
    lost = 0.0
    train = cells.valid[: cells.train_words]
    for i in range(cells.demos):
        held = np.zeros_like(train)
        held[cells.starts[i] : cells.starts[i + 1]] = train[cells.starts[i] : cells.starts[i + 1]]
        batches = learn(tests, leaves, chosen, train & ~held, deadline)
        lowest = min((float(batch.costs.min()) for batch in batches), default=0.0)
        right, total = 0.0, 0.0
        for batch in batches:
            weights = 2.0 ** (lowest - batch.costs)
            right += float(weights[batch.hits(tests, leaves.wrong_held, held)].sum())
            total += float(weights.sum())
        lost += min(WORST, -float(np.log2(right / total)) if right else WORST)
        if lost > limit:
            break
    return lost
