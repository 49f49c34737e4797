"""The data that the page's script draws: tasks, grids and jobs as compact JSON values.

Each distinct grid is stored once, as rows of digits with a slash between rows. All other data
name a grid by its number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from solver.data.journal import JobRecord, pack_grid
from solver.deadline import Deadline
from solver.grid import Grid, same
from submission.report.findings import Ballot, Failure, Finding, Output, ending
from submission.report.traces import STEP, traces

MAX_BALLOTS = 8  # distinct grids shown for a test input
MAX_VIEWS = 48  # views listed for a shown grid
MAX_TEXT = 6000  # characters of a program

Steps = Mapping[int, tuple[STEP, ...]]  # place of a ballot -> steps of its program
Traced = Mapping[tuple[int, int], Steps]  # (task, test input) -> steps


@dataclass
class _Grids:
    """Distinct grids and their numbers."""

    numbers: dict[str, int] = field(default_factory=dict)

    def add(self, grid: Grid) -> int:
        return self.numbers.setdefault("/".join(pack_grid(grid)), len(self.numbers))


def trace_programs(found: Sequence[Finding], deadline: Deadline) -> Traced:
    """The intermediate grids of every program whose output was handed in."""
    places, asked = [], []
    for task, finding in enumerate(found):
        for test, output in enumerate(finding.outputs):
            for place, ballot in enumerate(output.ballots):
                handed_in = any(same(ballot.grid, attempt) for attempt in output.attempts)
                if ballot.program is not None and handed_in:
                    places.append((task, test, place))
                    asked.append((ballot.program, output.input))
    traced: dict[tuple[int, int], dict[int, tuple[STEP, ...]]] = {}
    for (task, test, place), steps in zip(places, traces(asked, deadline), strict=True):
        if steps is not None:
            traced.setdefault((task, test), {})[place] = steps
    return traced


def page_data(
    found: Sequence[Finding], jobs: Sequence[JobRecord], failures: Sequence[Failure], traced: Traced
) -> dict[str, Any]:
    """All data about tasks and jobs. Jobs name an error by its place in `failures`."""
    grids = _Grids()
    errors = {failure.error: place for place, failure in enumerate(failures)}
    tasks = [_task(i, finding, grids, traced) for i, finding in enumerate(found)]
    return {
        "tasks": tasks,
        "jobs": [_job(job, errors) for job in jobs],
        "grids": list(grids.numbers),
    }


def _task(number: int, finding: Finding, grids: _Grids, traced: Traced) -> dict[str, Any]:
    task = finding.task
    return {
        "id": task.id,
        "state": finding.state,
        "confidence": round(finding.confidence, 3),
        "seconds": round(finding.seconds, 2),
        "ended": finding.ended,
        "trouble": finding.trouble,
        "score": finding.score,
        "cells": sum(p.input.size + p.output.size for p in task.train),
        "jobs": list(finding.jobs),
        "demos": [[grids.add(pair.input), grids.add(pair.output)] for pair in task.train],
        "tests": [
            _output(output, grids, traced.get((number, test), {}))
            for test, output in enumerate(finding.outputs)
        ],
    }


def _output(output: Output, grids: _Grids, steps: Steps) -> dict[str, Any]:
    rank = output.rank
    shown = list(range(min(MAX_BALLOTS, len(output.ballots))))
    if rank is not None and rank not in shown:
        shown.append(rank)
    wrong = output.wrong_cells
    return {
        "in": grids.add(output.input),
        "truth": None if output.truth is None else grids.add(output.truth),
        "attempts": [grids.add(grid) for grid in output.attempts],
        "sources": output.sources,
        "fate": output.fate,
        "rank": rank,
        "wrong": None if wrong is None else round(wrong, 4),
        "distinct": len(output.ballots),
        "ballots": [_ballot(place, output.ballots[place], grids, steps) for place in shown],
    }


def _ballot(place: int, ballot: Ballot, grids: _Grids, steps: Steps) -> dict[str, Any]:
    views: dict[tuple[str, str], list[float | int | None]] = {}
    for candidate in (c for c in ballot.support if c.votes):
        entry = views.setdefault((candidate.engine, candidate.view or ""), [0, None])
        entry[0] = (entry[0] or 0) + candidate.votes
        if entry[1] is None and candidate.logprob is not None:
            entry[1] = round(candidate.logprob, 2)
    trace = steps.get(place, ())
    return {
        "place": place,
        "grid": grids.add(ballot.grid),
        "votes": ballot.votes,
        "views": [[engine, view, *entry] for (engine, view), entry in views.items()][:MAX_VIEWS],
        "scores": [round(score, 2) for score in ballot.scores],
        "program": None if ballot.program is None else ballot.program[:MAX_TEXT],
        "programs": len({c.program for c in ballot.support if c.program is not None}),
        "steps": [[text[:400], None if g is None else grids.add(g)] for text, g in trace],
    }


def _job(job: JobRecord, errors: Mapping[str, int]) -> list[Any]:
    """[engine, pass, ending, seconds, slice, worker, start, number of the error or None]."""
    error = None if job.error is None else errors[job.error]
    numbers = [round(n, 2) for n in (job.cost_s, job.slice_s)]
    return [
        *(job.engine, job.pass_ + 1, ending(job), *numbers),
        *(job.worker, round(job.started_s, 2), error),
    ]
