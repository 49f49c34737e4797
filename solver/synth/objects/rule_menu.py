"""The menu of a rule search: all actions that are right for some object, and their gains.

An action is right for an object if all cells that the action paints have this colour in the
output. The action explains the changed cells among them. An action that erases also explains
cells of the object that become background. Paints of one region share a list of cells, for all
colours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from solver.deadline import Deadline
from solver.grid import Grid
from solver.synth.objects.colors import REFS, color_ref
from solver.synth.objects.moves import INKS, RESTS
from solver.synth.objects.objects import Scene
from solver.synth.objects.paints import ERASING, KEEP, Action, Paint, paint
from solver.synth.objects.regions import ALL_REGIONS, REGION_COST, region
from solver.synth.objects.rule_learn import Actions
from solver.synth.objects.stamps import stamps, trails
from solver.synth.objects.symmetry import GROUPS, TRUSTS
from solver.views import TURNS

_LOOK = 4  # regions or actions between two looks at the deadline, a few milliseconds
_TRAILED = ("one color, 8 ways", "mixed, 8 ways")
REF_COST = {name: 2.0 + 0.25 * i for i, name in enumerate(REFS)}


@dataclass(frozen=True, eq=False)
class Menu:
    """Actions that are right for some object, and the changed cells that they explain.

    `explained[k]` are pairs (object, changed cell), as two arrays. Action a explains the pairs
    of `explained[source[a]]` that have `right[a, object]`.
    """

    actions: list[Action]
    right: NDArray[np.bool_]  # (A, N)
    costs: NDArray[np.float64]
    explained: list[tuple[NDArray[np.int64], NDArray[np.int64]]]
    source: NDArray[np.int64]

    def covers(self, changed: NDArray[np.bool_]) -> bool:
        """True if each changed cell is explained by an action for some object."""
        open_cells = changed.copy()
        for k, (who, cell) in enumerate(self.explained):
            able = self.right[self.source == k].any(0)
            open_cells[cell[able[who]]] = False
        return not bool(open_cells.any())

    def gains(self, open_cells: NDArray[np.float32]) -> Actions:
        """The actions, with gains that count only `open_cells` (1 if unexplained, else 0)."""
        n = self.right.shape[1]
        counts = [np.bincount(who, open_cells[cell], n) for who, cell in self.explained]
        gain = np.array(counts, dtype=np.float32)[self.source] * self.right
        return Actions(self.right, gain, self.costs)


def menu_of(scenes: Sequence[Scene], outputs: Sequence[Grid], deadline: Deadline) -> Menu | None:
    """`KEEP`, and all actions right and useful for some object; None after the deadline."""
    n = sum(scene.n for scene in scenes)
    none = np.zeros(0, dtype=np.int64)
    actions, right, costs = [KEEP], [np.ones(n, dtype=bool)], [1.0]
    explained, source = [(none, none)], [0]
    judged = chain(_judge_paints(scenes, outputs), _judge_others(scenes, outputs))
    for k, (pairs, entries) in enumerate(judged):
        if k % _LOOK == 0 and deadline.passed():
            return None
        useful = [entry for entry in entries if entry[2][pairs[0]].any()]
        for action, cost, ok in useful:
            actions.append(action)
            costs.append(cost)
            right.append(ok)
            source.append(len(explained))
        if useful:
            explained.append(pairs)
    return Menu(actions, np.array(right), np.array(costs), explained, np.array(source))


Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]
Judged = tuple[Pairs, list[tuple[Action, float, NDArray[np.bool_]]]]


def _pairs(masks: Sequence[NDArray[np.bool_]]) -> Pairs:
    """(object, cell) of all True cells of the scenes' (n, H, W) masks, as two arrays.

    Objects and cells are numbered through all scenes.
    """
    who, cells, first, base = [], [], 0, 0
    for mask in masks:
        size = mask.shape[1] * mask.shape[2]
        i, cell = np.divmod(np.flatnonzero(mask), size)
        who.append(i + first)
        cells.append(cell + base)
        first += len(mask)
        base += size
    return np.concatenate(who), np.concatenate(cells)


def _judge_paints(scenes: Sequence[Scene], outputs: Sequence[Grid]) -> Iterator[Judged]:
    wanted = np.concatenate([out.ravel() for out in outputs])
    changed = wanted != np.concatenate([scene.grid.ravel() for scene in scenes])
    n = sum(scene.n for scene in scenes)
    refs = {name: np.concatenate([color_ref(s, name) for s in scenes])
            for name in [*map(str, np.unique(wanted[changed])), *REFS]}  # fmt: skip
    for name in ALL_REGIONS:
        who, cell = _pairs([region(scene, name) for scene in scenes])
        low, high = _extremes(who, wanted[cell], n)
        new = changed[cell]
        pairs = who[new], cell[new]
        entries = []
        if (low == high)[pairs[0]].any():
            for ref, color in refs.items():
                ok = ((low == high) & (low == color)) | (low > high)
                cost = REGION_COST[name] + REF_COST.get(ref, 2.0)
                entries.append((("paint", name, ref), cost, ok))
        yield pairs, entries


def _extremes(
    who: NDArray[np.int64], colors: NDArray[np.uint8], n: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(n,) lowest and (n,) highest colour of each object's cells; 99 and 0 for no cells.

    `who`: the object of each cell, in ascending order.
    """
    low, high = np.full(n, 99, dtype=np.uint8), np.zeros(n, dtype=np.uint8)
    if len(who):
        starts = np.flatnonzero(np.diff(who, prepend=-1))
        low[who[starts]] = np.minimum.reduceat(colors, starts)
        high[who[starts]] = np.maximum.reduceat(colors, starts)
    return low, high


