"""The certainty of a score: bootstrap intervals, and paired tests of two runs over the same tasks.

Scores are one number a task, the fraction of its test inputs that were solved. Tasks are the
unit that is drawn: another draw of tasks, not another seed, is what an interval speaks of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
DRAWS = 20_000

Scores = NDArray[np.float64]  # (T,), one for each task


def interval(
    scores: Sequence[float] | Scores, seed: int = 0, level: float = LEVEL
) -> tuple[float, float]:
    """The percentile bootstrap interval of the mean (Efron 1979, doi:10.1214/aos/1176344552).

    Where all scores are equal the interval is that one number: a bootstrap cannot know of what
    it has never seen. Raises `ValueError` without scores.
    """
    values, counts = np.unique(np.asarray(scores, dtype=np.float64), return_counts=True)
    total = int(counts.sum())
    if not total:
        raise ValueError("no scores to resample")
    rng = np.random.default_rng(seed)
    # Only how often each value is drawn matters, and there are few values: (DRAWS, V).
    drawn = rng.multinomial(total, counts / total, size=DRAWS)
    means = drawn @ values / total
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail], method="inverted_cdf")
    return float(low), float(high)


@dataclass(frozen=True)
class Difference:
    """By how much the second of two paired lists of scores is better.

    low, high: the paired bootstrap interval of `mean`. p: how often a difference as large, either
    way, comes about by chance if the two are equally good. alpha: the p from which on the
    difference counts as real.
    """

    mean: float
    low: float
    high: float
    p: float
    alpha: float

    @property
    def significant(self) -> bool:
        """Both tests agree: of few tasks that differ the bootstrap alone is too sure."""
        return self.p < self.alpha and not self.low <= 0 <= self.high


def difference(
    before: Sequence[float] | Scores,
    after: Sequence[float] | Scores,
    seed: int = 0,
    comparisons: int = 1,
) -> Difference:
    """Compare two lists of scores of the same tasks, in the same order, each (T,).

    The interval is the bootstrap of the tasks' differences, `p` that of a sign-flip test: in each
    draw every task's difference keeps its sign or changes it. Where scores are 0 or 1 that is
    McNemar's exact test. With several `comparisons`, of which somebody will look at the best,
    `alpha` and the interval's level are divided by their number (Bonferroni).

    Raises `ValueError` if the lists differ in length or are empty.
    """
    a, b = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"{len(a)} scores cannot be paired with {len(b)}")
    gains = b - a
    alpha = (1 - LEVEL) / comparisons
    low, high = interval(gains, seed, 1 - alpha)
    return Difference(float(gains.mean()), low, high, _sign_flips(gains, seed), alpha)


def _sign_flips(gains: Scores, seed: int) -> float:
    """Two-sided p of the sign-flip test, with the observed signs as one of the draws."""
    sizes, counts = np.unique(np.abs(gains), return_counts=True)
    rng = np.random.default_rng(seed)
    kept = rng.binomial(counts, 0.5, size=(DRAWS, len(counts)))
    sums = (2 * kept - counts) @ sizes
    as_large = np.count_nonzero(np.abs(sums) >= abs(gains.sum()) - 1e-9)
    return float((1 + as_large) / (1 + DRAWS))
