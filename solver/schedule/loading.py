"""Loading of engines as part of the plan: its cost, and which worker holds which engine.

A worker loads an engine before its first job of that stage, as a step of its own. What that takes
is expected from the stage's setting until the run has seen it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from solver.config import Stage


@dataclass(frozen=True, eq=False)
class Load:
    """A decision: this worker loads the stage's engine, so far down the stage's ladder."""

    stage: int
    rung: int = 0


class Loading:
    """What the policy knows of loading, by stage."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._expected = [stage.loading_s for stage in stages]
        self._ready = [0] * len(stages)
        self._failed: set[int] = set()

    def expected_s(self, stage: int) -> float:
        """Seconds of loading the engine: as the last time, or as its stage says."""
        return self._expected[stage]

    def ready(self, stage: int) -> int:
        """The number of workers that have the engine."""
        return self._ready[stage]

    def failed(self, stage: int) -> bool:
        """True if loading has failed: then each job loads by itself, so that a failure costs a
        task and walks the ladder like any other."""
        return stage in self._failed

    def record(self, stage: int, outcome: str, seconds: float) -> None:
        """Book how loading ended (`LoadRecord.outcome`), in this process or an earlier one."""
        if outcome == "finished":
            self._expected[stage] = seconds
        elif outcome != "stopped":
            self._failed.add(stage)

    def gained(self, stage: int) -> None:
        """One more worker has the engine."""
        self._ready[stage] += 1

    def lost(self, stages: Iterable[int]) -> None:
        """The process of a worker that had these engines has ended."""
        for stage in stages:
            self._ready[stage] -= 1

    def replacement_s(self, stages: Iterable[int]) -> float:
        """Seconds until another process could do what one with these engines does."""
        return sum(self._expected[stage] for stage in stages)
