"""The fate of every task of a run: pure functions from a record to findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from solver.answers.ensemble import RULES, Answer, Evidence, answer
from solver.answers.select import SELECTORS
from solver.config import BEFORE
from solver.data.journal import ALL_TASKS, JobRecord, Replay
from solver.data.template import template
from solver.grid import Attempt, Candidate, Grid, Task, key, same, settled
from submission.runs.recorded import Recorded

# Results for a test input, from best to worst; the last if the output is not known.
FATES = ("first", "second", "unchosen", "unfound", "unknown")


def fate_of(attempts: Sequence[Grid], truth: Grid, *, found: bool) -> str:
    """The fate of a test input with a known output; `found`: some candidate is the output."""
    for name, attempt in zip(FATES[:2], attempts, strict=True):
        if same(attempt, truth):
            return name
    return "unchosen" if found else "unfound"


@dataclass(frozen=True, eq=False)
class Ballot:
    """A distinct grid that was proposed for a test input, and the evidence for the grid."""

    grid: Grid
    support: tuple[Candidate, ...]  # distinct; programs first, then guesses, likeliest first

    @property
    def votes(self) -> int:
        """The number of draws that gave this grid."""
        return sum(candidate.votes for candidate in self.support)

    @property
    def program(self) -> str | None:
        """The likeliest program that made the grid; None if no program did."""
        return next((c.program for c in self.support if c.program is not None), None)

    @property
    def scores(self) -> tuple[float, ...]:
        """Log-likelihoods of the grid under the fixed views.

        They are taken from the candidate that was measured under most views.
        """
        return max((c.scores for c in self.support), key=len)


@dataclass(frozen=True, eq=False)
class Output:
    """One test input: its two attempts, all proposed grids, and the truth if known.

    sources: for each attempt, the engine or other source that the attempt came from.
    ballots: the proposed grids. The grids of the two attempts come first, then other grids of
    programs, then other guesses.
    """

    input: Grid
    attempts: tuple[Grid, Grid]
    sources: tuple[str, str]
    ballots: tuple[Ballot, ...]
    truth: Grid | None

    @property
    def right(self) -> bool:
        """True if either attempt is the truth."""
        return self.fate in ("first", "second")

    @property
    def rank(self) -> int | None:
        """The place of the truth among the ballots; None if no ballot is the truth."""
        truth = self.truth
        if truth is None:
            return None
        places = (i for i, ballot in enumerate(self.ballots) if same(ballot.grid, truth))
        return next(places, None)

    @property
    def fate(self) -> str:
        """One of `FATES`."""
        if self.truth is None:
            return "unknown"
        return fate_of(self.attempts, self.truth, found=self.rank is not None)

    @property
    def wrong_cells(self) -> float | None:
        """Fraction of wrong cells in the better attempt; 1 if neither attempt has the right shape.

        None without a known output.
        """
        if self.truth is None:
            return None
        fitting = [a for a in self.attempts if a.shape == self.truth.shape]
        return min((float((a != self.truth).mean()) for a in fitting), default=1.0)


@dataclass(frozen=True, eq=False)
class Finding:
    """One task: the answer, its cost, and its errors.

    state, confidence: the same as in the task's `Answer`.
    ended: false if the run was cut off before booking the task's terminal state.
    jobs: indices of the task's jobs among the journal's job records.
    seconds: total seconds of these jobs.
    trouble: number of these jobs that ended with an error.
    """

    task: Task
    outputs: tuple[Output, ...]
    state: str
    confidence: float
    ended: bool
    jobs: tuple[int, ...]
    seconds: float
    trouble: int

    @property
    def score(self) -> float | None:
        """Fraction of the task's test inputs solved (pass@2); None without known outputs."""
        if any(output.truth is None for output in self.outputs):
            return None
        return sum(output.right for output in self.outputs) / len(self.outputs)


def findings(run: Recorded) -> list[Finding]:
    """A finding for each task, in the order of the run."""
    by_task: dict[str, list[Candidate]] = {task.id: [] for task in run.tasks}
    for candidate in run.replay.candidates:
        by_task.get(candidate.task, []).append(candidate)
    jobs: dict[str, list[int]] = {task.id: [] for task in run.tasks}
    for i, job in enumerate(run.replay.jobs):
        jobs.get(job.task, []).append(i)
    return [_finding(run, task, by_task[task.id], jobs[task.id]) for task in run.tasks]


def _finding(
    run: Recorded, task: Task, candidates: Sequence[Candidate], jobs: Sequence[int]
) -> Finding:
    selector = str(run.config.get("selector"))
    selector = selector if selector in SELECTORS else "experts"
    rule = str(run.config.get("ensemble"))
    rule = rule if rule in RULES else BEFORE["ensemble"]
    valid = [c for c in candidates if c.test < len(task.tests)]
    given = answer(task, valid, template(task), selector, rule)
    outputs = [_output(run, task, test, valid, given, selector) for test in range(len(task.tests))]
    records = [run.replay.jobs[i] for i in jobs]
    return Finding(
        task,
        tuple(outputs),
        given.state,
        given.confidence,
        task.id in run.replay.terminal,
        tuple(jobs),
        sum(record.cost_s for record in records),
        sum(record.error is not None for record in records),
    )


