"""Loading of engines as part of the plan: the cost of loading, and the engines of each worker.

A worker loads an engine before its first job of the engine's stage, as a separate step. Until the
run has seen the seconds of loading, the stage's setting is expected.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from solver.config import Stage


@dataclass(frozen=True, eq=False)
class Load:
    """A decision: a worker loads the stage's engine, `rung` rungs down the stage's ladder."""

    stage: int
    rung: int = 0


class Loading:
    """The policy's knowledge about loading, by stage."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._expected = [stage.loading_s for stage in stages]
        self._ready = [0] * len(stages)
        self._failed: set[int] = set()

    def expected_s(self, stage: int) -> float:
        """Seconds of loading the engine: the last measured number, or the stage's setting."""
        return self._expected[stage]

    def ready(self, stage: int) -> int:
        """The number of workers that have the engine."""
        return self._ready[stage]

    def failed(self, stage: int) -> bool:
        """True if loading has failed.

        From then on each job loads the engine itself. A failure then costs one task, and goes down
        the ladder like any other failure.
        """
        return stage in self._failed

    def record(self, stage: int, outcome: str, seconds: float) -> None:
        """Book how loading ended (`LoadRecord.outcome`), in this process or an earlier one."""
        if outcome == "finished":
            self._expected[stage] = seconds
        elif outcome != "stopped":
            self._failed.add(stage)

    def gained(self, stage: int) -> None:
        """Book that one more worker has the engine."""
        self._ready[stage] += 1

    def lost(self, stages: Iterable[int]) -> None:
        """Book the end of a worker's process that had these engines."""
        for stage in stages:
            self._ready[stage] -= 1

    def replacement_s(self, stages: Iterable[int]) -> float:
        """Seconds until another process could replace a process with these engines."""
        return sum(self._expected[stage] for stage in stages)
