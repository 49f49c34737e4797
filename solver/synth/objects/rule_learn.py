"""Learning the objects of a rule: tests on object properties, and choices by these tests.

A test is a triple `(feature, operator, value)` that is true or false for each object of a scene.
Relative operators (`max`, `one`, ...) compare an object with the other objects. Tests are
enumerated from the demonstrations. Of tests that agree on all objects, those of test inputs
included, only the cheapest is kept. `choose` splits objects by tests, and `choose_by_value` by
the values of a property. Both pick for each side an action that is right for all objects there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solver.deadline import Deadline
from solver.synth.objects.objects import COLUMN, FEATURES, NOMINAL, Ints, Mask, Scene

Test = tuple[str, str, int]
BLOCK = 128  # tests judged between two checks of the deadline
ALWAYS: Test = ("", "all", 0)

_PLAIN = ("color", "area", "height", "width", "holes", "longest", "same_shape", "same_color")
_ODD = ("top", "left", "bottom", "right", "mid_row", "mid_col", "hole_area", "edges", "count",
        "minor_area", "shape", "shape_d8", "look", "same_row", "same_col", "missing", "odd",
        "diagonal", "anti", "order", "kinds", "central", "tips", "turns")  # fmt: skip
FEATURE_COST = {name: 2.0 if name in _PLAIN else 4.5 if name in _ODD else 3.0 for name in FEATURES}
_OP_COST = {"all": 0.0, "max": 1.0, "min": 1.0, "one": 1.5, "mode": 2.0, "==": 2.0, ">=": 3.0,
            "rank": 3.5, "many": 2.0}  # fmt: skip


def test_cost(test: Test) -> float:
    """The cost of a test, in bits."""
    if test[1] == "all":
        return 0.0
    size = 0.3 * min(abs(test[2]), 10) if test[1] in (">=", "rank") else 0.0
    if test[1] == "==" and test[0] not in NOMINAL:
        size = 0.4 * min(abs(test[2]), 10)
    return FEATURE_COST[test[0]] + _OP_COST[test[1]] + size


def holds(test: Test, scene: Scene) -> Mask:
    """(n,): True for the objects of the scene that meet the test."""
    feature, op, value = test
    if op == "all":
        return np.ones(scene.n, dtype=bool)
    return _apply(scene.column(feature), op, value)


def _apply(column: Ints, op: str, value: int) -> Mask:
    if len(column) == 0:
        return np.zeros(0, dtype=bool)
    if op in ("==", ">=", "max", "min"):
        wanted = {"max": column.max(), "min": column.min()}.get(op, value)
        return np.asarray(column >= wanted if op == ">=" else column == wanted)
    if op == "rank":
        return np.asarray(ranks(column) == value)
    counts = (column[:, None] == column[None]).sum(1)
    if op == "one":
        return np.asarray(counts == 1)
    if op == "many":
        return np.asarray(counts > 1)
    return np.asarray((counts == counts.max()) & (counts > 1))  # mode


def ranks(column: Ints) -> Ints:
    """(n,): 0 for the largest value, 1 for the next distinct one, ..."""
    values = np.unique(column)
    return np.asarray(len(values) - 1 - np.searchsorted(values, column), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Table:
    """T tests, their truth values and costs in bits.

    `truth` (T, N): True where the object meets the test, for the N objects of all scenes.
    """

    tests: tuple[Test, ...]
    truth: Mask
    costs: NDArray[np.float64]


def enumerate_tests(train: Sequence[Scene], tests: Sequence[Scene]) -> Table:
    """All distinct tests that split the demonstrations' objects, cheapest first."""
    scenes = [*train, *tests]
    n_train = sum(scene.n for scene in train)
    pool: list[tuple[float, Test]] = []
    joined = np.concatenate([scene.features for scene in train])
    for feature in FEATURES:
        values = np.unique(joined[:, COLUMN[feature]])
        if len(values) < 2:
            continue
        ops = _operators(feature, [int(v) for v in values])
        pool.extend((test_cost((feature, op, v)), (feature, op, v)) for op, v in ops)
    pool.sort(key=lambda entry: entry[0])
    seen: set[bytes] = set()
    kept: list[tuple[float, Test, Mask]] = []
    for cost, test in pool:
        row = np.concatenate([holds(test, scene) for scene in scenes])
        mark = row.tobytes()
        if mark in seen or row[:n_train].all() or not row[:n_train].any():
            continue
        seen.add(mark)
        kept.append((cost, test, row))
    # Often no test splits the objects: an empty table must still have the right types and shapes.
    rows = [row for _, _, row in kept]
    truth = np.array(rows, dtype=np.bool_).reshape(len(kept), sum(s.n for s in scenes))
    costs = np.array([cost for cost, _, _ in kept], dtype=np.float64)
    return Table(tuple(test for _, test, _ in kept), truth, costs)


