"""Measure how far a program can be trusted, by the program's length.

    python scripts/bench/trust.py [--tasks 100] [--seconds 4] [--hide 2] [--seed 0]

The script hides demonstrations of ARC-AGI-1 training tasks, and lets the synthesizer search for
some CPU seconds. The output is how often the best program gives the hidden outputs, by description
length, and how often the next best program's grid is right. `solver.answers.confidence` contains
the conclusions.
"""

from __future__ import annotations

import argparse
import math
from itertools import pairwise

import numpy as np

from solver.answers.select import Ranked, bits, programs
from solver.data.arcio import pick_tasks, read_source
from solver.deadline import CpuClock, Deadline
from solver.engines import Context
from solver.grid import Task, same, stable_seed
from solver.synth.engine import prepare, synth

EDGES = (-math.inf, 10, 20, 30, 40, 60, 80, math.inf)  # bits


def main() -> None:
    """Search, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--hide", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    many = [t for t in read_source("arc-agi-1:training").tasks if len(t.train) > 2]
    prepare()
    firsts: list[tuple[float, bool]] = []
    seconds: list[bool] = []
    for task in pick_tasks(tuple(many), str(options.tasks), options.seed):
        for ranked, rights in answers(task, options.hide, options.seconds, options.seed):
            firsts.append((bits(ranked[0]), rights[0]))
            seconds += rights[1:2]
    print("bits        outputs  right")
    for low, high in pairwise(EDGES):
        right = [r for b, r in firsts if low <= b < high]
        if right:
            print(f"{low:4.0f} to {high:<4.0f} {len(right):6} {np.mean(right):8.0%}")
    print(f"next best   {len(seconds):7} {np.mean(seconds):6.0%}")


def answers(
    task: Task, hide: int, seconds: float, seed: int
) -> list[tuple[list[Ranked], list[bool]]]:
    """The ranked grids for each hidden output that a program answers, and which grids are right."""
    order = np.random.default_rng(stable_seed(seed, task.id)).permutation(len(task.train))
    kept = max(1, len(task.train) - hide)
    shown, hidden = ([task.train[i] for i in sorted(part)] for part in np.split(order, [kept]))
    asked = Task(task.id, tuple(shown), tuple(pair.input for pair in hidden))
    found = list(synth(asked, Deadline.after(seconds, CpuClock()), Context(0, seed)))
    ranked = [programs([c for c in found if c.test == test]) for test in range(len(hidden))]
    return [
        (grids, [same(grid.grid, pair.output) for grid in grids])
        for grids, pair in zip(ranked, hidden, strict=True)
        if grids
    ]


if __name__ == "__main__":
    main()
