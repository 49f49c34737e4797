"""Chance between runs of the same notebook: is a difference of two scores more than that?

A run on a clock with sampled answers never repeats itself. Its scores spread less than drawing
other tasks would make them spread, since the tasks are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist, mean

# 66 reruns of one public notebook on 240 tasks had the mean 29.25 % and the deviation 1.36 %.
# That is this part of the deviation of a score of so many drawn tasks.
RERUN_SHARE = 0.0136 / sqrt(0.2925 * (1 - 0.2925) / 240)
LEVEL = 0.95


@dataclass(frozen=True)
class Comparison:
    """The difference between the mean scores of two notebooks on the same tasks.

    mean: the second minus the first, as a fraction.
    deviation: standard deviation of this difference by chance between runs.
    p: probability that reruns of one notebook differ at least as much.
    elsewhere: half of the 95 % interval of either score on other tasks like these.
    """

    mean: float
    deviation: float
    p: float
    elsewhere: float

    @property
    def more_than_chance(self) -> bool:
        """True if reruns of one notebook rarely differ as much."""
        return self.p < 1 - LEVEL


def compare_scores(
    before: Sequence[float], after: Sequence[float], tasks: int, spread: float | None = None
) -> Comparison:
    """Compare the scores of two notebooks, each from one run or several, as fractions of 1.

    `spread` is the deviation between runs if it was measured (`pooled_spread`); if left out, it
    is that of public reruns. Raises `ValueError` without scores or tasks.
    """
    if not before or not after or tasks < 1:
        raise ValueError("no scores to compare")
    level = mean((mean(before), mean(after)))
    drawn = sqrt(_inside(level, tasks) * (1 - _inside(level, tasks)) / tasks)
    one_run = RERUN_SHARE * drawn if spread is None else max(spread, 1e-9)
    deviation = one_run * sqrt(1 / len(before) + 1 / len(after))
    gain = mean(after) - mean(before)
    normal = NormalDist()
    p = 2 * (1 - normal.cdf(abs(gain) / deviation))
    return Comparison(gain, deviation, p, normal.inv_cdf((1 + LEVEL) / 2) * drawn)


def pooled_spread(groups: Sequence[Sequence[float]]) -> float | None:
    """The standard deviation between runs of the same notebook, from groups of such runs.

    None with fewer than `MIN_REPEATS` runs beyond the first ones.
    """
    repeats = sum(len(group) - 1 for group in groups if group)
    if repeats < MIN_REPEATS:
        return None
    squares = sum((score - mean(group)) ** 2 for group in groups for score in group)
    return sqrt(squares / repeats)


MIN_REPEATS = 4


def _inside(level: float, tasks: int) -> float:
    """A score away from 0 and 1, where no run would seem to differ from another."""
    return (level * tasks + 1) / (tasks + 2)
