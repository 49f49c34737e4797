"""Measure how late runs end, and how much of their budget they use.

    python scripts/bench/budget.py [--budgets 2,5,20,60,300] [--tasks 20] [--workers 2]

Each run uses one of three engines, in separate processes. `slow` uses all its time, and `hung`
looks at no clock. `mixed` is like `slow`, like `hung`, or done at once, by task. The script prints
for each run its lateness, and the share of its workers' time that was work. Meanwhile processes
that do nothing start and end; the script prints the longest time that such a process took.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from tests.control import control
from tests.fakes import toy_tasks
from tests.runs import command, finish, journal_of, start, write_challenges

ENGINES = ("slow", "hung", "mixed")


def main() -> None:
    """Run each engine with each budget, and print a line for each run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budgets", default="2,5,20,60,300")
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        challenges = write_challenges(Path(folder) / "c.json", toy_tasks(options.tasks))
        for budget_s in map(int, options.budgets.split(",")):
            for engine in ENGINES:
                run = Path(folder) / f"{engine}-{budget_s}"
                print(one(challenges, run, engine, budget_s, options.workers), flush=True)


def one(challenges: Path, run: Path, engine: str, budget_s: int, workers: int) -> str:
    """Run an engine with a budget. Returns a line of figures."""
    words = command(challenges, run, engine, f"{budget_s}s", "--workers", str(workers))
    with control() as measured:
        begun = time.monotonic()
        code, _, _ = finish(start(words), timeout=2 * budget_s + 60)
        late_s = time.monotonic() - begun - budget_s
    busy = sum(job.cost_s for job in journal_of(run).jobs) / (workers * budget_s)
    return (
        f"{engine:6} {budget_s:4d} s: code {code}, {late_s:+6.2f} s late, busy {busy:6.1%}, "
        f"a process took up to {measured.longest_s:.2f} s to start and end"
    )


if __name__ == "__main__":
    main()
