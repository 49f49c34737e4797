"""Object rules: "for each object where P, do f", with P and f learned from demonstrations.

For every way of cutting the grids into objects, each action of a fixed family is checked
against every object of the demonstrations: is what it would paint right, and how many changed
cells does it explain? A rule is then a choice among the right actions, by a test or a table
over object properties, that explains all changes (`rule_learn`), and is run to make sure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from solver.deadline import Deadline
from solver.grid import Grid, Task
from solver.synth.object_paints import ERASING, KEEP, Action, Paint, draw, paint
from solver.synth.object_regions import ALL_REGIONS, REFS, REGION_COST, color_ref, region
from solver.synth.object_stamps import stamps
from solver.synth.objects import FEATURES, MODES, Scene, segment
from solver.synth.program import Op, Solution
from solver.synth.rule_fit import distinct, fit, same_size
from solver.synth.rule_learn import (
    ALWAYS,
    Actions,
    Table,
    Test,
    choose,
    choose_by_value,
    enumerate_tests,
    holds,
    readout,
)

Rules = tuple[tuple[Test, Action], ...]
REF_COST = {name: 2.0 + 0.25 * i for i, name in enumerate(REFS)}
MODE_COST = {mode: 0.5 * i for i, mode in enumerate(MODES)}


def search(task: Task, deadline: Deadline) -> Iterator[Solution | None]:
    """Object rules that reproduce every demonstration, cheapest ideas first."""
    if same_size(task):
        for how in backgrounds(task):
            for mode in MODES:
                if deadline.passed():
                    return
                yield from distinct(_rules(task, mode, how, deadline), 3)
                yield None


def backgrounds(task: Task) -> tuple[str, ...]:
    """Ways to tell the background that differ for some grid of the task."""
    grids = [pair.input for pair in task.train] + list(task.tests)
    if all(np.bincount(grid.ravel()).argmax() == 0 for grid in grids):
        return ("0",)
    return ("0", "most") if any((grid == 0).any() for grid in grids) else ("most",)


def scenes_of(task: Task, mode: str, how: str) -> tuple[list[Scene], list[Scene]] | None:
    """The scenes of all demonstrations and test inputs, or None if one is no scene."""
    scenes = []
    for grid in [pair.input for pair in task.train] + list(task.tests):
        scene = segment(grid, mode, how)
        if scene is None or scene.n == 0:
            return None
        scenes.append(scene)
    return scenes[: len(task.train)], scenes[len(task.train) :]


def _rules(task: Task, mode: str, how: str, deadline: Deadline) -> Iterator[Solution | None]:
    cut = scenes_of(task, mode, how)
    if cut is None:
        return
    train, tests = cut
    outputs = [pair.output for pair in task.train]
    need = float(sum((p.input != p.output).sum() for p in task.train))
    menu = _menu(train, outputs, deadline)
    if menu is None:
        return
    table = enumerate_tests(train, tests)
    base = MODE_COST[mode] + (1.0 if how == "most" else 0.0)
    size = sum(out.size for out in outputs)
    judged = menu.gains(np.ones(size, dtype=np.float32))
    for bits, rules in choose(table, judged, need, 0)[:60]:
        if deadline.passed():
            return
        named = tuple((test, menu.actions[a]) for test, a in rules)
        yield fit(task, "object_rule", object_rule, (mode, how, named), base + bits)
    for bits, (feature, by, rows) in choose_by_value(train, judged, need, 0)[:20]:
        if deadline.passed():
            return
        named_rows = tuple((value, menu.actions[a]) for value, a in rows)
        args = (mode, how, feature, by, named_rows)
        yield fit(task, "object_table", object_table, args, base + bits)
    changed = np.concatenate([(p.input != p.output).ravel() for p in task.train])
    for bits, cover in _covers(menu, table, changed.astype(np.float32)):
        yield fit(task, "object_rules", object_rules, (mode, how, cover), base + bits)


def _covers(
    menu: _Menu, table: Table, changed: NDArray[np.float32]
) -> Iterator[tuple[float, Rules]]:
    """Two to four rules that together explain all changed cells, found greedily.

    Each step takes the (test, action) that is right for all its objects and explains most of
    what is still open; the first step branches over its three best actions.
    """
    n = menu.right.shape[1]
    truth = np.concatenate([np.ones((1, n), dtype=bool), table.truth[:, :n]]).astype(np.float32)
    test_bits = np.concatenate([[0.0], table.costs])
    tests = (ALWAYS, *table.tests)
    plain = np.array([action[0] not in ERASING for action in menu.actions])
    fits = ((~menu.right).astype(np.float32) @ truth.T == 0) & plain[:, None]  # (A, T)
    bits = menu.costs[:, None] + test_bits[None]
    starts = _best_steps(menu, fits, truth, bits, changed, 3)
    for first in starts:
        open_cells, steps = changed.copy(), []
        step: tuple[int, int] | None = first
        while step is not None and len(steps) < 4 and open_cells.any():
            steps.append(step)
            _close(menu, step[0], truth[step[1]] > 0, open_cells)
            following = _best_steps(menu, fits, truth, bits, open_cells, 1)
            step = following[0] if following else None
        if len(steps) > 1 and not open_cells.any():
            rules = tuple((tests[t], menu.actions[a]) for a, t in steps)
            yield float(sum(bits[a, t] for a, t in steps)) + 2.0 * len(steps), rules


def _best_steps(
    menu: _Menu,
    fits: NDArray[np.bool_],
    truth: NDArray[np.float32],
    bits: NDArray[np.float64],
    open_cells: NDArray[np.float32],
    top: int,
) -> list[tuple[int, int]]:
    """(action, test) of most gain, fewest bits among equals, at most one for an action."""
    gain = np.where(fits, menu.gains(open_cells).gain @ truth.T, 0.0)
    best = (gain - 1e-3 * bits).argmax(1)
    worth = gain[np.arange(len(gain)), best]
    order = np.argsort(-worth + 1e-3 * bits[np.arange(len(gain)), best], kind="stable")
    return [(int(a), int(best[a])) for a in order[:top] if worth[a] > 0]


def _close(
    menu: _Menu, action: int, who: NDArray[np.bool_], open_cells: NDArray[np.float32]
) -> None:
    objects, cells = menu.explained[menu.source[action]]
    open_cells[cells[who[objects]]] = 0


@dataclass(frozen=True, eq=False)
class _Menu:
    """Actions right for some object. `explained[k]` are pairs (object, changed cell), as two
    arrays; action a explains those of `explained[source[a]]` whose object it is right for."""

    actions: list[Action]
    right: NDArray[np.bool_]  # (A, N)
    costs: NDArray[np.float64]
    explained: list[tuple[NDArray[np.int64], NDArray[np.int64]]]
    source: NDArray[np.int64]

    def gains(self, open_cells: NDArray[np.float32]) -> Actions:
        """What every action is worth while only `open_cells` (1 or 0 each) are unexplained."""
        n = self.right.shape[1]
        counts = [np.bincount(who, open_cells[cell], n) for who, cell in self.explained]
        gain = np.array(counts, dtype=np.float32)[self.source] * self.right
        return Actions(self.right, gain, self.costs)


def _menu(scenes: Sequence[Scene], outputs: Sequence[Grid], deadline: Deadline) -> _Menu | None:
    """All actions that are right and useful for some object; None out of time."""
    n = sum(scene.n for scene in scenes)
    none = np.zeros(0, dtype=np.int64)
    actions, right, costs = [KEEP], [np.ones(n, dtype=bool)], [1.0]
    explained, source = [(none, none)], [0]
    for pairs, entries in chain(_judge_paints(scenes, outputs), _judge_others(scenes, outputs)):
        if deadline.passed():
            return None
        useful = [entry for entry in entries if entry[2][pairs[0]].any()]
        for action, cost, ok in useful:
            actions.append(action)
            costs.append(cost)
            right.append(ok)
            source.append(len(explained))
        if useful:
            explained.append(pairs)
    return _Menu(actions, np.array(right), np.array(costs), explained, np.array(source))


Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]
Judged = tuple[Pairs, list[tuple[Action, float, NDArray[np.bool_]]]]


def _pairs(masks: Sequence[NDArray[np.bool_]]) -> Pairs:
    """(object, cell) of all true cells of the scenes' (n, H, W) masks, numbered throughout."""
    who, cells, first, base = [], [], 0, 0
    for mask in masks:
        size = mask[0].size
        i, cell = np.divmod(np.flatnonzero(mask), size)
        who.append(i + first)
        cells.append(cell + base)
        first += len(mask)
        base += size
    return np.concatenate(who), np.concatenate(cells)


