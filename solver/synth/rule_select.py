"""Outputs that show one object, or a summary of all objects.

Selection: the output is the crop of one object (or part), perhaps turned, and a test on object
properties tells which. Summaries: the colours of the objects in an order, as bars, or in the
places the objects have; the objects themselves stacked in an order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from solver.deadline import Deadline
from solver.grid import Grid, Task
from solver.synth.object_regions import REFS, color_ref
from solver.synth.objects import COLUMN, FEATURES, NOMINAL, PART_MODES, Scene, segment
from solver.synth.program import Op, Solution
from solver.synth.rule_fit import Cells, distinct, fit
from solver.synth.rule_learn import (
    FEATURE_COST,
    Actions,
    Test,
    choose,
    choose_by_value,
    enumerate_tests,
    holds,
    readout,
    selectors,
)
from solver.synth.rules import all_scenes
from solver.views import turn

CROPS = ("crop", "alone", "inner")
_OBJECT_MODES = ("8", "4", "m8", "m4", "c", "a4", "h4", "ink")
_SELECT_MODES = (*_OBJECT_MODES, *PART_MODES)
_LAYOUTS = ("row", "column", "bars right", "bars left", "bars up", "bars down")


def search(task: Task, deadline: Deadline) -> Iterator[Solution | None]:
    """Selections and summaries that reproduce every demonstration."""
    if all(p.input.shape == p.output.shape for p in task.train):
        return
    for base, train, tests in all_scenes(task, _SELECT_MODES):
        if deadline.passed():
            return
        yield from distinct(_select(task, train, tests, base), 3)
        yield from distinct(_places(task, train, tests, base), 2)
        if train[0].mode in _OBJECT_MODES:
            yield from distinct(_lists(task, train, base), 2)
        yield None


# --- one object -----------------------------------------------------------------------


def shown(scene: Scene, i: int, crop: str) -> Grid | None:
    """The picture of object i: its box (`crop`), only its own cells, or the box's inside."""
    if crop == "alone":
        return scene.alone(i)
    cells = scene.crop(i)
    if crop == "inner":
        cells = cells[1:-1, 1:-1]
    return cells if cells.size else None


def _select(
    task: Task, train: Sequence[Scene], tests: Sequence[Scene], base: float
) -> Iterator[Solution | None]:
    table = None
    for crop in CROPS:
        for d8 in range(8):
            targets = _targets(task, train, crop, d8)
            if targets is None:
                continue
            table = table or enumerate_tests(train, tests)
            sizes = [scene.n for scene in (*train, *tests)]
            picks = selectors(table, sizes, targets, len(train))
            mode, how = train[0].mode, _how(train[0])
            for bits, test in picks[:12]:
                cost = base + bits + (3.0 if d8 else 0.0) + CROPS.index(crop)
                yield fit(task, "select", select, (mode, how, crop, d8, test), cost)


def _targets(
    task: Task, scenes: Sequence[Scene], crop: str, d8: int
) -> NDArray[np.bool_] | None:
    """(N,): which objects look like the output; None if some demonstration has none."""
    found = []
    for scene, pair in zip(scenes, task.train, strict=True):
        hits = np.zeros(scene.n, dtype=bool)
        for i in range(scene.n):
            cells = shown(scene, i, crop)
            if cells is not None and cells.size == pair.output.size:
                hits[i] = np.array_equal(turn(cells, d8), pair.output)
        if not hits.any():
            return None
        found.append(hits)
    return np.concatenate(found)


def _how(scene: Scene) -> str:
    return str(scene.memo["how"])


def select(grid: Grid, mode: str, how: str, crop: str, d8: int, test: Test) -> Cells | None:
    """The picture of the first object that meets the test, turned by `d8`."""
    scene = segment(grid, mode, how)
    if scene is None or scene.n == 0:
        return None
    hits = np.flatnonzero(holds(test, scene))
    cells = shown(scene, int(hits[0]), crop) if len(hits) else None
    return None if cells is None else turn(cells, d8)


# --- a table of places ----------------------------------------------------------------


