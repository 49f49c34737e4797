"""Selection: the output shows one object (or part) of the input, perhaps changed.

A test on object properties picks the object. The test is learned from the objects that match the
outputs.
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
from solver.synth.objects.objects import OBJECT_MODES, PART_MODES, Scene, segment
from solver.synth.objects.rule_learn import (
    ALWAYS,
    Test,
    enumerate_tests,
    holds,
    selectors,
)
from solver.synth.objects.rules import all_scenes
from solver.synth.program import Op, Solution
from solver.views import TURNS, turn

CROPS = ("crop", "alone", "inner")
_SELECT_MODES = (*OBJECT_MODES, *PART_MODES)


def prepare() -> None:
    """Compile the kernels that scenes use, or load them from the cache."""
    objects.prepare()


def search(task: Task, deadline: Deadline) -> Iterator[Solution | None]:
    """Selections that reproduce every demonstration."""
    if all(p.input.shape == p.output.shape for p in task.train):
        return
    for base, train, tests in all_scenes(task, _SELECT_MODES, deadline):
        if deadline.passed():
            return
        yield from distinct(until(_select(task, train, tests, base), deadline), 3)
        yield None


# --- one object -----------------------------------------------------------------------


def shown(scene: Scene, i: int, crop: str) -> Grid | None:
    """The picture of object i; None if the picture has no cells.

    `crop` takes the bounding box, `alone` only the object's own cells, and `inner` the bounding
    box without its border.
    """
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
    sizes = [scene.n for scene in (*train, *tests)]
    mode, how = train[0].mode, _how(train[0])
    for crop in CROPS:
        for change, bits in _changes(task):
            yield None
            targets = _targets(task, train, crop, change)
            if targets is None:
                continue
            table = table or enumerate_tests(train, tests)
            cost = base + bits + CROPS.index(crop)
            if all(n == 1 for n in sizes):
                yield fit(task, "select", select, (mode, how, crop, change, ALWAYS), cost)
            for more, test in selectors(table, sizes, targets, len(train))[:12]:
                yield fit(task, "select", select, (mode, how, crop, change, test), cost + more)


def _changes(task: Task) -> Iterator[tuple[str, float]]:
    """Yield the changes (see `changed`) that a cut-out picture may undergo, with their bits."""
    yield TURNS[0], 0.0
    yield from ((how, 3.0) for how in TURNS[1:])
    yield from ((f"scale {k}", 3.0) for k in range(2, 5))
    yield "swap", 3.0
    colors = sorted(set.intersection(*(set(p.output.ravel().tolist()) for p in task.train)))
    yield from ((f"ground {c}", 4.0) for c in colors)
    if all(len(set(p.output.ravel().tolist())) <= 2 for p in task.train):
        refs = [ref for ref in REFS if ref not in ("own", "blank", "major")]
        yield from ((f"ink {ref}", 4.0) for ref in (*map(str, colors), *refs))


def changed(scene: Scene, i: int, cells: Grid, change: str) -> Grid | None:
    """The picture after a change; None if the change does not apply.

    One of `TURNS` turns the picture, `scale k` enlarges it, and `swap` exchanges its two colours.
    `ground c` replaces the background by colour c. `ink ref` gives all other cells one colour.
    """
    if change in TURNS:
        return turn(cells, TURNS.index(change))
    verb, _, rest = change.partition(" ")
    if verb == "d8":  # in journals of versions before 0.3
        return turn(cells, int(rest))
    if verb == "scale":
        return np.kron(cells, np.ones((int(rest), int(rest)), dtype=np.uint8))
    if verb == "ground":
        return np.where(cells == scene.background, int(rest), cells).astype(np.uint8)
    if verb == "ink":
        color = int(color_ref(scene, rest)[i])
        ground = scene.background
        return None if color < 0 else np.where(cells == ground, ground, color).astype(np.uint8)
    first, last = int(cells.min()), int(cells.max())
    if not ((cells == first) | (cells == last)).all():
        return None
    return np.where(cells == first, last, first).astype(np.uint8)


def _targets(
    task: Task, scenes: Sequence[Scene], crop: str, change: str
) -> NDArray[np.bool_] | None:
    """(N,): True for objects that look like the output; None if a demonstration has none."""
    found = []
    scale = int(change[6:]) if change.startswith("scale") else 1
    for scene, pair in zip(scenes, task.train, strict=True):
        hits = np.zeros(scene.n, dtype=bool)
        for i in range(scene.n):
            cells = shown(scene, i, crop)
            if cells is not None and cells.size * scale * scale == pair.output.size:
                made = changed(scene, i, cells, change)
                hits[i] = made is not None and np.array_equal(made, pair.output)
        if not hits.any():
            return None
        found.append(hits)
    return np.concatenate(found)


def _how(scene: Scene) -> str:
    return str(scene.memo["how"])


def select(grid: Grid, mode: str, how: str, crop: str, change: str, test: Test) -> Cells | None:
    """The `changed` picture of the first object that meets the test; None if none meets it."""
    scene = segment(grid, mode, how)
    if scene is None or scene.n == 0:
        return None
    hits = np.flatnonzero(holds(test, scene))
    cells = shown(scene, int(hits[0]), crop) if len(hits) else None
    return None if cells is None else changed(scene, int(hits[0]), cells, change)


OPS = {"select": Op(select, "the picture of the one object that meets a test")}