def _judge_paints(scenes: Sequence[Scene], outputs: Sequence[Grid]) -> Iterator[Judged]:
    changed = [out != scene.grid for scene, out in zip(scenes, outputs, strict=True)]
    colors = sorted({int(c) for out, new in zip(outputs, changed, strict=True) for c in out[new]})
    refs = {name: np.concatenate([color_ref(s, name) for s in scenes])
            for name in [*map(str, colors), *REFS]}  # fmt: skip
    for name in ALL_REGIONS:
        masks = [region(scene, name) for scene in scenes]
        low, high = (np.concatenate(part) for part in zip(
            *(_shown(mask, out) for mask, out in zip(masks, outputs, strict=True)), strict=True))  # fmt: skip
        pairs = _pairs([mask & new for mask, new in zip(masks, changed, strict=True)])
        entries = []
        if (low == high)[pairs[0]].any():
            for ref, wanted in refs.items():
                ok = ((low == high) & (low == wanted)) | (low > high)
                cost = REGION_COST[name] + REF_COST.get(ref, 2.0)
                entries.append((("paint", name, ref), cost, ok))
        yield pairs, entries


def _shown(
    masks: NDArray[np.bool_], out: Grid
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Lowest and highest output colour in every mask; 99 and 0 in an empty one."""
    flat = masks.reshape(len(masks), -1)
    low = np.where(flat, out.ravel()[None], np.uint8(99)).min(1)
    return low, np.where(flat, out.ravel()[None], np.uint8(0)).max(1)


def _judge_others(scenes: Sequence[Scene], outputs: Sequence[Grid]) -> Iterator[Judged]:
    for action, cost in _others(scenes, outputs):
        ok, masks = [], []
        for scene, out in zip(scenes, outputs, strict=True):
            cells: Paint = paint(scene, action)
            wanted = out.astype(np.int8)[None]
            ok.append(((cells < 0) | (cells == wanted)).all((1, 2)))
            if action[0] in ERASING:
                cells = np.where((cells < 0) & scene.masks, np.int8(scene.background), cells)
            masks.append((cells == wanted) & (out != scene.grid)[None])
        yield _pairs(masks), [(action, cost, np.concatenate(ok))]


def _others(scenes: Sequence[Scene], outputs: Sequence[Grid]) -> Iterator[tuple[Action, float]]:
    """Actions that are no plain painting, with their bits."""
    sides = ("up", "down", "left", "right")
    yield from ((("fall", side), 3.0) for side in sides)
    yield from ((("approach", ref), 4.0) for ref in ("largest", *map(str, range(1, 10))))
    yield from ((("turn", k), 4.0) for k in range(1, 8))
    yield ("swap",), 4.0
    yield from ((("mirror", side, gap), 4.0 + abs(gap)) for side in sides for gap in (0, 1, -1))
    for direction in (*sides, "ul", "ur", "dl", "dr"):
        yield from ((("step", direction, size), 4.0 + size) for size in (1, 2))
    for dy, dx in _offsets(scenes, outputs):
        far = 0.5 * (abs(dy) + abs(dx))
        yield ("move", dy, dx), 4.0 + far
        yield ("copy", dy, dx), 4.5 + far
    yield from stamps(scenes, outputs)


def _offsets(scenes: Sequence[Scene], outputs: Sequence[Grid]) -> list[tuple[int, int]]:
    """Shifts at which an object of the first demonstration appears in its output."""
    scene, out = scenes[0], outputs[0].astype(np.int8)
    found: dict[tuple[int, int], int] = {}
    h, w = out.shape
    for i in np.argsort(-scene.column("area"), kind="stable")[:6]:
        top, left, bottom, right = scene.box(int(i))
        mask = scene.masks[i, top:bottom, left:right]
        cells = scene.crop(int(i))
        for r in range(h - (bottom - top) + 1):
            for c in range(w - (right - left) + 1):
                seen = out[r : r + bottom - top, c : c + right - left]
                if (r, c) != (top, left) and (seen[mask] == cells[mask]).all():
                    found[r - top, c - left] = found.get((r - top, c - left), 0) + 1
    return sorted(found, key=lambda d: (-found[d], abs(d[0]) + abs(d[1]), d))[:16]


def object_rule(grid: Grid, mode: str, how: str, rules: Rules) -> NDArray[np.uint8] | None:
    """Cut the grid into objects; each does the action of the first rule whose test it meets."""
    scene = segment(grid, mode, how) if mode in MODES else None
    if scene is None or scene.n == 0:
        return None
    picks = np.full(scene.n, len(rules), dtype=np.int64)
    for k in range(len(rules) - 1, -1, -1):
        picks[holds(rules[k][0], scene)] = k
    return draw(scene, [*(action for _, action in rules), KEEP], picks)


def object_rules(grid: Grid, mode: str, how: str, rules: Rules) -> NDArray[np.uint8] | None:
    """Like `object_rule`, but an object does the actions of all rules whose test it meets."""
    scene = segment(grid, mode, how) if mode in MODES else None
    if scene is None or scene.n == 0:
        return None
    canvas: NDArray[np.uint8] = scene.grid
    for test, action in rules:
        for picture in paint(scene, action)[holds(test, scene)]:
            canvas = np.where(picture >= 0, picture.astype(np.uint8), canvas)
    return canvas


def object_table(
    grid: Grid, mode: str, how: str, feature: str, by: str, rows: tuple[tuple[int, Action], ...]
) -> NDArray[np.uint8] | None:
    """Each object does what the table says for its property; None for a value not in it."""
    scene = segment(grid, mode, how) if mode in MODES and feature in FEATURES else None
    if scene is None or scene.n == 0:
        return None
    column = readout(scene, feature, by)
    picks = np.full(scene.n, -1, dtype=np.int64)
    for k, (value, _) in enumerate(rows):
        picks[column == value] = k
    return None if (picks < 0).any() else draw(scene, [action for _, action in rows], picks)


OPS = {
    "object_rules": Op(object_rules, "each object does the actions of all tests it meets"),
    "object_rule": Op(object_rule, "each object does the action of the first test it meets"),
    "object_table": Op(object_table, "each object does what a table says for its property"),
}
