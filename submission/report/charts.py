"""The figures of a report as numbers: places and lengths, computed before drawing.

Lengths along time or probability are in permille of the figure's width.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from solver.data.journal import JobRecord, LoadRecord, Replay
from solver.deadline import format_duration
from submission.report.findings import (
    Finding,
    Output,
    ending,
    outputs_of,
    reason,
    retries,
    task_name,
)
from submission.runs.recorded import Recorded, table_of
from submission.runs.stats import interval

WIDTH = 1000.0
BINS = 10
TICKS = 6


@dataclass(frozen=True)
class Whisker:
    """A mean of `count` scores with its 95 % interval (`low`, `high`); all between 0 and 1."""

    name: str
    mean: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Bar:
    """A job on a worker's lane.

    x, width: start and length of the engine's work.
    wait: length of the loading before this work.
    stage: number of the job's engine, in the order of first jobs.
    kind: `failed` if the engine raised, `died` for any other error, else the job's outcome.
    retry: true if the job repeats a job that ended with an error.
    task: number of the job's task; -1 for a job over all tasks.
    """

    x: float
    width: float
    wait: float
    stage: int
    kind: str
    retry: bool
    task: int
    title: str


@dataclass(frozen=True)
class Wait:
    """The loading of an engine ahead of jobs: `x` is the start, `width` the length."""

    x: float
    width: float
    title: str


@dataclass(frozen=True)
class Lane:
    """A worker's time.

    bars: the worker's jobs.
    waits: the engines that the worker loaded ahead of jobs.
    busy, loading: fractions of the time spent in jobs and in loading.
    """

    worker: int
    bars: tuple[Bar, ...]
    waits: tuple[Wait, ...]
    busy: float
    loading: float


@dataclass(frozen=True)
class Timeline:
    """The time of one process of the run.

    seconds: length of the axis.
    ended: moment at which the last job ended, in seconds.
    ticks: (place, label) of each mark of the axis.
    outcomes: number of jobs by outcome.
    retries: number of jobs that repeat a job that ended with an error.
    """

    began: str
    seconds: float
    ended: float
    ticks: tuple[tuple[float, str], ...]
    lanes: tuple[Lane, ...]
    outcomes: dict[str, int]
    retries: int


@dataclass(frozen=True)
class Bin:
    """Outputs whose task's confidence is in a range.

    confidence: mean confidence of these outputs.
    right: fraction of these outputs whose first attempt is right.
    """

    low: float
    high: float
    confidence: float
    right: Whisker


def whisker(name: str, scores: Sequence[float], seed: int) -> Whisker:
    """The mean of scores with its bootstrap interval. `scores` must not be empty."""
    low, high = interval(scores, seed)
    return Whisker(name, sum(scores) / len(scores), low, high, len(scores))


def scores(run: Recorded, found: Sequence[Finding]) -> list[Whisker]:
    """The mean scores over tasks and over outputs, of first attempts only, and the coverage.

    The coverage is the score if the right candidate had always been chosen. Empty without known
    outputs.
    """
    if run.solutions is None:
        return []
    outputs = outputs_of(found)
    rows = {
        "mean over tasks": [finding.score or 0.0 for finding in found],
        "mean over outputs": [float(o.right) for o in outputs],
        "first attempts only": [float(o.fate == "first") for o in outputs],
        "any candidate": [float(o.right or o.rank is not None) for o in outputs],
    }
    return [whisker(name, values, seed=0) for name, values in rows.items()]


def calibration(found: Sequence[Finding]) -> list[Bin]:
    """The fraction of right first attempts by confidence, in `BINS` ranges without empty ones."""
    known = [
        (finding.confidence, float(output.fate == "first"))
        for finding in found
        for output in finding.outputs
        if output.truth is not None
    ]
    bins = []
    for i in range(BINS):
        inside = [(c, hit) for c, hit in known if min(int(c * BINS), BINS - 1) == i]
        if inside:
            mean = sum(c for c, _ in inside) / len(inside)
            right = whisker(f"{mean:.2f}", [hit for _, hit in inside], seed=0)
            bins.append(Bin(i / BINS, (i + 1) / BINS, mean, right))
    return bins


def calibration_error(bins: Sequence[Bin]) -> float:
    """The expected calibration error: mean distance between confidence and fraction right."""
    total = sum(bin_.right.count for bin_ in bins)
    return sum(b.right.count * abs(b.confidence - b.right.mean) for b in bins) / max(1, total)


def timelines(run: Recorded) -> list[Timeline]:
    """A timeline for each process that worked on the run."""
    names = list(dict.fromkeys(job.engine for job in run.replay.jobs))
    index = {task.id: i for i, task in enumerate(run.tasks)}
    again = retries(run.replay)
    return [
        _timeline(run.replay, process, names, index, again)
        for process in range(len(run.replay.runs))
    ]


def _timeline(
    replay: Replay, process: int, names: list[str], index: dict[str, int], again: set[int]
) -> Timeline:
    header = replay.runs[process]
    budget = table_of(header, "config").get("budget_s")
    budget_s = float(budget) if isinstance(budget, int | float) and 0 < budget < 1e9 else 0.0
    mine = [i for i, owner in enumerate(replay.processes) if owner == process]
    jobs = {i: replay.jobs[i] for i in mine}
    owners = zip(replay.loads, replay.load_processes, strict=True)
    loads = [load for load, owner in owners if owner == process]
    ended = max((job.started_s + job.cost_s for job in jobs.values()), default=0.0)
    loaded = max((load.started_s + load.cost_s for load in loads), default=0.0)
    seconds = max(budget_s, ended, loaded) or 1.0
    lanes = []
    for worker in sorted({job.worker for job in jobs.values()} | {load.worker for load in loads}):
        own = {i: job for i, job in jobs.items() if job.worker == worker}
        bars = [
            _bar(job, seconds, names.index(job.engine), i in again, index.get(job.task, -1))
            for i, job in own.items()
        ]
        busy = sum(job.cost_s for job in own.values()) / seconds
        ahead = [load for load in loads if load.worker == worker]
        waits = tuple(_wait(load, seconds) for load in ahead)
        loading_s = sum(map(_waited, own.values())) + sum(load.cost_s for load in ahead)
        lanes.append(Lane(worker, tuple(bars), waits, busy, loading_s / seconds))
    return Timeline(
        began=str(header.get("at", "")),
        seconds=seconds,
        ended=ended,
        ticks=_ticks(seconds),
        lanes=tuple(lanes),
        outcomes=dict(Counter(job.outcome for job in jobs.values()).most_common()),
        retries=len(again & jobs.keys()),
    )


def _bar(job: JobRecord, seconds: float, stage: int, retry: bool, task: int) -> Bar:
    words = [
        f"{task_name(job)} · {job.engine}, pass {job.pass_ + 1} · {ending(job)}"
        + (", a retry" if retry else ""),
        f"{job.cost_s:.2f} s of {job.slice_s:.2f} s, from {job.started_s:.1f} s",
    ]
    if job.error:
        words.append(reason(job)[:200])
    scale = WIDTH / seconds
    width = max(0.4, job.cost_s * scale)
    wait = _waited(job) * scale
    kind = "failed" if job.outcome == "error" else "died" if job.error else job.outcome
    return Bar(job.started_s * scale, width, wait, stage, kind, retry, task, "\n".join(words))


def _wait(load: LoadRecord, seconds: float) -> Wait:
    ended = "" if load.outcome == "finished" else f" · {load.error or load.outcome}"[:200]
    title = f"loading {load.engine}{ended}\n{load.cost_s:.2f} s, from {load.started_s:.1f} s"
    scale = WIDTH / seconds
    return Wait(load.started_s * scale, max(0.4, load.cost_s * scale), title)


def _waited(job: JobRecord) -> float:
    """Seconds from the worker's getting the job to the engine's start, spent loading the engine.

    0 where an older journal does not have them.
    """
    return 0.0 if job.given_s is None else max(0.0, job.started_s - job.given_s)


def _ticks(seconds: float) -> tuple[tuple[float, str], ...]:
    """(place, label) of round moments along the axis."""
    steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 4 * 3600, 86400]
    step = next((s for s in steps if seconds / s <= TICKS), seconds / TICKS)
    count = int(seconds / step)
    moments = [i * step for i in range(count + 1)]
    return tuple((WIDTH * moment / seconds, _moment(moment)) for moment in moments)


def _moment(seconds: float) -> str:
    """A round moment as text, without final parts that are 0."""
    if seconds < 60:
        return f"{seconds:g}s" if seconds else "0"
    return format_duration(seconds).removesuffix("00s").removesuffix("00m")


def fates(outputs: Sequence[Output]) -> dict[str, int]:
    """The number of test inputs with each of `FATES`; a fate without any is left out."""
    return dict(Counter(output.fate for output in outputs))
