"""The state of a run: candidates and answers of every task, with journal and submission.

Every event goes to the journal first, then into the answers. The submission on disk is replaced
whenever it is out of date, but never so often that writing would cost the workers' time.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from solver.answers.ensemble import Answer, Evidence, answer, by_test, fused, unanswered
from solver.data.journal import JobRecord, Journal, LoadRecord, Replay, candidate_record
from solver.data.submissions import HandIn, dump_task, write_submission
from solver.data.template import template
from solver.deadline import Clock, format_duration
from solver.grid import Candidate, DataError, Task
from solver.schedule.backlog import WHOLE
from solver.schedule.cost import Rates

WRITE_EVERY_S = 1.0
WRITE_SHARE = 0.005  # of one core: the most that rewriting the submission may take
MAX_KNOWN_GRIDS = 8  # the most grids for a test input that a later job gets

log = logging.getLogger("solver")


@dataclass(frozen=True)
class Snapshot:
    """Progress at a moment.

    total, attempted, ended: numbers of tasks in all, of attempted tasks, of finished tasks.
    states: number of answers by kind.
    left_s: seconds that are left.
    tried: number of tasks that each engine has tried.
    doing: each worker's present work, in words.
    notes: facts about the run that the user should know.
    """

    total: int
    attempted: int
    ended: int
    states: dict[str, int]
    left_s: float
    tried: dict[str, int]
    doing: tuple[str, ...]
    notes: tuple[str, ...] = ()


def by_task(tasks: Sequence[Task], candidates: Iterable[Candidate]) -> list[list[Candidate]]:
    """The candidates of each task, without candidates for a test input that the task lacks."""
    index = {task.id: i for i, task in enumerate(tasks)}
    found: list[list[Candidate]] = [[] for _ in tasks]
    for candidate in candidates:
        i = index.get(candidate.task)
        if i is not None and candidate.test < len(tasks[i].tests):
            found[i].append(candidate)
    return found


class Board:
    """Candidates, answers and errors by task; the only writer of journal and submission."""

    def __init__(
        self,
        tasks: Sequence[Task],
        selector: str,
        rule: str,
        journal: Journal,
        path: Path,
        clock: Clock,
        hand_in: HandIn | None = None,
    ) -> None:
        self._hand_in = hand_in
        self.tasks = tuple(tasks)
        self._selector, self._rule = selector, rule
        self._journal, self.path, self._clock = journal, path, clock
        self._fallback = [template(task) for task in tasks]
        self._found: list[list[Candidate]] = [[] for _ in tasks]
        self._errors: list[list[str]] = [[] for _ in tasks]
        self._tried: dict[str, set[int]] = {}  # by engine
        self._ended: set[int] = set()
        self._answers = [unanswered(two) for two in self._fallback]
        self._entries = {
            task.id: dump_task(a.attempts) for task, a in zip(tasks, self._answers, strict=True)
        }
        self._stale: set[int] = set()  # tasks whose answer is older than their candidates
        self._unwritten = True
        self.notes: list[str] = []
        self._journaled = True
        self._next_write = clock.now()
        self.write_cost_s = 0.0

    # --- what happens -------------------------------------------------------------

    def restore(self, replayed: Replay) -> None:
        """Take over the candidates and jobs of an earlier process of this run."""
        self._found = by_task(self.tasks, replayed.candidates)
        self._stale = {i for i, found in enumerate(self._found) if found}
        index = {task.id: i for i, task in enumerate(self.tasks)}
        for record in replayed.jobs:
            if record.task in index:
                self._book(index[record.task], record)

    def candidate(self, task: int, found: Candidate) -> None:
        """Journal and count a new candidate."""
        self.record(candidate_record(found))
        self._found[task].append(found)
        self._stale.add(task)

    def job(self, task: int, record: JobRecord) -> float:
        """Book a job's end. Returns the present confidence in the task's answer."""
        self.record({"kind": "job", **asdict(record)})
        if task == WHOLE:
            self._warn(record)
            return 0.0
        self._book(task, record)
        return self.answer(task).confidence

    def load(self, record: LoadRecord) -> None:
        """Book an engine that a worker has loaded or tried to load."""
        self.record({"kind": "load", **asdict(record)})
        took = format_duration(record.cost_s)
        if record.outcome == "stopped":
            self._note(f"{record.engine} was still loading after {took}, when the run ended")
        else:
            ended = record.error or record.outcome
            log.info("worker %d loaded %s in %s: %s", record.worker, record.engine, took, ended)

    def too_late(self, engine: str, part_s: float, loading_s: float) -> None:
        """Say at the start that an engine cannot be loaded in its part of the time."""
        part, loading = format_duration(part_s), format_duration(loading_s)
        self._note(
            f"{engine} cannot be ready in time: its part of the run is {part}, and loading takes "
            f"about {loading}; it answers only if others leave time"
        )

    def say_silent(self, engines: Iterable[str]) -> None:
        """Say at the end which engines have not ended a job."""
        for engine in dict.fromkeys(engines):
            if engine not in self._tried:
                self._note(f"{engine} tried no task")

    def _note(self, text: str) -> None:
        """Keep and log a fact about the whole run that the user should know."""
        self.notes.append(text)
        log.warning("%s", text)

    def calibrated(self, engine: str, rates: Rates, first_s: float) -> None:
        """Book and log the present cost of an engine's passes.

        `first_s`: expected end of all first passes, in seconds from the start of the work.
        """
        about = {"kind": "cost", "engine": engine, **asdict(rates), "first_s": round(first_s, 1)}
        self.record(about)
        ends = format_duration(first_s)
        log.info("a pass of %s takes %s; first passes end at %s", engine, rates, ends)

    def end(self, task: int) -> None:
        """Book a task's terminal state: nothing more will be tried."""
        if task in self._ended:
            return
        self._ended.add(task)
        self.record(self._terminal(task))

    def _terminal(self, task: int) -> dict[str, object]:
        now = self.answer(task)
        return {
            "kind": "task",
            "task": self.tasks[task].id,
            "state": now.state,
            "confidence": round(now.confidence, 4),
            "sources": [[a.source for a in two] for two in now.attempts],
            "errors": self._errors[task],
        }

    def _book(self, task: int, record: JobRecord) -> None:
        self._tried.setdefault(record.engine, set()).add(task)
        if record.error:
            reason = record.error.strip().splitlines()
            shown = reason[-1] if record.outcome == "error" else reason[0]
            self._errors[task].append(f"{record.engine}: {shown}")
            self._warn(record)

    def _warn(self, record: JobRecord) -> None:
        if record.error:
            log.warning(
                "task %s, %s %s: %s", record.task, record.engine, record.outcome, record.error
            )

    def record(self, line: dict[str, object]) -> None:
        """Journal a line. A full disk loses the journal, not the run."""
        self._keep(lambda: self._journal.append(line))

    def _keep(self, write: Callable[[], None]) -> None:
        try:
            write()
            self._journaled = True
        except OSError as error:
            if self._journaled:  # one message is enough
                reason = error.strerror
                log.error(
                    "the journal cannot be written (%s); the run continues without a journal",
                    reason,
                )
            self._journaled = False

    # --- answers ------------------------------------------------------------------

    def answer(self, task: int) -> Answer:
        """The task's answer from all its candidates so far."""
        if task in self._stale:
            self._stale.discard(task)
            found, two = self._found[task], self._fallback[task]
            try:
                now = answer(self.tasks[task], found, two, self._selector, self._rule)
            except Exception:
                # Candidates that cannot be weighed cost one task; other tasks are still written.
                log.exception("task %s: its answer stays as it is", self.tasks[task].id)
                return self._answers[task]
            self._answers[task] = now
            self._entries[self.tasks[task].id] = dump_task(self._answers[task].attempts)
            self._unwritten = True
        return self._answers[task]

    def known(self, task: int) -> list[Candidate]:
        """The best grids so far for each test input, programs' grids and guesses in turn."""
        found = by_test(self.tasks[task], self._found[task])
        weighed = [Evidence(some, self._selector) for some in found]
        return [ranked.support[0] for each in weighed for ranked in fused(each)[:MAX_KNOWN_GRIDS]]

    def answers(self) -> dict[str, Answer]:
        """Every task's answer, by id."""
        return {task.id: self.answer(i) for i, task in enumerate(self.tasks)}

    def errors(self) -> dict[str, list[str]]:
        """A line for each failed job, by the id of its task."""
        errors = zip(self.tasks, self._errors, strict=True)
        return {task.id: lines for task, lines in errors if lines}

    def snapshot(self, left_s: float, doing: tuple[str, ...]) -> Snapshot:
        return Snapshot(
            total=len(self.tasks),
            attempted=len(set().union(*self._tried.values())),
            ended=len(self._ended),
            states=Counter(a.state for a in self._answers),
            left_s=left_s,
            tried={engine: len(tasks) for engine, tasks in self._tried.items()},
            doing=doing,
            notes=tuple(self.notes),
        )

    # --- the submission -----------------------------------------------------------

    @property
    def changed(self) -> bool:
        """True if a write now would change the submission on disk."""
        return bool(self._stale or self._unwritten) or not self.path.exists()

    def write_if_due(self) -> None:
        """Replace the submission if an answer changed and the last write is long enough ago.

        A write that fails is logged and tried again; the old submission stays on disk.
        """
        if self.changed and self._clock.now() >= self._next_write:
            try:
                self.write()
            except (OSError, DataError) as error:
                log.error("%s cannot be replaced (%s); the old file stays", self.path, error)
                self._next_write = self._clock.now() + 5 * WRITE_EVERY_S

    def write(self) -> None:
        """Replace the submission now. Raises `OSError` if it cannot be written."""
        start = self._clock.now()
        for task in sorted(self._stale):
            self.answer(task)
        self._keep(self._journal.sync)  # the journal must be as durable as the submission
        self.path.parent.mkdir(parents=True, exist_ok=True)  # the folder may have been deleted
        write_submission(self.path, self._entries, self.tasks)
        if self._hand_in:
            self._write_hand_in(self._hand_in)
        self._unwritten = False
        self.write_cost_s = self._clock.now() - start
        pause = max(WRITE_EVERY_S, self.write_cost_s / WRITE_SHARE)
        self._next_write = self._clock.now() + pause

    def _write_hand_in(self, wanted: HandIn) -> None:
        answers = zip(self.tasks, self._answers, strict=True)
        entries = {task.id: dump_task(now.attempts, wanted.attempts) for task, now in answers}
        write_submission(wanted.path, entries, self.tasks, wanted.attempts)

    def close(self) -> None:
        """Book the terminal state of all remaining tasks in one write, since time is over."""
        left = [task for task in range(len(self.tasks)) if task not in self._ended]
        self._ended.update(left)
        self._keep(lambda: self._journal.extend([self._terminal(task) for task in left]))
