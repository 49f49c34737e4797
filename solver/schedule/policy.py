"""The allocation policy: the next task for an engine, and the length of its slice.

Pure functions (`first_passes.py`) decide. Their inputs are the cost of jobs (`cost.py`), the time
used by stages (`shares.py`), the time of loading (`loading.py`) and the confidence in answers.
Waiting tasks are ranked in heaps (`backlog.py`) so that each decision costs O(log n). The
supervisor and the simulator (`simulate.py`) drive the same `Policy`.

Order of work: each stage first gives a first pass to all tasks. The longest expected pass comes
first, so that no long task is left over at the end. Then further passes run, until the deadline,
wherever another second is expected to gain most. A stage may be one job over all tasks
(`Stage.whole`), and other stages can wait for this job. Stages of devices and stages of cores
divide the same time beside each other. A worker loads an engine before its first job with this
engine.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from solver.config import Stage
from solver.schedule.backlog import WHOLE, Backlog, Slot
from solver.schedule.cost import Work
from solver.schedule.first_passes import MIN_SLICE_S, useful_slice_s, worth_loading
from solver.schedule.loading import Load, Loading
from solver.schedule.shares import Account, Used


class Policy:
    """The policy's state over a run: heaps of waiting work, `take` and `done`."""

    def __init__(
        self, works: Sequence[Work], stages: Sequence[Stage], workers: int, devices: int = 0
    ) -> None:
        """`works`: the work of a pass over each task.

        `workers` processes run on cores, and one more on each of `devices`.
        """
        self.stages = tuple(stages)
        self.backlog = Backlog(works, stages)
        self.loading = Loading(stages)
        self._places = {False: workers, True: devices}  # True: the places are devices
        self._orders = {kind: self._order(kind) for kind in self._places}
        self._account = Account(self.stages, self._orders, self._places)

    def _order(self, device: bool) -> list[int]:
        """The order of the stages of devices or of cores.

        Whole jobs come first where another place is free for the other stages.
        """
        mine = [i for i, stage in enumerate(self.stages) if stage.device == device]
        first = [i for i in mine if i in self.backlog.whole and self._places[device] > 1]
        return first + [i for i in mine if i not in first]

    # --- deciding -----------------------------------------------------------------

    def take(
        self, left_s: float, device: bool = False, loaded: Collection[int] | None = None
    ) -> Slot | Load | None:
        """The next step of a worker on a core or a device, or None if no step could start now.

        `loaded`: the stages whose engines the worker's process has (all stages, if left out).
        """
        have = range(len(self.stages)) if loaded is None else loaded
        for stage in self._orders[device]:
            if step := self._take_stage(stage, left_s, have):
                return step
        return self._take_further(left_s, device, have)

    def _take_stage(self, stage: int, left_s: float, have: Collection[int]) -> Slot | Load | None:
        """The whole job or a first pass of a stage, or loading the engine for this job."""
        if not self.backlog.waiting(stage) or self._waits(stage):
            return None
        part_s = self._parts_s(self.stages[stage].device, left_s)[stage]
        if not self._has(stage, have):
            if worth_loading(self._load_s(stage), self.backlog.least_s(stage), min(left_s, part_s)):
                return self._load(stage, left_s)
            if not self.loading.ready(stage) and not self._account.busy(stage):
                self.backlog.put_off_all(stage)
            return None
        if stage in self.backlog.whole:
            return self._slot(WHOLE, stage, part_s, left_s)
        return self._load_ahead(stage, part_s, left_s, have) or self._take_first(
            stage, part_s, left_s
        )

    def _waits(self, stage: int) -> bool:
        """True while the whole job that a stage needs may still end well."""
        needed = (
            i for i in self.backlog.whole if self.stages[i].engine == self.stages[stage].needs
        )
        return any(
            self.backlog.whole[i].open(i) and self._places[self.stages[i].device] for i in needed
        )

    def _parts_s(self, device: bool, left_s: float) -> dict[int, float]:
        return self._account.parts_s(device, left_s, self.backlog.waiting)

    def _take_first(self, stage: int, part_s: float, left_s: float) -> Slot | None:
        queue, about = self.backlog.first[stage], self.stages[stage]
        least_s = max(MIN_SLICE_S, self.backlog.least_s(stage))
        chosen: dict[int, float] = {}
        limit = self._limit(stage, len(queue))
        while (task := queue.longest()) is not None:
            if not self.backlog.tasks[task].open(stage):
                queue.leave_out(task)
                continue
            if not self._fits(task, stage, chosen, limit):
                break
            fair_s = min(queue.slice_s(task, part_s), about.max_slice_s)
            slice_s = useful_slice_s(fair_s, least_s, part_s, len(queue))
            if slice_s is None or self.backlog.least_s(stage) > left_s:
                self.backlog.put_off(task, stage)
                continue
            queue.leave_out(task)
            chosen[task] = slice_s
            part_s -= slice_s
        return self._job(stage, chosen, left_s) if chosen else None

    def _limit(self, stage: int, waiting: int) -> int:
        """The most tasks in a job: so many that all free places have work."""
        places = self._account.free_places(self.stages[stage].device)
        return min(self.stages[stage].together, -(-waiting // max(1, places)))

    def _fits(self, task: int, stage: int, chosen: Mapping[int, float], limit: int) -> bool:
        """True if a task may be in one job with those chosen already."""
        rungs = {self.backlog.rung(other, stage) for other in (task, *chosen)}
        most = min(self.backlog.together(other, stage) for other in (task, *chosen))
        return not chosen or (len(chosen) < min(limit, most) and len(rungs) == 1)

    def _take_further(
        self, left_s: float, device: bool, have: Collection[int]
    ) -> Slot | Load | None:
        """The further pass with the highest expected gain, or loading the engine for this pass."""
        best = []
        for stage in self._orders[device]:
            if self.backlog.least_s(stage) <= left_s and (top := self.backlog.best(stage)):
                best.append((-top[0], top[1], stage))
        for _, task, stage in sorted(best):
            if self._has(stage, have):
                return self._job(stage, self._further(task, stage, left_s), left_s, first=False)
            if worth_loading(self._load_s(stage), self.backlog.least_s(stage), left_s):
                return self._load(stage, left_s)
        return None

    def _further(self, task: int, stage: int, left_s: float) -> dict[int, float]:
        """The tasks of a job of further passes with their slices, the best `task` first."""
        queue = self.backlog.further[stage]
        chosen: dict[int, float] = {}
        limit = self._limit(stage, len(queue))
        while self._fits(task, stage, chosen, limit):
            queue.leave_out(task)
            chosen[task] = self._further_s(task, stage, left_s)
            if (top := self.backlog.best(stage)) is None:
                break
            task = top[1]
        return chosen

    def _further_s(self, task: int, stage: int, left_s: float) -> float:
        """The slice of a further pass, or of a first pass that was put off behind others."""
        about, last_s = self.stages[stage], self.backlog.tasks[task].last_slice.get(stage)
        if last_s is not None:
            slice_s = max(MIN_SLICE_S, last_s) * about.growth
        else:
            others = sum(len(self.backlog.further[i]) for i in self._orders[about.device])
            slice_s = min(left_s * self._places[about.device] / (others + 1), about.max_slice_s)
        return max(slice_s, self.backlog.least_s(stage))

    def _job(
        self, stage: int, slices: Mapping[int, float], left_s: float, *, first: bool = True
    ) -> Slot:
        """The slot of a job over tasks with these slices, which end before the run."""
        useful = {task: max(MIN_SLICE_S, slice_s) for task, slice_s in slices.items()}
        part = min(1.0, max(0.0, left_s) / sum(useful.values()))
        lead, *others = (
            self._slot(task, stage, part * slice_s, left_s, first=first, sharers=len(useful))
            for task, slice_s in useful.items()
        )
        return replace(lead, beside=tuple(others))

    def _slot(
        self,
        task: int,
        stage: int,
        slice_s: float,
        left_s: float,
        *,
        first: bool = True,
        sharers: int = 1,
    ) -> Slot:
        passes = self.backlog.begun(task, stage)
        within_s = min(max(MIN_SLICE_S, slice_s), max(0.0, left_s))
        slot = Slot(task, stage, passes, within_s, self.backlog.rung(task, stage))
        self._account.hold(slot.name, stage, within_s, left_s, first=first, sharers=sharers)
        return slot

    # --- loading ------------------------------------------------------------------

    def _has(self, stage: int, have: Collection[int]) -> bool:
        return stage in have or self.loading.failed(stage)

    def _load_s(self, stage: int) -> float:
        return self.loading.expected_s(stage)

    def _load(self, stage: int, left_s: float) -> Load:
        load = Load(stage, self.backlog.rung(self.backlog.next_task(stage), stage))
        self._account.hold(load, stage, self._load_s(stage), left_s)
        return load

    def _load_ahead(
        self, stage: int, part_s: float, left_s: float, have: Collection[int]
    ) -> Load | None:
        """Loading of the next stage's engine by one worker, while the others work at this stage.

        So the first answers come early, and the time of loading is known before all workers load.
        """
        device = self.stages[stage].device
        places, order = self._places[device], self._orders[device]
        after = order[order.index(stage) + 1 :]
        following = next((i for i in after if self.backlog.waiting(i) and not self._waits(i)), None)
        if places < 2 or following is None or self._has(following, have):
            return None
        if self.loading.ready(following) or self._account.busy(following):
            return None
        queue = self.backlog.first[stage]
        rest_s = min(part_s, queue.expected_s) if queue.rates.jobs else part_s
        load_s = self._load_s(following)
        enough_s = min(left_s, self._parts_s(device, left_s)[following])
        soon = load_s > 0 and rest_s / places <= load_s
        if soon and worth_loading(load_s, self.backlog.least_s(following), enough_s):
            return self._load(following, left_s)
        return None

    def loaded(self, load: Load, outcome: str, cost_s: float) -> None:
        """Book how loading ended (`LoadRecord.outcome`)."""
        self._account.free(load, 0.0, cost_s)
        self.loading.record(load.stage, outcome, cost_s)
        if outcome == "finished":
            self.loading.gained(load.stage)

    def too_late(self, left_s: float) -> list[tuple[str, float, float]]:
        """The engines that cannot be loaded in time, as far as is known.

        Each comes with the seconds that the engine would have, and the seconds that loading takes.
        """
        found = []
        for device, order in self._orders.items():
            parts = self._parts_s(device, left_s)
            for at, stage in enumerate(order):
                places, load_s = max(1, self._places[device]), self._load_s(stage)
                ahead_s = load_s if places > 1 else 0.0
                before_s = max(0.0, sum(parts[i] for i in order[:at]) / places - ahead_s)
                have_s = min(left_s - before_s, parts[stage])
                if not worth_loading(load_s, self.backlog.least_s(stage), have_s):
                    found.append((self.stages[stage].engine, have_s, load_s))
        return found

    def done(
        self, slot: Slot, outcome: str, cost_s: float, confidence: float, loading_s: float = 0.0
    ) -> bool:
        """Book a job's end (`JobRecord.outcome`). True if the task has no work left.

        A job over several tasks is booked task by task (`Slot.every`). `loading_s`: seconds before
        `cost_s` in which the job itself loaded its engine.
        """
        self._account.free(slot.name, cost_s, loading_s)
        return self.backlog.done(slot, outcome, cost_s, confidence)

    def used(self) -> list[Used]:
        """The time that each stage has used."""
        return self._account.used

    def give_up(self, device: bool) -> None:
        """Remove one place, after starting a worker there has failed again and again."""
        self._places[device] -= 1

    def first_passes_s(self, left_s: float) -> float:
        """Seconds until no first pass waits, at the costs that the cost model expects.

        All seconds that are left, as long as a stage with work has shown too few costs.
        """
        longest = 0.0
        for kind, places in self._places.items():
            waiting = [q for i, q in enumerate(self.backlog.first) if self.stages[i].device == kind]
            waiting = [queue for queue in waiting if queue.expected_s]
            if not all(queue.rates.jobs for queue in waiting):
                return left_s
            longest = max(longest, sum(q.expected_s for q in waiting) / max(1, places))
        return min(longest, left_s)
