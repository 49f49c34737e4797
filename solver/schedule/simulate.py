"""Play a run without running it: the real policy against a model of what jobs cost.

A 12-hour run of 240 tasks on 4 workers takes milliseconds, so the policy can be tested on
every commit and budgets compared before a day is spent on one.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from solver.config import Stage
from solver.schedule.backlog import WHOLE, Slot
from solver.schedule.cost import Work
from solver.schedule.loading import Load
from solver.schedule.policy import Policy
from solver.schedule.shares import Used

Cost = Callable[[Slot], float]  # seconds a job would take if nothing stopped it
Confidence = Callable[[Slot], float]  # in the task's answer once a job has ended
_ROUNDING_S = 1e-9


@dataclass(frozen=True)
class Simulation:
    """What a simulated run did.

    ended_s: when the last job ended. busy: fraction of worker time spent in jobs, of the
    workers that were alive. attempts[task]: jobs that ran on a task. jobs: (worker, start, end)
    of each, in the order of their ends, and `slots` what they were. loads: (worker, stage, start,
    end) of each engine that was loaded. used: what each stage used. Workers on devices have
    numbers after those on cores.
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
    """What a simulated run meets.

    cost: seconds that a job needs; it is cut at its slice, as the supervisor would. confidence:
    in the task's answer once a job has ended. fits: whether there is memory enough for a job on
    its rung of the ladder. load: seconds that loading a stage's engine takes. late: seconds that
    a job which is cut goes on after its slice. lost: worker -> the moment at which it dies for
    good, its job with it.
    """

    cost: Cost
    confidence: Confidence = lambda slot: 0.0
    fits: Callable[[Slot], bool] = lambda slot: True
    load: Callable[[int], float] = lambda stage: 0.0
    late: Callable[[Slot], float] = lambda slot: 0.0
    lost: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Step:
    """What a worker is at, from its start to its end, and how that ends."""

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
    """Run the policy to its deadline. `works`: what each task amounts to."""
    plan, lost = Policy(works, stages, workers, devices), world.lost
    ended: list[_Step] = []
    idle = list(range(workers + devices))
    have: list[set[int]] = [set() for _ in idle]
    running: list[tuple[float, int, _Step]] = []  # by the moment of their end
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
            plan.done(step.what, step.outcome, now - step.start, world.confidence(step.what))
        idle.append(worker)
    alive_s = sum(min(usable_s, lost.get(w, usable_s)) for w in range(workers + devices))
    return _summary(ended, len(works), alive_s, plan.used())


def _summary(
    ended: Sequence[_Step], tasks: int, alive_s: float, used: Sequence[Used]
) -> Simulation:
    jobs = [(step, step.what) for step in ended if isinstance(step.what, Slot)]
    loads = [(step, step.what) for step in ended if isinstance(step.what, Load)]
    attempts = [0] * tasks
    for _, slot in jobs:
        if slot.task != WHOLE:
            attempts[slot.task] += 1
    return Simulation(
        ended_s=max((step.end for step in ended), default=0.0),
        busy=sum(step.end - step.start for step, _ in jobs) / alive_s,
        attempts=tuple(attempts),
        jobs=tuple((step.worker, step.start, step.end) for step, _ in jobs),
        slots=tuple(slot for _, slot in jobs),
        loads=tuple((step.worker, load.stage, step.start, step.end) for step, load in loads),
        used=tuple(used),
    )


def _step(what: Slot | Load, worker: int, now: float, usable_s: float, world: World) -> _Step:
    """When and how it ends: by itself, at its slice, with its worker or with the run."""
    if isinstance(what, Load):
        seconds, outcome = world.load(what.stage), "finished"
    elif not world.fits(what):
        seconds, outcome = 0.1 * what.slice_s, "memory"
    elif (seconds := world.cost(what)) > what.slice_s:
        seconds, outcome = what.slice_s + world.late(what), "sliced"
    else:
        outcome = "finished"
    end, lost_at = now + seconds, world.lost.get(worker, float("inf"))
    if end > lost_at:
        return _Step(lost_at, worker, now, what, "died")
    if end > usable_s + _ROUNDING_S:
        return _Step(usable_s, worker, now, what, "stopped")
    return _Step(end, worker, now, what, outcome)
