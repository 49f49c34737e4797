"""The state of a run as its supervisor sees it: the policy decides, the board keeps every find.

In a run in steps, jobs that end move the deadline's clock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from solver.config import Config
from solver.data.journal import JobRecord, LoadRecord
from solver.deadline import Deadline
from solver.grid import Candidate
from solver.runtime.board import Board, Snapshot
from solver.schedule.backlog import WHOLE, Slot
from solver.schedule.loading import Load
from solver.schedule.policy import Policy


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

    # --- questions of a supervisor ------------------------------------------------

    def take(self, device: bool, loaded: Collection[int]) -> Slot | Load | None:
        """The next job, or the next engine to load, for a worker that has these stages' engines."""
        return self._policy.take(self.deadline.left(), device, loaded)

    def known(self, slot: Slot) -> Sequence[Candidate]:
        """The known candidates for the tasks of a job."""
        if slot.task == WHOLE:
            return []
        return [known for one in slot.every for known in self._board.known(one.task)]

    def replacement_s(self, loaded: Iterable[int]) -> float:
        """Seconds until another process could replace a process with these engines."""
        return self._policy.loading.replacement_s(loaded)

    # --- reports of a supervisor --------------------------------------------------

    def found(self, slot: Slot, candidate: Candidate) -> None:
        """Book a candidate that a job has found."""
        self._board.candidate(slot.task, candidate)

    def job_ended(self, slot: Slot, record: JobRecord) -> None:
        """Book the end of a job for one of its tasks, whatever its outcome."""
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
        """Book the end of an engine's loading, whatever its outcome."""
        self._board.load(record)
        self._policy.loaded(load, record.outcome, record.cost_s)

    def process_ended(self, loaded: Iterable[int]) -> None:
        """Book the end of a worker's process that had these engines."""
        self._policy.loading.lost(loaded)

    def given_up(self, device: bool) -> None:
        """Book that a worker never became ready, and that no other worker will follow."""
        self._policy.give_up(device)

    def tick(self, doing: tuple[str, ...]) -> None:
        """Write the submission if a write is due, and show the progress."""
        self._board.write_if_due()
        self.show(doing)

    def show(self, doing: tuple[str, ...]) -> None:
        """Show the watching function the run's progress and the work of its workers."""
        self._watch(self._board.snapshot(self.deadline.left(), doing))
