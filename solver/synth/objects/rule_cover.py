"""Sets of rules: a few (test, action) pairs that together explain all changed cells.

The pairs are found greedily. The trust in a set is measured by leave-one-out: the set learned
from the other demonstrations must explain the demonstration that was left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from solver.deadline import Deadline
from solver.synth.objects.paints import ERASING, Action
from solver.synth.objects.rule_learn import ALWAYS, Actions, RuleList, Table, Test
from solver.synth.objects.rule_menu import Menu

Rules = tuple[tuple[Test, Action], ...]
RuleLearner = Callable[[Table, Actions, float, int], list[tuple[float, RuleList]]]
Step = tuple[int, int]  # indices of an action and a test


class Covers:
    """Greedy search for sets of rules over a menu of actions and a table of tests."""

    def __init__(
        self, menu: Menu, table: Table, sizes: list[int], cells: list[int], deadline: Deadline
    ) -> None:
        """`sizes`, `cells`: the number of objects and the number of cells of each demonstration."""
        n = menu.right.shape[1]
        self.deadline = deadline
        self.menu = menu
        self.tests = (ALWAYS, *table.tests)
        self.truth = np.concatenate([np.ones((1, n), dtype=bool), table.truth[:, :n]])
        self.test_bits = table.costs
        self.bits = menu.costs[:, None] + np.concatenate([[0.0], table.costs])[None]
        self.plain = np.array([action[0] not in ERASING for action in menu.actions])
        self.demo = np.repeat(np.arange(len(sizes)), sizes)
        self.cell_demo = np.repeat(np.arange(len(cells)), cells)

    def find(self, changed: NDArray[np.float32]) -> Iterator[tuple[float, Rules, float]]:
        """Yield sets of two to four rules that explain the `changed` cells (1 or 0 for each cell).

        Each set comes as (bits, rules, trust). The trust is the leave-one-out share of
        demonstrations that the search explains.
        """
        everything = np.ones(len(self.demo), dtype=bool)
        fits = self._fits(everything)
        for first in self._best(fits, everything, changed, 3):
            if self.deadline.passed():
                return
            steps = self._greedy(first, fits, everything, changed)
            if not 1 < len(steps) <= 4:
                continue
            bits = float(sum(self.bits[step] for step in steps)) + 2.0 * len(steps)
            rules = tuple((self.tests[t], self.menu.actions[a]) for a, t in steps)
            yield bits, rules, self._foretold(changed)

    def _foretold(self, changed: NDArray[np.float32]) -> float:
        hits = 0
        demos = int(self.cell_demo.max()) + 1
        for d in range(demos):
            if self.deadline.passed():
                break
            kept = self.demo != d
            rest = np.where(self.cell_demo == d, 0, changed).astype(np.float32)
            fits = self._fits(kept)
            for first in self._best(fits, kept, rest, 1):
                steps = self._greedy(first, fits, kept, rest)
                drawn = [(a, self.truth[t]) for a, t in steps]
                hits += bool(steps) and self._explains(drawn, d, changed)
        return hits / demos

    def trust(self, rule_list: RuleLearner, changed: NDArray[np.float32]) -> float:
        """Leave-one-out share of demonstrations that the learned rule list explains.

        `rule_list` learns the lists, and the cheapest list counts. Demonstrations not tried before
        the deadline count as not explained.
        """
        demos = int(self.cell_demo.max()) + 1
        hits = 0
        for d in range(demos):
            if self.deadline.passed():
                break
            kept = self.demo != d
            rest = np.where(self.cell_demo == d, 0, changed).astype(np.float32)
            judged = self.menu.gains(rest)
            part = Actions(judged.right[:, kept], judged.gain[:, kept], judged.costs)
            table = Table(self.tests[1:], self.truth[1:, kept], self.test_bits)
            found = rule_list(table, part, float(rest.sum()), 0)
            hits += bool(found) and self._explains(self._steps(found[0][1]), d, changed)
        return hits / demos

    def _steps(self, rules: RuleList) -> list[tuple[int, NDArray[np.bool_]]]:
        """The branches of a rule list as (action, mask of the objects that the branch decides)."""
        steps, left = [], np.ones(len(self.demo), dtype=bool)
        for test, a in rules:
            who = left & self.truth[self.tests.index(test)]
            steps.append((a, who))
            left &= ~who
        return steps

    def _explains(
        self, steps: list[tuple[int, NDArray[np.bool_]]], d: int, changed: NDArray[np.float32]
    ) -> bool:
        open_cells = np.where(self.cell_demo == d, changed, 0)
        for a, objects in steps:
            who = objects & (self.demo == d)
            if not self.menu.right[a, who].all():
                return False
            self._close(a, who, open_cells)
        return not open_cells.any()

    def _fits(self, kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(A, T): True if the action erases nothing and is right for the test's kept objects."""
        wrong = (~self.menu.right & kept).astype(np.float32) @ self.truth.astype(np.float32).T
        return np.asarray((wrong == 0) & self.plain[:, None])

    def _greedy(
        self,
        first: Step,
        fits: NDArray[np.bool_],
        kept: NDArray[np.bool_],
        changed: NDArray[np.float32],
    ) -> list[Step]:
        """At most four steps that together explain all of `changed`; empty if none are found."""
        open_cells, steps = changed.copy(), [first]
        self._close(first[0], self.truth[first[1]] & kept, open_cells)
        while open_cells.any() and len(steps) < 4 and not self.deadline.passed():
            following = self._best(fits, kept, open_cells, 1)
            if not following:
                return []
            steps += following
            a, t = following[0]
            self._close(a, self.truth[t] & kept, open_cells)
        return [] if open_cells.any() else steps

    def _best(
        self,
        fits: NDArray[np.bool_],
        kept: NDArray[np.bool_],
        open_cells: NDArray[np.float32],
        top: int,
    ) -> list[Step]:
        """The `top` steps (action, test) of the highest gain, at most one for each action.

        Among steps of equal gain, the step of the fewest bits comes first.
        """
        worth = self.menu.gains(open_cells).gain * kept
        gain = np.where(fits, worth @ self.truth.astype(np.float32).T, 0.0) - 1e-3 * self.bits
        tests = gain.argmax(1)
        best = gain[np.arange(len(gain)), tests]
        order = np.argsort(-best, kind="stable")[:top]
        return [(int(a), int(tests[a])) for a in order if best[a] > 0]

    def _close(self, a: int, who: NDArray[np.bool_], open_cells: NDArray[np.float32]) -> None:
        objects, cells = self.menu.explained[self.menu.source[a]]
        open_cells[cells[who[objects]]] = 0
