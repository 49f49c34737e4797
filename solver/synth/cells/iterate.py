"""Iterated cell rules: a clause applied repeatedly until nothing changes.

A clause (test -> leaf) colours the cells that pass the test; every other cell keeps its colour.
A clause may colour only a part of the cells that have to change, but must never colour a cell
wrongly: in inputs, in outputs (its fixed points), or at any step in between. Each clause that is
clean in inputs and outputs is run. The grid at the end of the run is the output, or a stage from
which another rule continues. Such rules draw lines, fills and growing patterns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from solver.deadline import Deadline
from solver.grid import Grid, Pair, Task, freeze, same
from solver.synth.cells.leaves import Leaves, enumerate_leaves
from solver.synth.cells.tests import Cells, Tests, enumerate_tests, gather
from solver.synth.cells.tree import Rule, negate, paint
from solver.synth.features.compute import features
from solver.synth.jit import kernel

MAX_STEPS = 40
MAX_CANDIDATES = 400
MAX_LEAVES = 14


@dataclass(frozen=True, eq=False)
class Stage:
    """A clause that was run to its end on every grid.

    bits: length of the clause.
    task: the task with inputs as the clause leaves them.
    progress: share of the cells to change that the clause has changed, 0..1.
    """

    rule: Rule
    bits: float
    task: Task
    progress: float


def repeat(grid: Grid, rule: Rule, background: str, limit: int) -> Grid | None:
    """Apply a rule until nothing changes, at most `limit` times.

    None if the grid still changes at the limit, or if the rule copies a colour that is absent.
    """
    for _ in range(limit):
        colors = paint(rule, features(grid, background))
        if colors.max() > 9:
            return None
        after = freeze(colors.reshape(grid.shape).astype(np.uint8))
        if same(after, grid):
            return grid
        grid = after
    return None


def iterated(
    task: Task, background: str, bound: float, deadline: Deadline
) -> Iterator[Stage | None]:
    """Distinct stages of clauses of at most `bound` bits, cheapest first.

    None is yielded where the search may pause.
    """
    demos = len(task.train)
    befores = [features(pair.input, background) for pair in task.train]
    afters = [features(pair.output, background) for pair in task.train]
    cells = gather(befores + afters, 2 * demos)
    targets = [pair.output for pair in task.train]
    leaves = enumerate_leaves(cells, targets + targets)
    tests = enumerate_tests(cells)
    yield None
    own = next((j for j, rule in enumerate(leaves.rules) if rule == ("copy", "self")), None)
    if own is None:
        return
    todo = sum(int((pair.input != pair.output).sum()) for pair in task.train)
    seen: set[Task] = set()
    for rule, bits in _candidates(tests, leaves, cells, own, demos, bound):
        if deadline.passed():
            return
        after = _settle(task, rule, background, deadline)
        if after is None or after in seen:
            yield None
            continue
        seen.add(after)
        left = sum(int((pair.input != pair.output).sum()) for pair in after.train)
        yield Stage(rule, bits, after, 1.0 - left / todo)


def _candidates(
    tests: Tests, leaves: Leaves, cells: Cells, own: int, demos: int, bound: float
) -> list[tuple[Rule, float]]:
    """Clauses with their bits, cheapest first, that colour no cell wrongly.

    A clause must colour some cell in every demonstration whose output differs from its input.
    """
    found: list[tuple[float, tuple[int, ...], int]] = []
    starts = np.array(cells.starts[: demos + 1], dtype=np.int64)
    for leaf in [j for j in range(len(leaves.rules)) if j != own][:MAX_LEAVES]:
        never = leaves.wrong[leaf]
        open_cells = leaves.wrong[own] & ~never
        needy = leaves.wrong[own][: starts[-1]]
        wanted = [i for i in range(demos) if needy[starts[i] : starts[i + 1]].any()]
        if any(not open_cells[starts[i] : starts[i + 1]].any() for i in wanted) or not wanted:
            continue
        rest = bound - float(leaves.costs[leaf]) - 2.0
        rows, costs = _clean(
            tests.bits, tests.costs, open_cells, never, starts, np.array(wanted), rest,
            MAX_CANDIDATES,
        )  # fmt: skip
        for row, cost in zip(rows.tolist(), costs.tolist(), strict=True):
            found.append((cost + float(leaves.costs[leaf]) + 2.0, tuple(row), leaf))
    found.sort()
    return [(_rule(tests, leaves, codes, leaf), cost) for cost, codes, leaf in found]


def _rule(tests: Tests, leaves: Leaves, codes: Sequence[int], leaf: int) -> Rule:
    parts = []
    for code in codes:
        if code >= 0:
            name = tests.name(code // 2)
            parts.append(negate(name) if code % 2 else name)
    test: Rule = parts[0] if len(parts) == 1 else ("and", *parts)
    return ("if", test, leaves.rules[leaf], ("copy", "self"))


def _settle(task: Task, rule: Rule, background: str, deadline: Deadline) -> Task | None:
    pairs = []
    for pair in task.train:
        end = _clean_end(pair, rule, background, deadline)
        if end is None:
            return None
        pairs.append(Pair(end, pair.output))
    tests = [repeat(grid, rule, background, MAX_STEPS) for grid in task.tests]
    done = tuple(grid for grid in tests if grid is not None)
    return Task(task.id, tuple(pairs), done) if len(done) == len(tests) else None


def _clean_end(pair: Pair, rule: Rule, background: str, deadline: Deadline) -> Grid | None:
    """The grid at which the rule settles; None if it colours a cell wrongly or does not settle."""
    current = np.array(pair.input)
    for _ in range(MAX_STEPS):
        if deadline.passed():
            return None
        colors = paint(rule, features(current, background)).reshape(current.shape)
        changed = colors != current
        if not changed.any():
            return freeze(current)
        if (changed & (colors != pair.output)).any():
            return None
        current = colors.astype(np.uint8)
    return None


@kernel
def _clean(bits, costs, open_cells, never, starts, wanted, bound, limit):
    """Conjunctions of one or two literals that hold on no cell of `never`.

    A conjunction must hold on some open cell of each wanted grid. Returns at most `limit`
    conjunctions of at most `bound` bits, first singles, then pairs: codes (n, 2), costs (n,).
    """
    words, inputs = len(never), starts[-1]
    most = 1500
    code = np.empty(most, np.int64)
    price = np.empty(most)
    rest = np.empty((most, words), np.uint64)
    good = np.empty((most, inputs), np.uint64)
    found = np.full((limit, 2), -1, np.int64)
    cost = np.empty(limit)
    n, count = 0, 0
    for t in range(len(bits)):
        for negated in range(2):
            if n == most or costs[t] + 0.5 * negated > bound:
                break
            flip = ~np.uint64(0) if negated else np.uint64(0)
            for k in range(inputs):
                good[n, k] = open_cells[k] & (bits[t, k] ^ flip)
            if not _everywhere(good[n], good[n], starts, wanted):
                continue
            clean, helps = True, False
            for k in range(words):
                rest[n, k] = never[k] & (bits[t, k] ^ flip)
                clean &= rest[n, k] == 0
                helps |= rest[n, k] != never[k]
            if clean and count < limit:
                found[count, 0], cost[count] = 2 * t + negated, costs[t] + 0.5 * negated
                count += 1
            elif helps:
                code[n], price[n] = 2 * t + negated, costs[t] + 0.5 * negated
                n += 1
    kept = code[:n], price[:n], rest[:n], good[:n]
    count = _clean_pairs(kept, starts, wanted, bound, found, cost, count)
    return found[:count], cost[:count]


@kernel
def _clean_pairs(kept, starts, wanted, bound, found, cost, count):
    code, price, rest, good = kept
    for i in range(len(code)):
        for j in range(i + 1, len(code)):
            p = price[i] + price[j] + 1.0
            if p > bound or count == len(found):
                break
            k = 0
            while k < rest.shape[1] and rest[i, k] & rest[j, k] == 0:
                k += 1
            if k == rest.shape[1] and _everywhere(good[i], good[j], starts, wanted):
                found[count, 0], found[count, 1], cost[count] = code[i], code[j], p
                count += 1
    return count


@kernel
def _everywhere(a, b, starts, wanted):
    for i in wanted:
        some = False
        for k in range(starts[i], starts[i + 1]):
            if a[k] & b[k]:
                some = True
                break
        if not some:
            return False
    return True
