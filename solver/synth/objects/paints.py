"""Paints: the pictures that the actions of object rules draw for each object.

An action is a tuple of a verb and its arguments, such as `("paint", "holes", "largest")` or
`("move", 0, 2)`. `paint(scene, action)` gives (n, H, W) colours, with -1 where nothing is
painted. For verbs in `ERASING`, `draw` first clears the object's own cells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solver.synth.jit import kernel
from solver.synth.objects.colors import color_ref
from solver.synth.objects.moves import aligned, centred, echoed, fitted, goals_of, reflected, slid
from solver.synth.objects.objects import Ints, Scene
from solver.synth.objects.rays import DIRECTIONS
from solver.synth.objects.regions import region
from solver.synth.objects.stamps import trail
from solver.synth.objects.symmetry import symmetric
from solver.synth.program import position
from solver.views import TURNS

Action = tuple[Any, ...]
Paint = NDArray[np.int8]  # (n, H, W), -1 for nothing

KEEP: Action = ("keep",)
ERASING = frozenset(
    {"move", "shift", "fall", "turn", "approach", "slide", "reflect", "fit", "centre", "align"}
)


def paint(scene: Scene, action: Action) -> Paint:
    """(n, H, W): the colours that the action paints for each object, -1 for nothing."""
    return VERBS[action[0]](scene, *action[1:])


def _nothing(scene: Scene) -> Paint:
    return np.full((scene.n, *scene.grid.shape), -1, dtype=np.int8)


def _fill(scene: Scene, name: str, ref: str) -> Paint:
    colors = color_ref(scene, ref).astype(np.int8)
    return np.where(region(scene, name), colors[:, None, None], np.int8(-1))


def own_cells(scene: Scene) -> Paint:
    """(n, H, W): the colours of each object's own cells, -1 elsewhere."""
    return np.where(scene.masks, scene.grid.astype(np.int8)[None], np.int8(-1))


def shifted(cells: Paint, dy: int, dx: int) -> Paint:
    """The pictures moved by (dy, dx) cells, cut at the grid's border."""
    out = np.full_like(cells, -1)
    h, w = cells.shape[1:]
    if abs(dy) < h and abs(dx) < w:
        out[:, max(0, dy) : h + min(0, dy), max(0, dx) : w + min(0, dx)] = cells[
            :, max(0, -dy) : h + min(0, -dy), max(0, -dx) : w + min(0, -dx)
        ]
    return out


@kernel
def _place(grid, labels, boxes, d8, shifts, repeat, out):
    """Paint each object, turned in its box by `d8` and moved by its row of `shifts` (n, 2).

    `d8` is numbered as in `solver.views.turn`. With `repeat`, copies at 1, 2, ... times the
    shift are painted until a copy lies outside the grid (at most 30 copies).
    """
    h, w = grid.shape
    for i in range(len(boxes)):
        top, left, a, b = boxes[i]
        for k in range(1, 31 if repeat else 2):
            dy, dx = k * shifts[i, 0], k * shifts[i, 1]
            painted = False
            for r in range(a):
                for c in range(b):
                    if labels[top + r, left + c] != i + 1:
                        continue
                    y, x, p, q = r, c, a, b
                    for _ in range(d8 % 4):
                        y, x, p, q = q - 1 - x, y, q, p
                    if d8 >= 4:
                        y, x = x, y
                    y, x = y + top + dy, x + left + dx
                    if 0 <= y < h and 0 <= x < w:
                        out[i, y, x] = grid[top + r, left + c]
                        painted = True
            if not painted:
                break


def _placed(scene: Scene, d8: int, shifts: Ints, repeat: bool = False) -> Paint:
    out = _nothing(scene)
    boxes = np.ascontiguousarray(scene.features[:, [4, 5, 2, 3]])
    _place(scene.grid, scene.labels, boxes, d8, shifts, repeat, out)
    return out


def _move(scene: Scene, dy: int, dx: int) -> Paint:
    return _placed(scene, 0, np.tile(np.array([[dy, dx]], dtype=np.int64), (scene.n, 1)))


def _ghost(scene: Scene, dy: int, dx: int, ref: str) -> Paint:
    """The object's shape, moved by (dy, dx) cells, in the colour that `ref` names."""
    colors = color_ref(scene, ref).astype(np.int8)[:, None, None]
    return np.where(_move(scene, dy, dx) >= 0, colors, np.int8(-1))


def _sized(scene: Scene, direction: str, gap: int) -> Ints:
    """(n, 2): shifts in a direction by the object's own size plus `gap` cells."""
    dr, dc = DIRECTIONS[direction]
    size = scene.features[:, 2:4] + gap
    return np.asarray(size * np.array([[dr, dc]]), dtype=np.int64)


def _step(scene: Scene, direction: str, size: int) -> Paint:
    """Copies in a direction up to the border, with `size` - 1 cells between them."""
    return _placed(scene, 0, _sized(scene, direction, size - 1), repeat=True)


@kernel
def _slide(labels, grid, free, order, dr, dc, out):
    """Slide objects, in `order`, through free cells, and paint each object where it stops."""
    h, w = labels.shape
    for i in order:
        steps = 0
        while True:
            steps += 1
            clear = True
            for r in range(h):
                for c in range(w):
                    if labels[r, c] == i + 1:
                        y, x = r + steps * dr, c + steps * dc
                        inside = 0 <= y < h and 0 <= x < w
                        if not inside or (not free[y, x] and labels[y, x] != i + 1):
                            clear = False
            if not clear:
                break
        steps -= 1
        for r in range(h):
            for c in range(w):
                if labels[r, c] == i + 1 and steps:
                    free[r, c] = True
        for r in range(h):
            for c in range(w):
                if labels[r, c] == i + 1:
                    free[r + steps * dr, c + steps * dc] = False
                    out[i, r + steps * dr, c + steps * dc] = grid[r, c]


