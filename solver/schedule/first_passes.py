"""The division of time over tasks: pure functions of the policy's knowledge about each task.

The aim is the best use of compute. Every task gets a first look. Tasks whose candidates disagree
get more time. Settled and hopeless tasks get nothing more before all others have had their time.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from solver.schedule.cost import CALIBRATE_AT, PRIOR, Observed, Rates, Work, calibrate

MAX_DEATHS = 3
MIN_SLICE_S = 0.02
MIN_GRACE_S = 0.25  # of any job
HOPELESS_CONFIDENCE = 0.2  # below this confidence, hardly two views agree
HOPELESS_SCALE = 2.0  # times the cost of the median task
MIN_COST_SHARE = 0.1  # of the mean cost: the least expected cost of a task
MIN_SETTLED_SHARE = 0.25  # of a task's time: the part that a flexible engine has once settled
LAST_CHANCE = 1e-3  # gain factor of the last passes: above 0, so that they run if time is left
MIN_OVERRUNS = 2.0  # least useful slice, as a multiple of the mean overrun of jobs
LOAD_FACTOR = 2.0  # loading may take this many times its expected seconds without being too late


@dataclass
class Progress:
    """The policy's knowledge about one task."""

    scale: float = 1.0  # expected cost of a pass, divided by the cost for the median task
    confidence: float = 0.0
    deaths: int = 0
    passes: dict[int, int] = field(default_factory=dict)  # stage -> passes ended
    last_slice: dict[int, float] = field(default_factory=dict)
    rungs: dict[int, int] = field(default_factory=dict)  # stage -> rung after memory ran out
    exhausted: set[int] = field(default_factory=set)  # stages with nothing left to find
    running: int = 0

    def open(self, stage: int) -> bool:
        """True while another pass of the stage may find something."""
        return self.deaths < MAX_DEATHS and stage not in self.exhausted

    def hopeless(self, stage: int) -> bool:
        """True for a large task for which a pass has found no two views that agree."""
        tried = self.passes.get(stage, 0) > 0
        return tried and self.confidence < HOPELESS_CONFIDENCE and self.scale > HOPELESS_SCALE


def gain_rate(
    progress: Progress, stage: int, growth: float, first_s: float = float("inf")
) -> float:
    """Expected gain of a further pass, per second.

    The gain is the chance that the task is still unsolved, reduced by each pass that did not
    settle the task. The rate is this gain divided by the seconds of the next pass. The rate is
    almost 0 where the first look was hopeless. The rate is also almost 0 where the first look was
    put off because another engine had settled the task. `first_s` is the least number of seconds
    of a first look that was put off for lack of time.
    """
    passes, chance = progress.passes.get(stage, 0), 1.0 - progress.confidence
    if passes == 0:
        return chance * max(LAST_CHANCE, 1 / max(MIN_SLICE_S, first_s))
    seconds = max(MIN_SLICE_S, progress.last_slice[stage]) * growth
    return chance * (LAST_CHANCE if progress.hopeless(stage) else 1.0) / (1 + passes) / seconds


def slice_for(weight: float, open_weight: float, part_s: float) -> float:
    """A task's part, in seconds, of the worker-seconds that are left to its stage.

    Time is divided in proportion to weights. The part is computed again for every job, so that
    time left over by quick tasks goes to the other tasks.
    """
    return part_s * weight / max(open_weight, weight)


def useful_slice_s(fair_s: float, least_s: float, part_s: float, waiting: int) -> float | None:
    """A slice of at least `least_s` that leaves `least_s` to each other waiting task.

    `part_s` is the time that is left to the stage, `waiting` the number of tasks that divide it,
    and `fair_s` the task's share of `part_s`. None if `part_s` is not enough for all these tasks:
    then one task has to be left out.
    """
    spare_s = part_s - least_s * (waiting - 1)
    if spare_s < least_s * (1 - 1e-9):
        return None
    return min(max(fair_s, least_s), max(spare_s, least_s))


def grace_s(slice_s: float, longest_s: float, replacement_s: float) -> float:
    """Seconds that a job may overrun its slice before it is killed.

    The grace is half of the slice within bounds, but no less than a replacement takes to load. A
    kill that costs more than waiting gains nothing.
    """
    return max(min(longest_s, max(MIN_GRACE_S, 0.5 * slice_s)), replacement_s)


def worth_loading(loading_s: float, least_s: float, left_s: float) -> bool:
    """True if an engine can still be of use after loading, in the time that is left of the run.

    Loading may take longer than expected, up to `LOAD_FACTOR` times.
    """
    return LOAD_FACTOR * loading_s + least_s <= left_s


