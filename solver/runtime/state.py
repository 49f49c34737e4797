"""The state of a run as its supervisor sees it: the policy decides, the board keeps every find.
found.

In a run in steps the deadline's clock is moved by the jobs that end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence

from solver.config import Config
from solver.data.journal import JobRecord, LoadRecord
from solver.deadline import Deadline
from solver.grid import Candidate
from solver.runtime.board import Board, Snapshot
from solver.schedule.backlog import WHOLE, Slot
from solver.schedule.loading import Load
from solver.schedule.policy import Policy

log = logging.getLogger("solver")


class RunState:
    """A run's policy, board and deadline, behind the questions and reports of a supervisor."""

    def __init__(
        self,
        config: Config,
        board: Board,
        policy: Policy,
        deadline: Deadline,
        watch: Callable[[Snapshot], None],
    ) -> None:
        self.deadline = deadline
        self._board, self._policy, self._watch = board, policy, watch
        self._in_steps = config.steps > 0
        self._began = deadline.clock.now()

    # --- what a supervisor asks ---------------------------------------------------

    def take(self, device: bool, loaded: Collection[int]) -> Slot | Load | None:
        """The next job, or the next engine to load, for a worker that has these stages' engines."""
        return self._policy.take(self.deadline.left(), device, loaded)

    def known(self, slot: Slot) -> Sequence[Candidate]:
        """The candidates that a job is told of."""
        return [] if slot.task == WHOLE else self._board.known(slot.task)

    def replacement_s(self, loaded: Iterable[int]) -> float:
        """Seconds until another process could do what one with these engines does."""
        return self._policy.loading.replacement_s(loaded)

    # --- what a supervisor reports ------------------------------------------------

    def found(self, slot: Slot, candidate: Candidate) -> None:
        """A job has found a candidate."""
        self._board.candidate(slot.task, candidate)

    def job_ended(self, slot: Slot, record: JobRecord) -> None:
        """A job has ended, whatever its outcome."""
        if self._in_steps:
            self.deadline.clock.sleep(record.cost_s)
        confidence = self._board.job(slot.task, record)
        loading_s = record.started_s - (record.given_s or 0.0)
        if self._policy.done(slot, record.outcome, record.cost_s, confidence, loading_s):
            self._board.end(slot.task)
        for engine, rates in self._policy.backlog.calibrated():
            first_s = self._policy.first_passes_s(self.deadline.left())
            past_s = self.deadline.clock.now() - self._began
            self._board.calibrated(engine, rates, past_s + first_s)

    def load_ended(self, load: Load, record: LoadRecord) -> None:
        """An engine is loaded, or could not be."""
        self._board.load(record)
        self._policy.loaded(load, record.outcome, record.cost_s)

    def process_ended(self, loaded: Iterable[int]) -> None:
        """The process of a worker that had these engines is gone."""
        self._policy.loading.lost(loaded)

    def given_up(self, device: bool) -> None:
        """A worker never became ready, and none will follow it."""
        self._policy.give_up(device)

    def log(self, line: str) -> None:
        """Something that a reader of the run's log should know."""
        log.info(line)

    def tick(self, doing: tuple[str, ...]) -> None:
        """Some time has passed: write what is due, and show the progress."""
        self._board.write_if_due()
        self.show(doing)

    def show(self, doing: tuple[str, ...]) -> None:
        """Tell whoever watches how the run stands, and what its workers are doing."""
        self._watch(self._board.snapshot(self.deadline.left(), doing))
