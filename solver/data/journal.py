"""The journal: what a run has found out, appended line by line, and its replay.

`candidates.jsonl` holds one JSON object a line: `run` (config, versions, seed, tasks) when
a process starts, `candidate` for each prediction, `job` when a job ends, `load` when a worker has
loaded an engine, `cost` when the cost model was calibrated, `task` when a task reaches its
terminal state. The parent alone writes it. It is the resume point: whatever a crash leaves of it
can be replayed, a broken line costs that line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from solver.data.jsonio import sync
from solver.grid import Candidate, DataError, Grid, freeze, is_grid

FORMAT = 1  # a line may gain fields without a new format: readers take defaults for the old
READABLE = range(1, FORMAT + 1)
JOURNAL_FILE = "candidates.jsonl"
ALL_TASKS = "*"  # stands for the task in the record of a job over all of them


@dataclass(frozen=True)
class JobRecord:
    """How one job ended.

    `outcome`: `finished` (the engine had no more to say), `sliced` (its time was up),
    `stopped` (the whole run ended), `memory` (it ran out of that and can be tried with less),
    `error` (it raised), `died` (its process ended, or was ended). `rung`: how far down its
    stage's ladder it was.
    `started_s` is when its engine began, in seconds since the workers did; before that, from
    `given_s` on, its worker was loading for this job. Older journals do not say.
    """

    task: str
    engine: str
    pass_: int
    outcome: str
    cost_s: float
    slice_s: float
    worker: int
    started_s: float
    error: str | None = None
    given_s: float | None = None
    rung: int = 0


@dataclass(frozen=True)
class LoadRecord:
    """How a worker loaded an engine ahead of its jobs; older journals have none.

    `outcome`: `finished`, `stopped` (the whole run ended), `memory` (it ran out of that), `error`
    (it raised) or `died` (its process ended, or was ended). `started_s` counts from when the
    workers began. `rung`: how far down its stage's ladder it was.
    """

    engine: str
    outcome: str
    cost_s: float
    worker: int
    started_s: float
    rung: int = 0
    error: str | None = None


@dataclass
class Replay:
    """What a journal says: candidates, job records and cost models in order, and lines lost.

    `heard[i]` of the candidates stood before `jobs[i]`, so each candidate can be given to the
    job that found it; `begun[i]` of them stood before `runs[i]`.
    `runs` has a header for each process that worked on the run, `processes[i]` says which of
    them job i belongs to, `load_processes[i]` the same of loads, and `terminal` holds what the
    last of them has booked.
    """

    runs: list[dict[str, Any]] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    jobs: list[JobRecord] = field(default_factory=list)
    heard: list[int] = field(default_factory=list)
    processes: list[int] = field(default_factory=list)
    loads: list[LoadRecord] = field(default_factory=list)
    load_processes: list[int] = field(default_factory=list)
    costs: list[dict[str, Any]] = field(default_factory=list)
    terminal: dict[str, dict[str, Any]] = field(default_factory=dict)
    broken: int = 0
    begun: list[int] = field(default_factory=list)

    def by_ended_jobs(self) -> Replay:
        """Without what jobs found that were cut off, which a run of one worker does again."""
        candidates: list[Candidate] = []
        heard, since = [], 0
        for job, until, process in zip(self.jobs, self.heard, self.processes, strict=True):
            first = max([since, *self.begun[process : process + 1]])
            candidates += self.candidates[first:until] if job.outcome != "stopped" else []
            heard.append(len(candidates))
            since = until
        return replace(self, candidates=candidates, heard=heard, begun=[])


class Journal:
    """An append-only file of JSON lines, written by one process."""

    def __init__(self, path: Path) -> None:
        """Open for appending. A last line that a crash cut off is ended first."""
        torn = path.exists() and path.stat().st_size > 0 and not _ends_with_newline(path)
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._torn = torn

    def append(self, line: dict[str, Any]) -> None:
        """Append a record. Raises `OSError` (disk full, say); the next append then starts on
        a line of its own, so that a half-written record costs itself alone."""
        self.extend([line])

    def extend(self, lines: Sequence[dict[str, Any]]) -> None:
        """Append records at once, as `append` does one."""
        text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
        data = (b"\n" if self._torn else b"") + text.encode()
        self._torn = True
        while data:
            data = data[os.write(self._fd, data) :]
        self._torn = False

    def sync(self) -> None:
        """Make what was appended survive a power cut."""
        sync(self._fd)

    def close(self) -> None:
        os.close(self._fd)


def replay(path: Path) -> Replay:
    """Read a journal. Broken lines are counted and skipped.

    Raises `DataError` if the file is of another format version or cannot be read.
    """
    result = Replay()
    try:
        with open(path, "rb") as file:
            for line in file:
                if line.strip():
                    _replay_line(line, result, path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    return result


def _replay_line(line: bytes, result: Replay, path: Path) -> None:
    try:
        record = json.loads(line)
        kind = record.pop("kind")
        if kind == "run":
            if record["format"] not in READABLE:
                raise DataError(
                    f"{path}: journal format {record['format']}, this version reads up to {FORMAT}"
                )
            result.runs.append(record)
            result.begun.append(len(result.candidates))
            result.terminal.clear()
        elif kind == "candidate":
            result.candidates.append(candidate_of(record))
        elif kind == "job":
            result.jobs.append(job_of(record))
            result.heard.append(len(result.candidates))
            result.processes.append(max(0, len(result.runs) - 1))
        elif kind == "load":
            result.loads.append(load_of(record))
            result.load_processes.append(max(0, len(result.runs) - 1))
        elif kind == "cost":
            result.costs.append(record)
        elif kind == "task":
            result.terminal[_text(record["task"])] = record
        else:
            result.broken += 1
    except DataError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        result.broken += 1


def candidate_record(candidate: Candidate) -> dict[str, Any]:
    """A candidate as JSON values; the grid as one string of digits a row."""
    return {
        "kind": "candidate",
        "task": candidate.task,
        "test": candidate.test,
        "engine": candidate.engine,
        "view": candidate.view,
        "logprob": candidate.logprob,
        "program": candidate.program,
        "cost_s": round(candidate.cost_s, 4),
        "scores": candidate.scores,
        "votes": candidate.votes,
        "unlearned": round(candidate.unlearned, 6),
        "provisional": candidate.provisional,
        "grid": pack_grid(candidate.grid),
    }


def candidate_of(record: dict[str, Any]) -> Candidate:
    """The inverse of `candidate_record`, for older lines too, which say less.
    Raises `ValueError`, `KeyError` or `TypeError`."""
    logprob = record["logprob"]
    test, votes = record["test"], record.get("votes", 1)
    if type(test) is not int or test < 0:
        raise ValueError(f"test {test!r}")
    if type(votes) is not int or not 0 <= votes <= 10**9:
        raise ValueError(f"votes {votes!r}")
    if (unlearned := _number(record.get("unlearned", 0.0))) < 0:
        raise ValueError(f"unlearned {unlearned!r}")
    if type(provisional := record.get("provisional", False)) is not bool:
        raise ValueError(f"provisional {provisional!r}")
    return Candidate(
        task=_text(record["task"]),
        test=test,
        grid=unpack_grid(record["grid"]),
        engine=_text(record["engine"]),
        view=None if record["view"] is None else _text(record["view"]),
        logprob=None if logprob is None else _number(logprob),
        program=None if record["program"] is None else _text(record["program"]),
        cost_s=_number(record["cost_s"]),
        scores=tuple(map(_number, record.get("scores", ()))),
        votes=votes,
        unlearned=unlearned,
        provisional=provisional,
    )


def job_of(record: dict[str, Any]) -> JobRecord:
    """A job's record from its JSON values. Raises `ValueError`, `KeyError` or `TypeError`."""
    job = JobRecord(**record)
    for text in (job.task, job.engine, job.outcome, job.error or ""):
        _text(text)
    numbers = [job.pass_, job.worker, job.rung, job.cost_s, job.slice_s, job.started_s]
    for number in numbers if job.given_s is None else [*numbers, job.given_s]:
        _number(number)
    return job


def load_of(record: dict[str, Any]) -> LoadRecord:
    """A load's record from its JSON values. Raises `ValueError`, `KeyError` or `TypeError`."""
    load = LoadRecord(**record)
    for text in (load.engine, load.outcome, load.error or ""):
        _text(text)
    for number in (load.cost_s, load.worker, load.started_s, load.rung):
        _number(number)
    return load


def pack_grid(grid: Grid) -> list[str]:
    """One string of digits a row."""
    return ["".join(map(str, row)) for row in grid.tolist()]


def unpack_grid(rows: Any) -> Grid:
    """The inverse of `pack_grid`. Raises `ValueError` if that makes no grid."""
    if not isinstance(rows, list) or not all(isinstance(r, str) and r.isdecimal() for r in rows):
        raise ValueError("a grid is a list of strings of digits")
    cells = np.array([[int(cell) for cell in row] for row in rows], dtype=np.uint8)
    if not is_grid(cells):
        raise ValueError(f"a grid of shape {cells.shape}")
    return freeze(cells)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a text, got {type(value).__name__}")
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not abs(value) <= 1e9:  # refuses NaN too
        raise ValueError("expected a number of sane size")
    return float(value)


def _ends_with_newline(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