def _judge_others(scenes: Sequence[Scene], outputs: Sequence[Grid]) -> Iterator[Judged]:
    for action, cost in _others(scenes, outputs):
        ok, masks = [], []
        for k, (scene, out) in enumerate(zip(scenes, outputs, strict=True)):
            cells: Paint = paint(scene, action)
            wanted = out.astype(np.int8)[None]
            ok.append(((cells < 0) | (cells == wanted)).all((1, 2)))
            if action[0] in ERASING:
                cells = np.where((cells < 0) & scene.masks, np.int8(scene.background), cells)
            masks.append((cells == wanted) & (out != scene.grid)[None])
            if k == 1 and not any(
                (m.any((1, 2)) & o).any() for m, o in zip(masks, ok, strict=True)
            ):
                break  # useless in two demonstrations: drop the action
        else:
            yield _pairs(masks), [(action, cost, np.concatenate(ok))]


def _others(scenes: Sequence[Scene], outputs: Sequence[Grid]) -> Iterator[tuple[Action, float]]:
    """Yield all actions except paints of regions, with their bits."""
    sides = ("up", "down", "left", "right")
    yield from ((("fall", side), 3.0) for side in sides)
    if scenes[0].mode != "cells":
        yield from _shape_actions(sides)
    shown = np.unique(np.concatenate([scene.column("color") for scene in scenes]))
    yield from _goal_actions(scenes)
    for ref in ("largest", *map(str, shown)):
        yield from ((("approach", ref, most), 4.0) for most in (30, 1))
    colors = np.unique(outputs[0][outputs[0] != scenes[0].grid]).tolist()
    for dy, dx in _ghosts(scenes[0], outputs[0]):
        for ref in map(str, colors):
            far = 0.5 * (abs(dy) + abs(dx))
            yield ("ghost", dy, dx, ref), 6.0 + far
            yield ("shift", dy, dx, ref), 6.0 + far
    for direction in (*sides, "ul", "ur", "dl", "dr"):
        yield from ((("step", direction, size), 4.0 + size) for size in (1, 2))
    for dy, dx in _offsets(scenes, outputs):
        far = 0.5 * (abs(dy) + abs(dx))
        yield ("move", dy, dx), 4.0 + far
        yield ("copy", dy, dx), 4.5 + far
    yield from stamps(scenes, outputs)
    if scenes[0].mode in _TRAILED:
        yield from trails(scenes, outputs)


def _goal_actions(scenes: Sequence[Scene]) -> Iterator[tuple[Action, float]]:
    """Yield the moves whose goal is of the object's own colour, or of a colour of all scenes."""
    yield from ((("slide", "own", "own", rest), 5.0) for rest in RESTS)
    colors = [set(scene.column("color").tolist()) for scene in scenes]
    for ref in map(str, sorted(set.intersection(*colors))):
        yield from ((("slide", ref, ink, "stay"), 5.0) for ink in INKS)
        yield ("reflect", ref), 5.0
        yield ("centre", ref), 5.0
        yield from ((("align", axis, ref), 5.0) for axis in ("rows", "columns"))


def _shape_actions(sides: Sequence[str]) -> Iterator[tuple[Action, float]]:
    yield from ((("turn", how), 4.0) for how in TURNS[1:])
    yield ("swap",), 4.0
    yield from ((("echo",), 5.0), (("fit",), 5.0))
    yield from ((("symmetric", group, trust), 4.0) for trust in TRUSTS for group in GROUPS)
    yield from ((("mirror", side, gap), 4.0 + abs(gap)) for side in sides for gap in (0, 1, -1))


def _ghosts(scene: Scene, out: Grid) -> list[tuple[int, int]]:
    """Shifts that put the largest object's shape on output cells of one colour.

    The colour is not the background. Shifts have at most three cells along each axis. At most
    four shifts are returned, shortest first.
    """
    mask = scene.masks[int(scene.column("area").argmax())]
    rows, columns = np.nonzero(mask)
    found = []
    for dy in range(-3, 4):
        for dx in range(-3, 4):
            y, x = rows + dy, columns + dx
            inside = (y >= 0) & (x >= 0) & (y < out.shape[0]) & (x < out.shape[1])
            colors = np.unique(out[y[inside], x[inside]])
            if (dy or dx) and len(colors) == 1 and colors[0] != scene.background:
                found.append((dy, dx))
    return sorted(found, key=lambda d: abs(d[0]) + abs(d[1]))[:4]


def _offsets(scenes: Sequence[Scene], outputs: Sequence[Grid]) -> list[tuple[int, int]]:
    """Shifts at which objects of the first demonstration appear in its output.

    Only the six largest objects are searched. At most 16 shifts are returned, the most frequent
    first.
    """
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
