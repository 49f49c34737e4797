"""The synthesizer as an engine: runs every sub-engine and reports its programs' answers.

Sub-engines are generators that pause by yielding None. The one that has used least time
goes on next, so cheap ideas of all kinds come before expensive ideas of any kind.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable, Iterator, Sequence

from solver.deadline import Deadline
from solver.grid import Candidate, Task
from solver.synth.program import Solution
from solver.synth.rank import Found

Search = Callable[[Task, Deadline], Iterator[Solution | None]]

# Where each sub-engine's `search(task, deadline)` lives; imported on first use. In the order
# of their first turns: cheap ideas of all kinds come first.
SUBENGINES = {
    "grids": "solver.synth.grids",
    "completion": "solver.synth.completion",
    "parts": "solver.synth.parts",
    "rule_select": "solver.synth.rule_select",
    "rule_summary": "solver.synth.rule_summary",
    "rules": "solver.synth.rules",
    "placement": "solver.synth.placement",
    "cells": "solver.synth.cells",
    "normal": "solver.synth.normal",
    "rule_derive": "solver.synth.rule_derive",
}
# Shares of time; 1 where nothing is said.
SHARES = {"grids": 3.0, "cells": 3.0, "rules": 2.0}


def synth(task: Task, deadline: Deadline, context: object = None) -> Iterator[Candidate]:
    """Answers of accepted programs for every test input, as they are found.

    A candidate's `view` names the sub-engine, its `logprob` is the program's cost in nats.
    `context` is the common argument of all engines and is not used here.
    """
    del context
    for found in ladder(task, deadline, available()):
        for test, grid in enumerate(found.solution.outputs):
            yield Candidate(
                task.id,
                test,
                grid,
                engine="synth",
                view=found.engine,
                logprob=-found.solution.cost * math.log(2),
                program=str(found.solution.program),
                cost_s=found.seconds,
            )


def ladder(task: Task, deadline: Deadline, engines: Sequence[str]) -> Iterator[Found]:
    """Run sub-engines side by side in one thread, always going on with the least-used."""
    clock = deadline.clock
    start = clock.now()
    running = {name: subengine(name)(task, deadline) for name in engines}
    used = dict.fromkeys(running, 0.0)
    while running and not deadline.passed():
        name = min(running, key=lambda engine: used[engine])
        before = clock.now()
        step = next(running[name], _END)
        used[name] += (clock.now() - before) / SHARES.get(name, 1.0)
        if step is _END:
            del running[name]
        elif isinstance(step, Solution):
            yield Found(name, step, clock.now() - start)


def prepare() -> None:
    """Compile, or load from disk, all kernels, so that no task's time is spent on it."""
    for name in available():
        module = importlib.import_module(SUBENGINES[name])
        getattr(module, "prepare", lambda: None)()


def subengine(name: str) -> Search:
    """The search function of a sub-engine. Raises `KeyError` for an unknown name."""
    module = importlib.import_module(SUBENGINES[name])
    search: Search = module.search
    return search


def available() -> tuple[str, ...]:
    """The sub-engines that are installed, cheapest ideas first."""
    return tuple(name for name, module in SUBENGINES.items() if importlib.util.find_spec(module))


_END = object()
