"""Rays: the cells seen from an object in one direction, up to what stops them."""

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
    """(n, H, W): the rays of every object in one of `DIRECTIONS`, ending in one of `WAYS`."""
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
    """Whether a ray from (r, c) that ended at (y, x) was stopped by what `way` asks for."""
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
    """(n, H, W): cells in direction (dr, dc) of an object's cells.

    `way` 0 stops at the first cell that is not ground, 1 goes on below it, 2 over it,
    3 stops like 0 but only counts if something stops it before the border,
    4 like 3 and only if what stops it has the object's colour, 5 if it has another.
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
