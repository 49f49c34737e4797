"""Stamps: the picture that outputs show around all objects of one kind, learned by consensus.

Objects are grouped by a property and by the size of their box. Each object has a window around
its box. A cell of the window belongs to the stamp under two conditions: all objects of the group
agree on the output's colour there, and the cell changed for some object. Windows of several
margins give several actions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from solver.grid import Grid
from solver.synth.objects.objects import Scene

_GROUPS = ("", "color", "shape", "look", "area")
_OUTSIDE, _OPEN, OWN = -2, -1, 10
MARGINS = 4  # windows reach up to three cells beyond an object's box
Patch = tuple[tuple[int, ...], ...]


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
