"""The cost model: the seconds of a pass over a task, learned from the jobs of the run.

A pass reads the task's tokens and writes its output cells. Its seconds are therefore modelled as
`fixed + token * tokens + cell * area`. Before anything is measured, only the proportions are
guessed (`PRIOR`, on devices `DEVICE_PRIOR`). Each stage has separate rates, since engines differ by
orders of magnitude.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solver.data.template import predict_size
from solver.grid import Grid, Task

CALIBRATE_AT = 4  # jobs; then each time that the number of jobs has doubled
_TRUST = 2.0  # weight of the prior, in jobs
_ROUNDS = 4  # of guessing the full seconds of jobs that were cut

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Work:
    """The work of a pass.

    tokens: tokens to read in the demonstrations and test inputs; a cell and the end of a row are
    one token each.
    area: area of the outputs to write, in cells.
    """

    tokens: int
    area: int = 0


@dataclass(frozen=True)
class Rates:
    """Seconds of a pass: in any case, for each token read, and for each cell written.

    jobs: number of jobs that the rates were learned from.
    """

    fixed: float
    token: float
    cell: float
    jobs: int = 0

    def seconds(self, work: Work) -> float:
        """Expected seconds of a pass over a task; always more than 0."""
        return max(1e-6, self.fixed + self.token * work.tokens + self.cell * work.area)

    def __str__(self) -> str:
        parts = f"{self.fixed:.3g} s + {1e3 * self.token:.3g} ms a token"
        return f"{parts} + {1e3 * self.cell:.3g} ms an output cell, from {self.jobs} jobs"


# Cells are written one at a time and in several views; tokens are all read at once.
PRIOR = Rates(0.0, 1.0, 4.0)
# A device reads tokens side by side, but each cell still waits for the cell before it. The steps
# of learning are as many for a small task as for a large task.
DEVICE_PRIOR = Rates(1000.0, 1.0, 16.0)


@dataclass(frozen=True)
class Observed:
    """A job's seconds. `cut`: its slice stopped the job, which would have taken longer."""

    work: Work
    seconds: float
    cut: bool = False


def work_of(task: Task) -> Work:
    """The work in the grids of a task; output sizes are predicted from demonstrations."""
    shown = [grid for pair in task.train for grid in (pair.input, pair.output)]
    tokens = sum(map(_tokens, [*shown, *task.tests]))
    sizes = [predict_size(task, grid) for grid in task.tests]
    return Work(tokens, sum(height * width for height, width in sizes))


def _tokens(grid: Grid) -> int:
    return int(grid.shape[0]) * (int(grid.shape[1]) + 1)


def calibrate(observed: Sequence[Observed], assumed: Rates = PRIOR) -> Rates:
    """The rates that explain measured jobs best.

    The rates are least squares of relative errors, over rates of at least zero. The `assumed`
    proportions count as if some jobs had shown them. A handful of jobs therefore sets the scale;
    many jobs set the shape. A job that was cut counts with its expected seconds, but at least with
    the seconds that it ran.
    """
    features = np.array([[1.0, job.work.tokens, job.work.area] for job in observed])  # (N, 3)
    seconds = np.array([max(1e-6, job.seconds) for job in observed])
    cut = np.array([job.cut for job in observed])
    guess = np.array([assumed.seconds(job.work) for job in observed])
    scale = seconds.sum() / guess.sum()
    prior = scale * np.array([assumed.fixed, assumed.token, assumed.cell])
    # In these units, a rate is the part of an average job that the rate accounts for.
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
    """Least squares over coefficients of at least zero, as the best of all choices of zeros."""
    best, least = np.zeros(rows.shape[1]), float("inf")
    for size in range(1, rows.shape[1] + 1):
        for free in map(list, itertools.combinations(range(rows.shape[1]), size)):
            some = np.linalg.lstsq(rows[:, free], target, rcond=None)[0]
            error = float(((rows[:, free] @ some - target) ** 2).sum())
            if error < least and (some >= 0).all():
                least, best = error, np.zeros(rows.shape[1])
                best[free] = some
    return best
