"""Play a run without running it: the real policy against a model of what jobs cost.

A 12-hour run of 240 tasks on 4 workers takes milliseconds, so the policy can be tested on
every commit and budgets compared before a day is spent on one.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from solver.config import Stage
from solver.schedule import WHOLE, Plan, Slot

CostModel = Callable[[Slot], float]  # seconds a job would take if nothing stopped it
Confidence = Callable[[Slot], float]  # in the task's answer once a job has ended


@dataclass(frozen=True)
class Simulation:
    """What a simulated run did.

    ended_s: when the last job ended. busy: fraction of worker time spent in jobs, of the
    workers that were alive. attempts[task]: jobs that ran on a task. jobs: (worker, start, end)
    of each, in the order of their ends, and `slots` what they were.
    """

    ended_s: float
    busy: float
    attempts: tuple[int, ...]
    jobs: tuple[tuple[int, float, float], ...]
    slots: tuple[Slot, ...]


def simulate(
    expected: Sequence[float],
    stages: Sequence[Stage],
    workers: int,
    usable_s: float,
    cost: CostModel,
    *,
    confidence: Confidence = lambda slot: 0.0,
    lost: Mapping[int, float] | None = None,
) -> Simulation:
    """Run the policy to its deadline.

    Args:
        expected: relative cost of each task, as the policy would guess it.
        cost: seconds a job needs; a job is cut at its slice, as the supervisor would.
        lost: worker -> the moment at which it dies for good, its job with it.
    """
    lost = lost or {}
    plan = Plan(expected, stages, workers)
    attempts = [0] * len(expected)
    jobs: list[tuple[int, float, float]] = []
    slots: list[Slot] = []
    idle = list(range(workers))
    running: list[tuple[float, int, float, Slot, str]] = []  # by the moment of their end
    now = 0.0
    while True:
        for worker in [w for w in idle if lost.get(w, usable_s) <= now]:
            idle.remove(worker)
        while idle and now < usable_s:
            slot = plan.take(usable_s - now)
            if slot is None:
                break
            worker = idle.pop(0)
            end, outcome = _end(slot, now, cost(slot), lost.get(worker, float("inf")))
            heapq.heappush(running, (end, worker, now, slot, outcome))
            if slot.task != WHOLE:
                attempts[slot.task] += 1
        if not running:
            break
        now, worker, start, slot, outcome = heapq.heappop(running)
        jobs.append((worker, start, now))
        slots.append(slot)
        plan.done(slot, outcome, now - start, confidence(slot))
        idle.append(worker)
    alive_s = sum(min(usable_s, lost.get(w, usable_s)) for w in range(workers))
    busy = sum(end - start for _, start, end in jobs) / alive_s
    ended = max((end for _, _, end in jobs), default=0.0)
    return Simulation(ended, busy, tuple(attempts), tuple(jobs), tuple(slots))


def _end(slot: Slot, now: float, seconds: float, lost_at: float) -> tuple[float, str]:
    end, outcome = now + seconds, "finished"
    if seconds > slot.slice_s:
        end, outcome = now + slot.slice_s, "sliced"
    if end > lost_at:
        end, outcome = lost_at, "died"
    return end, outcome
