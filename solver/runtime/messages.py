"""The protocol between a run and its workers: orders and reports, each one line of JSON.

Never pickles: whatever a broken engine sends, the parent only ever parses text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from solver.data.journal import candidate_of, candidate_record, pack_grid, unpack_grid
from solver.grid import Candidate, Pair, Task


@dataclass(frozen=True)
class LoadOrder:
    """An order to load an engine ahead of its jobs.

    number: number of the order, in every report about the order.
    folder: place where workers leave files for one another.
    settings: the engine's own settings.
    without: rungs of the ladder of memory that the engine gives up.
    device: the engine computes on the worker's own device.
    """

    number: int
    engine: str
    folder: str
    settings: Mapping[str, Any]
    without: tuple[str, ...]
    device: bool


@dataclass(frozen=True)
class JobOrder(LoadOrder):
    """An engine's work on tasks for `slice_s` seconds, or on all tasks of the run (`whole`).

    passes, seeds: of each task; a job on all tasks of the run has one of each.
    step_s: seconds that one look at the clock counts as in a run in steps, else 0.
    known: candidates of earlier jobs.
    """

    tasks: tuple[Task, ...]
    whole: bool
    passes: tuple[int, ...]
    seeds: tuple[int, ...]
    slice_s: float
    step_s: float
    known: tuple[Candidate, ...]


@dataclass(frozen=True)
class Ready:
    """The process can take its first order."""


@dataclass(frozen=True)
class Log:
    """A line that an engine logged."""

    line: str


@dataclass(frozen=True)
class Loaded:
    """The engine of a `LoadOrder` is ready."""

    number: int


@dataclass(frozen=True)
class Started:
    """The engine of a `JobOrder` is loaded: the job's slice counts from now."""

    number: int


@dataclass(frozen=True)
class Found:
    """A candidate of a job."""

    number: int
    candidate: Candidate


@dataclass(frozen=True)
class Done:
    """The end of a job after `worked_s` seconds, `finished` if the engine ended by itself."""

    number: int
    finished: bool
    worked_s: float


@dataclass(frozen=True)
class Failed:
    """An exception of an engine, with its traceback; `memory` if memory had run out."""

    number: int
    error: str
    memory: bool
    worked_s: float


Report = Ready | Log | Loaded | Started | Found | Done | Failed
_KINDS: dict[str, type[Report]] = {
    "ready": Ready,
    "log": Log,
    "loaded": Loaded,
    "started": Started,
    "candidate": Found,
    "done": Done,
    "failed": Failed,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}
_TYPES = {"int": (int,), "str": (str,), "bool": (bool,), "float": (float, int)}


def order_line(order: LoadOrder) -> bytes:
    """An order as one line with its line end."""
    record = {field.name: getattr(order, field.name) for field in fields(order)}
    if isinstance(order, JobOrder):
        record["tasks"] = [_task_record(task) for task in order.tasks]
        record["known"] = list(map(candidate_record, order.known))
    return _line(record).encode()


def read_order(line: str) -> LoadOrder:
    """The inverse of `order_line`, for lines that the parent wrote."""
    record = json.loads(line)
    record["without"] = tuple(record["without"])
    if "tasks" not in record:
        return LoadOrder(**record)
    record |= {name: tuple(record[name]) for name in ("passes", "seeds")}
    record["tasks"] = tuple(map(_task_of, record["tasks"]))
    record["known"] = tuple(map(candidate_of, record["known"]))
    return JobOrder(**record)


def report_line(report: Report) -> str:
    """A report as one line with its line end."""
    name = {"kind": _NAMES[type(report)]}
    if isinstance(report, Found):
        return _line(name | candidate_record(report.candidate) | {"number": report.number})
    return _line(name | asdict(report))


def read_report(line: bytes) -> Report:
    """The inverse of `report_line`, for a line that anybody may have written.

    Raises `ValueError`, `KeyError`, `TypeError` or `RecursionError` for anything else.
    """
    record = json.loads(line)
    if not isinstance(record, dict):
        raise TypeError(f"no report: {line[:80]!r}")
    kind = _KINDS[record["kind"]]
    if kind is Found:
        return Found(_typed(record, "number", "int"), candidate_of(record))
    return kind(
        **{field.name: _typed(record, field.name, str(field.type)) for field in fields(kind)}
    )


def _typed(record: Mapping[str, Any], name: str, kind: str) -> Any:
    value = record[name]
    if type(value) not in _TYPES[kind]:
        raise TypeError(f"{name} {value!r}")
    return value


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, separators=(",", ":")) + "\n"


def _task_record(task: Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "train": [[pack_grid(pair.input), pack_grid(pair.output)] for pair in task.train],
        "tests": [pack_grid(grid) for grid in task.tests],
    }


def _task_of(record: dict[str, Any]) -> Task:
    train = tuple(Pair(unpack_grid(a), unpack_grid(b)) for a, b in record["train"])
    return Task(record["id"], train, tuple(unpack_grid(rows) for rows in record["tests"]))
