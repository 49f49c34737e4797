"""The synthesizer as an engine: runs every sub-engine and reports the answers of its programs.

Sub-engines run side by side (`interleave`). Cheap ideas of all kinds therefore come before
expensive ideas of any kind.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from solver.deadline import Deadline
from solver.engines import Context
from solver.grid import Candidate, Task
from solver.synth.interleave import Search, interleave
from solver.synth.program import Solution

# The module of each sub-engine's `search(task, deadline)`; imported on first use. Sub-engines
# are listed in the order of their first turns: cheap ideas of all kinds come first.
SUBENGINES = {
    "grids": "solver.synth.grids.search",
    "completion": "solver.synth.patterns.completion",
    "parts": "solver.synth.patterns.parts",
    "rule_select": "solver.synth.objects.rule_select",
    "rule_summary": "solver.synth.objects.rule_summary",
    "rules": "solver.synth.objects.rules",
    "placement": "solver.synth.patterns.placement",
    "cells": "solver.synth.cells.search",
    "views": "solver.synth.views",
    "rule_derive": "solver.synth.derived",
    "lattice": "solver.synth.lattice",
}
# Relative shares of time; 1 for a sub-engine that is not listed.
SHARES = {"grids": 3.0, "cells": 3.0, "rules": 3.0}


@dataclass(frozen=True)
class Found:
    """A solution, the sub-engine that found it, and the seconds from the start of the search."""

    engine: str
    solution: Solution
    seconds: float

    def candidates(self, task: Task) -> Iterator[Candidate]:
        """A candidate for every test input.

        `view` names the sub-engine. `logprob` is minus the program's description length, in nats.
        """
        for test, grid in enumerate(self.solution.outputs):
            yield Candidate(
                task.id,
                test,
                grid,
                engine="synth",
                view=self.engine,
                logprob=-self.solution.cost * math.log(2),
                program=str(self.solution.program),
                cost_s=self.seconds,
            )


def synth(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """Answers of accepted programs for every test input, as they are found.

    The search is not random, so the context's seed and pass change nothing.
    """
    for found in run_all(task, deadline, subengines(SUBENGINES)):
        yield from found.candidates(task)


def run_all(task: Task, deadline: Deadline, searches: Mapping[str, Search]) -> Iterator[Found]:
    """Run sub-engines side by side in one thread; the sub-engine with the least use runs next.

    A sub-engine that fails does not stop the others. The first failure is raised when all others
    have ended or the deadline has passed. The failure is then on record and costs no answers.
    """
    clock = deadline.clock
    start = clock.now()
    failures = []
    for name, step in interleave(task, deadline, searches, SHARES):
        if isinstance(step, Exception):
            failures.append(step)
        elif step is not None:
            yield Found(name, step, clock.now() - start)
    if failures:
        raise failures[0]


def prepare(context: Context | None = None) -> None:
    """Compile, or load from disk, all kernels, so that no task spends time on compiling.

    The context is not used.
    """
    for name in SUBENGINES:
        module = importlib.import_module(SUBENGINES[name])
        getattr(module, "prepare", lambda: None)()


def subengines(names: Iterable[str]) -> dict[str, Search]:
    """The search functions of sub-engines by name. Raises `KeyError` for an unknown name."""
    return {name: importlib.import_module(SUBENGINES[name]).search for name in names}
