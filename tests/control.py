"""A control: what any process on this machine was delayed by, while a test measured another.

A stranger's laptop is busy, and a run that is late there is late because of its neighbours. A test
of lateness allows what a process that does nothing was late by in the same seconds.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

EVERY_S = 1.0
NOTHING = "import subprocess, tempfile, json, logging, numpy"  # what a run's own start imports
MAX_FACTOR = 6.0  # times the budget of a quiet machine
QUIET_S = 0.2  # what that takes where nothing else runs


@dataclass
class Control:
    """The longest that a process took from its start to its end."""

    longest_s: float = 0.0

    def allows(self, seconds: float, steps: int = 1) -> float:
        """The seconds that a run may be late by here: those that it may be late by on a quiet
        machine, and for each of its steps that begins a process what the control was late by."""
        return seconds + steps * max(0.0, self.longest_s - QUIET_S)

    def sample(self) -> None:
        """Start a process, and wait for its end."""
        begun = time.monotonic()
        subprocess.run([sys.executable, "-c", NOTHING], check=True)
        self.longest_s = max(self.longest_s, time.monotonic() - begun)


def paced(seconds: float) -> str:
    """A budget that is to a run on this machine, as busy as it is now, what so many seconds are on
    a quiet one."""
    measured = Control()
    measured.sample()
    return f"{seconds * min(max(1.0, measured.longest_s / QUIET_S), MAX_FACTOR):.1f}s"


def yardstick_s() -> float:
    """The processor seconds of a fixed piece of work, now and here: about 0.1.

    What a test allows in yardsticks holds on a slower processor, too, and on one whose other half
    is busy.
    """
    begun = time.process_time()
    sum(i * i for i in range(1_000_000))
    return time.process_time() - begun


@contextmanager
def control() -> Iterator[Control]:
    """Measure beside the block."""
    measured, over = Control(), threading.Event()

    def measure() -> None:
        while not over.is_set():
            measured.sample()
            over.wait(EVERY_S)

    thread = threading.Thread(target=measure)
    thread.start()
    try:
        yield measured
    finally:
        over.set()
        thread.join()
