"""How well the model's engine keeps its slices, and the memory that it takes.

    python scripts/bench/slices.py [--seconds 5,20,120] [--tasks 2] [--seed 0]

Gives tasks of the ARC-AGI-1 training set slices by the CPU clock and prints, for each, by how
much of its slice it ended early or late, and whether it had nothing left to do.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from pathlib import Path

from solver.arcio import pick_tasks, read_source
from solver.deadline import CpuClock, Deadline
from solver.engines import Context
from solver.grid import Task
from solver.lm.engine import model, prepare


def main() -> None:
    """Run the engine on each slice and print how it ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", default="5,20,120")
    parser.add_argument("--tasks", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    tasks = pick_tasks(read_source("arc-agi-1:training").tasks, str(options.tasks), options.seed)
    with tempfile.TemporaryDirectory() as folder:
        prepare(Context(0, 0, Path(folder)))
        for seconds in map(float, options.seconds.split(",")):
            for task in tasks:
                print(one(task, seconds, Context(0, options.seed, Path(folder))), flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MB")


def one(task: Task, seconds: float, context: Context) -> str:
    """A line about one job."""
    deadline = Deadline.after(seconds, CpuClock())
    found = len(list(model(task, deadline, context)))
    left = deadline.left()
    how = f"{left / seconds:.1%} early" if left > 0 else f"{-left / seconds:.1%} late"
    return f"{seconds:g} s, task {task.id}: {how}, {found} candidates"


if __name__ == "__main__":
    main()
