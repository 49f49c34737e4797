"""Rays: the cells in one direction from an object, up to the cell that stops the ray."""

from __future__ import annotations

import numpy as np

from solver.synth.jit import kernel
from solver.synth.objects.objects import Mask, Scene

DIRECTIONS = {
    "up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1),
    "ul": (-1, -1), "ur": (-1, 1), "dl": (1, -1), "dr": (1, 1),
}  # fmt: skip
WAYS = {"stop": 0, "under": 1, "over": 2, "hit": 3, "same": 4, "other": 5}


def rays(scene: Scene, direction: str, way: str) -> Mask:
    """(n, H, W): the rays of each object, in one of the `DIRECTIONS` and one of the `WAYS`."""
    slot = f"cast {way} {direction}"
    if slot not in scene.memo:
        dr, dc = DIRECTIONS[direction]
        scene.memo[slot] = _cast(
            scene.grid, scene.labels, scene.n, scene.background, dr, dc, WAYS[way]
        )
    masks: Mask = scene.memo[slot]
    return masks


@kernel
def _stopped(grid, labels, r, c, y, x, way):
    """True if a ray from (r, c) to its end (y, x) counts under `way` 3, 4 or 5 (see `_cast`)."""
    h, w = grid.shape
    if not (0 <= y < h and 0 <= x < w):
        return False
    if way == 4:
        return grid[y, x] == grid[r, c]
    if labels[y, x] == labels[r, c]:
        return False
    return way != 5 or grid[y, x] != grid[r, c]


@kernel
def _cast(grid, labels, n, ground, dr, dc, way):
    """(n, H, W): the cells in direction (dr, dc) from the cells of each object.

    Every ray ends at the border and at cells of its own object. The rest depends on `way`:
    0 ends a ray before the first cell that is not ground.
    1 continues past such cells and leaves them out.
    2 continues past such cells and includes them.
    3 ends rays like 0, and counts only rays that end at a cell outside the object.
    4 ends rays like 0, and counts only rays that end at a cell of their first cell's colour.
    5 is like 3, and counts only rays that end at a cell of another colour.
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
            y, x = r + dr, c + dc
            steps = 0
            while 0 <= y < h and 0 <= x < w and labels[y, x] != i + 1:
                if grid[y, x] != ground and way != 1 and way != 2:
                    break
                if grid[y, x] == ground or way == 2:
                    out[i, y, x] = True
                y += dr
                x += dc
                steps += 1
            if way >= 3 and not _stopped(grid, labels, r, c, y, x, way):
                for k in range(1, steps + 1):
                    out[i, r + k * dr, c + k * dc] = False
    return out
