"""The allocation policy: which task gets which engine next, and for how long.

What it decides by are pure functions (`allocation.py`) of what jobs have cost (`cost.py`) and
of how sure a task's answer is. `Plan` keeps the ranking in heaps so that each decision costs
O(log n); the supervisor and the simulator (`simulate.py`) drive the same one.

Order of work: for each stage a first pass over all tasks, longest expected first, so that no
long task is left alone at the end; then extra passes wherever another second is expected to
gain most, until the deadline. A stage may be one job over all tasks (`Stage.whole`), which
others can wait for. Stages of devices and stages of cores divide the same time beside each
other.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from solver.allocation import (
    MIN_SLICE_S,
    FirstPasses,
    Progress,
    gain_rate,
    scales,
)
from solver.config import Stage
from solver.cost import PRIOR, Rates, Work

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


class Plan:
    """The policy's state over a run: heaps of what waits, `take` and `done`."""

    def __init__(
        self, works: Sequence[Work], stages: Sequence[Stage], workers: int, devices: int = 0
    ) -> None:
        """`works`: what each task amounts to. `workers` run on cores, one more on each device."""
        self.stages = tuple(stages)
        self.tasks = [Progress(scale) for scale in scales(works)]
        self._works = works
        self._places = {False: workers, True: devices}  # by whether it is a device
        self._whole = {i: Progress() for i, stage in enumerate(stages) if stage.whole}
        self._orders = {kind: self._order(kind) for kind in self._places}
        # First passes wait stage by stage, extra passes in one heap for each kind of place.
        self._first = [FirstPasses([] if s.whole else works, s.flexible) for s in stages]
        self._extra: dict[bool, list[tuple[float, int, int]]] = {False: [], True: []}
        self._rates: dict[tuple[int, int], float] = {}  # (task, stage) -> its place in that heap
        self._fitted: list[list[tuple[float, int]]] = [[] for _ in stages]  # cost, rung
        self._calibrated: set[int] = set()

    def _order(self, device: bool) -> list[int]:
        """What others wait for begins at once where there is another place for the rest."""
        mine = [i for i, stage in enumerate(self.stages) if stage.device == device]
        first = [i for i in mine if i in self._whole and self._places[device] > 1]
        return first + [i for i in mine if i not in first]

    # --- deciding -----------------------------------------------------------------

    def take(self, left_s: float, device: bool = False) -> Slot | None:
        """The next job for a core or a device, or None if none could start there now."""
        for stage in self._orders[device]:
            if stage in self._whole:
                slot = self._take_whole(stage, left_s)
            else:
                slot = None if self._waits(stage) else self._take_first(stage, left_s)
            if slot:
                return slot
        return self._take_extra(left_s, device)

    def _waits(self, stage: int) -> bool:
        """True while the whole job that a stage needs may still end well."""
        needed = (i for i in self._whole if self.stages[i].engine == self.stages[stage].needs)
        return any(self._whole[i].open(i) and self._places[self.stages[i].device] for i in needed)

    def _share(self, stage: int, beside: Iterable[int]) -> float:
        """The stage's part of the time that it divides with others."""
        mine = self.stages[stage].share
        return mine / (mine + sum(self.stages[i].share for i in beside))

    def _take_whole(self, stage: int, left_s: float) -> Slot | None:
        """The job over all tasks: its share of the time that the stages after it divide."""
        progress, order = self._whole[stage], self._orders[self.stages[stage].device]
        if progress.running or not progress.open(stage):
            return None
        share = self._share(stage, order[order.index(stage) + 1 :])
        return self._slot(WHOLE, stage, left_s * share, left_s)

    def _take_first(self, stage: int, left_s: float) -> Slot | None:
        queue, kind = self._first[stage], self.stages[stage].device
        while (task := queue.pop()) is not None:
            if self.tasks[task].open(stage):
                later = [i for i in self._orders[kind] if i > stage]
                mine_s = left_s * self._share(stage, later)
                part = queue.slice_s(task, mine_s, self._places[kind])
                return self._slot(task, stage, min(part, self.stages[stage].max_slice_s), left_s)
        return None

    def _take_extra(self, left_s: float, device: bool) -> Slot | None:
        heap = self._extra[device]
        while heap:
            rate, task, stage = heapq.heappop(heap)
            progress = self.tasks[task]
            if self._rates.get((task, stage)) != -rate or not progress.open(stage):
                continue
            del self._rates[task, stage]
            if stage in progress.last_slice:
                last_s = max(MIN_SLICE_S, progress.last_slice[stage])
                slice_s = last_s * self.stages[stage].growth
            else:  # a first pass that others had to come before
                equal = left_s * self._places[device] / (len(heap) + 1)
                slice_s = min(equal, self.stages[stage].max_slice_s)
            return self._slot(task, stage, slice_s, left_s)
        return None

    def _slot(self, task: int, stage: int, slice_s: float, left_s: float) -> Slot:
        progress = self._progress(task, stage)
        progress.running += 1
        passes = progress.passes.get(stage, 0)
        return Slot(task, stage, passes, min(slice_s, max(0.0, left_s)), self._rung(task, stage))

    def give_up(self, device: bool) -> None:
        """One place fewer: no worker could be started there again and again."""
        self._places[device] -= 1

    # --- booking ------------------------------------------------------------------

    def done(self, slot: Slot, outcome: str, cost_s: float, confidence: float) -> bool:
        """Book a job's end (`JobRecord.outcome`). True if the task has no work left."""
        progress = self._progress(slot.task, slot.stage)
        progress.running -= 1
        self.record(slot, outcome, cost_s)
        if slot.task == WHOLE or outcome == "stopped":
            return False
        progress.confidence = confidence
        if progress.open(slot.stage):
            if slot.stage in progress.passes:
                self._push_extra(slot.task, slot.stage)
            else:
                self._first[slot.stage].put_back(slot.task)
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
            if self._first[stage].observe(slot.task, cost_s, cut=cut):
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
        for stage, queue in enumerate(self._first):
            queue.keep(i for i, p in enumerate(self.tasks) if stage not in p.passes)
        for task, confidence in enumerate(confidences):
            progress = self.tasks[task]
            progress.confidence = confidence
            for stage in progress.passes:
                if progress.open(stage):
                    self._push_extra(task, stage)
            self._reconsider(task)

    def ended(self, task: int) -> bool:
        """True if nothing is left to do for a task: every stage exhausted, or three deaths."""
        progress = self.tasks[task]
        stages = (i for i in range(len(self.stages)) if i not in self._whole)
        return not progress.running and not any(progress.open(stage) for stage in stages)

    def _progress(self, task: int, stage: int) -> Progress:
        return self._whole[stage] if task == WHOLE else self.tasks[task]

    def _push_extra(self, task: int, stage: int) -> None:
        rate = gain_rate(self.tasks[task], stage, self.stages[stage].growth)
        self._rates[task, stage] = rate
        heapq.heappush(self._extra[self.stages[stage].device], (-rate, task, stage))

    def _reconsider(self, task: int) -> None:
        """With another confidence, what waits for a task gets another part of the time, or waits in
        another place: behind all others, where a stage is for tasks that are less sure."""
        for stage, queue in enumerate(self._first):
            queue.weigh(task, self.tasks[task].confidence)
            settled = self.tasks[task].confidence >= self.stages[stage].settled
            if settled and task in queue:
                queue.leave_out(task)
                self._push_extra(task, stage)
            elif (task, stage) in self._rates:
                self._push_extra(task, stage)

    # --- memory -------------------------------------------------------------------

    def _cost(self, task: int) -> float:
        return float("inf") if task == WHOLE else PRIOR.seconds(self._works[task])

    def _rung(self, task: int, stage: int) -> int:
        """Below what was too much for this task, and where a task that is no larger fitted in
        the end. What fitted nowhere says nothing about others."""
        cost = self._cost(task)
        fitted = (rung for other, rung in self._fitted[stage] if other <= cost)
        mine = self._progress(task, stage).rungs.get(stage, 0)
        return min(max([mine, *fitted]), len(self.stages[stage].ladder))

    # --- what it has learned ------------------------------------------------------

    def calibrated(self) -> list[tuple[str, Rates]]:
        """The engines whose costs were learned anew since the last call, and their rates."""
        fresh, self._calibrated = sorted(self._calibrated), set()
        return [(self.stages[stage].engine, self._first[stage].rates) for stage in fresh]

    def first_passes_s(self, left_s: float) -> float:
        """Seconds until no first pass waits, if the rest cost what the cost model expects: all
        that is left, as long as a stage that has work has shown too few costs."""
        longest = 0.0
        for kind, places in self._places.items():
            waiting = [q for i, q in enumerate(self._first) if self.stages[i].device == kind]
            waiting = [queue for queue in waiting if queue.expected_s]
            if not all(queue.rates.jobs for queue in waiting):
                return left_s
            longest = max(longest, sum(q.expected_s for q in waiting) / max(1, places))
        return min(longest, left_s)
