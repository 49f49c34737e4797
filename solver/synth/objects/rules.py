"""Object rules: "for each object where P, do f", with P and f learned from demonstrations.

The grids are cut into objects in many ways. For each way, each action of a fixed family is judged
on each object of the demonstrations. The judgement says if the action paints only right cells,
and how many changed cells the action explains. A rule chooses among right actions, by a test or a
table over object properties, so that all changes are explained (`rule_learn`). Each rule is run
on the demonstrations as a last check.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from solver.deadline import Deadline
from solver.grid import Grid, Task, freeze
from solver.synth.fit import distinct, fit, same_size
from solver.synth.objects.colors import color_ref
from solver.synth.objects.objects import FEATURES, MODES, PART_MODES, Scene, segment
from solver.synth.objects.paints import KEEP, Action, draw, paint
from solver.synth.objects.regions import region
from solver.synth.objects.rule_cover import Covers, Rules
from solver.synth.objects.rule_learn import (
    choose,
    choose_by_value,
    choose_three,
    enumerate_tests,
    holds,
    readout,
)
from solver.synth.objects.rule_menu import menu_of
from solver.synth.program import Op, Solution

_DOUBT_BITS = 12.0  # added to the cost of a rule whose leave-one-out trust is 0
_RULE_MODES = (*MODES, *PART_MODES)


def search(task: Task, deadline: Deadline) -> Iterator[Solution | None]:
    """Object rules that reproduce every demonstration, one cut of the task after another.

    There are no rules if a demonstration changes the grid's size.
    """
    if same_size(task):
        for base, train, tests in all_scenes(task, _RULE_MODES, deadline):
            if deadline.passed():
                return
            yield from distinct(_rules(task, train, tests, base, deadline), 3)
            yield None


def prepare() -> None:
    """Compile the kernels that rules over objects use, or load them from the cache."""
    grid = freeze(np.diag([1, 1, 2, 2]).astype(np.uint8))
    scene = segment(grid, "one color, 8 ways")
    if scene is not None:
        region(scene, "holes")
        region(scene, "ray stop up")
        region(scene, "point tips")
        color_ref(scene, "above")
        paint(scene, ("move", 0, 1))
        paint(scene, ("fall", "down"))
        paint(scene, ("symmetric", "all", "cells"))
        paint(scene, ("echo",))
        paint(scene, ("slide", "own", "own", "stay"))


def backgrounds(task: Task) -> tuple[str, ...]:
    """Names of the background (`objects.background`) that differ on some grid of the task."""
    grids = _inputs(task)
    if all(np.bincount(grid.ravel()).argmax() == 0 for grid in grids):
        return ("0",)
    return ("0", "most") if any((grid == 0).any() for grid in grids) else ("most", "0")


Cut = tuple[float, list[Scene], list[Scene]]  # bits, and the scenes of train and tests


def all_scenes(task: Task, modes: Iterable[str], deadline: Deadline) -> Iterator[Cut]:
    """Yield each distinct cut of the task in which every grid has an object."""
    seen: set[bytes] = set()
    for how in backgrounds(task):
        for k, mode in enumerate(modes):
            if deadline.passed():
                return
            scenes = [segment(grid, mode, how) for grid in _inputs(task)]
            found = [scene for scene in scenes if scene is not None and scene.n]
            mark = b"".join(scene.labels.tobytes() for scene in found)
            if len(found) == len(scenes) and mark not in seen:
                seen.add(mark)
                bits = 0.5 * k + (1.0 if how == "most" else 0.0)
                yield bits, found[: len(task.train)], found[len(task.train) :]


def _inputs(task: Task) -> list[Grid]:
    return [pair.input for pair in task.train] + list(task.tests)


def _rules(
    task: Task, train: list[Scene], tests: list[Scene], base: float, deadline: Deadline
) -> Iterator[Solution | None]:
    mode, how = train[0].mode, str(train[0].memo["how"])
    outputs = [pair.output for pair in task.train]
    need = float(sum((p.input != p.output).sum() for p in task.train))
    menu = menu_of(train, outputs, deadline)
    yield None
    if menu is None:
        return
    changed = np.concatenate([(p.input != p.output).ravel() for p in task.train])
    if not menu.covers(changed):
        return
    table = enumerate_tests(train, tests)
    yield None
    judged = menu.gains(np.ones(len(changed), dtype=np.float32))
    covers = Covers(menu, table, [s.n for s in train], [out.size for out in outputs], deadline)
    two, three = partial(choose, deadline=deadline), partial(choose_three, deadline=deadline)
    for learner, most in ((two, 60), (three, 20)):
        doubt: float | None = None  # until a rule fits
        for bits, rules in learner(table, judged, need, 0)[:most]:
            if deadline.passed():
                return
            named = tuple((test, menu.actions[a]) for test, a in rules)
            fitted = fit(task, "object_rule", object_rule, (mode, how, named), base + bits)
            if fitted is None:
                continue
            if doubt is None:
                doubt = _DOUBT_BITS * (1.0 - covers.trust(learner, changed.astype(np.float32)))
            yield replace(fitted, cost=fitted.cost + doubt)
        yield None
        if doubt is not None:  # rules of at most two branches fit: skip longer rules
            break
    for bits, (feature, by, rows) in choose_by_value(train, judged, need, 0, deadline)[:20]:
        if deadline.passed():
            return
        named_rows = tuple((value, menu.actions[a]) for value, a in rows)
        args = (mode, how, feature, by, named_rows)
        yield fit(task, "object_table", object_table, args, base + bits)
    yield None
    yield from _covering(task, (mode, how), covers, changed, base)


def _covering(
    task: Task, way: tuple[str, str], covers: Covers, changed: NDArray[np.bool_], base: float
) -> Iterator[Solution | None]:
    """Rule sets of which an object may do several, for one `way` (mode, background)."""
    for bits, cover, trust in covers.find(changed.astype(np.float32)):
        bits += 30.0 * (1.0 - trust)
        yield fit(task, "object_rules", object_rules, (*way, cover), base + bits)


def object_rule(grid: Grid, mode: str, how: str, rules: Rules) -> NDArray[np.uint8] | None:
    """The grid after each object did the action of the first rule whose test it meets."""
    scene = segment(grid, mode, how)
    if scene is None or scene.n == 0:
        return None
    picks = np.full(scene.n, len(rules), dtype=np.int64)
    for k in range(len(rules) - 1, -1, -1):
        picks[holds(rules[k][0], scene)] = k
    return draw(scene, [*(action for _, action in rules), KEEP], picks)


def object_rules(grid: Grid, mode: str, how: str, rules: Rules) -> NDArray[np.uint8] | None:
    """The grid after each object did the actions of all rules whose tests it meets."""
    scene = segment(grid, mode, how)
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
    """The grid after each object did its action in a table; None for values not in the table."""
    scene = segment(grid, mode, how) if feature in FEATURES else None
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
