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
from solver.synth.objects import FEATURES, MODES, Scene, segment
from solver.synth.program import Op, Solution
from solver.synth.rule_fit import distinct, fit, same_size
from solver.synth.rule_learn import (
    Actions,
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


def search(task: Task, deadline: Deadline) -> Iterator[Solution]:
    """Object rules that reproduce every demonstration, cheapest ideas first."""
    if same_size(task):
        for how in backgrounds(task):
            for mode in MODES:
                if deadline.passed():
                    return
                yield from distinct(_rules(task, mode, how, deadline), 3)


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
    for bits, rules in choose(table, menu.judged, need, 0)[:60]:
        if deadline.passed():
            return
        named = tuple((test, menu.actions[a]) for test, a in rules)
        yield fit(task, "object_rule", object_rule, (mode, how, named), base + bits)
    for bits, (feature, by, rows) in choose_by_value([*train], menu.judged, need, 0)[:20]:
        if deadline.passed():
            return
        named_rows = tuple((value, menu.actions[a]) for value, a in rows)
        args = (mode, how, feature, by, named_rows)
        yield fit(task, "object_table", object_table, args, base + bits)


@dataclass(frozen=True, eq=False)
class _Menu:
    actions: list[Action]
    judged: Actions


def _menu(
    scenes: Sequence[Scene], outputs: Sequence[Grid], deadline: Deadline
) -> _Menu | None:
    """All actions that are right for some object, and what each does; None out of time."""
    names: list[Action] = [KEEP]
    right: list[NDArray[np.bool_]] = [np.ones(sum(s.n for s in scenes), dtype=bool)]
    gain: list[NDArray[np.float32]] = [np.zeros(sum(s.n for s in scenes), dtype=np.float32)]
    costs = [1.0]
    for action, cost, ok, worth in chain(
        _judge_paints(scenes, outputs, deadline), _judge_others(scenes, outputs, deadline)
    ):
        if (worth * ok).any():
            names.append(action)
            right.append(ok)
            gain.append(worth * ok)
            costs.append(cost)
    if deadline.passed():
        return None
    return _Menu(names, Actions(np.array(right), np.array(gain), np.array(costs)))


Judged = tuple[Action, float, NDArray[np.bool_], NDArray[np.float32]]


def _judge_paints(
    scenes: Sequence[Scene], outputs: Sequence[Grid], deadline: Deadline
) -> Iterator[Judged]:
    changed = [out != scene.grid for scene, out in zip(scenes, outputs, strict=True)]
    colors = sorted({int(c) for out, new in zip(outputs, changed, strict=True) for c in out[new]})
    refs = {name: np.concatenate([color_ref(s, name) for s in scenes])
            for name in [*map(str, colors), *REFS]}  # fmt: skip
    for name in ALL_REGIONS:
        if deadline.passed():
            return
        low, high, new = (np.concatenate(part) for part in zip(
            *(_shown(region(s, name), out, diff)
              for s, out, diff in zip(scenes, outputs, changed, strict=True)), strict=True))  # fmt: skip
        if not ((low == high) & (new > 0)).any():
            continue
        for ref, wanted in refs.items():
            ok = ((low == high) & (low == wanted)) | (low > high)
            cost = REGION_COST[name] + REF_COST.get(ref, 2.0)
            yield ("paint", name, ref), cost, ok, new


def _shown(
    masks: NDArray[np.bool_], out: Grid, diff: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Lowest and highest output colour and number of changed cells in every mask."""
    n = len(masks)
    flat = masks.reshape(n, -1)
    low = np.where(flat, out.ravel()[None], 99).min(1)
    high = np.where(flat, out.ravel()[None], 0).max(1)
    return low.astype(np.int64), high.astype(np.int64), (flat & diff.ravel()[None]).sum(1).astype(
        np.float32
    )


def _judge_others(
    scenes: Sequence[Scene], outputs: Sequence[Grid], deadline: Deadline
) -> Iterator[Judged]:
    for action, cost in _others(scenes, outputs):
        if deadline.passed():
            return
        judged = [_judge(s, out, action) for s, out in zip(scenes, outputs, strict=True)]
        yield (action, cost, np.concatenate([ok for ok, _ in judged]),
               np.concatenate([worth for _, worth in judged]))  # fmt: skip


def _judge(
    scene: Scene, out: Grid, action: Action
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    cells: Paint = paint(scene, action)
    wanted = out.astype(np.int8)[None]
    ok = ((cells < 0) | (cells == wanted)).all((1, 2))
    if action[0] in ERASING:
        cells = np.where((cells < 0) & scene.masks, np.int8(scene.background), cells)
    diff = (out != scene.grid)[None]
    return ok, ((cells == wanted) & diff).sum((1, 2)).astype(np.float32)


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
    "object_rule": Op(object_rule, "each object does the action of the first test it meets"),
    "object_table": Op(object_table, "each object does what a table says for its property"),
}
