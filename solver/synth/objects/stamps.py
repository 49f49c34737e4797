"""Stamps and trails: pictures that outputs show around all objects of one kind.

Objects are grouped by a property and by the size of their box. Each object has a window around
its box. A cell of the window belongs to the stamp under two conditions: all objects of the group
agree on the output's colour there, and the cell changed for some object. Windows of several
margins give several actions.

A trail repeats a picture from an object to the border, in steps of one vector. It is learned in the
same way, from windows as large as the grid.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solver.grid import MAX_SIDE, Grid
from solver.synth.objects.objects import Scene

_GROUPS = ("", "color", "shape", "look", "area")
_OUTSIDE, _OPEN, OWN = -2, -1, 10
MARGINS = 4  # windows reach up to three cells beyond an object's box
Patch = tuple[tuple[int, ...], ...]
Cell = tuple[int, int, int]  # offset down and across from the object's box, colour
Trail = tuple[str, tuple[Cell, ...], int, int]  # its name, its first cells, its step
_REACH = 4  # the longest step along each axis
_CELLS = 10  # of one step
_STEPS = sorted(
    (step for step in product(range(-_REACH, _REACH + 1), repeat=2) if any(step)),
    key=lambda step: (abs(step[0]) + abs(step[1]), step),
)
_TRAIL_MEMBERS, _TRAIL_GROUPS, _TRAILS = 12, 10, 12  # the most of each


def stamps(
    scenes: Sequence[Scene], outputs: Sequence[Grid]
) -> list[tuple[tuple[str, Patch, int, int], float]]:
    """Stamp actions `("stamp", patch, dy, dx)` that a group of objects agrees on, with bits.

    At most 60 actions are returned, cheapest first.
    """
    found: dict[tuple[str, Patch, int, int], float] = {}
    padded = [
        [(_padded(scene.grid, m), _padded(out, m)) for m in range(MARGINS)]
        for scene, out in zip(scenes, outputs, strict=True)
    ]
    for members in _groups(scenes):
        for margin in (1, 2, 3, 0):
            windows = [_window(scenes[s], padded[s][margin], i, margin) for s, i in members]
            for own in (True, False):
                patch = _consensus(windows, own)
                if patch is not None:
                    action, bits = _action(patch, margin)
                    found[action] = min(bits, found.get(action, 99.0))
    return sorted(found.items(), key=lambda entry: entry[1])[:60]


def _groups(scenes: Sequence[Scene]) -> Iterator[list[tuple[int, int]]]:
    """Groups of (scene, object), alike in one property and in the size of the box.

    A group has at least two objects, and boxes of at most 5 x 5 cells.
    """
    seen = set()
    for feature in _GROUPS:
        groups: dict[tuple[int, int, int], list[tuple[int, int]]] = {}
        for s, scene in enumerate(scenes):
            values = scene.column(feature) if feature else np.zeros(scene.n, dtype=np.int64)
            for i in range(scene.n):
                slot = (int(values[i]), int(scene.features[i, 2]), int(scene.features[i, 3]))
                groups.setdefault(slot, []).append((s, i))
        for (_, height, width), members in groups.items():
            if len(members) > 1 and max(height, width) <= 5 and tuple(members) not in seen:
                seen.add(tuple(members))
                yield members


def _padded(grid: Grid, margin: int) -> NDArray[np.int8]:
    return np.pad(grid.astype(np.int8), margin, constant_values=_OUTSIDE)


def _window(
    scene: Scene, grids: tuple[NDArray[np.int8], NDArray[np.int8]], i: int, margin: int
) -> tuple[NDArray[np.int8], NDArray[np.int8], int]:
    """(before, after, colour) of object i: windows of the padded `grids`, and its colour."""
    top, left, bottom, right = scene.box(i)
    cut = (slice(top, bottom + 2 * margin), slice(left, right + 2 * margin))
    before, after = grids
    return before[cut], after[cut], int(scene.features[i, 0])


def _consensus(
    windows: list[tuple[NDArray[np.int8], NDArray[np.int8], int]], own: bool
) -> NDArray[np.int8] | None:
    before = np.stack([window for window, _, _ in windows])
    after = np.stack([window for _, window, _ in windows])
    if own:
        colors = np.array([color for _, _, color in windows], dtype=np.int8)
        after = np.where(after == colors[:, None, None], np.int8(OWN), after)
        before = np.where(before == colors[:, None, None], np.int8(OWN), before)
    inside = after != _OUTSIDE
    high = np.where(inside, after, -9).max(0)
    low = np.where(inside, after, 99).min(0)
    changed = (before != after).any(0)
    patch = np.where((high == low) & changed, high, _OPEN).astype(np.int8)
    return patch if (patch >= 0).any() else None


def _action(patch: NDArray[np.int8], margin: int) -> tuple[tuple[str, Patch, int, int], float]:
    rows, columns = np.nonzero(patch >= 0)
    top, left = int(rows.min()), int(columns.min())
    cells = patch[top : rows.max() + 1, left : columns.max() + 1]
    literal = tuple(tuple(int(c) for c in row) for row in cells)
    bits = 5.0 + margin + 0.7 * int((cells >= 0).sum())
    return ("stamp", literal, top - margin, left - margin), bits


# --- trails ---------------------------------------------------------------------------


def trails(scenes: Sequence[Scene], outputs: Sequence[Grid]) -> list[tuple[Trail, float]]:
    """Actions `("trail", cells, dy, dx)` that a group of objects agrees on, with bits.

    At most `_TRAILS` actions are returned. No action of a group repeats what longer trails of the
    group draw.
    """
    found: dict[Trail, float] = {}
    ground = scenes[0].background
    for members in islice(_groups(scenes), _TRAIL_GROUPS):
        shown = [_around(scenes[s], outputs[s], i) for s, i in members[:_TRAIL_MEMBERS]]
        top, left, bottom, right = scenes[members[0][0]].box(members[0][1])
        for own in (True, False):
            colors, seen = _agreed(shown, own, ground)
            drawn = np.zeros_like(seen)
            for trail, on in _repeated(colors, seen, bottom - top, right - left):
                if (on & ~drawn).any():
                    drawn |= on
                    bits = 6.0 + 1.5 * len(trail[1]) + 0.5 * (abs(trail[2]) + abs(trail[3]))
                    found.setdefault(trail, bits)
    return sorted(found.items(), key=lambda entry: entry[1])[:_TRAILS]


def _around(scene: Scene, out: Grid, i: int) -> tuple[NDArray[np.int8], NDArray[np.int8], int]:
    """(before, after, colour) of object i: the grids with the object's box at the centre."""
    top, left, _, _ = scene.box(i)
    side = 2 * MAX_SIDE - 1
    place = (
        slice(MAX_SIDE - 1 - top, MAX_SIDE - 1 - top + out.shape[0]),
        slice(MAX_SIDE - 1 - left, MAX_SIDE - 1 - left + out.shape[1]),
    )
    before, after = (np.full((side, side), _OUTSIDE, dtype=np.int8) for _ in range(2))
    before[place], after[place] = scene.grid, out
    return before, after, int(scene.column("color")[i])


