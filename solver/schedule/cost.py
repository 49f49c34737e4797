"""The cost model: how many seconds a pass over a task takes, learned from the jobs of the run.

A pass reads the task's tokens and writes its output cells, so its seconds are taken as
`fixed + token * tokens + cell * area`. Before anything is measured only the proportions are
guessed (`PRIOR`); each stage has rates of its own, since engines differ by orders of magnitude.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solver.data.template import predict_size
from solver.grid import Grid, Task

CALIBRATE_AT = 4  # jobs; then each time that their number has doubled
_TRUST = 2.0  # the prior weighs as much as so many jobs
_ROUNDS = 4  # of guessing what jobs that were cut would have taken

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Work:
    """What a pass has to do: tokens to read (a cell or the end of a row is one) in the
    demonstrations and test inputs, and the area of the outputs to write, in cells."""

    tokens: int
    area: int = 0


@dataclass(frozen=True)
class Rates:
    """Seconds of a pass: in any case, for each token read and for each cell written; and the
    number of jobs that say so."""

    fixed: float
    token: float
    cell: float
    jobs: int = 0

    def seconds(self, work: Work) -> float:
        """What a pass over a task is expected to take; more than nothing."""
        return max(1e-6, self.fixed + self.token * work.tokens + self.cell * work.area)

    def __str__(self) -> str:
        parts = f"{self.fixed:.3g} s + {1e3 * self.token:.3g} ms a token"
        return f"{parts} + {1e3 * self.cell:.3g} ms an output cell, from {self.jobs} jobs"


# A cell is written one at a time and in several views, a token read with all others.
PRIOR = Rates(0.0, 1.0, 4.0)


@dataclass(frozen=True)
class Observed:
    """A job's seconds. `cut`: it was stopped by its slice and would have taken longer."""

    work: Work
    seconds: float
    cut: bool = False


def work_of(task: Task) -> Work:
    """What the grids of a task amount to; output sizes are predicted from demonstrations."""
    shown = [grid for pair in task.train for grid in (pair.input, pair.output)]
    tokens = sum(map(_tokens, [*shown, *task.tests]))
    sizes = [predict_size(task, grid) for grid in task.tests]
    return Work(tokens, sum(height * width for height, width in sizes))


def _tokens(grid: Grid) -> int:
    return int(grid.shape[0]) * (int(grid.shape[1]) + 1)


def calibrate(observed: Sequence[Observed]) -> Rates:
    """The rates that explain measured jobs best.

    Least squares of relative errors, over rates of at least zero, held to the proportions of
    `PRIOR` as if some jobs had shown those: a handful of jobs sets the scale, many the shape. A job
    that was cut counts as what it is expected to take, but at least as long as it ran.
    """
    features = np.array([[1.0, job.work.tokens, job.work.area] for job in observed])  # (N, 3)
    seconds = np.array([max(1e-6, job.seconds) for job in observed])
    cut = np.array([job.cut for job in observed])
    guess = np.array([PRIOR.seconds(job.work) for job in observed])
    scale = seconds.sum() / guess.sum()
    prior = scale * np.array([PRIOR.fixed, PRIOR.token, PRIOR.cell])
    # In these units a rate is the part of an average job that it accounts for.
    unit = np.maximum(features.mean(0), 1e-9) / (scale * guess.mean())
    rates, wanted = prior, seconds
    for _ in range(_ROUNDS):
        rows = features / (scale * guess[:, None]) / unit
        anchored = np.vstack([rows, _TRUST**0.5 * np.eye(3)])
        target = np.concatenate([wanted / (scale * guess), _TRUST**0.5 * prior * unit])
        rates = _non_negative(anchored, target) / unit
        wanted = np.where(cut, np.maximum(features @ rates, seconds), seconds)
    fixed, token, cell = map(float, rates)
    return Rates(fixed, token, cell, len(observed))


def _non_negative(rows: Vector, target: Vector) -> Vector:
    """Least squares over coefficients of at least zero: the best of all choices of zeros."""
    best, least = np.zeros(rows.shape[1]), float("inf")
    for size in range(1, rows.shape[1] + 1):
        for free in map(list, itertools.combinations(range(rows.shape[1]), size)):
            some = np.linalg.lstsq(rows[:, free], target, rcond=None)[0]
            error = float(((rows[:, free] @ some - target) ** 2).sum())
            if error < least and (some >= 0).all():
                least, best = error, np.zeros(rows.shape[1])
                best[free] = some
    return best
