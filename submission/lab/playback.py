"""A recorded run played again by the real policy, with other time and other machines.

The journal says how each job behaves. A job needs its recorded seconds, and reports the candidates
that it had found by then. The policy (`solver.schedule.simulate`) and the candidates are the run's
own. Only the order and the slices of jobs are new.

Facts that the journal lacks cannot be played:

- a slice longer than any recorded slice finds nothing more;
- an engine that divides its slice finds its candidates too late in a shorter slice;
- a task that was never tried stays unsolved.

A score is therefore the least score to expect.
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
MOMENTS = (0.1, 0.25, 0.5, 0.75, 1.0)  # of the budget: moments at which tasks are scored


@dataclass(frozen=True)
class Machine:
    """The time and places that a run is played with.

    budget_s: the budget in seconds.
    workers: number of workers on cores.
    speed: engine (or `ALL_ENGINES`) -> speed of the engine, as a multiple of the recorded speed.
    devices: number of devices.
    on_devices: the engines that run only on devices.
    """

    budget_s: float
    workers: int
    speed: Mapping[str, float] = field(default_factory=dict)
    devices: int = 0
    on_devices: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Played:
    """A simulated run.

    scores: `scores[i]` (T,) are the tasks' scores at `MOMENTS[i]` of the budget. With known
    solutions a task's score is the fraction of its test inputs solved. Without solutions the
    score is the confidence in the task's answer.
    places: number of workers that the run could use on cores (False) and on devices (True).
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
    """The behaviour of each simulated job, derived from the jobs of the recorded run."""

    def __init__(self, run: History, speed: Mapping[str, float]) -> None:
        self._run = run
        self._truth: Truth | None = run.truth() if run.solutions else None
        self._stages = [stage.engine for stage in run.config.stages]
        self._speed = [speed.get(engine, speed.get(ALL_ENGINES, 1.0)) for engine in self._stages]
        self._found: list[list[Candidate]] = [[] for _ in run.tasks]
        self._answers = [self._answer(i) for i in range(len(run.tasks))]
        self._before = np.array([self._score(i) for i in range(len(run.tasks))])
        self._steps: list[float] = []  # score of the job's task after each job

    def cost(self, slot: Slot) -> float:
        """Seconds that the job would take; infinity if the recording has no end of such a job."""
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
        """Book the candidates of a job. Returns the new confidence in the task's answer.

        For a job over all tasks the confidence is 0.
        """
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
        """Mean seconds of loading a stage's engine; 0 if the recording has no finished loading."""
        engine, loads = self._stages[stage], self._run.replay.loads
        seconds = [r.cost_s for r in loads if r.engine == engine and r.outcome == "finished"]
        return sum(seconds) / len(seconds) / self._speed[stage] if seconds else 0.0

    def _job(self, slot: Slot) -> Job | None:
        """The recorded job that plays a slot; None if the engine never tried the task.

        If the stage repeats, this is the job of the same pass, or the last job. Otherwise this is
        the longest job, since all passes of an engine without random draws begin alike.
        """
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
        """The tasks' scores (T,) at each moment, from the jobs that have ended by then."""
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