def _operators(feature: str, values: list[int]) -> Iterator[tuple[str, int]]:
    if feature not in ("count", "kinds"):
        if feature not in NOMINAL and len(values) > 2:
            yield from (("max", 0), ("min", 0))
            yield from (("rank", k) for k in range(1, 3))
        yield from (("one", 0), ("mode", 0), ("many", 0))
    if len(values) <= 12:
        yield from (("==", v) for v in values)
    if feature not in NOMINAL and 2 < len(values) <= 12:
        yield from ((">=", v) for v in values[1:])


@dataclass(frozen=True, eq=False)
class Actions:
    """The value of each of A actions for each of N objects of the demonstrations.

    `right` (A, N): True if the action paints no wrong cell. `gain` (A, N): the number of changed
    cells that the action explains. `costs` (A,): bits.
    """

    right: Mask
    gain: NDArray[np.float32]
    costs: NDArray[np.float64]


Branch = tuple[Test, int]  # a test and the index of an action
RuleList = tuple[Branch, ...]  # the first branch whose test is true decides


def choose(
    table: Table, actions: Actions, need: float, keep: int, *, deadline: Deadline, top: int = 2
) -> list[tuple[float, RuleList]]:
    """Rule lists of one or two branches that can explain `need` changed cells.

    Args:
        keep: the index of the action that paints nothing.
        top: the number of actions to try for each side of a test.

    Returns (bits, rules), cheapest first. Paints of several objects may overlap, so the caller
    must run the rules to check them.
    """
    n = actions.right.shape[1]
    found: list[tuple[float, RuleList]] = []
    everything = np.ones((1, n), dtype=np.float32)
    for picks in _sides(actions, everything, keep, 6, deadline):
        for action, gain in picks:
            if gain >= need:
                found.append((float(actions.costs[action]), ((ALWAYS, action),)))
    if len(table.tests):
        yes = table.truth[:, :n].astype(np.float32)
        chosen = _sides(actions, yes, keep, top, deadline)
        others = _sides(actions, 1 - yes, keep, top, deadline)
        for t, (first, second) in enumerate(zip(chosen, others, strict=False)):
            for a, gain_a in first:
                for b, gain_b in second:
                    if a == b or gain_a + gain_b < need:
                        continue
                    bits = table.costs[t] + actions.costs[a] + actions.costs[b]
                    found.append((float(bits), ((table.tests[t], a), (ALWAYS, b))))
    found.sort(key=lambda entry: entry[0])
    return found


def choose_three(
    table: Table,
    actions: Actions,
    need: float,
    keep: int,
    *,
    deadline: Deadline,
    tries: int = 12,
) -> list[tuple[float, RuleList]]:
    """Rule lists of three branches: the `tries` best first branches, completed by `choose`."""
    n = actions.right.shape[1]
    if not len(table.tests):
        return []
    yes = table.truth[:, :n].astype(np.float32)
    starts = []
    for t, picks in enumerate(_sides(actions, yes, keep, 2, deadline)):
        starts += [(gain - 0.1 * (table.costs[t] + actions.costs[a]), t, a, gain)
                   for a, gain in picks if gain > 0]  # fmt: skip
    starts.sort(key=lambda entry: -entry[0])
    found: list[tuple[float, RuleList]] = []
    for _, t, a, gain in starts[:tries]:
        if deadline.passed():
            break
        rest = ~table.truth[t, :n]
        if not rest.any():
            continue
        part = Actions(actions.right[:, rest], actions.gain[:, rest], actions.costs)
        kept = Table(table.tests, table.truth[:, :n][:, rest], table.costs)
        bits = float(table.costs[t] + actions.costs[a])
        for more, rules in choose(kept, part, need - gain, keep, deadline=deadline)[:4]:
            if len(rules) == 2:
                found.append((bits + more, ((table.tests[t], a), *rules)))
    found.sort(key=lambda entry: entry[0])
    return found


