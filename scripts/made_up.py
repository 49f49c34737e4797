"""Make up tasks to train on: random programs on grids of training tasks.

    python scripts/made_up.py --out made_up.zip --data re_arc.zip [--tasks 5000] [--seed 0]

The archive is for `arcsub train --made-up`; its `programs.json` contains each task's program. Tasks
that training holds out, and evaluation tasks, lend no grids. The same seed makes the same tasks.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from os import sched_getaffinity
from pathlib import Path

from solver.lm.training.corpus import Lesson, read_corpus
from submission.training.made_up import MadeUp, tasks_of, write


def main() -> None:
    """Share the numbers of the tasks out over the cores; write the archive."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="RE-ARC: its archive or folder")
    parser.add_argument("--tasks", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    lessons = read_corpus(options.data, options.seed).lessons
    cores = len(sched_getaffinity(0))
    parts = [range(first, options.tasks, cores) for first in range(cores)]
    with ProcessPoolExecutor(cores, get_context("fork")) as pool:
        made = pool.map(partial(_part, lessons, options.seed), parts)
        tasks = sorted((task for part in made for task in part), key=lambda task: task.id)
    write(options.out, tasks)
    print(f"{options.out}: {len(tasks)} tasks, {sum(len(t.pairs) for t in tasks)} pairs")


def _part(lessons: Sequence[Lesson], seed: int, numbers: Sequence[int]) -> list[MadeUp]:
    return list(tasks_of(lessons, numbers, seed))


if __name__ == "__main__":
    main()
