"""Learning cell rules: every short list of clauses that explains all training cells.

A leaf is a constant or a feature to copy; a vocabulary is a small set of leaves of which, at
every training cell, at least one is right. Cells where only one of them is right have to be
separated from those where it is wrong: a clause is a conjunction of up to three tests that
does. All clauses of nearly minimal cost are kept (a version space), weighted by 2^-cost, so
what they say about a new grid is a vote. Leaving a demonstration out and asking what share
of the votes would have predicted it tells how far a vocabulary can be trusted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solver.deadline import Deadline
from solver.synth.cell_features import FEATURES
from solver.synth.cell_tests import Bits, Cells, Tests, pack
from solver.synth.cell_tree import Rule, negate
from solver.synth.jit import kernel

SLACK = 10.0  # bits above the best clause that still get a vote
MAX_CLAUSES = 300
BEAM = 3  # clauses tried at each step of a longer list
WORST = 6.0  # bits charged for a demonstration that no kept rule predicts


@dataclass(frozen=True, eq=False)
class Leaves:
    """Output functions sorted by cost: `values` (J, 64 * words), `wrong` (J, train words)."""

    rules: tuple[Rule, ...]
    costs: NDArray[np.float64]
    values: NDArray[np.uint8]
    wrong: Bits


@dataclass(frozen=True, eq=False)
class Learned:
    """A list of clauses: where `regions[k]` holds (and none before), leaf `leaves[k]`.

    The last leaf is the default. Literals are 2 * test + (1 if negated), -1 for none.
    """

    clauses: tuple[tuple[int, ...], ...]
    regions: tuple[Bits, ...]
    leaves: tuple[int, ...]
    cost: float

    def right(self, wrong: Bits, cells: Bits) -> bool:
        """True if no cell of `cells` (train words) gets a wrong colour."""
        rest, n = cells, len(cells)
        for region, leaf in zip(self.regions, self.leaves, strict=False):
            if (rest & region[:n] & wrong[leaf]).any():
                return False
            rest = rest & ~region[:n]
        return not (rest & wrong[self.leaves[-1]]).any()

    def colors(self, leaves: Leaves) -> NDArray[np.uint8]:
        """The colour of every cell, (64 * words,)."""
        colors = leaves.values[self.leaves[-1]]
        for region, leaf in zip(self.regions[::-1], self.leaves[-2::-1], strict=True):
            colors = np.where(unpack(region), leaves.values[leaf], colors)
        return colors


def unpack(bits: Bits) -> NDArray[np.bool_]:
    """The inverse of `pack` for one row."""
    return np.unpackbits(bits.view(np.uint8), bitorder="little").view(np.bool_)


def as_rule(learned: Learned, tests: Tests, leaves: Leaves) -> Rule:
    """The readable form of what was learned."""
    rule = leaves.rules[learned.leaves[-1]]
    for clause, leaf in zip(learned.clauses[::-1], learned.leaves[-2::-1], strict=True):
        parts = [_literal(tests, code) for code in clause if code >= 0]
        test: Rule = parts[0] if len(parts) == 1 else ("and", *parts)
        rule = ("if", test, leaves.rules[leaf], rule)
    return rule


def _literal(tests: Tests, code: int) -> Rule:
    name = tests.name(code // 2)
    return negate(name) if code % 2 else name


def enumerate_leaves(cells: Cells, targets: Sequence[NDArray[np.uint8]]) -> Leaves:
    """Constants of the outputs and features to copy, without duplicates, cheapest first."""
    total = cells.table.shape[1]
    wanted = np.full(total, 255, dtype=np.uint8)
    for i, target in enumerate(targets):
        wanted[cells.grid(i)] = target.ravel()
    train = 64 * cells.train_words
    used = np.unique(wanted[:train])
    found: list[tuple[float, Rule, NDArray[np.uint8]]] = [
        (3.0, ("const", int(c)), np.full(total, c, dtype=np.uint8)) for c in used if c < 10
    ]
    for i, feature in enumerate(FEATURES):
        if feature.color:
            found.append((feature.bits + 0.5, ("copy", feature.name), cells.table[i]))
    found.sort(key=lambda leaf: leaf[0])
    seen: set[bytes] = set()
    kept = []
    for leaf in found:
        right = (leaf[2][:train] == wanted[:train]).any()
        if right and leaf[2].tobytes() not in seen:
            seen.add(leaf[2].tobytes())
            kept.append(leaf)
    values = np.array([leaf[2] for leaf in kept], dtype=np.uint8).reshape(len(kept), total)
    wrong = pack((values[:, :train] != wanted[:train]).view(np.uint8))
    wrong &= cells.valid[: cells.train_words]
    costs = np.array([leaf[0] for leaf in kept])
    return Leaves(tuple(leaf[1] for leaf in kept), costs, values, wrong)


def vocabularies(leaves: Leaves, limit: int) -> list[tuple[float, tuple[int, ...]]]:
    """Minimal sets of leaves that explain every training cell, cheapest first."""
    found: list[tuple[float, tuple[int, ...]]] = []
    if len(leaves.rules) == 0:
        return found
    for size in range(1, 5):
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
    """Sets of `size` leaves that are never all wrong: rows of indices (n, 4)."""
    n = min(len(wrong), 100 if size < 4 else 30)
    found = np.full((limit, 4), -1, np.int64)
    count = 0
    index = np.arange(4)
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
    tests: Tests,
    leaves: Leaves,
    chosen: tuple[int, ...],
    cells: Bits,
    deadline: Deadline,
) -> list[Learned]:
    """Lists of clauses over the chosen leaves that are right on `cells` (train words)."""
    for leaf in chosen:
        if not (cells & leaves.wrong[leaf]).any():
            return [Learned((), (), (leaf,), float(leaves.costs[leaf]))]
    if len(chosen) == 1 or deadline.passed():
        return []
    found: list[Learned] = []
    for leaf in chosen:
        others = tuple(j for j in chosen if j != leaf)
        must = cells & np.bitwise_and.reduce(leaves.wrong[list(others)], axis=0)
        never = cells & leaves.wrong[leaf]
        if not must.any():
            continue
        both = len(others) == 1 and leaf == chosen[1]
        for clause, region, cost in clauses(tests, must, never, len(others) > 1, both):
            rest = cells & ~region[: len(cells)]
            for tail in learn(tests, leaves, others, rest, deadline):
                total = cost + float(leaves.costs[leaf]) + 1.0 + tail.cost
                found.append(
                    Learned(
                        (clause, *tail.clauses),
                        (region, *tail.regions),
                        (leaf, *tail.leaves),
                        total,
                    )
                )
    found.sort(key=lambda learned: learned.cost)
    return [x for x in found if x.cost <= found[0].cost + SLACK][:MAX_CLAUSES]


def clauses(
    tests: Tests, must: Bits, never: Bits, few: bool, skip_single: bool
) -> Iterator[tuple[tuple[int, ...], Bits, float]]:
    """Conjunctions that hold on all of `must` and on none of `never`, cheapest first."""
    words = len(must)
    busy = np.flatnonzero(must | never)
    narrow = np.ascontiguousarray(tests.bits[:, :words][:, busy])
    rows, costs = _separators(narrow, tests.costs, must[busy], never[busy], SLACK, MAX_CLAUSES)
    order = np.argsort(costs, kind="stable")
    for i in order[: BEAM if few else MAX_CLAUSES]:
        if skip_single and rows[i, 1] < 0:
            continue
        region = np.full(tests.bits.shape[1], ~np.uint64(0))
        for code in rows[i]:
            if code >= 0:
                bits = tests.bits[code // 2]
                region = region & (~bits if code % 2 else bits)
        yield tuple(int(c) for c in rows[i]), region, float(costs[i])


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


def surprise(
    tests: Tests,
    leaves: Leaves,
    chosen: tuple[int, ...],
    cells: Cells,
    deadline: Deadline,
) -> list[float]:
    """For each demonstration, the bits by which rules learned without it miss it.

    Zero where all votes predict it, `WORST` where next to none does.
    """
    lost = []
    train = cells.valid[: cells.train_words]
    for i in range(cells.demos):
        held = np.zeros_like(train)
        held[cells.starts[i] : cells.starts[i + 1]] = train[cells.starts[i] : cells.starts[i + 1]]
        rules = learn(tests, leaves, chosen, train & ~held, deadline)
        if not rules:
            lost.append(WORST)
            continue
        weights = 2.0 ** (rules[0].cost - np.array([rule.cost for rule in rules]))
        hits = np.array([rule.right(leaves.wrong, held) for rule in rules])
        share = float((weights * hits).sum() / weights.sum())
        lost.append(min(WORST, -float(np.log2(max(share, 1e-9)))))
    return lost

