"""The certainty of a score: bootstrap intervals, and paired tests of two runs over the same tasks.

A score is one number a task, the fraction of the task's test inputs that are solved. The bootstrap
draws tasks. An interval is therefore about another draw of tasks, not about another seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, comb, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
DRAWS = 20_000
DIGITS, TOLERANCE = 9, 1e-6  # sums of fractions of test inputs are equal within these
# The fewest tasks, all gained or all lost, that are significant at `LEVEL`: 2 / 2**6 < 0.05.
MIN_TASKS = 6
POWER = 0.8  # the chance with which a real difference should show

Scores = NDArray[np.float64]  # (T,), one for each task


def interval(
    scores: Sequence[float] | Scores, seed: int = 0, level: float = LEVEL
) -> tuple[float, float]:
    """The percentile bootstrap interval of the mean (Efron 1979, doi:10.1214/aos/1176344552).

    If all scores are equal, the interval has no width, since a bootstrap only knows scores that
    have been seen. Raises `ValueError` without scores.
    """
    values, counts = np.unique(np.asarray(scores, dtype=np.float64), return_counts=True)
    total = int(counts.sum())
    if not total:
        raise ValueError("no scores to resample")
    rng = np.random.default_rng(seed)
    # Drawing the number of times of each value is enough, and there are few values: (DRAWS, V).
    drawn = rng.multinomial(total, counts / total, size=DRAWS)
    means = drawn @ values / total
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail], method="inverted_cdf")
    return float(low), float(high)


@dataclass(frozen=True)
class Difference:
    """The difference between two paired lists of scores.

    mean: mean of the second list minus mean of the first list.
    low, high: the paired bootstrap interval of `mean`.
    p: probability that a difference at least as large, of either sign, occurs by chance if both
    lists are equally good.
    alpha: a difference counts as real if `p` is below this number.
    needed: the number of tasks with which a difference like this would show (`needed_tasks`).
    """

    mean: float
    low: float
    high: float
    p: float
    alpha: float
    needed: int | None = None

    @property
    def significant(self) -> bool:
        """True if `p` and the interval both show a difference.

        If only few tasks differ, the bootstrap interval is too narrow.
        """
        return self.p < self.alpha and not self.low <= 0 <= self.high


def difference(
    before: Sequence[float] | Scores,
    after: Sequence[float] | Scores,
    seed: int = 0,
    comparisons: int = 1,
) -> Difference:
    """Compare two lists of scores of the same tasks, in the same order, each (T,).

    The interval is the bootstrap interval of the tasks' differences. `p` is exact, from the
    sign-flip test: every task's difference keeps its sign or changes sign. For scores of 0 or 1
    this test is McNemar's exact test. `comparisons` is the number of comparisons from which the
    reader will take the best. `alpha` is divided by this number (Bonferroni), and the interval is
    widened to the level `1 - alpha`.

    Raises `ValueError` if the lists differ in length or are empty.
    """
    a, b = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"{len(a)} scores cannot be paired with {len(b)}")
    gains = b - a
    alpha = (1 - LEVEL) / comparisons
    low, high = interval(gains, seed, 1 - alpha)
    p, needed = _sign_flips(gains), needed_tasks(gains, alpha)
    return Difference(float(gains.mean()), low, high, p, alpha, needed)


def needed_tasks(gains: Scores, alpha: float = 1 - LEVEL) -> int | None:
    """The number of tasks like these with which their mean gain would be significant.

    The chance to see the gain is then `POWER`. None if the mean gain is zero. The number is the
    normal approximation for paired scores (Connor 1987, doi:10.2307/2531961).
    """
    mean, square = float(gains.mean()), float((gains * gains).mean())
    if not mean:
        return None
    normal = NormalDist()
    two_sided, power = normal.inv_cdf(1 - alpha / 2), normal.inv_cdf(POWER)
    spread = two_sided * sqrt(square) + power * sqrt(max(0.0, square - mean * mean))
    return ceil((spread / mean) * (spread / mean))


def _sign_flips(gains: Scores) -> float:
    """Two-sided exact p of the sign-flip test: the chance of a sum at least as large."""
    sums: Scores = np.zeros(1)
    chances: Scores = np.ones(1)
    sizes, counts = np.unique(np.round(np.abs(gains[gains != 0]), DIGITS), return_counts=True)
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        positive = np.arange(count + 1)
        binomial = np.array([comb(count, k) / 2**count for k in range(count + 1)])
        every = np.add.outer(sums, size * (2 * positive - count)).ravel()
        sums, place = np.unique(np.round(every, DIGITS), return_inverse=True)
        weights = np.multiply.outer(chances, binomial).ravel()
        chances = np.bincount(place.ravel(), weights).astype(np.float64)
    as_large = np.abs(sums) >= abs(gains.sum()) - TOLERANCE
    return min(1.0, float(chances[as_large].sum()))