def _agreed(
    shown: Sequence[tuple[NDArray[np.int8], NDArray[np.int8], int]], own: bool, ground: int
) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
    """The colour that all objects agree on at each offset, else `_OPEN`; and the offsets seen.

    The `ground` is no colour of a trail.
    """
    before = np.stack([b for b, _, _ in shown])
    after = np.stack([a for _, a, _ in shown])
    if own:
        colors = np.array([color for _, _, color in shown], dtype=np.int8)[:, None, None]
        before = np.where(before == colors, np.int8(OWN), before)
        after = np.where(after == colors, np.int8(OWN), after)
    inside = after != _OUTSIDE
    high = np.where(inside, after, -9).max(0)
    low = np.where(inside, after, 99).min(0)
    agreed = (high == low) & (before != after).any(0) & (high != ground)
    return np.where(agreed, high, _OPEN).astype(np.int8), inside.any(0)


def _repeated(
    colors: NDArray[np.int8], seen: NDArray[np.bool_], height: int, width: int
) -> list[tuple[Trail, NDArray[np.bool_]]]:
    """Trails that begin at a box among agreed colours, each with its cells, the longest first."""
    base, found = MAX_SIDE - 1, []
    for vy, vx in _STEPS:
        step = max(abs(vy), abs(vx))
        near = np.s_[base - step : base + height + step, base - step : base + width + step]
        after = colors[base - step + vy : base + height + step + vy,
                       base - step + vx : base + width + step + vx]  # fmt: skip
        if not ((colors[near] >= 0) & (colors[near] == after)).any():
            continue
        starts = np.zeros_like(seen)
        on, first = _along(colors, seen, vy, vx)
        starts[near] = first[near]
        if 0 < starts.sum() <= _CELLS:
            cells = [(int(y), int(x)) for y, x in np.argwhere(starts)]
            picture = tuple((y - base, x - base, int(colors[y, x])) for y, x in cells)
            found.append((("trail", picture, vy, vx), on & _reached(starts, vy, vx)))
    return sorted(found, key=lambda entry: -int(entry[1].sum()))


def _along(
    colors: NDArray[np.int8], seen: NDArray[np.bool_], vy: int, vx: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The cells of all trails in steps of (vy, vx), and the cells of their first steps."""
    on = colors >= 0
    same = on & (_moved(colors, -vy, -vx) == colors)
    end = ~_moved(seen, -vy, -vx)
    while True:
        kept = on & ((_moved(on, -vy, -vx) & same) | end)
        if (kept == on).all():
            break
        on = kept
    return on, on & ~_moved(on & same, vy, vx) & _moved(on, -vy, -vx)


def _reached(starts: NDArray[np.bool_], vy: int, vx: int) -> NDArray[np.bool_]:
    """Cells that steps of (vy, vx) reach from the first cells."""
    out = starts.copy()
    for y, x in np.argwhere(starts).tolist():
        while 0 <= y < len(out) and 0 <= x < len(out):
            out[y, x] = True
            y, x = y + vy, x + vx
    return out


def _moved(cells: NDArray[Any], dy: int, dx: int) -> NDArray[Any]:
    """Cells moved by (dy, dx); zeros come in at the border."""
    out = np.zeros_like(cells)
    h, w = cells.shape
    out[max(0, dy) : h + min(0, dy), max(0, dx) : w + min(0, dx)] = cells[
        max(0, -dy) : h + min(0, -dy), max(0, -dx) : w + min(0, -dx)
    ]
    return out


def trail(scene: Scene, cells: tuple[Cell, ...], dy: int, dx: int) -> NDArray[np.int8]:
    """(n, H, W): the cells around each object, repeated in steps of (dy, dx) to the border.

    The cells' offsets are from the top left of the object's box; colour 10 is the object's own.
    """
    h, w = scene.grid.shape
    out = np.full((scene.n, h, w), -1, dtype=np.int8)
    top, left, color = (scene.column(name) for name in ("top", "left", "color"))
    who = np.arange(scene.n)
    for y, x, ink in cells:
        for k in range(2 * MAX_SIDE):
            r, c = top + y + k * dy, left + x + k * dx
            here = (r >= 0) & (r < h) & (c >= 0) & (c < w)
            out[who[here], r[here], c[here]] = color[here] if ink == OWN else ink
    return out
