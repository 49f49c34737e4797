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
from solver.synth.cell_leaves import Leaves
from solver.synth.cell_tests import Bits, Cells, Tests
from solver.synth.cell_tree import Rule, negate
from solver.synth.jit import kernel

SLACK = 9.0  # bits above the best clause that still get a vote
MAX_CLAUSES = 300
MAX_VOCABULARIES = 40
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
        hits: NDArray[np.bool_] = _hits(
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
    if len(leaves.rules) == 0:
        return found
    for size in range(1, 7):
        covers = _covers(leaves.wrong, leaves.costs, size, 4000)
        sets = [set(v) for _, v in found]
        for row in covers:
            chosen = tuple(int(j) for j in row[:size])
            if not any(s.issubset(chosen) for s in sets):
                found.append((float(leaves.costs[list(chosen)].sum()), chosen))
        if size >= 3 and found:
            break
    found.sort()
    return found[:limit]


@kernel
def _covers(wrong, costs, size, limit):  # type: ignore[no-untyped-def]
    """Sets of `size` leaves that are never all wrong: rows of indices (n, 6)."""
    n = min(len(wrong), (200, 200, 100, 30, 14, 10)[size - 1])
    found = np.full((limit, 6), -1, np.int64)
    count = 0
    index = np.arange(6)
    if n < size:
        return found[:0]
    steps = 0
    while count < limit and steps < 300000:
        steps += 1
        covered = True
        for k in range(wrong.shape[1]):
            word = wrong[index[0], k]
            for i in range(1, size):
                word &= wrong[index[i], k]
            if word:
                covered = False
                break
        if covered:
            found[count, :size] = index[:size]
            count += 1
        i = size - 1
        while i >= 0 and index[i] == n - size + i:
            i -= 1
        if i < 0:
            break
        index[i] += 1
        for j in range(i + 1, size):
            index[j] = index[j - 1] + 1
    return found[:count]


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
        others = tuple(j for j in chosen if j != leaf)
        rows, costs = _split(tests, leaves, leaf, others, cells)
        for i in np.argsort(costs, kind="stable")[:BEAM]:
            region = _region(tests.bits, rows[i])
            step = Step(tuple(rows[i].tolist()), region, leaf)
            more = float(costs[i] + leaves.costs[leaf]) + 1.0
            for tail in learn(tests, leaves, others, cells & ~region[: len(cells)], deadline):
                found.append(replace(tail, head=(step, *tail.head), costs=tail.costs + more))
    return _cheapest(found)


def _learn_two(
    tests: Tests, leaves: Leaves, chosen: tuple[int, ...], cells: Bits
) -> list[Batch]:
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
    return kept


def _split(
    tests: Tests, leaves: Leaves, leaf: int, others: tuple[int, ...], cells: Bits
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Clauses that hold where only `leaf` is right, and nowhere it is wrong; their costs."""
    must = cells & np.bitwise_and.reduce(leaves.wrong[list(others)], axis=0)
    never = cells & leaves.wrong[leaf]
    busy = np.flatnonzero(must | never)
    if not must.any():
        return np.empty((0, 3), dtype=np.int64), np.empty(0)
    narrow = tests.bits[:, busy]
    result: tuple[NDArray[np.int64], NDArray[np.float64]] = _separators(
        narrow, tests.costs, must[busy], never[busy], SLACK, MAX_CLAUSES
    )
    return result


@kernel
def _region(bits, codes):  # type: ignore[no-untyped-def]
    region = np.full(bits.shape[1], ~np.uint64(0))
    for code in codes:
        if code >= 0:
            flip = ~np.uint64(0) if code % 2 else np.uint64(0)
            for k in range(len(region)):
                region[k] &= bits[code // 2, k] ^ flip
    return region


@kernel
def _hits(bits, rows, wrong, wrong_default):  # type: ignore[no-untyped-def]
    hits = np.ones(len(rows), np.bool_)
    for i in range(len(rows)):
        for k in range(len(wrong)):
            if wrong[k] == 0 and wrong_default[k] == 0:
                continue
            region = ~np.uint64(0)
            for code in rows[i]:
                if code >= 0:
                    flip = ~np.uint64(0) if code % 2 else np.uint64(0)
                    region &= bits[code // 2, k] ^ flip
            if region & wrong[k] or ~region & wrong_default[k]:
                hits[i] = False
                break
    return hits


@kernel
def _fingerprints(bits, rows, valid, start):  # type: ignore[no-untyped-def]
    """A hash of each clause's answers on the words from `start`, (n,)."""
    prints = np.zeros(len(rows), np.uint64)
    for i in range(len(rows)):
        code_hash = np.uint64(1469598103934665603)
        for k in range(start, bits.shape[1]):
            region = valid[k]
            for code in rows[i]:
                if code >= 0:
                    flip = ~np.uint64(0) if code % 2 else np.uint64(0)
                    region &= bits[code // 2, k] ^ flip
            code_hash = (code_hash ^ region) * np.uint64(1099511628211)
            code_hash ^= code_hash >> np.uint64(29)
        prints[i] = code_hash
    return prints


def predictions(
    tests: Tests, leaves: Leaves, batch: Batch, cells: Cells
) -> Iterator[tuple[int, float, NDArray[np.uint8]]]:
    """The distinct answers of a batch: its cheapest rule's row, the bits of all rules that
    give it together, and the colours of all cells (64 * words,)."""
    prints = _fingerprints(tests.bits, batch.rows, cells.valid, cells.train_words)
    order = np.argsort(batch.costs, kind="stable")
    groups: dict[int, list[int]] = {}
    for i in order.tolist():
        groups.setdefault(int(prints[i]), []).append(i)
    for rows in list(groups.values())[:MAX_GROUPS]:
        first = float(batch.costs[rows[0]])
        weight = float((2.0 ** (first - batch.costs[rows])).sum())
        region = unpack(_region(tests.bits, batch.rows[rows[0]]))
        colors = np.where(region, leaves.values[batch.leaf], leaves.values[batch.default])
        for step in batch.head[::-1]:
            colors = np.where(unpack(step.region), leaves.values[step.leaf], colors)
        yield rows[0], first - float(np.log2(weight)), colors


def unpack(bits: Bits) -> NDArray[np.bool_]:
    """The inverse of `pack` for one row."""
    return np.unpackbits(bits.view(np.uint8), bitorder="little").view(np.bool_)


@kernel
def _separators(bits, costs, must, never, slack, limit):  # type: ignore[no-untyped-def]
    words = len(must)
    most = 1000
    code = np.empty(most, np.int64)
    price = np.empty(most)
    rest = np.empty((most, words), np.uint64)
    n = 0
    found = np.full((limit, 3), -1, np.int64)
    cost = np.empty(limit)
    count = 0
    bound = 1e9
    for t in range(len(bits)):
        for negated in range(2):
            if n == most:
                break
            flip = ~np.uint64(0) if negated else np.uint64(0)
            holds, helps, solves = True, False, True
            for k in range(words):
                lit = bits[t, k] ^ flip
                if must[k] & ~lit:
                    holds = False
                    break
                left = never[k] & lit
                helps |= left != never[k]
                solves &= left == 0
                rest[n, k] = left
            if not holds or not helps:
                continue
            p = costs[t] + 0.5 * negated
            if solves:
                if count < limit and p <= bound:
                    found[count, 0], cost[count] = 2 * t + negated, p
                    count += 1
                    bound = min(bound, p + slack)
                continue
            code[n], price[n] = 2 * t + negated, p
            n += 1
    for i in range(n):
        if 2 * price[i] + 1.0 > bound:
            break
        for j in range(i + 1, n):
            p = price[i] + price[j] + 1.0
            if p > bound:
                break
            if _disjoint2(rest[i], rest[j]) and count < limit:
                found[count, 0], found[count, 1], cost[count] = code[i], code[j], p
                count += 1
                bound = min(bound, p + slack)
    if count == 0:
        count = _triples(code, price, rest, min(n, 150), slack, found, cost)
    return found[:count], cost[:count]


@kernel
def _triples(code, price, rest, n, slack, found, cost):  # type: ignore[no-untyped-def]
    count, bound = 0, 1e9
    both = np.empty(rest.shape[1], np.uint64)
    for i in range(n):
        for j in range(i + 1, n):
            for k in range(rest.shape[1]):
                both[k] = rest[i, k] & rest[j, k]
            for m in range(j + 1, n):
                p = price[i] + price[j] + price[m] + 2.0
                if p > bound:
                    break
                if _disjoint2(both, rest[m]) and count < len(found):
                    found[count, 0], found[count, 1] = code[i], code[j]
                    found[count, 2], cost[count] = code[m], p
                    count += 1
                    bound = min(bound, p + slack)
    return count


@kernel
def _disjoint2(a, b):  # type: ignore[no-untyped-def]
    for k in range(len(a)):
        if a[k] & b[k]:
            return False
    return True


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
