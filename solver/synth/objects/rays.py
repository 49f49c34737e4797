"""Rays: the cells in one direction from an object, up to the cell that stops the ray.

The direction is one of eight, or the direction in which the object itself points.
"""

from __future__ import annotations

import numpy as np

from solver.synth.jit import kernel
from solver.synth.objects.objects import COLUMN, Mask, Scene

DIRECTIONS = {
    "up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1),
    "ul": (-1, -1), "ur": (-1, 1), "dl": (1, -1), "dr": (1, 1),
}  # fmt: skip
WAYS = {"stop": 0, "under": 1, "over": 2, "hit": 3, "same": 4, "other": 5, "land": 6, "goal": 7}
POINTERS = {
    "tips": 0,
    "corner": 1,
    "minor out": 2,
    "minor through": 3,
    "leak": 4,
    "toward": 5,
    "away": 6,
}


def rays(scene: Scene, direction: str, way: str) -> Mask:
    """(n, H, W): the rays of each object, in one of the `DIRECTIONS` and one of the `WAYS`."""
    slot = f"cast {way} {direction}"
    if slot not in scene.memo:
        dr, dc = DIRECTIONS[direction]
        goal = int(scene.column("area").argmax()) + 1 if scene.n else 0
        scene.memo[slot] = _cast(
            scene.grid, scene.labels, scene.n, scene.background, dr, dc, WAYS[way], goal
        )
    masks: Mask = scene.memo[slot]
    return masks


@kernel
def _stopped(grid, labels, r, c, y, x, way, goal):
    """True if a ray from (r, c) to its end (y, x) counts under `way` 3 or more (see `_cast`)."""
    h, w = grid.shape
    if not (0 <= y < h and 0 <= x < w):
        return False
    if way == 4:
        return grid[y, x] == grid[r, c]
    if labels[y, x] == labels[r, c]:
        return False
    if way == 7:
        return labels[y, x] == goal
    return way != 5 or grid[y, x] != grid[r, c]


@kernel
def _walk(grid, labels, r, c, dr, dc, ground, way, out):
    """Mark the ray from an object's cell (r, c); returns its end, and its number of cells."""
    h, w = grid.shape
    own = labels[r, c]
    y, x = r + dr, c + dc
    steps = 0
    while 0 <= y < h and 0 <= x < w and labels[y, x] != own:
        if grid[y, x] != ground and way != 1 and way != 2:
            break
        if grid[y, x] == ground or way == 2:
            out[y, x] = True
        y += dr
        x += dc
        steps += 1
    return y, x, steps


@kernel
def _cast(grid, labels, n, ground, dr, dc, way, goal):
    """(n, H, W): the cells in direction (dr, dc) from the cells of each object.

    Every ray ends at the border and at cells of its own object. The rest depends on `way`:
    0 ends a ray before the first cell that is not ground.
    1 continues past such cells and leaves them out.
    2 continues past such cells and includes them.
    3 ends rays like 0, and counts only rays that end at a cell outside the object.
    4 ends rays like 0, and counts only rays that end at a cell of their first cell's colour.
    5 is like 3, and counts only rays that end at a cell of another colour.
    6 is the one cell at which a ray of 3 ends.
    7 is like 3, and counts only rays that end at a cell of the object `goal`.
    The first cell of a ray is the object's cell from which the ray starts.
    """
    h, w = grid.shape
    out = np.zeros((n, h, w), np.bool_)
    for r in range(h):
        for c in range(w):
            i = labels[r, c] - 1
            if i < 0:
                continue
            if dr != 0 and dc != 0:  # diagonal rays leave from corners only
                if 0 <= r + dr < h and labels[r + dr, c] == i + 1:
                    continue
                if 0 <= c + dc < w and labels[r, c + dc] == i + 1:
                    continue
            y, x, steps = _walk(grid, labels, r, c, dr, dc, ground, way, out[i])
            landed = way >= 3 and _stopped(grid, labels, r, c, y, x, way, goal)
            if landed and way == 6:
                out[i, y, x] = True
            if way == 6 or (way >= 3 and not landed):
                for k in range(1, steps + 1):
                    out[i, r + k * dr, c + k * dc] = False
    return out


# --- the direction of an object --------------------------------------------------------


