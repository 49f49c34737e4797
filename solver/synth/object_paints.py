"""What a rule does to an object: paints, each a small picture with holes for every object.

An action is a tuple of a verb and its arguments, such as `("paint", "holes", "largest")` or
`("move", 0, 2)`. `paint(scene, action)` gives (n, H, W) of colours, -1 where nothing is
painted. Actions of `ERASING` verbs first clear the object's own cells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solver.synth.object_regions import DIRECTIONS, color_ref, region
from solver.synth.objects import Mask, Scene
from solver.views import turn

Action = tuple[Any, ...]
Paint = NDArray[np.int8]  # (n, H, W), -1 for nothing

KEEP: Action = ("keep",)
ERASING = frozenset({"move", "fall", "turn", "approach"})


def paint(scene: Scene, action: Action) -> Paint:
    """(n, H, W): what the action paints for every object; remembered in the scene."""
    slot = f"paint {action}"
    if slot not in scene.memo:
        scene.memo[slot] = VERBS[action[0]](scene, *action[1:])
    cells: Paint = scene.memo[slot]
    return cells


def _nothing(scene: Scene) -> Paint:
    return np.full((scene.n, *scene.grid.shape), -1, dtype=np.int8)


def _fill(scene: Scene, name: str, ref: str) -> Paint:
    colors = color_ref(scene, ref).astype(np.int8)
    return np.where(region(scene, name), colors[:, None, None], np.int8(-1))


def own_cells(scene: Scene) -> Paint:
    """(n, H, W): every object as it is."""
    return np.where(scene.masks, scene.grid.astype(np.int8)[None], np.int8(-1))


def shifted(cells: Paint, dy: int, dx: int) -> Paint:
    """The same pictures moved by (dy, dx), cut at the border."""
    out = np.full_like(cells, -1)
    h, w = cells.shape[1:]
    if abs(dy) < h and abs(dx) < w:
        out[:, max(0, dy) : h + min(0, dy), max(0, dx) : w + min(0, dx)] = cells[
            :, max(0, -dy) : h + min(0, -dy), max(0, -dx) : w + min(0, -dx)
        ]
    return out


def _move(scene: Scene, dy: int, dx: int) -> Paint:
    return shifted(own_cells(scene), dy, dx)


def _step(scene: Scene, direction: str, size: int) -> Paint:
    """Copies shifted by whole object sizes (plus `size` - 1 cells) until the border."""
    out = _nothing(scene)
    own = own_cells(scene)
    for i in range(scene.n):
        for dy, dx in _steps(scene, i, direction, size):
            moved = shifted(own[i : i + 1], dy, dx)
            if not (moved >= 0).any():
                break
            out[i] = np.where(moved[0] >= 0, moved[0], out[i])
    return out


def _steps(scene: Scene, i: int, direction: str, size: int) -> list[tuple[int, int]]:
    dr, dc = DIRECTIONS[direction]
    height, width = int(scene.features[i, 2]), int(scene.features[i, 3])
    return [(k * dr * (height + size - 1), k * dc * (width + size - 1)) for k in range(1, 30)]


def _fall(scene: Scene, direction: str) -> Paint:
    """Slide until another thing or the border stops it; objects further on slide first."""
    dr, dc = DIRECTIONS[direction]
    own = own_cells(scene)
    out = np.full_like(own, -1)
    h, w = scene.grid.shape
    free = scene.labels == 0
    free &= scene.grid == scene.background
    boxes = [scene.box(i) for i in range(scene.n)]
    for i in sorted(range(scene.n), key=lambda i: -(dr * boxes[i][2 if dr > 0 else 0]
                                                    + dc * boxes[i][3 if dc > 0 else 1])):  # fmt: skip
        rows, cols = np.nonzero(scene.masks[i])
        free[rows, cols] = True
        while True:
            r, c = rows + dr, cols + dc
            if r.min() < 0 or c.min() < 0 or r.max() >= h or c.max() >= w or not free[r, c].all():
                break
            rows, cols = r, c
        free[rows, cols] = False
        out[i, rows, cols] = own[i][scene.masks[i]]
    return out


def _approach(scene: Scene, ref: str) -> Paint:
    """Move straight (row or column) to touch the object that `ref` names."""
    own = own_cells(scene)
    out = own.copy()
    goal = _goal(scene, ref)
    if goal < 0:
        return out
    top, left, bottom, right = scene.box(goal)
    for i in range(scene.n):
        if i == goal:
            continue
        t, l, b, r = scene.box(i)
        dy, dx = _gap(t, b, top, bottom), _gap(l, r, left, right)
        if dy and dx:
            continue
        out[i] = shifted(own[i : i + 1], dy, dx)[0]
    return out


def _gap(low: int, high: int, goal_low: int, goal_high: int) -> int:
    """How far an interval must move to touch another one; 0 if they overlap."""
    if high <= goal_low:
        return goal_low - high
    return goal_high - low if low >= goal_high else 0


def _goal(scene: Scene, ref: str) -> int:
    if scene.n == 0:
        return -1
    area = scene.column("area")
    if ref == "largest":
        return int(area.argmax())
    same = np.flatnonzero(scene.column("color") == int(ref)) if ref.isdigit() else np.array([])
    return int(same[area[same].argmax()]) if len(same) else -1


def _turn(scene: Scene, d8: int) -> Paint:
    """Turn in place: the box's top left corner stays."""
    out = _nothing(scene)
    h, w = scene.grid.shape
    for i in range(scene.n):
        top, left, bottom, right = scene.box(i)
        mask = scene.masks[i, top:bottom, left:right]
        cells = turn(np.where(mask, scene.grid[top:bottom, left:right], 255), d8)
        a, b = min(cells.shape[0], h - top), min(cells.shape[1], w - left)
        out[i, top : top + a, left : left + b] = cells[:a, :b].astype(np.int16).astype(np.int8)
    return out


