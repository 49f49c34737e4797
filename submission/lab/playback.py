"""A recorded run played again by the real policy, with other time and other machines.

What a job would have done is read off the journal: it takes the seconds that it took and finds what
it had found by then. So the policy is the run's own (`solver.schedule.simulate`), the candidates
are the run's own, and only the order and the slices are new.

What the journal does not hold cannot be played: a longer slice than any that was recorded finds
nothing more, an engine that divides its slice is late in a shorter one, and a task that was never
tried stays unsolved. So a score is what may be expected at least.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from solver.answers.ensemble import Answer, answer
from solver.data.template import template
from solver.deadline import Budget
from solver.grid import Candidate
from solver.schedule.backlog import WHOLE, Slot
from solver.schedule.cost import work_of
from solver.schedule.simulate import Simulation, World, simulate
from submission.runs.history import History, Job
from submission.runs.reselect import Truth, judge
from submission.runs.stats import Scores

ALL_ENGINES = "*"
MOMENTS = (0.1, 0.25, 0.5, 0.75, 1.0)  # of the budget, at which the score is looked at


@dataclass(frozen=True)
class Machine:
    """What to play on.

    speed: engine (or `ALL_ENGINES`) -> how many times faster it is there than in the recording.
    on_devices: the engines that run on the devices and nowhere else.
    """

    budget_s: float
    workers: int
    speed: Mapping[str, float] = field(default_factory=dict)
    devices: int = 0
    on_devices: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Played:
    """A simulated run: `scores[i]` (T,) are those of the tasks at `MOMENTS[i]` of the budget, and
    `places` the number of workers that it could use on cores (False) and on devices (True).

    With known solutions a task's score is the fraction of its test inputs solved, else the
    confidence in its answer.
    """

    machine: Machine
    simulation: Simulation
    scores: tuple[Scores, ...]
    places: Mapping[bool, int]


def play(run: History, machine: Machine) -> Played:
    """Play the run's policy on a machine."""
    script = _Script(run, machine.speed)
    stages = [
        replace(stage, device=stage.engine in machine.on_devices) for stage in run.config.stages
    ]
    usable_s = Budget.of(machine.budget_s).usable
    places = {
        False: min(machine.workers, len(run.tasks)),
        True: min(machine.devices, len(run.tasks)),
    }
    result = simulate(
        list(map(work_of, run.tasks)),
        stages,
        places[False],
        usable_s,
        World(script.cost, script.confidence, load=script.loading),
        devices=places[True],
    )
    moments = [part * machine.budget_s for part in MOMENTS]
    return Played(machine, result, script.scores(result, moments), places)


class _Script:
    """What each job of a simulation does, from what the run's jobs did."""

    def __init__(self, run: History, speed: Mapping[str, float]) -> None:
        self._run = run
        self._truth: Truth | None = run.truth() if run.solutions else None
        self._stages = [stage.engine for stage in run.config.stages]
        self._speed = [speed.get(engine, speed.get(ALL_ENGINES, 1.0)) for engine in self._stages]
        self._found: list[list[Candidate]] = [[] for _ in run.tasks]
        self._answers = [self._answer(i) for i in range(len(run.tasks))]
        self._before = np.array([self._score(i) for i in range(len(run.tasks))])
        self._steps: list[float] = []  # after each job, its task's score

    def cost(self, slot: Slot) -> float:
        """Seconds the job would take; infinity where the recording does not see its end."""
        if slot.task == WHOLE:
            records = [r for r in self._run.whole if r.engine == self._stages[slot.stage]]
            record = records[-1] if records else None
        else:
            job = self._job(slot)
            record = job.record if job else None
        if record is None or record.outcome not in ("finished", "error"):
            return float("inf")
        return record.cost_s / self._speed[slot.stage]

    def confidence(self, slot: Slot) -> float:
        """Book what the job found. Returns the confidence in the task's answer from then on."""
        if slot.task == WHOLE:
            self._steps.append(0.0)
            return 0.0
        job, task = self._job(slot), slot.task
        reached = slot.slice_s * self._speed[slot.stage]
        new = [c for c in job.found if c.cost_s <= reached] if job else []
        known = {(c.identity, c.provisional) for c in self._found[task]}
        fresh = [c for c in new if (c.identity, c.provisional) not in known]
        if fresh:
            self._found[task] += fresh
            self._answers[task] = self._answer(task)
        self._steps.append(self._score(task))
        return self._answers[task].confidence

    def loading(self, stage: int) -> float:
        """Seconds that loading a stage's engine took, on average; none where nobody saw it."""
        engine, loads = self._stages[stage], self._run.replay.loads
        seconds = [r.cost_s for r in loads if r.engine == engine and r.outcome == "finished"]
        return sum(seconds) / len(seconds) / self._speed[stage] if seconds else 0.0

    def _job(self, slot: Slot) -> Job | None:
        """The recorded job that plays a slot: the same pass where every pass differs, else the
        longest, since passes of an engine that draws nothing begin alike."""
        stage = self._run.config.stages[slot.stage]
        jobs = [job for job in self._run.jobs[slot.task] if job.record.engine == stage.engine]
        if not jobs:
            return None
        if stage.repeats:
            return jobs[min(slot.pass_, len(jobs) - 1)]
        return max(jobs, key=lambda job: job.record.cost_s)

    def _answer(self, task: int) -> Answer:
        about, config = self._run.tasks[task], self._run.config
        found = self._found[task]
        return answer(about, found, template(about), config.selector, config.ensemble)

    def _score(self, task: int) -> float:
        answered = self._answers[task]
        if self._truth is None:
            return answered.confidence
        return float(judge([answered], [self._found[task]], [self._truth[task]]).two[0])

    def scores(self, simulation: Simulation, moments: Sequence[float]) -> tuple[Scores, ...]:
        """The tasks' scores (T,) at each moment, by the jobs that had ended."""
        ends = zip(simulation.jobs, simulation.slots, self._steps, strict=True)
        waiting = [(end, slot.task, step) for (_, _, end), slot, step in ends]
        now, seen = self._before.copy(), []
        for moment in moments:
            while waiting and waiting[0][0] <= moment:
                _, task, step = waiting.pop(0)
                if task != WHOLE:
                    now[task] = step
            seen.append(now.copy())
        return tuple(seen)