def _fall(scene: Scene, direction: str) -> Paint:
    """Slide each object until a cell that is not free, or the border, stops the object.

    Objects further along the direction slide first.
    """
    dr, dc = DIRECTIONS[direction]
    out = _nothing(scene)
    top, left, height, width = (scene.features[:, k] for k in (4, 5, 2, 3))
    ahead = dr * (top + height * (dr > 0)) + dc * (left + width * (dc > 0))
    free = (scene.labels == 0) & (scene.grid == scene.background)
    order = np.argsort(-ahead, kind="stable")
    _slide(scene.labels, scene.grid, free, order, dr, dc, out)
    return out


def _approach(scene: Scene, ref: str, most: int) -> Paint:
    """Move each object, straight or diagonally, until its box touches the box of the goal.

    `ref` names the goal (`_goal`). A move has at most `most` cells. An object with no such move
    stays in its place.
    """
    own = own_cells(scene)
    out = own.copy()
    goal = _goal(scene, ref)
    if goal < 0:
        return out
    top, left, bottom, right = scene.box(goal)
    for i in range(scene.n):
        if i == goal:
            continue
        box = scene.box(i)
        dy, dx = _gap(box[0], box[2], top, bottom), _gap(box[1], box[3], left, right)
        if dy and dx and abs(dy) != abs(dx):
            continue
        dy, dx = max(-most, min(most, dy)), max(-most, min(most, dx))
        out[i] = shifted(own[i : i + 1], dy, dx)[0]
    return out


def _gap(low: int, high: int, goal_low: int, goal_high: int) -> int:
    """The signed move by which an interval touches the goal interval; 0 if the two overlap."""
    if high <= goal_low:
        return goal_low - high
    return goal_high - low if low >= goal_high else 0


def _slide_to(scene: Scene, ref: str, ink: str, rest: str) -> Paint:
    """Each object where its straight way to its goal ends (see `moves`)."""
    return slid(scene, goals_of(scene, ref), ink, rest)


def _goal(scene: Scene, ref: str) -> int:
    if scene.n == 0:
        return -1
    area = scene.column("area")
    if ref == "largest":
        return int(area.argmax())
    same = np.flatnonzero(scene.column("color") == int(ref)) if ref.isdigit() else np.array([])
    return int(same[area[same].argmax()]) if len(same) else -1


def _turn(scene: Scene, how: str | int) -> Paint:
    """Turn each object in its place: the top left corner of the box stays."""
    return _placed(scene, position(TURNS, how), np.zeros((scene.n, 2), dtype=np.int64))


def _mirror(scene: Scene, direction: str, gap: int) -> Paint:
    """A mirror image beside the object, `gap` cells away.

    With `gap` -1, the object and the image share a border row or column.
    """
    flip = 7 if DIRECTIONS[direction][0] else 5  # up-down or left-right, as in views.turn
    return _placed(scene, flip, _sized(scene, direction, gap))


def _swap(scene: Scene) -> Paint:
    """Exchange the two colours of each object that has exactly two colours."""
    own = own_cells(scene)
    major, minor = scene.column("color"), scene.column("minor")
    two = (scene.column("colors") == 2)[:, None, None]
    first, second = major.astype(np.int8)[:, None, None], minor.astype(np.int8)[:, None, None]
    swapped = np.where(own == first, second, np.where(own == second, first, own))
    return np.where(two, swapped, np.int8(-1)).astype(np.int8)


def _stamp(scene: Scene, patch: tuple[tuple[int, ...], ...], dy: int, dx: int) -> Paint:
    """A fixed patch at (dy, dx) cells from the top left of each object's box.

    In the patch, 10 stands for the object's colour and -1 for nothing.
    """
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
    "ghost": _ghost,
    "shift": _ghost,
    "step": _step,
    "fall": _fall,
    "approach": _approach,
    "turn": _turn,
    "mirror": _mirror,
    "swap": _swap,
    "stamp": _stamp,
    "trail": trail,
    "symmetric": symmetric,
    "slide": _slide_to,
    "reflect": reflected,
    "echo": echoed,
    "fit": fitted,
    "centre": centred,
    "align": aligned,
}


def draw(scene: Scene, actions: list[Action], picks: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The grid after each object i has done `actions[picks[i]]`.

    Later objects paint over earlier objects.
    """
    canvas = scene.grid.copy()
    for a, action in enumerate(actions):
        if action[0] in ERASING:
            canvas[scene.masks[picks == a].any(0)] = scene.background
    if scene.n == 0:
        return canvas
    cells = (
        np.choose(picks[:, None, None], [paint(scene, a) for a in actions])
        if len(actions) <= 30
        else _gather(scene, actions, picks)
    )
    for picture in cells:
        canvas = np.where(picture >= 0, picture.astype(np.uint8), canvas)
    return canvas


def _gather(scene: Scene, actions: list[Action], picks: NDArray[np.int64]) -> Paint:
    return np.stack([paint(scene, actions[a])[i] for i, a in enumerate(picks)])