def _sides(
    actions: Actions, side: NDArray[np.float32], keep: int, top: int, deadline: Deadline
) -> list[list[tuple[int, float]]]:
    """The best (action, gain) pairs for each row of `side` (T, N), at most `top` for a row.

    The actions are right for all objects of the row. A row with no such action that gains cells
    gets `keep`. If the deadline passes, the list ends after a whole number of blocks.
    """
    wrong_for = (~actions.right).astype(np.float32)
    picks: list[list[tuple[int, float]]] = []
    for start in range(0, len(side), BLOCK):
        if deadline.passed():
            break
        block = side[start : start + BLOCK].T  # (N, t)
        gain = np.where(wrong_for @ block == 0, actions.gain @ block, -1.0)  # (A, t)
        gain[keep] = np.maximum(gain[keep], 0.0)
        for t, order in enumerate(_best_rows(gain - 1e-4 * actions.costs[:, None], top)):
            best = [(int(a), float(gain[a, t])) for a in order if gain[a, t] > 0]
            picks.append(best or [(keep, 0.0)])
    return picks


def _best_rows(worth: NDArray[np.float64], top: int) -> NDArray[np.int64]:
    """(T, top): the indices of the largest rows in each column of `worth` (A, T), in order.

    The function overwrites `worth`. A few maxima cost far less than sorting all rows.
    """
    columns = np.arange(worth.shape[1])
    order = np.empty((min(top, len(worth)), len(columns)), dtype=np.int64)
    for place in range(len(order)):
        order[place] = worth.argmax(0)
        worth[order[place], columns] = -np.inf
    return order.T


def choose_by_value(
    scenes: Sequence[Scene], actions: Actions, need: float, keep: int, deadline: Deadline
) -> list[tuple[float, tuple[str, str, tuple[tuple[int, int], ...]]]]:
    """Tables `property value -> action` that can explain `need` changed cells.

    Returns (bits, (feature, "value" or "rank", ((value, action), ...))), cheapest first.
    """
    n = actions.right.shape[1]
    found = []
    for feature in FEATURES:
        for how in ("value", "rank"):
            if how == "rank" and feature in NOMINAL:
                continue
            column = np.concatenate([readout(scene, feature, how) for scene in scenes])
            values, group = np.unique(column, return_inverse=True)
            if not 2 <= len(values) <= 8 or 2 * len(values) > n + 1:
                continue
            side = (np.arange(len(values))[:, None] == group[None]).astype(np.float32)
            picks = [best[0] for best in _sides(actions, side, keep, 1, deadline)]
            late = len(picks) < len(values)
            if late or sum(gain for _, gain in picks) < need or len({a for a, _ in picks}) < 2:
                continue
            bits = FEATURE_COST[feature] + sum(actions.costs[a] + 2 for a, _ in picks)
            bits += 2.0 if how == "rank" else 0.0
            rows = tuple((int(v), a) for v, (a, _) in zip(values, picks, strict=True))
            found.append((float(bits), (feature, how, rows)))
    found.sort(key=lambda entry: entry[0])
    return found


def readout(scene: Scene, feature: str, how: str) -> Ints:
    """(n,): the values of a property, or the ranks of the values if `how` is `rank`."""
    column = scene.column(feature)
    return ranks(column) if how == "rank" and scene.n else column


def selectors(
    table: Table, sizes: Sequence[int], targets: Mask, n_train: int
) -> list[tuple[float, Test]]:
    """Tests that pick, in every demonstration, only objects of `targets` (N,) and at least one.

    `sizes`: the number of objects of each scene; the first `n_train` scenes are demonstrations.
    A test must also pick at least one object in every test input. The cheapest tests come first.
    """
    if not len(table.tests):
        return []
    total = int(sum(sizes[:n_train]))
    wrong = (table.truth[:, :total] & ~targets[None]).any(1)
    fits = ~wrong
    start = 0
    for size in sizes:
        fits &= table.truth[:, start : start + size].any(1)
        start += size
    return [(float(table.costs[t]), table.tests[t]) for t in np.flatnonzero(fits)]
