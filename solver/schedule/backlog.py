"""The work that is left: the tasks that wait, stage by stage, and what jobs have shown.

Here is booked how jobs end; what runs next is decided in `schedule.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from solver.config import Stage
from solver.schedule.cost import CALIBRATE_AT, PRIOR, Rates, Work
from solver.schedule.first_passes import (
    MIN_OVERRUNS,
    FirstPasses,
    FurtherPasses,
    Progress,
    gain_rate,
    scales,
)

WHOLE = -1  # the task of a job that is about all of them


@dataclass(frozen=True)
class Slot:
    """A decision: this pass of this engine over this task (or `WHOLE`), for so many seconds,
    so many rungs down the stage's ladder."""

    task: int
    stage: int
    pass_: int
    slice_s: float
    rung: int = 0

    @property
    def name(self) -> tuple[int, int]:
        """Tells it from all others that run at the same time."""
        return self.task, self.stage


class Backlog:
    """Every task's progress, and what waits: first passes, further ones, jobs over all tasks.

    `first` and `further` are by stage, `whole` has the stages that are one job over all tasks.
    """

    def __init__(self, works: Sequence[Work], stages: Sequence[Stage]) -> None:
        """`works`: what each task amounts to."""
        self.stages = tuple(stages)
        self.tasks = [Progress(scale) for scale in scales(works)]
        self.whole = {i: Progress() for i, stage in enumerate(stages) if stage.whole}
        self.first = [FirstPasses([] if s.whole else works, s.flexible) for s in stages]
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
        """A job begins; the number of passes before it."""
        progress = self._progress(task, stage)
        progress.running += 1
        return progress.passes.get(stage, 0)

    def best(self, stage: int) -> tuple[float, int] | None:
        """The further pass of a stage that gains most, and what; None if none may find more."""
        further = self.further[stage]
        while (top := further.best()) and not self.tasks[top[1]].open(stage):
            further.leave_out(top[1])
        return top

    def next_task(self, stage: int) -> int:
        """The task whose turn in a stage that has work is next, or `WHOLE`."""
        task = self.first[stage].longest()
        if task is None and (top := self.best(stage)):
            task = top[1]
        return WHOLE if task is None else task

    def put_off(self, task: int, stage: int) -> None:
        """Let a first pass come after all others, where time is left."""
        self.first[stage].leave_out(task)
        self._put_further(task, stage)

    def put_off_all(self, stage: int) -> None:
        """Let all first passes of a stage come after those of others; its whole job never."""
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

        A job that its run's end stopped, or that ran out of memory, was no pass.
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
            # Tried again, but not for longer: what hung once is likely to hang again.
            progress.last_slice[stage] = slot.slice_s / self.stages[stage].growth
        once = slot.task == WHOLE and outcome != "died"
        if once or outcome == "error" or (outcome == "finished" and not self.stages[stage].repeats):
            progress.exhausted.add(stage)

    def resume(self, confidences: Iterable[float]) -> None:
        """After `record`ing the jobs of an earlier process: leave out its passes, and queue
        the further ones that are still open."""
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
        """With another confidence, what waits for a task gets another part of the time, or waits in
        another place: behind all others, where a stage is for tasks that are less sure."""
        for stage, queue in enumerate(self.first):
            queue.weigh(task, self.tasks[task].confidence)
            settled = self.tasks[task].confidence >= self.stages[stage].settled
            if settled and task in queue:
                queue.leave_out(task)
                self._put_further(task, stage)
            elif task in self.further[stage]:
                self._put_further(task, stage)

    # --- memory -------------------------------------------------------------------

    def _cost(self, task: int) -> float:
        return float("inf") if task == WHOLE else PRIOR.seconds(self._works[task])

    def rung(self, task: int, stage: int) -> int:
        """Below what was too much for this task, and where a task that is no larger fitted in
        the end. What fitted nowhere says nothing about others."""
        cost = self._cost(task)
        fitted = (rung for other, rung in self._fitted[stage] if other <= cost)
        mine = self._progress(task, stage).rungs.get(stage, 0)
        return min(max([mine, *fitted]), len(self.stages[stage].ladder))

    # --- what it has learned ------------------------------------------------------

    def least_s(self, stage: int) -> float:
        """Seconds below which a slice is of no use: as the stage says, or what overruns of jobs
        show that an engine does between two looks at the clock."""
        count, late_s = self._late[stage]
        shown_s = MIN_OVERRUNS * late_s / count if count >= CALIBRATE_AT else 0.0
        return max(self.stages[stage].min_slice_s, shown_s)

    def calibrated(self) -> list[tuple[str, Rates]]:
        """The engines whose costs were learned anew since the last call, and their rates."""
        fresh, self._calibrated = sorted(self._calibrated), set()
        return [(self.stages[stage].engine, self.first[stage].rates) for stage in fresh]
