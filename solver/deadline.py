"""Time as a value: a clock, a deadline, a budget.

Every function that can take long receives a `Deadline` and asks it in the innermost loop. The
clock is injected, so a 12-hour schedule is tested in milliseconds. Times are monotonic seconds:
a wall clock that jumps changes nothing. On Linux all processes share the monotonic clock, so a
`Deadline` can be sent to a worker.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import Protocol

from solver.grid import DataError

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
MAX_DURATION_S = 366 * 86400.0
STEP_S = 0.001  # seconds that a step counts as, where a run in steps needs seconds


class Clock(Protocol):
    """The clock that a deadline needs."""

    def now(self) -> float:
        """Monotonic seconds."""

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""


@dataclass(frozen=True)
class RealClock:
    """The machine's monotonic clock."""

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))


@dataclass(frozen=True)
class CpuClock:
    """CPU seconds of this process, for benchmarks on a machine that is also used otherwise."""

    def now(self) -> float:
        return time.process_time()

    def sleep(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))


@dataclass
class FakeClock:
    """A clock that moves only when told to."""

    time: float = 0.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += max(0.0, seconds)


class WorkClock(FakeClock):
    """A clock that only work moves: code that books a piece of work adds the time of this work."""


@dataclass
class StepClock:
    """A clock that moves by one step at every look: a budget in steps, the same on any machine.

    `step_s`: seconds that a step counts as.
    """

    steps: int = 0
    step_s: float = 1.0

    def now(self) -> float:
        self.steps += 1
        return self.steps * self.step_s

    def sleep(self, seconds: float) -> None:
        self.steps += max(0, round(seconds / self.step_s))


class OutOfTimeError(Exception):
    """A deadline passed in the middle of work that is of no use in part."""


@dataclass(frozen=True)
class Deadline:
    """A moment on a clock, in monotonic seconds."""

    at: float
    clock: Clock = field(default_factory=RealClock)

    @classmethod
    def after(cls, seconds: float, clock: Clock | None = None) -> Deadline:
        """The deadline `seconds` from now."""
        clock = clock or RealClock()
        return cls(clock.now() + seconds, clock)

    def left(self) -> float:
        """Seconds until the deadline; negative once it has passed."""
        return self.at - self.clock.now()

    def passed(self) -> bool:
        """True once no time is left."""
        return self.clock.now() >= self.at

    def check(self) -> None:
        """Raise `OutOfTimeError` once no time is left."""
        if self.passed():
            raise OutOfTimeError

    def slice(self, seconds: float) -> Deadline:
        """A deadline `seconds` from now, but never later than this one."""
        return Deadline(min(self.at, self.clock.now() + seconds), self.clock)

    def earlier(self, seconds: float) -> Deadline:
        """The deadline that leaves `seconds` between itself and this one."""
        return Deadline(self.at - seconds, self.clock)


@dataclass
class Watch:
    """A rare look at a deadline, so that looking does not slow down small pieces of work.

    A look happens when `every` units of work (any unit) were done since the last look.
    """

    deadline: Deadline
    every: int
    done: int = 0

    def look(self, work: int) -> None:
        """Count work that is about to be done. Raises `OutOfTimeError` if a look finds time up."""
        self.done += work
        if self.done >= self.every:
            self.done = 0
            self.deadline.check()


@dataclass(frozen=True)
class Budget:
    """The seconds that the user gives (`total`) and the seconds kept back to end cleanly."""

    total: float
    reserve: float

    @classmethod
    def of(cls, total: float) -> Budget:
        """Derive the reserve from the total.

        Killing workers takes well under a second. A late end costs more the longer the run was,
        so long budgets keep more (60 s at most).
        """
        return cls(total, min(60.0, 0.05 + 0.008 * total))

    @property
    def usable(self) -> float:
        return self.total - self.reserve


def parse_duration(text: str) -> float:
    """Seconds from `30s`, `5m`, `1.5h`, `1h30m` or a plain number of seconds.

    Raises `ValueError` for anything else, for zero, and for more than a year.
    """
    if not re.fullmatch(r"(\d+(\.\d+)?[smh])+|\d+(\.\d+)?", text.strip()):
        raise ValueError(f"{text!r} is no duration; write 30s, 5m, 12h or 1h30m")
    parts = re.findall(r"(\d+(?:\.\d+)?)([smh]?)", text)
    seconds = sum(float(number) * _UNITS[unit or "s"] for number, unit in parts)
    if seconds <= 0:
        raise ValueError(f"{text!r} is no time at all")
    if seconds > MAX_DURATION_S:
        raise ValueError(f"{text[:20]!r} is over a year")
    return seconds


def duration_of(option: str, text: str) -> float:
    """Seconds from the text of an option. Raises `DataError` naming the option."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise DataError(f"{option} {error}") from None


def format_duration(seconds: float) -> str:
    """`1h02m`, `4m05s` or `3.2s`: short, for progress lines."""
    if seconds < 59.95:
        return f"{max(0.0, seconds):.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s"
