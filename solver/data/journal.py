"""The journal: the findings of a run, appended line by line, and their replay.

`candidates.jsonl` contains one JSON object a line:

- `run` (config, versions, seed, tasks) when a process starts;
- `candidate` for each prediction;
- `job` when a job ends;
- `load` when a worker has loaded an engine;
- `cost` when the cost model was calibrated;
- `task` when a task reaches its terminal state.

Only the parent writes the journal. A run resumes from its journal: any journal that a crash leaves
can be replayed, and a broken line loses only itself.
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

FORMAT = 1  # new fields of a line need no new format: old lines get defaults
READABLE = range(1, FORMAT + 1)
JOURNAL_FILE = "candidates.jsonl"
ALL_TASKS = "*"  # in place of the task in the record of a job over all tasks


@dataclass(frozen=True)
class JobRecord:
    """The end of one job.

    outcome, one of:
    - `finished`: the engine had nothing left to find;
    - `sliced`: the job's time was up;
    - `stopped`: the whole run ended;
    - `memory`: the job ran out of memory and can be tried with less;
    - `error`: the engine raised;
    - `died`: the job's process ended, or was ended.

    started_s: moment at which the engine began, in seconds since the workers began.
    given_s: moment at which the worker began to load for this job, in the same seconds. Older
    journals lack this field.
    rung: number of rungs that the job was down its stage's ladder.
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
    """The loading of an engine by a worker ahead of its jobs; older journals have no such record.

    outcome: `finished`, `stopped` (the whole run ended), `memory` (memory ran out), `error` (the
    engine raised) or `died` (the worker's process ended, or was ended).
    started_s: start of the loading, in seconds since the workers began.
    rung: number of rungs that the engine was down its stage's ladder.
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
    """The contents of a journal: candidates, job records and cost models in order, and lost lines.

    runs: a header for each process that worked on the run.
    heard: `heard[i]` is the number of candidates before `jobs[i]`, so that each candidate can be
    given to the job that found it.
    begun: `begun[i]` is the number of candidates before `runs[i]`.
    processes: `processes[i]` is the index in `runs` of the process of job i.
    load_processes: the same for `loads`.
    terminal: the terminal states of tasks that the last process has booked.
    broken: number of lost lines.
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
        """The journal without candidates of jobs that were cut off.

        A run of one worker does these jobs again.
        """
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
        """Open for appending, after ending a last line that a crash cut off."""
        torn = path.exists() and path.stat().st_size > 0 and not _ends_with_newline(path)
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._torn = torn

    def append(self, line: dict[str, Any]) -> None:
        """Append a record. Raises `OSError`, such as for a full disk.

        After an error the next append starts on a new line, so that a half-written record loses
        only itself.
        """
        self.extend([line])

    def extend(self, lines: Sequence[dict[str, Any]]) -> None:
        """Append several records in one write, like `append` for one record."""
        text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
        data = (b"\n" if self._torn else b"") + text.encode()
        self._torn = True
        while data:
            data = data[os.write(self._fd, data) :]
        self._torn = False

    def sync(self) -> None:
        """Make the appended records survive a power cut."""
        sync(self._fd)

    def close(self) -> None:
        os.close(self._fd)


def replay(path: Path) -> Replay:
    """Read a journal. Broken lines are counted and skipped.

    Raises `DataError` if the file has another format version or cannot be read.
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
    """The inverse of `candidate_record`, also for older lines, which have fewer fields.

    Raises `ValueError`, `KeyError` or `TypeError`.
    """
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
    """The inverse of `pack_grid`. Raises `ValueError` if the rows make no grid."""
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
