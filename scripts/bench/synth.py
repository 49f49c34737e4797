"""Score the synthesizer on a set with solutions: the curve of score against seconds.

    python scripts/bench/synth.py --source arc-agi-1:training --tasks 100 --seconds 10
    python scripts/bench/synth.py --engines grids,cells,all --seconds 2 --out runs/synth.json

Each sub-engine runs once over the tasks, and so does `all`, the ladder of every sub-engine. One
anytime run gives every point of the curve, since each solution is stored with the second of its
find. Seconds are CPU seconds of this process for each test input. Each test input gets two
attempts.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from solver.answers.select import programs
from solver.data.arcio import Solutions, pick_tasks, read_source
from solver.deadline import CpuClock, Deadline
from solver.grid import DataError, Task, same
from solver.synth import engine
from solver.synth.engine import Found
from solver.synth.grids import search as grids
from solver.synth.grids.expand import MORE, expand
from solver.synth.grids.sizes import size_rules
from solver.synth.grids.space import CALLS, STATES

CUTS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
ALL = "all"
STATE_TASKS, STATE_S = 40, 0.5  # tasks, and seconds for each task, to measure states a second


@dataclass(frozen=True)
class Run:
    """The run of one engine on one task.

    found: everything that the engine found.
    seconds: CPU seconds that the engine used.
    overshoot: CPU seconds that the engine used after its deadline.
    """

    task: Task
    found: tuple[Found, ...]
    seconds: float
    overshoot: float


def main(argv: Sequence[str] | None = None) -> int:
    args = _parse(argv)
    source = read_source(args.source)
    if source.solutions is None:
        raise DataError(f"{args.source}: has no solutions to score against")
    tasks = pick_tasks(source.tasks, args.tasks, args.seed)
    names = args.engines.split(",") if args.engines else [*engine.SUBENGINES, ALL]
    print(prepare())
    runs = {name: measure(name, tasks, args.seconds, source.solutions) for name in names}
    print(f"\n{args.source}, {len(tasks)} tasks, {args.seconds:g} CPU s a test input")
    for name in names:
        print(curve(name, runs[name], source.solutions, args.seconds))
    print(overlap(solved_by(runs, source.solutions)))
    if ALL in runs:
        print("within the ladder, a right program found by:")
        print(overlap(found_by(runs[ALL], source.solutions)))
    print(states(tasks[:STATE_TASKS]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(f"peak memory {peak:.0f} MiB")
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(report(runs, source.solutions), indent=1), encoding="utf-8")
    return 0


def measure(name: str, tasks: Sequence[Task], seconds: float, solutions: Solutions) -> list[Run]:
    """Run one engine over all tasks, with a line of progress for each."""
    runs = []
    for task in tasks:
        run = solve(name, task, seconds)
        runs.append(run)
        marks = "".join(".1-2"[mark] for mark in marks_of(run, solutions, float("inf")))
        best = str(run.found[0].solution.program) if run.found else ""
        print(f"{name} {task.id} {marks} {run.seconds:6.2f}s {len(run.found)} {best[:150]}")
        sys.stdout.flush()
    return runs


def solve(name: str, task: Task, seconds: float) -> Run:
    """Run one engine on a task, for `seconds` CPU seconds for each test input."""
    clock = CpuClock()
    start = clock.now()
    deadline = Deadline.after(seconds * len(task.tests), clock)
    found = tuple(_founds(name, task, deadline))
    used = clock.now() - start
    return Run(task, found, used, max(0.0, -deadline.left()))


def prepare() -> str:
    """Load or compile the kernels before any task. Returns a line with the seconds."""
    clock = CpuClock()
    start = clock.now()
    engine.prepare()
    return f"prepare() took {clock.now() - start:.1f} CPU s (cold: compiling; warm: loading)"


def marks_of(run: Run, solutions: Solutions, cut: float) -> list[int]:
    """A mark for each test input, from programs found until `cut` seconds for each test input.

    1: the first attempt is right.
    3: the second attempt is right.
    2: no attempt is right.
    0: no attempt.
    """
    found = [one for one in run.found if one.seconds <= cut * len(run.task.tests)]
    marks = []
    for test, want in enumerate(solutions[run.task.id]):
        candidates = (c for one in found for c in one.candidates(run.task))
        ranked = programs([c for c in candidates if c.test == test])
        hits = [same(answer.grid, want) for answer in ranked[:2]]
        marks.append(hits.index(True) * 2 + 1 if any(hits) else (2 if ranked else 0))
    return marks


def score(runs: Sequence[Run], solutions: Solutions, cut: float) -> tuple[float, float]:
    """Mean over tasks of the part of test inputs solved: with two attempts, with one."""
    two = one = 0.0
    for run in runs:
        marks = marks_of(run, solutions, cut)
        two += sum(mark in (1, 3) for mark in marks) / len(marks)
        one += sum(mark == 1 for mark in marks) / len(marks)
    return two / len(runs), one / len(runs)


def curve(name: str, runs: Sequence[Run], solutions: Solutions, seconds: float) -> str:
    """One line: the score at each cut, then precision, coverage, time and overshoot."""
    points = []
    for cut in CUTS:
        if cut <= seconds * 1.001:
            two, one = score(runs, solutions, cut)
            points.append(f"{cut:g}s {100 * two:.1f} ({100 * one:.1f})")
    marks = [mark for run in runs for mark in marks_of(run, solutions, float("inf"))]
    answered = [mark for mark in marks if mark]
    right = sum(mark in (1, 3) for mark in answered) / max(1, len(answered))
    anywhere = sum(_covered(run, solutions) for run in runs) / len(runs)
    mean = sum(run.seconds / len(run.task.tests) for run in runs) / len(runs)
    late = max(run.overshoot for run in runs)
    return (
        f"{name:>6}: {'  '.join(points)} | of answered {100 * right:.0f} % right, "
        f"covered {100 * anywhere:.1f} | mean {mean:.2f} s, late {1000 * late:.0f} ms"
    )


def solved_by(runs: dict[str, list[Run]], solutions: Solutions) -> dict[str, set[str]]:
    """The tasks for which each engine solves every test input in two attempts."""
    return {
        name: {run.task.id for run in found if set(marks_of(run, solutions, 1e9)) <= {1, 3}}
        for name, found in runs.items()
    }


def found_by(runs: Sequence[Run], solutions: Solutions) -> dict[str, set[str]]:
    """The tasks for which each sub-engine of the ladder found a right program."""
    found: dict[str, set[str]] = {}
    for run in runs:
        for one in run.found:
            if _right(one, solutions[run.task.id]):
                found.setdefault(one.engine, set()).add(run.task.id)
    return found


def overlap(solved: dict[str, set[str]]) -> str:
    """The number of tasks of each name, the number that no other name has, and the union.

    `ALL` does not count as another name.
    """
    lines = []
    for name, ids in solved.items():
        others = set().union(*(o for n, o in solved.items() if n not in (name, ALL)))
        lines.append(f"{name:>12}: {len(ids)} tasks, {len(ids - others)} alone")
    union = set().union(*solved.values())
    return "\n".join([*lines, f"{'union':>12}: {len(union)} tasks"])


def states(tasks: Sequence[Task]) -> str:
    """A line with the growth of the grid search's space a second, without judging states."""
    clock = CpuClock()
    total, calls, used = 0, 0, 0.0
    for task in tasks:
        run = grids.new_run(task, next(iter(size_rules(task)), None))
        start = clock.now()
        deadline, status = Deadline.after(STATE_S, clock), MORE
        while status == MORE and not deadline.passed():
            status = expand(run.space, run.ops, run.inst, grids.MAX_COST, grids.CHUNK)
        used += clock.now() - start
        total += int(run.space.used[STATES])
        calls += int(run.space.used[CALLS])
    return (
        f"grid search, {len(tasks)} tasks: {total / used:,.0f} new states/s, "
        f"{calls / used:,.0f} operations/s, each over all inputs of a task"
    )


