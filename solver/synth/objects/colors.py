"""Colour names, such as `own` or `nearest`, and the colours that they mean for each object."""

from __future__ import annotations

import numpy as np

from solver.grid import COLORS
from solver.synth.jit import kernel
from solver.synth.objects.objects import Ints, Scene

REFS = (
    "own", "blank", "most", "least", "largest", "smallest", "touch", "inner", "minor",
    "major", "nearest", "second", "corner", "outer", "only_one", "above", "below", "leftward",
    "rightward", "in_line",
)  # fmt: skip


_SIGHTS = {"above": 0, "below": 1, "leftward": 2, "rightward": 3, "in_line": -1}


def color_ref(scene: Scene, name: str) -> Ints:
    """(n,): the colour that a name means for each object; -1 where the name means no colour.

    A name that is a digit means the colour of this number, for all objects.
    """
    if name.isdigit():
        return np.full(scene.n, int(name))
    slot = f"color {name}"
    if slot not in scene.memo:
        scene.memo[slot] = _ref(scene, name)
    colors: Ints = scene.memo[slot]
    return colors


def _ref(scene: Scene, name: str) -> Ints:
    own = {"own": "color", "touch": "touch_color", "inner": "inner_color", "minor": "minor",
           "major": "color"}  # fmt: skip
    if name in own:
        return scene.column(own[name])
    if name == "nearest":
        return _nearest(scene)
    if name == "outer":
        return _container(scene)
    if name in _SIGHTS:
        seen: Ints = _seen(scene.grid, scene.labels, scene.n, scene.background, _SIGHTS[name])
        return seen
    return np.full(scene.n, _grid_color(scene, name))


def _grid_color(scene: Scene, name: str) -> int:
    counts = np.bincount(scene.grid.ravel(), minlength=COLORS)
    counts[scene.background] = 0
    shown = np.flatnonzero(counts)
    if name == "blank":
        return scene.background
    if name == "corner":
        return int(scene.grid[0, 0])
    if not len(shown):
        return -1
    order = shown[np.argsort(-counts[shown], kind="stable")]
    if name == "most":
        return int(order[0])
    if name == "second":
        return int(order[1]) if len(order) > 1 else -1
    if name == "least":
        return int(order[-1])
    color, area = scene.column("color"), scene.column("area")
    if name == "only_one":  # the colour of the only object of one cell
        single = np.flatnonzero(area == 1)
        return int(color[single[0]]) if len(single) == 1 else -1
    if scene.n == 0:
        return -1
    return int(color[area.argmax() if name == "largest" else area.argmin()])


def _nearest(scene: Scene) -> Ints:
    """(n,): colour of the object of another colour with the nearest box; -1 if there is none."""
    top, left, height, width = (scene.column(k) for k in ("top", "left", "height", "width"))
    bottom, right, color = top + height, left + width, scene.column("color")
    down = np.maximum(top[:, None] - bottom[None] + 1, top[None] - bottom[:, None] + 1)
    side = np.maximum(left[:, None] - right[None] + 1, left[None] - right[:, None] + 1)
    far = np.maximum(down, 0) + np.maximum(side, 0) + 1000 * (color[:, None] == color[None])
    if scene.n < 2:
        return np.full(scene.n, -1)
    return np.where(far.min(1) < 1000, color[far.argmin(1)], -1)


def _container(scene: Scene) -> Ints:
    """(n,): colour of the smallest other object whose box contains the object's box, else -1."""
    top, left, height, width = (scene.column(k) for k in ("top", "left", "height", "width"))
    bottom, right, area = top + height, left + width, scene.column("area")
    within = (top[:, None] <= top) & (left[:, None] <= left)
    within &= (bottom[:, None] >= bottom) & (right[:, None] >= right)
    np.fill_diagonal(within, False)
    smallest = np.where(within, area[:, None], 10**6).argmin(0) if scene.n else area
    return np.where(within.any(0), scene.column("color")[smallest], -1)


@kernel
def _seen(grid, labels, n, ground, side):
    """(n,): the one colour of another object that each object sees to a side, else -1.

    `side`: 0 up, 1 down, 2 left, 3 right; -1 all four.
    """
    h, w = grid.shape
    found = np.full(n, -1, np.int64)
    for r in range(h):
        for c in range(w):
            i = labels[r, c] - 1
            if i < 0 or found[i] == -2:
                continue
            for k in range(4):
                if side not in (-1, k):
                    continue
                dr, dc = (k == 1) - (k == 0), (k == 3) - (k == 2)
                y, x = r + dr, c + dc
                while 0 <= y < h and 0 <= x < w and grid[y, x] == ground:
                    y += dr
                    x += dc
                if not (0 <= y < h and 0 <= x < w) or labels[y, x] == i + 1:
                    continue
                seen = np.int64(grid[y, x])
                found[i] = seen if found[i] in (-1, seen) else -2
    return np.where(found < 0, -1, found)
