"""Statistics of scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from solver.grid import stable_seed

DRAWS = 2000
CONFIDENCE = 0.95


def interval(scores: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of the mean of `scores`. `scores` is not empty."""
    values = np.asarray(scores, dtype=float)
    rng = np.random.default_rng(stable_seed(seed, "bootstrap"))
    means = values[rng.integers(0, len(values), (DRAWS, len(values)))].mean(axis=1)
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(means, [tail, 100 - tail])
    return float(low), float(high)
