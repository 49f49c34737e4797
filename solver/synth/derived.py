"""The learners of objects and patterns on derived inputs: parts cut out of the grids.

Each cut (the content, the largest object, the fullest part, ...) turns a task into a smaller
task. The searches for rules, selections, summaries, parts and completions then run on the
smaller task.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from solver.deadline import Deadline
from solver.grid import Grid, Pair, Task, freeze, is_grid, key
from solver.synth.interleave import Search
from solver.synth.objects import rule_select, rule_summary, rules
from solver.synth.patterns import completion, parts
from solver.synth.program import INPUT, Call, Solution, substitute

# Arguments of `select`: mode, background, crop, change, test.
_CUTS: tuple[tuple[str, str, str, str, tuple[str, str, int]], ...] = (
    ("ink", "0", "crop", "as is", ("", "all", 0)),
    ("mixed, 8 ways", "0", "crop", "as is", ("area", "max", 0)),
    ("one color, 8 ways", "0", "crop", "as is", ("area", "max", 0)),
    ("one color, 8 ways", "0", "inner", "as is", ("area", "max", 0)),
    ("mixed, 8 ways", "0", "crop", "as is", ("colors", "max", 0)),
    ("parts sep", "0", "crop", "as is", ("ink", "max", 0)),
    ("parts sep", "0", "crop", "as is", ("kinds", "max", 0)),
    ("parts gap", "0", "crop", "as is", ("ink", "max", 0)),
    ("ink", "most", "crop", "as is", ("", "all", 0)),
    ("colors", "most", "crop", "as is", ("area", "max", 0)),
    ("colors", "most", "crop", "as is", ("area", "min", 0)),
)
_SEARCHES: tuple[Search, ...] = (
    parts.search, completion.search, rule_select.search, rule_summary.search, rules.search,
)  # fmt: skip


def prepare() -> None:
    """Compile, or load from disk, the kernels of all searches used here."""
    rules.prepare()
    completion.prepare()


def search(task: Task, deadline: Deadline) -> Iterator[Solution | None]:
    """Programs that first cut a part out of the input.

    A cut is skipped if it finds no part in some input, or if its task was searched before.
    """
    seen = {_mark(task)}
    for k, cut in enumerate(_CUTS):
        if deadline.passed():
            return
        smaller = derive(task, cut)
        if smaller is None or _mark(smaller) in seen:
            continue
        seen.add(_mark(smaller))
        first = Call("select", (INPUT, *cut))
        for learner in _SEARCHES:
            for solution in learner(smaller, deadline):
                if solution is None:
                    yield None
                    continue
                program = substitute(solution.program, first)
                yield replace(solution, program=program, cost=solution.cost + 10.0 + 0.5 * k)


def derive(task: Task, cut: tuple[str, str, str, str, tuple[str, str, int]]) -> Task | None:
    """The task with every input replaced by the part that `select` cuts out.

    None if `select` finds no part in some input.
    """
    made: list[Grid] = []
    for grid in [pair.input for pair in task.train] + list(task.tests):
        cells = rule_select.select(grid, *cut)
        if cells is None or cells.size == 0 or not is_grid(cells):
            return None
        made.append(freeze(cells))
    n = len(task.train)
    train = tuple(Pair(a, pair.output) for a, pair in zip(made[:n], task.train, strict=True))
    return Task(task.id, train, tuple(made[n:]))


def _mark(task: Task) -> bytes:
    return b"".join(key(grid) for grid in [p.input for p in task.train] + list(task.tests))