def _lattice(scene: Scene) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column number of every object: overlapping spans share one."""
    return (_lanes(scene.column("top"), scene.column("height")),
            _lanes(scene.column("left"), scene.column("width")))  # fmt: skip


def _lanes(start: NDArray[np.int64], size: NDArray[np.int64]) -> NDArray[np.int64]:
    lanes = np.zeros(len(start), dtype=np.int64)
    lane, end = -1, -1
    for i in np.argsort(start, kind="stable"):
        if start[i] >= end:
            lane += 1
            end = start[i] + size[i]
        else:
            end = max(end, start[i] + size[i])
        lanes[i] = lane
    return lanes


def _places(
    task: Task, train: Sequence[Scene], tests: Sequence[Scene], base: float
) -> Iterator[Solution | None]:
    """One output cell for every object, in its place; the colour by a test or a table."""
    wanted = []
    for scene, pair in zip(train, task.train, strict=True):
        rows, columns = _lattice(scene)
        if pair.output.shape != (rows.max() + 1, columns.max() + 1) or pair.output.size < 2:
            return
        wanted.append(pair.output[rows, columns].astype(np.int64))
    target = np.concatenate(wanted)
    names = (*map(str, np.unique(target)), *REFS)
    colors = np.array([np.concatenate([color_ref(s, name) for s in train]) for name in names])
    right = np.concatenate([np.zeros((1, len(target)), dtype=bool), colors == target])
    costs = np.array([9.0] + [2.0 + 0.2 * k for k in range(len(names))])
    actions = Actions(right, right.astype(np.float32), costs)
    mode, how = train[0].mode, _how(train[0])
    named = (("", *names))
    for bits, rules in choose(enumerate_tests(train, tests), actions, float(len(target)), 0)[:20]:
        args = (mode, how, tuple((test, named[a]) for test, a in rules))
        yield fit(task, "places", places, args, base + bits)
    for bits, (feature, by, rows_) in choose_by_value(train, actions, float(len(target)), 0)[:8]:
        lines = tuple((value, named[a]) for value, a in rows_)
        yield fit(task, "places_table", places_table, (mode, how, feature, by, lines), base + bits)


def _draw_places(scene: Scene, colors: NDArray[np.int64]) -> Cells | None:
    if (colors < 0).any():
        return None
    rows, columns = _lattice(scene)
    out = np.full((rows.max() + 1, columns.max() + 1), scene.background, dtype=np.uint8)
    out[rows, columns] = colors
    return out


def places(
    grid: Grid, mode: str, how: str, rules: tuple[tuple[Test, str], ...]
) -> Cells | None:
    """A cell for every object in its place, coloured by the first rule whose test it meets."""
    scene = segment(grid, mode, how)
    if scene is None or scene.n == 0:
        return None
    colors = np.full(scene.n, -1, dtype=np.int64)
    for test, ref in reversed(rules):
        colors = np.where(holds(test, scene), color_ref(scene, ref), colors)
    return _draw_places(scene, colors)


def places_table(
    grid: Grid, mode: str, how: str, feature: str, by: str, rows: tuple[tuple[int, str], ...]
) -> Cells | None:
    """A cell for every object in its place, coloured by a table over one property."""
    scene = segment(grid, mode, how)
    if scene is None or scene.n == 0:
        return None
    values = readout(scene, feature, by)
    colors = np.full(scene.n, -1, dtype=np.int64)
    for value, ref in rows:
        colors = np.where(values == value, color_ref(scene, ref), colors)
    return _draw_places(scene, colors)


# --- lists ----------------------------------------------------------------------------


def _lists(
    task: Task, train: Sequence[Scene], base: float
) -> Iterator[Solution | None]:
    """The objects (or their colours) in the order of a property."""
    mode, how = train[0].mode, _how(train[0])
    first, out = train[0], task.train[0].output
    for layout in (*_LAYOUTS, "stack right", "stack down"):
        size = {"row": (1, None), "column": (None, 1)}.get(layout, (None, None))
        if any(side not in (None, out.shape[a]) for a, side in enumerate(size)):
            continue
        for feature in FEATURES:
            if feature in NOMINAL or len(np.unique(first.features[:, COLUMN[feature]])) < 2:
                continue
            for sign in (1, -1):
                args = (mode, how, layout, feature, sign)
                made = listing(task.train[0].input, *args)
                if made is not None and np.array_equal(made, out):
                    cost = base + FEATURE_COST[feature] + 4.0
                    yield fit(task, "listing", listing, args, cost)


def listing(
    grid: Grid, mode: str, how: str, layout: str, feature: str, sign: int
) -> Cells | None:
    """Objects in the order of a property (`sign` 1 rising, -1 falling; ties in reading order).

    `row` and `column` list their colours, `bars` draw the property as bars, `stack` puts the
    objects themselves side by side (all must share the other side).
    """
    scene = segment(grid, mode, how)
    if scene is None or scene.n == 0:
        return None
    values = scene.column(feature)
    order = np.argsort(sign * values, kind="stable")
    colors = scene.column("color")[order].astype(np.uint8)
    if layout == "row":
        return colors[None]
    if layout == "column":
        return colors[:, None]
    if layout.startswith("stack"):
        pictures = [scene.alone(int(i)) for i in order]
        axis = 1 if layout == "stack right" else 0
        if len({p.shape[1 - axis] for p in pictures}) > 1:
            return None
        return np.concatenate(pictures, axis=axis)
    return _bars(colors, values[order], layout, scene.background)


def _bars(
    colors: Cells, lengths: NDArray[np.int64], layout: str, ground: int
) -> Cells | None:
    longest = int(lengths.max())
    if not 1 <= longest <= 30 or lengths.min() < 0:
        return None
    out = np.where(np.arange(longest)[None] < lengths[:, None], colors[:, None], ground)
    side = layout.split()[1]
    if side == "left":
        out = out[:, ::-1]
    if side in ("down", "up"):
        out = out.T if side == "down" else out.T[::-1]
    return out.astype(np.uint8)


OPS = {
    "select": Op(select, "the picture of the one object that meets a test"),
    "places": Op(places, "a cell for every object in its place, coloured by tests"),
    "places_table": Op(places_table, "a cell for every object in its place, by a table"),
    "listing": Op(listing, "objects or their colours in the order of a property"),
}