def _output(
    run: Recorded,
    task: Task,
    test: int,
    candidates: Sequence[Candidate],
    given: Answer,
    selector: str,
) -> Output:
    first, second = given.attempts[test]
    ballots = _ballots([c for c in candidates if c.test == test], (first, second), selector)
    attempts = (first.grid, second.grid)
    if run.submission is not None:
        handed_in = run.submission[task.id][test]
        attempts = (handed_in[0], handed_in[1])
    by_grid = {key(a.grid): a.source for a in (first, second)}
    for ballot in ballots:
        by_grid.setdefault(key(ballot.grid), ballot.support[0].engine)
    one, two = (by_grid.get(key(grid), "template") for grid in attempts)
    truth = run.solutions[task.id][test] if run.solutions else None
    return Output(task.tests[test], attempts, (one, two), ballots, truth)


def _ballots(
    found: Sequence[Candidate], given: Sequence[Attempt], selector: str
) -> tuple[Ballot, ...]:
    """Every distinct grid with all its support: the attempts, then programs' grids, then guesses.

    An attempt without support (a template) is left out.
    """
    support: dict[bytes, dict[object, Candidate]] = {key(a.grid): {} for a in given}
    weighed = Evidence(tuple(found), selector)
    for candidate in (c for group in (*weighed.programs, *weighed.guesses) for c in group.support):
        support.setdefault(key(candidate.grid), {}).setdefault(candidate.identity, candidate)
    groups = [tuple(group.values()) for group in support.values()]
    return tuple(Ballot(group[0].grid, group) for group in groups if group)


# --- the run as a whole ---------------------------------------------------------------


@dataclass(frozen=True)
class EngineFinding:
    """The work and the candidates of one engine.

    jobs, seconds: number of the engine's jobs, and their total seconds.
    candidates: number of candidates that the engine proposed.
    covered: number of outputs for which the engine proposed the truth.
    alone: number of outputs for which only this engine proposed the truth.
    `covered` and `alone` are None without known outputs.
    """

    engine: str
    jobs: int
    seconds: float
    candidates: int
    covered: int | None
    alone: int | None


def engines(run: Recorded, found: Sequence[Finding]) -> list[EngineFinding]:
    """A finding for each engine, in the order of the engines' first jobs."""
    who = [proposers(output) for finding in found for output in finding.outputs]
    proposed = Counter(c.engine for c in settled(run.replay.candidates) if c.votes)
    names = dict.fromkeys([job.engine for job in run.replay.jobs] + list(proposed))
    known = run.solutions is not None
    result = []
    for name in names:
        jobs = [job for job in run.replay.jobs if job.engine == name]
        result.append(
            EngineFinding(
                name,
                len(jobs),
                sum(job.cost_s for job in jobs),
                proposed[name],
                sum(name in right for right in who) if known else None,
                sum(right == {name} for right in who) if known else None,
            )
        )
    return result


def proposers(output: Output) -> set[str]:
    """The engines that proposed the truth of a test input."""
    place = output.rank
    return set() if place is None else {c.engine for c in output.ballots[place].support if c.votes}


def outputs_of(found: Iterable[Finding]) -> list[Output]:
    """All test inputs of the run."""
    return [output for finding in found for output in finding.outputs]


def retries(replay: Replay) -> set[int]:
    """Indices of jobs that repeat an engine's work on a task after an error.

    Each error makes at most one later job a retry.
    """
    failed: set[tuple[str, str]] = set()
    again = set()
    for i, job in enumerate(replay.jobs):
        work = (job.task, job.engine)
        if work in failed:
            again.add(i)
            failed.remove(work)
        if job.error is not None:
            failed.add(work)
    return again


@dataclass(frozen=True)
class Failure:
    """An error, the line of the error that gives the reason, and indices of the jobs it ended."""

    error: str
    reason: str
    jobs: tuple[int, ...]


def failures(replay: Replay) -> list[Failure]:
    """Every distinct error, most frequent first."""
    jobs: dict[str, list[int]] = {}
    for i, job in enumerate(replay.jobs):
        if job.error is not None:
            jobs.setdefault(job.error, []).append(i)
    ranked = sorted(jobs.items(), key=lambda item: -len(item[1]))
    return [Failure(error, reason(replay.jobs[where[0]]), tuple(where)) for error, where in ranked]


def reason(job: JobRecord) -> str:
    """The reason of a job's error, in a line: the last line of a traceback, else the first line."""
    lines = (job.error or "").strip().splitlines() or [""]
    return lines[-1] if job.outcome == "error" else lines[0]


def ending(job: JobRecord) -> str:
    """The outcome of a job, in words, with the job's rung of the ladder of memory if not 0."""
    return job.outcome if not job.rung else f"{job.outcome}, rung {job.rung}"


def task_name(job: JobRecord) -> str:
    """The job's task, in words."""
    return "all tasks" if job.task == ALL_TASKS else job.task
