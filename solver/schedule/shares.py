"""The account of a run's time: the time that each stage may use, and the time it has used.

Time is counted in worker-seconds, separately for cores and for devices. A stage's part is its
share of the time that the stages before it do not use. The part therefore does not shrink while
the stage uses time. Time that the stage leaves over goes to the stages after it. Loading an engine
counts as its stage's time. Further passes count for no part, since first passes come before them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from solver.config import Stage


@dataclass
class Used:
    """Worker-seconds of a stage: in first passes, in further passes, and in loading its engine."""

    first_s: float = 0.0
    further_s: float = 0.0
    loading_s: float = 0.0

    @property
    def of_part_s(self) -> float:
        """Worker-seconds that count for the stage's part."""
        return self.first_s + self.loading_s

    @property
    def all_s(self) -> float:
        return self.of_part_s + self.further_s


@dataclass(frozen=True)
class _Held:
    """A worker's occupation: begun when `left_s` of the run were left, for `seconds` seconds.

    sharers: number of occupations that divide the worker's time.
    """

    stage: int
    seconds: float
    left_s: float
    first: bool
    sharers: int = 1

    def reserved_s(self, left_s: float) -> float:
        """Worker-seconds that the occupation will take in all, as far as is known."""
        return max(self.seconds, self._past_s(left_s))

    def rest_s(self, left_s: float) -> float:
        """Worker-seconds that the occupation still needs."""
        return max(0.0, self.seconds - self._past_s(left_s))

    def _past_s(self, left_s: float) -> float:
        return (self.left_s - left_s) / self.sharers


class Account:
    """Worker-seconds by stage. `left_s` is always the time left of the run, in seconds."""

    def __init__(
        self,
        stages: Sequence[Stage],
        orders: Mapping[bool, Sequence[int]],
        places: Mapping[bool, int],
    ) -> None:
        """`orders` and `places` have the keys True for devices and False for cores.

        `places` may change later.
        """
        self.used = [Used() for _ in stages]
        self._stages, self._orders, self._places = stages, orders, places
        self._held: dict[object, _Held] = {}

    def hold(
        self,
        what: object,
        stage: int,
        seconds: float,
        left_s: float,
        *,
        first: bool = True,
        sharers: int = 1,
    ) -> None:
        """Book that a worker begins something that takes `seconds`; `what` is its hashable name.

        `sharers`: number of things, with this one, that the worker does at once.
        """
        self._held[what] = _Held(stage, seconds, left_s, first, sharers)

    def free(self, what: object, seconds: float, loading_s: float = 0.0) -> None:
        """Book the end of `what`, after `loading_s` of loading and then `seconds` of work."""
        held = self._held.pop(what, None)
        if held:
            used = self.used[held.stage]
            used.loading_s += loading_s
            used.first_s += seconds if held.first else 0.0
            used.further_s += 0.0 if held.first else seconds

    def busy(self, stage: int) -> bool:
        """True while a worker is at the stage."""
        return any(held.stage == stage for held in self._held.values())

    def free_places(self, device: bool) -> int:
        """The number of workers on devices, or on cores, that do nothing."""
        held = (1 / one.sharers for one in self._held.values() if one.stage in self._orders[device])
        return self._places[device] - round(sum(held))

    def parts_s(
        self, device: bool, left_s: float, waiting: Callable[[int], bool]
    ) -> dict[int, float]:
        """Worker-seconds left of each stage's part; negative where the stage took more.

        `waiting(stage)` is true if a stage has first passes to give.
        """
        order = self._orders[device]
        held = [one for one in self._held.values() if one.stage in order]
        taken = {stage: self.used[stage].of_part_s for stage in order}
        for one in held:
            taken[one.stage] += one.reserved_s(left_s) if one.first else 0.0
        free_s = left_s * self._places[device] - sum(one.rest_s(left_s) for one in held)
        parts = divide(
            [self._stages[stage].share for stage in order],
            [taken[stage] for stage in order],
            list(map(waiting, order)),
            [self._limit(stage) for stage in order],
            free_s + sum(taken.values()),
        )
        return {stage: part - taken[stage] for stage, part in zip(order, parts, strict=True)}

    def _limit(self, stage: int) -> float:
        """The fraction that a stage can use of its part: a job over all tasks has one worker."""
        whole, places = self._stages[stage].whole, self._places[self._stages[stage].device]
        return 1 / max(1, places) if whole else 1.0


def divide(
    shares: Sequence[float],
    taken_s: Sequence[float],
    waiting: Sequence[bool],
    limits: Sequence[float],
    total_s: float,
) -> list[float]:
    """Each stage's part of a total, in order: its share of the time that earlier stages leave.

    A stage that waits keeps its part; a stage that does not wait uses only the time it has taken.
    """
    parts, rest_s = [], total_s
    for i, share in enumerate(shares):
        part = limits[i] * rest_s * share / sum(shares[i:])
        parts.append(part)
        rest_s = max(0.0, rest_s - (max(part, taken_s[i]) if waiting[i] else taken_s[i]))
    return parts
