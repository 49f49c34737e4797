"""Simulate a run: the real policy against a model of the cost of jobs.

A 12-hour run of 240 tasks on 4 workers takes milliseconds. The policy can therefore be tested on
every commit, and budgets can be compared before a day is spent on one budget.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from solver.config import Stage
from solver.schedule.backlog import WHOLE, Slot, shares
from solver.schedule.cost import Work
from solver.schedule.loading import Load
from solver.schedule.policy import Policy
from solver.schedule.shares import Used

Cost = Callable[[Slot], float]  # seconds a job would take if nothing stopped it
Confidence = Callable[[Slot], float]  # in the task's answer once a job has ended
_ROUNDING_S = 1e-9


@dataclass(frozen=True)
class Simulation:
    """The course of a simulated run.

    ended_s: moment at which the last job ended.
    busy: fraction of worker time spent in jobs, of the workers that were alive.
    attempts: for each task, the number of jobs that ran on it.
    jobs: (worker, start, end) of each job, in the order of their ends.
    slots: the slot of each job, in the same order.
    loads: (worker, stage, start, end) of each loading of an engine.
    used: worker-seconds that each stage used.
    Workers on devices have numbers after the numbers of workers on cores.
    """

    ended_s: float
    busy: float
    attempts: tuple[int, ...]
    jobs: tuple[tuple[int, float, float], ...]
    slots: tuple[Slot, ...]
    loads: tuple[tuple[int, int, float, float], ...]
    used: tuple[Used, ...]


@dataclass(frozen=True)
class World:
    """The conditions of a simulated run.

    cost: seconds that a job needs; a longer job is cut at its slice, as by the supervisor.
    confidence: confidence in the task's answer once a job has ended.
    fits: true if memory is enough for a job on its rung of the ladder.
    load: seconds that loading a stage's engine takes.
    late: seconds that a job continues after its slice, if the job is cut.
    lost: worker -> moment at which the worker dies for good, together with its job.
    """

    cost: Cost
    confidence: Confidence = lambda slot: 0.0
    fits: Callable[[Slot], bool] = lambda slot: True
    load: Callable[[int], float] = lambda stage: 0.0
    late: Callable[[Slot], float] = lambda slot: 0.0
    lost: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Step:
    """A job or a loading of a worker, with start, end and outcome."""

    end: float
    worker: int
    start: float
    what: Slot | Load
    outcome: str


def simulate(
    works: Sequence[Work],
    stages: Sequence[Stage],
    workers: int,
    usable_s: float,
    world: World,
    *,
    devices: int = 0,
) -> Simulation:
    """Run the policy to its deadline. `works`: the work of a pass over each task."""
    plan, lost = Policy(works, stages, workers, devices), world.lost
    ended: list[_Step] = []
    idle = list(range(workers + devices))
    have: list[set[int]] = [set() for _ in idle]
    running: list[tuple[float, int, _Step]] = []  # a heap by the moment of the end
    now = 0.0
    while True:
        for worker in [w for w in idle if lost.get(w, usable_s) <= now]:
            idle.remove(worker)
            plan.loading.lost(have[worker])
            plan.give_up(worker >= workers)
        for worker in list(idle):
            if what := plan.take(usable_s - now, worker >= workers, have[worker]):
                idle.remove(worker)
                step = _step(what, worker, now, usable_s, world)
                heapq.heappush(running, (step.end, worker, step))
        if not running:
            break
        now, worker, step = heapq.heappop(running)
        ended.append(step)
        if isinstance(step.what, Load):
            plan.loaded(step.what, step.outcome, now - step.start)
            have[worker] |= {step.what.stage} if step.outcome == "finished" else set()
        else:
            for slot, cost_s in shares(step.what, now - step.start):
                plan.done(slot, step.outcome, cost_s, world.confidence(slot))
        idle.append(worker)
    alive_s = sum(min(usable_s, lost.get(w, usable_s)) for w in range(workers + devices))
    return _summary(ended, len(works), alive_s, plan.used())


def _summary(
    ended: Sequence[_Step], tasks: int, alive_s: float, used: Sequence[Used]
) -> Simulation:
    jobs = [
        (step, slot) for step in ended if isinstance(step.what, Slot) for slot in step.what.every
    ]
    loads = [(step, step.what) for step in ended if isinstance(step.what, Load)]
    attempts = [0] * tasks
    for _, slot in jobs:
        if slot.task != WHOLE:
            attempts[slot.task] += 1
    return Simulation(
        ended_s=max((step.end for step in ended), default=0.0),
        busy=sum(s.end - s.start for s in ended if isinstance(s.what, Slot)) / alive_s,
        attempts=tuple(attempts),
        jobs=tuple((step.worker, step.start, step.end) for step, _ in jobs),
        slots=tuple(slot for _, slot in jobs),
        loads=tuple((step.worker, load.stage, step.start, step.end) for step, load in loads),
        used=tuple(used),
    )


def _step(what: Slot | Load, worker: int, now: float, usable_s: float, world: World) -> _Step:
    """A step with its end and outcome.

    A step ends by itself, at its slice, with its worker or with the run.
    """
    if isinstance(what, Load):
        seconds, outcome = world.load(what.stage), "finished"
    elif not all(map(world.fits, what.every)):
        seconds, outcome = 0.1 * what.job_s, "memory"
    elif (seconds := sum(map(world.cost, what.every))) > what.job_s:
        seconds, outcome = what.job_s + world.late(what), "sliced"
    else:
        outcome = "finished"
    end, lost_at = now + seconds, world.lost.get(worker, float("inf"))
    if end > lost_at:
        return _Step(lost_at, worker, now, what, "died")
    if end > usable_s + _ROUNDING_S:
        return _Step(usable_s, worker, now, what, "stopped")
    return _Step(end, worker, now, what, outcome)
