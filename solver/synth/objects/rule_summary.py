"""Summaries: outputs that describe all objects at once.

An output may show the colours of the objects, one cell each, in the objects' places or in an
order. An output may also show bars, or the objects themselves stacked in an order. Or the output
is a known picture, looked up by one property.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from solver.deadline import Deadline
from solver.grid import Grid, Task
from solver.synth.fit import Cells, distinct, fit, until
from solver.synth.objects import objects
from solver.synth.objects.colors import REFS, color_ref
from solver.synth.objects.objects import (
    COLUMN,
    FEATURES,
    NOMINAL,
    OBJECT_MODES,
    PART_MODES,
    Scene,
    segment,
)
from solver.synth.objects.rule_learn import (
    FEATURE_COST,
    Actions,
    Test,
    choose,
    choose_by_value,
    enumerate_tests,
    holds,
    readout,
)
from solver.synth.objects.rules import all_scenes
from solver.synth.program import Op, Solution

_LAYOUTS = ("row", "column", "bars right", "bars left", "bars up", "bars down")


def prepare() -> None:
    """Compile the kernels that scenes use, or load them from the cache."""
    objects.prepare()


def search(task: Task, deadline: Deadline) -> Iterator[Solution | None]:
    """Summaries that reproduce every demonstration."""
    for base, train, tests in all_scenes(task, (*OBJECT_MODES, *PART_MODES), deadline):
        if deadline.passed():
            return
        yield from distinct(until(_lookups(task, train, tests, base), deadline), 2)
        if any(p.input.shape != p.output.shape for p in task.train):
            yield from distinct(until(_places(task, train, tests, base, deadline), deadline), 2)
            if train[0].mode in OBJECT_MODES:
                yield from distinct(until(_lists(task, train, base), deadline), 2)
        yield None


def _how(scene: Scene) -> str:
    return str(scene.memo["how"])


# --- a table of places ----------------------------------------------------------------


def _lattice(scene: Scene) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row number and column number of each object; overlapping spans share a number."""
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
    task: Task, train: Sequence[Scene], tests: Sequence[Scene], base: float, deadline: Deadline
) -> Iterator[Solution | None]:
    """Programs that draw a cell in each object's place, coloured by tests or by a table."""
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
    named = ("", *names)
    need, table = float(len(target)), enumerate_tests(train, tests)
    for bits, rules in choose(table, actions, need, 0, deadline=deadline)[:20]:
        args = (mode, how, tuple((test, named[a]) for test, a in rules))
        yield fit(task, "places", places, args, base + bits)
    for bits, (feature, by, rows_) in choose_by_value(train, actions, need, 0, deadline)[:8]:
        lines = tuple((value, named[a]) for value, a in rows_)
        yield fit(task, "places_table", places_table, (mode, how, feature, by, lines), base + bits)


def _draw_places(scene: Scene, colors: NDArray[np.int64]) -> Cells | None:
    if (colors < 0).any():
        return None
    rows, columns = _lattice(scene)
    out = np.full((rows.max() + 1, columns.max() + 1), scene.background, dtype=np.uint8)
    out[rows, columns] = colors
    return out


def places(grid: Grid, mode: str, how: str, rules: tuple[tuple[Test, str], ...]) -> Cells | None:
    """A cell in each object's place, coloured by the first rule whose test the object meets."""
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
    """A cell in each object's place, coloured by a table over one property of the object."""
    scene = segment(grid, mode, how)
    if scene is None or scene.n == 0:
        return None
    values = readout(scene, feature, by)
    colors = np.full(scene.n, -1, dtype=np.int64)
    for value, ref in rows:
        colors = np.where(values == value, color_ref(scene, ref), colors)
    return _draw_places(scene, colors)


# --- lists ----------------------------------------------------------------------------