def scales(works: Sequence[Work]) -> list[float]:
    """Each task's expected cost, divided by the expected cost of the median task."""
    costs = [PRIOR.seconds(work) for work in works]
    median = sorted(costs)[len(costs) // 2] if costs else 1.0
    return [cost / median for cost in costs]


class FirstPasses:
    """The tasks that wait for a stage's first pass, longest expected pass first.

    Jobs that have ended set the expected costs. Time is divided in proportion to these costs. A
    `flexible` engine uses whatever time it gets, so its jobs do not show their needs. For such an
    engine, a task's weight is the square root of the cost guessed before any job, times the
    remaining doubt about its answer.
    """

    def __init__(
        self, works: Sequence[Work], flexible: bool = False, assumed: Rates = PRIOR
    ) -> None:
        """`assumed`: proportions of the costs before any job has shown them."""
        self.rates = self._assumed = assumed
        self._works, self._flexible = works, flexible
        self._waiting = set(range(len(works)))
        self._observed: list[Observed] = []
        self._expected: list[float] = []
        self._least_s = 0.0  # of any task
        self._heap: list[tuple[float, int]] = []  # may contain tasks that no longer wait
        self._roots = [assumed.seconds(work) ** 0.5 for work in works]
        self._weights = list(self._roots)
        self._open = 0.0  # sum of the weights of waiting tasks
        self._sort()

    def __contains__(self, task: int) -> bool:
        return task in self._waiting

    def expected(self, task: int) -> float:
        """Seconds of a pass over a task; before jobs have ended, only proportions count.

        A least value holds for every task, since costs fitted to other tasks may be almost 0.
        """
        return max(self._expected[task], self._least_s)

    def __len__(self) -> int:
        return len(self._waiting)

    def slice_s(self, task: int, part_s: float) -> float:
        """A waiting task's part of worker-seconds that all waiting tasks divide."""
        weight = self._weights[task]
        mine = weight if self._flexible else self.expected(task)
        return slice_for(mine, self._open - weight + mine, part_s)

    @property
    def expected_s(self) -> float:
        """Expected seconds of all waiting tasks."""
        return sum(self._expected[task] for task in self._waiting)

    def longest(self) -> int | None:
        """The waiting task with the longest expected pass; None if no task waits."""
        while self._heap and self._heap[0][1] not in self._waiting:
            heapq.heappop(self._heap)
        return self._heap[0][1] if self._heap else None

    def waiting(self) -> list[int]:
        """All waiting tasks."""
        return sorted(self._waiting)

    def leave_out(self, task: int) -> None:
        """Let a task no longer wait."""
        if task in self._waiting:
            self._waiting.remove(task)
            self._open = self._open - self._weights[task] if self._waiting else 0.0

    def put_back(self, task: int) -> None:
        """Let a task wait again."""
        if task not in self._waiting:
            self._waiting.add(task)
            self._open += self._weights[task]
            heapq.heappush(self._heap, (-self._expected[task], task))

    def weigh(self, task: int, confidence: float) -> None:
        """Change a task's weight by the confidence in its answer."""
        if self._flexible:
            before, weight = (
                self._weights[task],
                self._roots[task] * max(MIN_SETTLED_SHARE, 1 - confidence),
            )
            self._weights[task] = weight
            self._open += weight - before if task in self._waiting else 0.0

    def keep(self, tasks: Iterable[int]) -> None:
        """Let only these tasks wait."""
        self._waiting &= set(tasks)
        self._sort()

    def observe(self, task: int, seconds: float, *, cut: bool) -> bool:
        """Learn from a first pass. True if the expected costs have changed."""
        self._observed.append(Observed(self._works[task], seconds, cut))
        count = len(self._observed)
        if count < CALIBRATE_AT or count & (count - 1):
            return False
        self.rates = calibrate(self._observed, self._assumed)
        self._sort()
        return True

    def _sort(self) -> None:
        self._expected = [self.rates.seconds(work) for work in self._works]
        if self.rates.jobs:
            self._least_s = MIN_COST_SHARE * sum(self._expected) / len(self._expected)
        if not self._flexible:
            self._weights = self._expected
        self._heap = [(-self._expected[task], task) for task in self._waiting]
        heapq.heapify(self._heap)
        self._open = sum(self._weights[task] for task in self._waiting)


class FurtherPasses:
    """The tasks that wait for another pass of a stage, the highest expected gain first."""

    def __init__(self) -> None:
        self._rates: dict[int, float] = {}
        self._heap: list[tuple[float, int]] = []  # may contain a task's earlier rates

    def __contains__(self, task: int) -> bool:
        return task in self._rates

    def __len__(self) -> int:
        return len(self._rates)

    def put(self, task: int, rate: float) -> None:
        """Let a task wait with this expected gain per second, which replaces an earlier one."""
        self._rates[task] = rate
        heapq.heappush(self._heap, (-rate, task))

    def leave_out(self, task: int) -> None:
        """Let a task no longer wait."""
        self._rates.pop(task, None)

    def best(self) -> tuple[float, int] | None:
        """The highest gain and its task."""
        while self._heap and self._rates.get(self._heap[0][1]) != -self._heap[0][0]:
            heapq.heappop(self._heap)
        return (-self._heap[0][0], self._heap[0][1]) if self._heap else None
