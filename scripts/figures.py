"""Draw solved tasks for the documentation.

    python scripts/figures.py 1cf80156 ... --seconds 10 --out docs/figures

The script searches a program for each named ARC-AGI-1 training task. A figure shows the first
demonstration, the program's intermediate grids on the first test input, and the answer.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from solver.answers.select import SELECTORS
from solver.data.arcio import pick_tasks, read_source
from solver.data.svg import strip_svg
from solver.deadline import Deadline
from solver.engines import Context
from solver.grid import Candidate, Task
from solver.synth.engine import synth
from solver.synth.interpret import trace
from solver.synth.program import parse


def main() -> None:
    """Write one SVG for each task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="+", help="ids of ARC-AGI-1 training tasks")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--out", type=Path, default=Path("docs/figures"))
    arguments = parser.parse_args()
    tasks = read_source("arc-agi-1:training").tasks
    for task in pick_tasks(tasks, ",".join(arguments.tasks), 0):
        best = _best(task, arguments.seconds)
        path = arguments.out / f"{task.id}.svg"
        path.write_text(draw(task, best), encoding="utf-8")
        print(f"{path}: {best.program}")


def draw(task: Task, candidate: Candidate) -> str:
    """The SVG: a demonstration, then each step of the candidate's program on its test input."""
    assert candidate.program is not None
    demo = task.train[0]
    steps = trace(parse(candidate.program), task.tests[candidate.test])
    row = [(_short(text), grid) for text, grid in steps if grid is not None]
    shown = [("demonstration", demo.input), ("its output", demo.output)]
    return strip_svg(f"{task.id}: {_short(candidate.program, 110)}", [shown, row])


def _best(task: Task, seconds: float) -> Candidate:
    found = [c for c in synth(task, Deadline.after(seconds), Context(0, 0)) if c.test == 0]
    if not found:
        raise SystemExit(f"{task.id}: no program within {seconds:g} s")
    return SELECTORS["programs"](found)[0].support[0]


def _short(text: str, limit: int = 44) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


if __name__ == "__main__":
    main()
