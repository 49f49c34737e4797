"""Toy lessons and models for the tests of the language model."""

from __future__ import annotations

import numpy as np

from solver.grid import COLORS, Pair, freeze
from solver.lm.corpus import Lesson


def toy_lessons(n: int = 4, pairs: int = 6, side: int = 3) -> list[Lesson]:
    """Tasks that mirror, or copy, small grids; all colours stay."""
    rng = np.random.default_rng(0)
    lessons = []
    for task in range(n):
        grids = rng.integers(0, COLORS, (pairs, side, side + 1)).astype(np.uint8)
        some = tuple(
            Pair(freeze(grid), freeze(grid[:, ::-1] if task % 2 else grid.copy())) for grid in grids
        )
        lessons.append(Lesson(f"toy{task}", some, fixed_colors=frozenset(range(COLORS))))
    return lessons