def _mirror(scene: Scene, direction: str, gap: int) -> Paint:
    """A mirror image beside the object, `gap` cells away (-1: the border column is shared)."""
    dr, dc = DIRECTIONS[direction]
    own = own_cells(scene)
    out = _nothing(scene)
    for i in range(scene.n):
        top, left, bottom, right = scene.box(i)
        picture = own[i : i + 1].copy()
        box = picture[0, top:bottom, left:right]
        picture[0, top:bottom, left:right] = (box[::-1] if dr else box[:, ::-1]).copy()
        out[i] = shifted(picture, dr * (bottom - top + gap), dc * (right - left + gap))[0]
    return out


def _swap(scene: Scene) -> Paint:
    """Exchange the two colours of every object that has exactly two."""
    own = own_cells(scene)
    major, minor = scene.column("color"), scene.column("minor")
    two = (scene.column("colors") == 2)[:, None, None]
    first, second = major.astype(np.int8)[:, None, None], minor.astype(np.int8)[:, None, None]
    swapped = np.where(own == first, second, np.where(own == second, first, own))
    return np.where(two, swapped, np.int8(-1)).astype(np.int8)


def _stamp(scene: Scene, patch: tuple[tuple[int, ...], ...], dy: int, dx: int) -> Paint:
    """A fixed patch at (dy, dx) from the box's top left: 10 is the object's colour, -1 nothing."""
    out = _nothing(scene)
    h, w = scene.grid.shape
    cells = np.array(patch, dtype=np.int8)
    for i in range(scene.n):
        top, left = int(scene.features[i, 4]) + dy, int(scene.features[i, 5]) + dx
        own = np.where(cells == 10, np.int8(scene.features[i, 0]), cells)
        a, b = max(0, -top), max(0, -left)
        seen = own[a : h - top, b : w - left]
        if top < h and left < w and seen.size:
            out[i, top + a : top + a + seen.shape[0], left + b : left + b + seen.shape[1]] = seen
    return out


VERBS: dict[str, Callable[..., Paint]] = {
    "keep": _nothing,
    "paint": _fill,
    "move": _move,
    "copy": _move,
    "step": _step,
    "fall": _fall,
    "approach": _approach,
    "turn": _turn,
    "mirror": _mirror,
    "swap": _swap,
    "stamp": _stamp,
}


def draw(scene: Scene, actions: list[Action], picks: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The grid after object i has done `actions[picks[i]]`; later objects paint over earlier."""
    canvas = scene.grid.copy()
    for a, action in enumerate(actions):
        if action[0] in ERASING:
            canvas[scene.masks[picks == a].any(0)] = scene.background
    if scene.n == 0:
        return canvas
    cells = np.choose(picks[:, None, None], [paint(scene, a) for a in actions]) if len(
        actions
    ) <= 30 else _gather(scene, actions, picks)
    for picture in cells:
        canvas = np.where(picture >= 0, picture.astype(np.uint8), canvas)
    return canvas


def _gather(scene: Scene, actions: list[Action], picks: NDArray[np.int64]) -> Paint:
    return np.stack([paint(scene, actions[a])[i] for i, a in enumerate(picks)])


def same_mask(scene: Scene) -> Mask:
    """(H, W): cells of any object."""
    return np.asarray(scene.labels > 0)
