"""Grids written as rows of digits, for tests of object rules."""

from __future__ import annotations

import numpy as np

from solver.grid import Grid, freeze
from solver.synth.objects.objects import Scene, segment
from solver.synth.objects.paints import draw


def grid_of(text: str) -> Grid:
    """A grid of rows of digits, with a point for 0."""
    rows = text.replace(".", "0").split()
    return freeze(np.array([[int(c) for c in row] for row in rows], dtype=np.uint8))


def scene_of(text: str, mode: str = "one color, 8 ways", how: str = "0") -> Scene:
    scene = segment(grid_of(text), mode, how)
    assert scene is not None
    return scene


def after(scene: Scene, *action: object) -> list[str]:
    """The rows of the grid after all objects did an action."""
    cells = draw(scene, [action], np.zeros(scene.n, dtype=np.int64))
    return ["".join("." if c == 0 else str(c) for c in row) for row in cells.tolist()]