def report(runs: dict[str, list[Run]], solutions: Solutions) -> dict[str, object]:
    """All programs with their costs, times and whether they are right, by engine and task."""
    return {
        name: {
            run.task.id: [
                {
                    "engine": found.engine,
                    "seconds": round(found.seconds, 3),
                    "cost": round(found.solution.cost, 1),
                    "right": _right(found, solutions[run.task.id]),
                    "program": str(found.solution.program),
                }
                for found in run.found
            ]
            for run in found_runs
        }
        for name, found_runs in runs.items()
    }


def _founds(name: str, task: Task, deadline: Deadline) -> Iterator[Found]:
    names = engine.SUBENGINES if name == ALL else (name,)
    return engine.run_all(task, deadline, engine.subengines(names))


def _right(found: Found, want: Sequence[object]) -> bool:
    return all(same(a, b) for a, b in zip(found.solution.outputs, want, strict=True))  # type: ignore[arg-type]


def _covered(run: Run, solutions: Solutions) -> bool:
    return any(_right(found, solutions[run.task.id]) for found in run.found)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--source", default="arc-agi-1:training")
    parser.add_argument("--tasks", help="a number to draw, or ids; default all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=10.0, help="CPU s a test input")
    parser.add_argument(
        "--engines", help=f"comma-separated, of {', '.join(engine.SUBENGINES)}, all"
    )
    parser.add_argument("--out", type=Path, help="write every program found as JSON")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
