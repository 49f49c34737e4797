"""The worker process: takes jobs from standard input, sends candidates as JSON lines.

Jobs and messages are lines of JSON, never pickles: whatever a broken engine sends, the parent
only ever parses text. What an engine prints goes to the parent's log, not into the messages.
A worker ends with its parent, however the parent ends.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import resource
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from solver.data.journal import candidate_of, candidate_record, pack_grid, unpack_grid
from solver.deadline import Clock, Deadline, RealClock, StepClock
from solver.engines import Context, Engine, load_engine
from solver.grid import Candidate, Pair, Task, is_grid
from solver.ladder import Rung, is_out_of_memory, rung_of
from solver.machine import address_limit, give_back_memory

MAX_CANDIDATES = 2000  # a job that yields more is cut: nobody reads ten thousand guesses
LAST_WORDS_S = 0.1  # what a job has found by its deadline is sent, as long as that takes no longer


def main() -> None:
    """Serve jobs until standard input ends. Arguments: message fd, limit of the address space
    in MB (or 0), core to run on (or -1), parent process id, and the folders in which engines of
    one's own are looked for."""
    fd, addresses_mb, core, parent = map(int, sys.argv[1:5])
    sys.path += [folder for folder in sys.argv[5:] if folder not in sys.path]
    _die_with(parent)
    _limit(addresses_mb, core)
    # The descriptor stays open to the end of the process: its end is how the parent hears of that.
    with open(fd, "w", encoding="utf-8", buffering=1, closefd=False) as messages:
        logging.getLogger("solver").addHandler(_Log(messages))
        logging.getLogger("solver").setLevel(logging.INFO)
        _send(messages, kind="ready")
        for line in sys.stdin:
            _serve(json.loads(line), messages)
            give_back_memory()  # the next job may be another engine's, beside what stays of this


class _Log(logging.Handler):
    """What engines log goes to the run's log."""

    def __init__(self, messages: TextIO) -> None:
        super().__init__()
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        _send(self._messages, kind="log", line=record.getMessage())


def _serve(job: dict[str, Any], messages: TextIO) -> None:
    number = int(job["number"])  # every message about a job carries it
    clock = StepClock(step_s=step_s) if (step_s := job.get("step_s")) else RealClock()
    start = clock.now()
    try:
        engine = _engine(job)
        if "slice_s" not in job:  # the engine was all that is wanted
            _send(messages, kind="loaded", number=number)
            return
        _send(messages, kind="started", number=number)
        finished = _run(engine, job, clock, messages)
        worked_s = round(clock.now() - start, 4)
        _send(messages, kind="done", number=number, finished=finished, worked_s=worked_s)
    except Exception as error:  # noqa: BLE001
        # The one broad catch of a worker: an engine's exception costs its task, no more.
        kind, text = "exhausted" if is_out_of_memory(error) else "failed", traceback.format_exc(-8)
        worked_s = round(clock.now() - start, 4)
        _send(messages, kind=kind, number=number, error=text, worked_s=worked_s)


def _run(engine: Engine, job: dict[str, Any], clock: Clock, messages: TextIO) -> bool:
    """Send the job's candidates. True if the engine ended by itself before its deadline."""
    tasks = tuple(map(task_of, job["tasks"]))
    start = clock.now()
    deadline = Deadline.after(job["slice_s"], clock)
    folder, rung = Path(job["folder"]), rung_of(job["without"])
    known = tuple(map(candidate_of, job["known"]))
    context = Context(job["pass_"], job["seed"], folder, rung, job["settings"], known)
    if job["whole"]:
        engine(tasks, deadline, context)  # type: ignore[arg-type]
        return not deadline.passed()
    (task,) = tasks
    candidates = engine(task, deadline, context)
    for count, candidate in enumerate(candidates, start=1):
        _check(candidate, task)
        record = candidate_record(candidate) | {"cost_s": round(clock.now() - start, 4)}
        _send(
            messages,
            **(record | {"task": task.id, "engine": job["engine"], "number": job["number"]}),
        )
        if count >= MAX_CANDIDATES or deadline.left() < -LAST_WORDS_S:
            return count >= MAX_CANDIDATES
    return not deadline.passed()


def _check(candidate: object, task: Task) -> None:
    if not isinstance(candidate, Candidate):
        raise TypeError(f"the engine yielded a {type(candidate).__name__}, not a Candidate")
    grid = candidate.grid
    if getattr(grid, "dtype", None) != "uint8" or not is_grid(grid):
        raise ValueError("the engine yielded a candidate whose grid is not an ARC grid")
    if candidate.test not in range(len(task.tests)):
        raise ValueError(f"the engine yielded a candidate for test {candidate.test}")


def _engine(job: dict[str, Any]) -> Engine:
    """The job's engine, made ready for the job's rung: what is too large for memory must not be
    loaded first."""
    name, rung = job["engine"], rung_of(job["without"])
    if name not in _engines or _engines[name][0] != rung:
        context = Context(0, 0, Path(job["folder"]), rung, job["settings"])
        _engines[name] = rung, load_engine(name, context)
    return _engines[name][1]


_engines: dict[str, tuple[Rung, Engine]] = {}  # as they were made ready last


def _send(messages: TextIO, **message: object) -> None:
    messages.write(json.dumps(message, separators=(",", ":")) + "\n")


def task_record(task: Task) -> dict[str, Any]:
    """A task as JSON values."""
    return {
        "id": task.id,
        "train": [[pack_grid(pair.input), pack_grid(pair.output)] for pair in task.train],
        "tests": [pack_grid(grid) for grid in task.tests],
    }


def task_of(record: dict[str, Any]) -> Task:
    """The inverse of `task_record`."""
    train = tuple(Pair(unpack_grid(a), unpack_grid(b)) for a, b in record["train"])
    return Task(record["id"], train, tuple(unpack_grid(rows) for rows in record["tests"]))


def _limit(addresses_mb: int, core: int) -> None:
    """One core, and an address space that no single allocation can blow. The parent watches
    the memory really used. A limit that the system has set already is never raised."""
    if core >= 0 and hasattr(os, "sched_setaffinity"):
        with suppress(OSError):  # the core may have been taken away since the run began
            os.sched_setaffinity(0, {core})
    if addresses_mb:
        least = min([addresses_mb * 2**20, *filter(None, [address_limit()])])
        resource.setrlimit(resource.RLIMIT_AS, (least, least))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _die_with(parent: int) -> None:
    """End this process when its parent ends, even by SIGKILL."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    with suppress(RuntimeError):  # no more threads are allowed: the signal has to do
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


if __name__ == "__main__":
    main()