def _lists(task: Task, train: Sequence[Scene], base: float) -> Iterator[Solution | None]:
    """Programs that list the objects, or their colours, in the order of a property."""
    mode, how = train[0].mode, _how(train[0])
    first, out = train[0], task.train[0].output
    for layout in (*_LAYOUTS, "stack right", "stack down"):
        size = {"row": (1, None), "column": (None, 1)}.get(layout, (None, None))
        if any(side not in (None, out.shape[a]) for a, side in enumerate(size)):
            continue
        for feature in FEATURES:
            yield None
            if feature in NOMINAL or len(np.unique(first.features[:, COLUMN[feature]])) < 2:
                continue
            for order, skip in (("rising", 0), ("falling", 0), ("falling", 1), ("rising", 1)):
                args = (mode, how, layout, feature, order, skip)
                made = listing(task.train[0].input, *args)
                if made is not None and np.array_equal(made, out):
                    cost = base + FEATURE_COST[feature] + 4.0 + skip
                    yield fit(task, "listing", listing, args, cost)


def listing(
    grid: Grid, mode: str, how: str, layout: str, feature: str, order: str | int, skip: int
) -> Cells | None:
    """The objects in the `rising` or `falling` order of a property, without the first `skip`.

    Ties keep the order of labels. The layouts `row` and `column` list the objects' colours, and
    `bars ...` draw the values as bars. `stack right` and `stack down` join the objects themselves.
    They give None if the objects differ in the size of the other side.
    """
    scene = segment(grid, mode, how)
    if scene is None or scene.n == 0:
        return None
    values = scene.column(feature)
    sign = -1 if order in ("falling", -1) else 1  # numbers: journals of versions before 0.3
    listed = np.argsort(sign * values, kind="stable")[skip:]
    if not len(listed):
        return None
    colors = scene.column("color")[listed].astype(np.uint8)
    if layout == "row":
        return colors[None]
    if layout == "column":
        return colors[:, None]
    if layout.startswith("stack"):
        pictures = [scene.alone(int(i)) for i in listed]
        axis = 1 if layout == "stack right" else 0
        if len({p.shape[1 - axis] for p in pictures}) > 1:
            return None
        return np.concatenate(pictures, axis=axis)
    return _bars(colors, values[listed], layout, scene.background)


def _bars(colors: Cells, lengths: NDArray[np.int64], layout: str, ground: int) -> Cells | None:
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


# --- lookups --------------------------------------------------------------------------


def _lookups(
    task: Task, train: Sequence[Scene], tests: Sequence[Scene], base: float
) -> Iterator[Solution | None]:
    """Programs for few different outputs, told apart by a property of the largest object."""
    pictures = [tuple(map(tuple, pair.output.tolist())) for pair in task.train]
    if not 1 < len(set(pictures)) < len(pictures) or max(p.output.size for p in task.train) > 100:
        return
    mode, how = train[0].mode, _how(train[0])
    for feature in FEATURES:
        rows: dict[int, tuple[tuple[int, ...], ...]] = {}
        values = [int(_leader(scene, feature)) for scene in train]
        told = all(rows.setdefault(v, p) == p for v, p in zip(values, pictures, strict=True))
        if told and len(rows) < len(pictures):
            args = (mode, how, feature, tuple(sorted(rows.items())))
            cost = base + FEATURE_COST[feature] + 4.0 + 4.0 * len(rows)
            yield fit(task, "lookup", lookup, args, cost)


def _leader(scene: Scene, feature: str) -> int:
    return int(scene.column(feature)[scene.column("area").argmax()])


def lookup(
    grid: Grid,
    mode: str,
    how: str,
    feature: str,
    rows: tuple[tuple[int, tuple[tuple[int, ...], ...]], ...],
) -> Cells | None:
    """The picture that `rows` give for a property of the largest object, or None."""
    scene = segment(grid, mode, how)
    if scene is None or scene.n == 0:
        return None
    picture = dict(rows).get(_leader(scene, feature))
    return None if picture is None else np.array(picture, dtype=np.uint8)


OPS = {
    "places": Op(places, "a cell for every object in its place, coloured by tests"),
    "places_table": Op(places_table, "a cell for every object in its place, by a table"),
    "listing": Op(listing, "objects or their colours in the order of a property"),
    "lookup": Op(lookup, "a known picture told by a property of the largest object"),
}
