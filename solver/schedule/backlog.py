"""The work that is left: the waiting tasks of each stage, and the facts that jobs have shown.

This module books how jobs end; `policy.py` decides what runs next.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from solver.config import Stage
from solver.schedule.cost import CALIBRATE_AT, DEVICE_PRIOR, PRIOR, Rates, Work
from solver.schedule.first_passes import (
    MIN_OVERRUNS,
    FirstPasses,
    FurtherPasses,
    Progress,
    gain_rate,
    scales,
)

WHOLE = -1  # the task of a job over all tasks
RUNG_SHARE = 4  # a job that ran out of memory is tried with this fraction of its tasks


@dataclass(frozen=True)
class Slot:
    """A decision: one pass of a stage's engine over a task (or `WHOLE`).

    The pass lasts `slice_s` seconds, `rung` rungs down the stage's ladder. `beside`: the slots of
    other tasks in the same job. The job has the time of all of them, and works on all at once.
    """

    task: int
    stage: int
    pass_: int
    slice_s: float
    rung: int = 0
    beside: tuple[Slot, ...] = ()

    @property
    def every(self) -> tuple[Slot, ...]:
        """The slots of all tasks of the job, each without the others."""
        return (replace(self, beside=()), *self.beside)

    @property
    def job_s(self) -> float:
        """The seconds of the whole job."""
        return self.slice_s + sum(slot.slice_s for slot in self.beside)

    @property
    def name(self) -> tuple[int, int]:
        """A name that no other slot running at the same time has."""
        return self.task, self.stage


def shares(slot: Slot, seconds: float) -> list[tuple[Slot, float]]:
    """The slots of a job's tasks, each with its equal share of the job's seconds."""
    return [(one, seconds / len(slot.every)) for one in slot.every]


class Backlog:
    """Every task's progress, and the waiting work: first passes, further passes, whole jobs.

    `first` and `further` have one entry for each stage. `whole` contains the stages that are one
    job over all tasks.
    """

    def __init__(self, works: Sequence[Work], stages: Sequence[Stage]) -> None:
        """`works`: the work of a pass over each task."""
        self.stages = tuple(stages)
        self.tasks = [Progress(scale) for scale in scales(works)]
        self.whole = {i: Progress() for i, stage in enumerate(stages) if stage.whole}
        self.first = [
            FirstPasses([] if s.whole else works, s.flexible, DEVICE_PRIOR if s.device else PRIOR)
            for s in stages
        ]
        self.further = [FurtherPasses() for _ in stages]
        self._works = works
        self._fitted: list[list[tuple[float, int]]] = [[] for _ in stages]  # cost, rung
        self._late = [(0, 0.0) for _ in stages]  # jobs that were cut, seconds after their slices
        self._calibrated: set[int] = set()

    # --- what waits ---------------------------------------------------------------

    def waiting(self, stage: int) -> bool:
        """True while a stage has first passes to give, or its job over all tasks."""
        if stage in self.whole:
            return not self.whole[stage].running and self.whole[stage].open(stage)
        return len(self.first[stage]) > 0

    def begun(self, task: int, stage: int) -> int:
        """Book the start of a job. Returns the number of passes before this job."""
        progress = self._progress(task, stage)
        progress.running += 1
        return progress.passes.get(stage, 0)

    def best(self, stage: int) -> tuple[float, int] | None:
        """The highest gain rate among a stage's further passes, and its task.

        None if no further pass may find more.
        """
        further = self.further[stage]
        while (top := further.best()) and not self.tasks[top[1]].open(stage):
            further.leave_out(top[1])
        return top

    def next_task(self, stage: int) -> int:
        """The next task, or `WHOLE`, in a stage that has work."""
        task = self.first[stage].longest()
        if task is None and (top := self.best(stage)):
            task = top[1]
        return WHOLE if task is None else task

    def put_off(self, task: int, stage: int) -> None:
        """Move a first pass behind all other passes, to run only if time is left."""
        self.first[stage].leave_out(task)
        self._put_further(task, stage)

    def put_off_all(self, stage: int) -> None:
        """Move all first passes of a stage behind those of others, and drop its whole job."""
        for task in self.first[stage].waiting():
            self.put_off(task, stage)
        if stage in self.whole:
            self.whole[stage].exhausted.add(stage)

    def ended(self, task: int) -> bool:
        """True if nothing is left to do for a task: every stage exhausted, or three deaths."""
        progress = self.tasks[task]
        stages = (i for i in range(len(self.stages)) if i not in self.whole)
        return not progress.running and not any(progress.open(stage) for stage in stages)

    # --- booking ------------------------------------------------------------------

    def done(self, slot: Slot, outcome: str, cost_s: float, confidence: float) -> bool:
        """Book a job's end (`JobRecord.outcome`). True if the task has no work left."""
        progress = self._progress(slot.task, slot.stage)
        progress.running -= 1
        if outcome == "sliced":
            count, late_s = self._late[slot.stage]
            self._late[slot.stage] = count + 1, late_s + max(0.0, cost_s - slot.slice_s)
        self.record(slot, outcome, cost_s)
        if slot.task == WHOLE or outcome == "stopped":
            return False
        progress.confidence = confidence
        if progress.open(slot.stage):
            if slot.stage in progress.passes:
                self._put_further(slot.task, slot.stage)
            else:
                self.first[slot.stage].put_back(slot.task)
        self._reconsider(slot.task)
        return self.ended(slot.task)

    def record(self, slot: Slot, outcome: str, cost_s: float) -> None:
        """Book how a job ended (`JobRecord.outcome`), in this process or an earlier one.

        A job is not a pass if the run's end stopped the job, or if the job ran out of memory.
        """
        progress, stage = self._progress(slot.task, slot.stage), slot.stage
        if outcome == "stopped":
            return
        if outcome == "memory":
            progress.rungs[stage] = slot.rung + 1
            if slot.rung >= len(self.stages[stage].ladder):
                progress.exhausted.add(stage)
            return
        if outcome in ("finished", "sliced") and stage in progress.rungs:
            self._fitted[stage].append((self._cost(slot.task), slot.rung))
        if outcome in ("finished", "sliced") and slot.task != WHOLE and slot.pass_ == 0:
            cut = outcome == "sliced"
            if self.first[stage].observe(slot.task, cost_s, cut=cut):
                self._calibrated.add(stage)
        progress.passes[stage] = progress.passes.get(stage, 0) + 1
        progress.last_slice[stage] = slot.slice_s if outcome == "sliced" else cost_s
        if outcome == "died":
            progress.deaths += 1
            # The next try gets no more time: a job that hung once is likely to hang again.
            progress.last_slice[stage] = slot.slice_s / self.stages[stage].growth
        once = slot.task == WHOLE and outcome != "died"
        if once or outcome == "error" or (outcome == "finished" and not self.stages[stage].repeats):
            progress.exhausted.add(stage)

    def resume(self, confidences: Iterable[float]) -> None:
        """Leave out the passes of an earlier process, and queue the open further passes.

        Call this method after a `record` of each job of the earlier process.
        """
        for stage, queue in enumerate(self.first):
            queue.keep(i for i, p in enumerate(self.tasks) if stage not in p.passes)
        for task, confidence in enumerate(confidences):
            progress = self.tasks[task]
            progress.confidence = confidence
            for stage in progress.passes:
                if progress.open(stage):
                    self._put_further(task, stage)
            self._reconsider(task)

    def _progress(self, task: int, stage: int) -> Progress:
        return self.whole[stage] if task == WHOLE else self.tasks[task]

    def _put_further(self, task: int, stage: int) -> None:
        progress, about = self.tasks[task], self.stages[stage]
        settled = progress.confidence >= about.settled
        first_s = float("inf") if settled else self.least_s(stage)
        rate = gain_rate(progress, stage, about.growth, first_s)
        self.further[stage].put(task, rate)

    def _reconsider(self, task: int) -> None:
        """Change the waiting passes of a task after a change of its confidence.

        A first pass gets another part of the time. Where the task counts as settled for a stage,
        its pass waits behind all others.
        """
        for stage, queue in enumerate(self.first):
            queue.weigh(task, self.tasks[task].confidence)
            settled = self.tasks[task].confidence >= self.stages[stage].settled
            if settled and task in queue:
                queue.leave_out(task)
                self._put_further(task, stage)
            elif task in self.further[stage]:
                self._put_further(task, stage)

    # --- several tasks in one job ---------------------------------------------------

    def together(self, task: int, stage: int) -> int:
        """The most tasks of a job with this task.

        The task is alone after the death of a job, which may be its fault. Each rung has a
        quarter of the tasks.
        """
        if self._progress(task, stage).deaths:
            return 1
        share: int = RUNG_SHARE ** self.rung(task, stage)
        return max(1, self.stages[stage].together // share)

    # --- memory -------------------------------------------------------------------

    def _cost(self, task: int) -> float:
        return float("inf") if task == WHOLE else PRIOR.seconds(self._works[task])

    def rung(self, task: int, stage: int) -> int:
        """The rung for a task: below each rung on which the task ran out of memory.

        The rung is also no higher than the rung on which a task of at most the same size fitted in
        the end. A task that fitted on no rung says nothing about others.
        """
        cost = self._cost(task)
        fitted = (rung for other, rung in self._fitted[stage] if other <= cost)
        mine = self._progress(task, stage).rungs.get(stage, 0)
        return min(max([mine, *fitted]), len(self.stages[stage].ladder))

    # --- what it has learned ------------------------------------------------------

    def least_s(self, stage: int) -> float:
        """Seconds below which a slice is of no use.

        The larger of two numbers: the stage's setting, and the time between two looks of the
        engine at the clock. Overruns of jobs show this time.
        """
        count, late_s = self._late[stage]
        shown_s = MIN_OVERRUNS * late_s / count if count >= CALIBRATE_AT else 0.0
        return max(self.stages[stage].min_slice_s, shown_s)

    def calibrated(self) -> list[tuple[str, Rates]]:
        """The engines whose costs were learned again since the last call, and their rates."""
        fresh, self._calibrated = sorted(self._calibrated), set()
        return [(self.stages[stage].engine, self.first[stage].rates) for stage in fresh]
