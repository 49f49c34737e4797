"""Measure supervision: CPU and memory of the parent, time to the first valid submission.

    python scripts/bench/overhead.py [--seconds 30]

The script prints:

- seconds from the start of the process to a valid submission of 400 tasks on disk;
- the parent's share of one core and its peak memory, over a run of 400 tasks whose engine never
  finishes;
- seconds and peak memory for loading and templating 1,000, 3,000 and 10,000 tasks.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from solver.data.arcio import read_source
from solver.data.submissions import check_submission
from solver.data.template import template
from solver.deadline import Deadline
from solver.engines import Context
from solver.grid import Candidate, Task

ROOT = Path(__file__).resolve().parent.parent.parent


def busy(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """An engine that computes until its deadline, with a candidate each 0.3 seconds."""
    for _ in range(10**9):
        step = deadline.slice(0.3)
        while not step.passed():
            sum(range(1000))
        if deadline.passed():
            return
        yield Candidate(task.id, 0, task.tests[0], "busy")


def main() -> None:
    """Print every measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=30)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder:
        print(first_submission(Path(folder)))
        print(parent_share(Path(folder), seconds))
        for count in (1000, 3000, 10000):
            print(large_set(Path(folder), count))


def first_submission(folder: Path) -> str:
    """Seconds from process start to a valid submission of the 400 training tasks."""
    run = folder / "first"
    begun = time.monotonic()
    process = subprocess.Popen(_solve(run, "2s"), env=_environment(), stdout=subprocess.DEVNULL)
    while not (run / "submission.json").exists():
        time.sleep(0.002)
    took = time.monotonic() - begun
    check_submission(run / "submission.json", read_source("arc-agi-1:training").tasks)
    process.wait()
    return f"start to first valid submission, 400 tasks: {took:.2f} s"


def parent_share(folder: Path, seconds: int) -> str:
    """CPU and memory of the parent without its workers, which are child processes."""
    code = (
        "import resource, sys; from solver.__main__ import main; main();"
        "u = resource.getrusage(resource.RUSAGE_SELF);"
        "print(u.ru_utime + u.ru_stime, u.ru_maxrss / 1024, file=sys.stderr)"
    )
    arguments = [sys.executable, "-c", code, *_solve(folder / "share", f"{seconds}s")[3:]]
    done = subprocess.run(
        arguments, env=_environment(), check=True, capture_output=True, text=True
    ).stderr
    cpu, memory = map(float, done.split()[-2:])
    return (
        f"parent over {seconds} s, 400 tasks, 2 workers: {cpu:.2f} s CPU start-up included "
        f"({cpu / seconds:.1%} of one core), peak memory {memory:.0f} MB"
    )


def large_set(folder: Path, count: int) -> str:
    """Load and template `count` tasks in a fresh process. Returns a line of figures."""
    path = folder / f"{count}.json"
    path.write_text(json.dumps(dict(_many(count))))
    code = (
        "import sys; sys.path.insert(0, sys.argv[2]);"
        "from scripts.bench.overhead import load_and_template; load_and_template(sys.argv[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(ROOT)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return f"{count} tasks: {done.stdout.strip()}"


def load_and_template(path: str) -> None:
    """Print seconds and peak memory of reading a file and templating every task's answer."""
    begun = time.monotonic()
    tasks = read_source(path).tasks
    answers = [template(task) for task in tasks]
    took = time.monotonic() - begun
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{took:.2f} s, peak memory {memory:.0f} MB for {len(answers)} answers")


def _many(count: int) -> Iterator[tuple[str, object]]:
    """`count` tasks: the public training tasks over and over, with new ids."""
    tasks = read_source("arc-agi-1:training").tasks
    for i in range(count):
        task = tasks[i % len(tasks)]
        pairs = [{"input": p.input.tolist(), "output": p.output.tolist()} for p in task.train]
        tests = [{"input": grid.tolist()} for grid in task.tests]
        yield f"{task.id}-{i}", {"train": pairs, "test": tests}


def _solve(run: Path, budget: str) -> list[str]:
    engine = ["--engines", "scripts.bench.overhead:busy", "--workers", "2"]
    command = [sys.executable, "-m", "solver", "arc-agi-1:training", "--run", str(run)]
    return [*command, "--budget", budget, *engine]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


if __name__ == "__main__":
    main()
