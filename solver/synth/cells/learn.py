"""Learning cell rules: every short list of clauses that explains all training cells.

A leaf is a function that colours a cell (see `cells.leaves`). A vocabulary is a small set of
leaves; at every training cell, at least one leaf of the set is right. A clause is a conjunction
of up to three tests. The clause of a leaf separates the cells where only this leaf is right from
the cells where this leaf is wrong.

All clauses of nearly minimal cost are kept (a version space). Rules vote on a new grid with
weights 2^-cost. Leave-one-out tests a vocabulary: the share of the votes that predict a
demonstration left out says how much the vocabulary can be trusted.
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

SLACK = 9.0  # bits; a clause costs at most this much more than the best clause to have a vote
MAX_CLAUSES = 300
MAX_BATCHES = 40
MAX_VOCABULARIES = 40
MAX_COVERS = 1000
MAX_GROUPS = 30  # distinct answers of a batch
BEAM = 3  # clauses tried at each step of a longer list
WORST = 6.0  # bits charged for a demonstration that no kept rule predicts


@dataclass(frozen=True, eq=False)
class Step:
    """A clause of a list: the leaf colours the cells of `region`.

    codes: literals as 2 * test + (1 if negated); -1 for no literal.
    region: the cells where the clause holds, over the words of all grids.
    """

    codes: tuple[int, ...]
    region: Bits
    leaf: int


@dataclass(frozen=True, eq=False)
class Batch:
    """Rules that differ in one clause only.

    Rule i is the steps of `head`, then the clause `rows[i]` -> `leaf`, else `default`.
    rows: codes of literals, (n, 3).
    costs: description lengths of whole rules in bits, (n,).
    """

    head: tuple[Step, ...]
    rows: NDArray[np.int64]
    leaf: int
    default: int
    costs: NDArray[np.float64]

    def hits(self, tests: Tests, wrong: Bits, held: Bits) -> NDArray[np.bool_]:
        """For each rule: True if it is right on all cells of `held` (train words), (n,)."""
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
    """The readable form of rule i of a batch."""
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
    """At most `limit` minimal sets of leaves that explain every training cell, with their bits.

    The cheapest sets come first. Sets of 4 to 6 leaves are sought only if there are no smaller.
    """
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
    """Rules over the chosen leaves that are right on all cells of `cells` (train words)."""
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
        if default == chosen[0]:  # the other order, with the test negated, found single tests
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
    """Codes (n, 3) and costs (n,) of clauses that separate a leaf from the others.

    A clause holds on all cells where every other leaf is wrong, and on no cell where `leaf` is
    wrong. There are no clauses if the leaf is needed nowhere.
    """
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
    """The distinct answers of a batch, at most `MAX_GROUPS`.

    An answer is the row of its cheapest rule, the bits of all its rules together, and the
    colours of all cells (64 * words,).
    """
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
    """The inverse of `pack` for a single row."""
    return np.unpackbits(bits.view(np.uint8), bitorder="little").view(np.bool_)


@dataclass(frozen=True, eq=False)
class Trusted:
    """Rules over a vocabulary, and the penalty in bits for failures in leave-one-out."""

    batch: Batch
    penalty: float


def trusted(
    tests: Tests, leaves: Leaves, cells: Cells, bound: float, deadline: Deadline
) -> Iterator[Trusted]:
    """Rules that are right on all demonstrations, cheap vocabularies first.

    A vocabulary is dropped if its best rule and its penalty together cost more than `bound` bits.
    The bound falls to `SLACK` bits above the best vocabulary so far.
    """
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
    """The penalty of a vocabulary in leave-one-out, in bits.

    Rules are learned without a demonstration and then vote on this demonstration. A
    demonstration costs -log2 of the share of the votes that predict it, at most `WORST`. The sum
    stops once it exceeds `limit`.
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
