"""Play a run without running it: the real policy against a model of what jobs cost.

A 12-hour run of 240 tasks on 4 workers takes milliseconds, so the policy can be tested on
every commit and budgets compared before a day is spent on one.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from solver.config import Stage
from solver.cost import Work
from solver.schedule import WHOLE, Plan, Slot

Cost = Callable[[Slot], float]  # seconds a job would take if nothing stopped it
Confidence = Callable[[Slot], float]  # in the task's answer once a job has ended


@dataclass(frozen=True)
class Simulation:
    """What a simulated run did.

    ended_s: when the last job ended. busy: fraction of worker time spent in jobs, of the
    workers that were alive. attempts[task]: jobs that ran on a task. jobs: (worker, start, end)
    of each, in the order of their ends, and `slots` what they were. Workers on devices have
    numbers after those on cores.
    """

    ended_s: float
    busy: float
    attempts: tuple[int, ...]
    jobs: tuple[tuple[int, float, float], ...]
    slots: tuple[Slot, ...]


def simulate(
    works: Sequence[Work],
    stages: Sequence[Stage],
    workers: int,
    usable_s: float,
    cost: Cost,
    *,
    devices: int = 0,
    confidence: Confidence = lambda slot: 0.0,
    fits: Callable[[Slot], bool] = lambda slot: True,
    lost: Mapping[int, float] | None = None,
) -> Simulation:
    """Run the policy to its deadline.

    Args:
        works: what each task amounts to.
        cost: seconds a job needs; a job is cut at its slice, as the supervisor would.
        fits: whether there is memory enough for a job on its rung of the ladder.
        lost: worker -> the moment at which it dies for good, its job with it.
    """
    lost = lost or {}
    plan = Plan(works, stages, workers, devices)
    ended: list[tuple[int, float, float, Slot]] = []
    idle = list(range(workers + devices))
    running: list[tuple[float, int, float, Slot, str]] = []  # by the moment of their end
    now = 0.0
    while True:
        for worker in [w for w in idle if lost.get(w, usable_s) <= now]:
            idle.remove(worker)
            plan.give_up(worker >= workers)
        for worker in list(idle):
            if slot := plan.take(usable_s - now, worker >= workers):
                idle.remove(worker)
                took = cost(slot) if fits(slot) else None
                end, outcome = _end(slot, now, took, lost.get(worker, float("inf")))
                heapq.heappush(running, (end, worker, now, slot, outcome))
        if not running:
            break
        now, worker, start, slot, outcome = heapq.heappop(running)
        ended.append((worker, start, now, slot))
        plan.done(slot, outcome, now - start, confidence(slot))
        idle.append(worker)
    alive_s = sum(min(usable_s, lost.get(w, usable_s)) for w in range(workers + devices))
    return _summary(ended, len(works), alive_s)


def _summary(
    ended: Sequence[tuple[int, float, float, Slot]], tasks: int, alive_s: float
) -> Simulation:
    jobs = tuple((worker, start, end) for worker, start, end, _ in ended)
    slots = tuple(slot for *_, slot in ended)
    attempts = [0] * tasks
    for slot in slots:
        if slot.task != WHOLE:
            attempts[slot.task] += 1
    busy = sum(end - start for _, start, end in jobs) / alive_s
    last = max((end for _, _, end in jobs), default=0.0)
    return Simulation(last, busy, tuple(attempts), jobs, slots)


def _end(slot: Slot, now: float, seconds: float | None, lost_at: float) -> tuple[float, str]:
    """When and how a job ends; without seconds it runs out of memory after a tenth of its slice."""
    if seconds is None:
        end, outcome = now + 0.1 * slot.slice_s, "memory"
    elif seconds > slot.slice_s:
        end, outcome = now + slot.slice_s, "sliced"
    else:
        end, outcome = now + seconds, "finished"
    return (lost_at, "died") if end > lost_at else (end, outcome)