def pointed(scene: Scene, how: str) -> Mask:
    """(n, H, W): the rays of each object, in one of the ways of `POINTERS`.

    `tips`: a cell with one neighbour in the object goes on, away from the neighbour.
    `corner`: a diagonal leaves the box at the corner opposite to the most cells.
    `minor out`: cells of the rarest colour leave the box on their own side.
    `minor through`: cells of the rarest colour leave the box on the other side.
    `leak`: the few blank cells in a side of the box leave the box on this side.
    `toward`, `away`: the cells go straight to the largest object, or straight away from it.
    Every ray ends at the border, and at a cell that is neither blank nor the object's own.
    """
    boxes = np.ascontiguousarray(scene.features[:, [4, 5, 2, 3]])
    minor = np.where(scene.column("colors") > 1, scene.features[:, COLUMN["minor"]], -1)
    out = np.zeros((scene.n, *scene.grid.shape), dtype=np.bool_)
    if scene.n:
        goal = boxes[scene.column("area").argmax()]
        _point(scene.grid, scene.labels, boxes, minor, scene.background, POINTERS[how], goal, out)
    return out


@kernel
def _ray(grid, labels, ground, i, r, c, dr, dc, out):
    # From the cell after (r, c), through the object's own cells and blank cells.
    h, w = grid.shape
    y, x = r + dr, c + dc
    while 0 <= y < h and 0 <= x < w:
        if labels[y, x] != i + 1:
            if grid[y, x] != ground:
                return
            out[i, y, x] = True
        y += dr
        x += dc


@kernel
def _point(grid, labels, boxes, minor, ground, how, goal, out):
    for i in range(len(boxes)):
        top, left, a, b = boxes[i]
        dy, dx = straight(boxes[i], goal)
        if how == 6:
            dy, dx = -dy, -dx
        down, right = 0, 0  # twice the cells' offset from the box's centre, summed
        for r in range(top, top + a):
            for c in range(left, left + b):
                if labels[r, c] != i + 1:
                    continue
                y, x = 2 * r - 2 * top - a + 1, 2 * c - 2 * left - b + 1
                down += y
                right += x
                if how == 0:
                    _tip(grid, labels, ground, i, r, c, out)
                elif how >= 5 and (dy != 0 or dx != 0):
                    _ray(grid, labels, ground, i, r, c, dy, dx, out)
                elif (how == 2 or how == 3) and grid[r, c] == minor[i] and abs(y) != abs(x):
                    sign = 1 if how == 2 else -1
                    dr = sign * np.sign(y) if abs(y) > abs(x) else 0
                    dc = sign * np.sign(x) if abs(x) > abs(y) else 0
                    _ray(grid, labels, ground, i, r, c, dr, dc, out)
        if how == 1 and down != 0 and right != 0:
            r, c = top if down > 0 else top + a - 1, left if right > 0 else left + b - 1
            _ray(grid, labels, ground, i, r, c, -np.sign(down), -np.sign(right), out)
        if how == 4 and a > 2 and b > 2:
            _leaks(grid, labels, ground, i, boxes[i], out)


@kernel
def _tip(grid, labels, ground, i, r, c, out):
    h, w = grid.shape
    count, dr, dc = 0, 0, 0
    for y in range(max(0, r - 1), min(h, r + 2)):
        for x in range(max(0, c - 1), min(w, c + 2)):
            if (y != r or x != c) and labels[y, x] == i + 1:
                count += 1
                dr, dc = r - y, c - x
    if count == 1:
        _ray(grid, labels, ground, i, r, c, dr, dc, out)


@kernel
def _leaks(grid, labels, ground, i, box, out):
    top, left, a, b = box
    for side in range(4):
        dr, dc = (side == 0) * -1 + (side == 1), (side == 2) * -1 + (side == 3)
        size = b if side < 2 else a
        blank = 0
        for pass_ in range(2):
            for k in range(size):
                r = (top if side == 0 else top + a - 1) if side < 2 else top + k
                c = (left if side == 2 else left + b - 1) if side >= 2 else left + k
                if labels[r, c] == i + 1 or grid[r, c] != ground:
                    continue
                blank += 1 - pass_
                if pass_ and 2 * blank < size:
                    _ray(grid, labels, ground, i, r - dr, c - dc, dr, dc, out)


@kernel
def straight(box, goal):
    """The straight direction from a box to a goal's box; (0, 0) if there is none."""
    top, left, a, b = box
    y, x, p, q = goal
    beside, above = top < y + p and y < top + a, left < x + q and x < left + b
    if above and not beside:
        return (1, 0) if top < y else (-1, 0)
    if beside and not above:
        return (0, 1) if left < x else (0, -1)
    return 0, 0
