"""The allocation policy: which task gets which engine next, and for how long.

It is a pure function of what is known: `first_pass` and `extra_pass` rank the work,
`slice_for` divides the time that is left. `Plan` keeps the ranking in heaps so that each
decision costs O(log n); the supervisor and the simulator (`simulate.py`) drive the same one.

Order of work: for each stage a base pass over all tasks, longest expected first, so that no
long task is left alone at the end; then extra passes wherever another second is expected to
gain most, until the deadline. A stage may be one job over all tasks (`Stage.whole`), which
others can wait for.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from solver.config import Stage
from solver.grid import Task

MAX_DEATHS = 3
MIN_SLICE_S = 0.02
WHOLE = -1  # the task of a job that is about all of them


@dataclass(frozen=True)
class Slot:
    """A decision: this pass of this engine over this task (or `WHOLE`), for so many seconds."""

    task: int
    stage: int
    pass_: int
    slice_s: float


@dataclass
class Progress:
    """What the policy knows of one task."""

    expected: float  # relative cost of a pass: longer tasks have more
    confidence: float = 0.0
    deaths: int = 0
    passes: dict[int, int] = field(default_factory=dict)  # stage -> passes ended
    last_slice: dict[int, float] = field(default_factory=dict)
    exhausted: set[int] = field(default_factory=set)  # stages with nothing left to find
    running: int = 0

    def open(self, stage: int) -> bool:
        """True while another pass of the stage may find something."""
        return self.deaths < MAX_DEATHS and stage not in self.exhausted


def expected_cost(task: Task) -> float:
    """Cells a solver has to look at: demonstrations and test inputs."""
    demos = sum(pair.input.size + pair.output.size for pair in task.train)
    return float(demos + sum(grid.size for grid in task.tests))


def gain_rate(progress: Progress, stage: int, growth: float) -> float:
    """Expected gain of a further pass, per second.

    The chance that the task is still unsolved, thinned by each pass that did not settle it,
    over the seconds the next pass takes.
    """
    passes = progress.passes.get(stage, 0)
    seconds = max(MIN_SLICE_S, progress.last_slice.get(stage, MIN_SLICE_S)) * growth
    return (1.0 - progress.confidence) / (1 + passes) / seconds


def slice_for(expected: float, open_expected: float, left_s: float, workers: int) -> float:
    """A task's part of the time that is left to its stage, in seconds.

    Time is divided in proportion to expected costs; recomputed for every job, so that what
    quick tasks leave over goes to the rest.
    """
    return max(MIN_SLICE_S, left_s * workers * expected / max(open_expected, expected))


class Plan:
    """The policy's state over a run: heaps of what waits, `take` and `done`."""

    def __init__(self, expected: Sequence[float], stages: Sequence[Stage], workers: int) -> None:
        self.stages = tuple(stages)
        self.workers = workers
        self.tasks = [Progress(max(1.0, cost)) for cost in expected]
        self._whole = {i: Progress(1.0) for i, stage in enumerate(stages) if stage.whole}
        # What others wait for begins at once where there is a worker left for the rest.
        first = [i for i in self._whole if workers > 1]
        self._order = first + [i for i in range(len(stages)) if i not in first]
        # First passes wait in one heap a stage, extra passes in one for all.
        self._first = [[] if stage.whole else self._base_heap() for stage in stages]
        self._waiting = [sum(p.expected for p in self.tasks) for _ in stages]
        self._extra: list[tuple[float, int, int, int]] = []

    def _base_heap(self) -> list[tuple[float, int]]:
        heap = [(-progress.expected, i) for i, progress in enumerate(self.tasks)]
        heapq.heapify(heap)
        return heap

    def take(self, left_s: float) -> Slot | None:
        """The next job, or None if no work remains that could start now."""
        for stage in self._order:
            if stage in self._whole:
                slot = self._take_whole(stage, left_s)
            else:
                slot = None if self._waits(stage) else self._take_first(stage, left_s)
            if slot:
                return slot
        return self._take_extra(left_s)

    def done(self, slot: Slot, outcome: str, cost_s: float, confidence: float) -> bool:
        """Book a job's end (`JobRecord.outcome`). True if the task has no work left."""
        progress = self._progress(slot.task, slot.stage)
        progress.running -= 1
        self.record(slot.task, slot.stage, outcome, cost_s, slot.slice_s)
        if slot.task == WHOLE:
            return False
        progress.confidence = confidence
        if progress.open(slot.stage):
            self._push_extra(slot.task, slot.stage)
        return self.ended(slot.task)

    def resume(self, confidences: Iterable[float]) -> None:
        """After `record`ing the jobs of an earlier process: leave out its passes, and queue
        the further ones that are still open."""
        for task, confidence in enumerate(confidences):
            progress = self.tasks[task]
            progress.confidence = confidence
            for stage in progress.passes:
                if progress.open(stage):
                    self._push_extra(task, stage)
        for stage, heap in enumerate(self._first):
            waiting = [item for item in heap if stage not in self.tasks[item[1]].passes]
            heapq.heapify(waiting)
            self._first[stage] = waiting
            self._waiting[stage] = sum(-cost for cost, _ in waiting)

    def record(self, task: int, stage: int, outcome: str, cost_s: float, slice_s: float) -> None:
        """Book that a pass ended (`JobRecord.outcome`), in this process or an earlier one."""
        progress = self._progress(task, stage)
        progress.passes[stage] = progress.passes.get(stage, 0) + 1
        progress.last_slice[stage] = slice_s if outcome == "sliced" else cost_s
        if outcome == "died":
            progress.deaths += 1
            # Tried again, but not for longer: what hung once is likely to hang again.
            progress.last_slice[stage] = slice_s / self.stages[stage].growth
        once = task == WHOLE and outcome != "died"
        if once or outcome == "error" or (outcome == "finished" and not self.stages[stage].repeats):
            progress.exhausted.add(stage)

    def ended(self, task: int) -> bool:
        """True if nothing is left to do for a task: every stage exhausted, or three deaths."""
        progress = self.tasks[task]
        if progress.running:
            return False
        stages = (i for i in range(len(self.stages)) if i not in self._whole)
        return not any(progress.open(stage) for stage in stages)

    def _progress(self, task: int, stage: int) -> Progress:
        return self._whole[stage] if task == WHOLE else self.tasks[task]

    def _waits(self, stage: int) -> bool:
        """True while the whole job that a stage needs may still end well."""
        needs = self.stages[stage].needs
        return any(p.open(i) for i, p in self._whole.items() if self.stages[i].engine == needs)

    def _take_whole(self, stage: int, left_s: float) -> Slot | None:
        """The job over all tasks: its share of the time that the stages after it divide."""
        progress = self._whole[stage]
        if progress.running or not progress.open(stage):
            return None
        rest = self._order[self._order.index(stage) :]
        share = self.stages[stage].share / sum(self.stages[i].share for i in rest)
        progress.running = 1
        return Slot(WHOLE, stage, progress.passes.get(stage, 0), left_s * share)

    def _take_first(self, stage: int, left_s: float) -> Slot | None:
        heap = self._first[stage]
        while heap:
            _, task = heapq.heappop(heap)
            progress = self.tasks[task]
            waiting = self._waiting[stage]
            self._waiting[stage] -= progress.expected
            if not progress.open(stage):
                continue
            later = sum(s.share for s in self.stages[stage + 1 :])
            share = self.stages[stage].share / (self.stages[stage].share + later)
            part = slice_for(progress.expected, waiting, left_s * share, self.workers)
            return self._slot(task, stage, min(part, self.stages[stage].max_slice_s), left_s)
        return None

    def _take_extra(self, left_s: float) -> Slot | None:
        while self._extra:
            _, task, stage, passes = heapq.heappop(self._extra)
            progress = self.tasks[task]
            if not progress.open(stage) or progress.passes[stage] != passes:
                continue
            slice_s = max(MIN_SLICE_S, progress.last_slice[stage]) * self.stages[stage].growth
            return self._slot(task, stage, slice_s, left_s)
        return None

    def _slot(self, task: int, stage: int, slice_s: float, left_s: float) -> Slot:
        progress = self.tasks[task]
        progress.running += 1
        return Slot(task, stage, progress.passes.get(stage, 0), min(slice_s, max(0.0, left_s)))

    def _push_extra(self, task: int, stage: int) -> None:
        progress = self.tasks[task]
        rate = gain_rate(progress, stage, self.stages[stage].growth)
        heapq.heappush(self._extra, (-rate, task, stage, progress.passes[stage]))
