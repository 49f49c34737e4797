"""Measure how exactly the model's engine keeps its slices, and the memory that the engine takes.

    python scripts/bench/slices.py [--seconds 5,20,120] [--tasks 2] [--seed 0]

Tasks of the ARC-AGI-1 training set get slices by the CPU clock. For each job, the script prints the
part of the slice by which the job ended early or late, and whether the job was done. A job is done
if its views agreed, or if its search went as far as searches ever go. Only a job that is done may
give back more than a little of its slice.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from solver.data.arcio import pick_tasks, read_source
from solver.deadline import CpuClock, Deadline
from solver.engines import Context
from solver.grid import Task
from solver.lm.pair import engine
from solver.lm.pair.settings import PairSettings
from solver.lm.search.language import LanguageModel
from solver.lm.search.searches import Guess, Options, Question
from solver.lm.search.strategies import STRATEGIES

STRATEGY = PairSettings().strategy


def main() -> None:
    """Run the engine on each slice, and print how each job ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", default="5,20,120")
    parser.add_argument("--tasks", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    tasks = pick_tasks(read_source("arc-agi-1:training").tasks, str(options.tasks), options.seed)
    with tempfile.TemporaryDirectory() as folder:
        context = Context(0, options.seed, Path(folder))
        engine.prepare(context)
        for seconds in map(float, options.seconds.split(",")):
            for task in tasks:
                print(one(task, seconds, context), flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MB")


def one(task: Task, seconds: float, context: Context) -> str:
    """Run one job. Returns a line about the job's end."""
    strategy, cut_short = STRATEGIES[STRATEGY], []

    def search(
        model: LanguageModel, asked: Question, deadline: Deadline, options: Options
    ) -> Iterator[Guess]:
        yield from strategy.search(model, asked, deadline, options)
        cut_short.append(deadline.passed())

    STRATEGIES[STRATEGY] = replace(strategy, search=search)
    deadline = Deadline.after(seconds, CpuClock())
    found = len(list(engine.model(task, deadline, context)))
    left = deadline.left()
    STRATEGIES[STRATEGY] = strategy
    how = f"{left / seconds:.1%} early" if left > 0 else f"{-left / seconds:.1%} late"
    done = "out of time" if any(cut_short) else "done"
    return f"{seconds:g} s, task {task.id}: {how}, {done}, {found} candidates"


if __name__ == "__main__":
    main()
