"""The worker process: takes orders from standard input, reports on a separate pipe.

The output of an engine goes to the parent's log, not into the reports. A worker ends with its
parent, however the parent ends.
"""

from __future__ import annotations

import logging
import os
import resource
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from solver.deadline import Clock, Deadline, RealClock, StepClock
from solver.engines import Context, Engine, load_engine, load_together
from solver.grid import Candidate, Task, is_grid
from solver.ladder import Rung, is_out_of_memory, rung_of
from solver.machine import address_limit, give_back_memory
from solver.parent import die_with
from solver.runtime.messages import (
    Done,
    Failed,
    Found,
    JobOrder,
    Loaded,
    LoadOrder,
    Log,
    Ready,
    Report,
    Started,
    read_order,
    report_line,
)

MAX_CANDIDATES = 2000  # a job with more is cut: ten thousand guesses are of no use
LAST_WORDS_S = 0.1  # the most time after the deadline for sending candidates found before


def main() -> None:
    """Serve jobs until standard input ends.

    Arguments: message fd, limit of the address space in MB (or 0), core to run on (or -1), parent
    process id. All further arguments are folders to look in for a user's engines.
    """
    fd, addresses_mb, core, parent = map(int, sys.argv[1:5])
    sys.path += [folder for folder in sys.argv[5:] if folder not in sys.path]
    _die_with(parent)
    _limit(addresses_mb, core)
    # The descriptor stays open to the end of the process: its closing tells the parent of the end.
    with open(fd, "w", encoding="utf-8", buffering=1, closefd=False) as messages:
        logging.getLogger("solver").addHandler(_LogHandler(messages))
        logging.getLogger("solver").setLevel(logging.INFO)
        _send(messages, Ready())
        for line in sys.stdin:
            _serve(read_order(line), messages)
            give_back_memory()  # another engine may need the memory for the next job


class _LogHandler(logging.Handler):
    """A handler that sends the log lines of engines to the run's log."""

    def __init__(self, messages: TextIO) -> None:
        super().__init__()
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        _send(self._messages, Log(record.getMessage()))


def _serve(order: LoadOrder, messages: TextIO) -> None:
    step_s = order.step_s if isinstance(order, JobOrder) else 0.0
    clock = StepClock(step_s=step_s) if step_s else RealClock()
    start = clock.now()
    try:
        engine = _engine(order)
        if not isinstance(order, JobOrder):
            _send(messages, Loaded(order.number))
            return
        _send(messages, Started(order.number))
        finished = _run(engine, order, clock, messages)
        _send(messages, Done(order.number, finished, round(clock.now() - start, 4)))
    except Exception as error:  # noqa: BLE001
        # The one broad catch of a worker: an engine's exception costs only its task.
        memory, text = is_out_of_memory(error), traceback.format_exc(-8)
        _send(messages, Failed(order.number, text, memory, round(clock.now() - start, 4)))


def _run(engine: Engine, order: JobOrder, clock: Clock, messages: TextIO) -> bool:
    """Send the job's candidates. True if the engine ended by itself before its deadline."""
    start = clock.now()
    deadline = Deadline.after(order.slice_s, clock)
    first, *others = contexts = _contexts(order)
    if order.whole:
        engine(order.tasks, deadline, first)  # type: ignore[arg-type]
        return not deadline.passed()
    if others:
        candidates = load_together(order.engine)(order.tasks, deadline, contexts)
    else:
        candidates = engine(order.tasks[0], deadline, first)
    tasks, most = {task.id: task for task in order.tasks}, MAX_CANDIDATES * len(order.tasks)
    for count, candidate in enumerate(candidates, start=1):
        task = tasks.get(candidate.task, order.tasks[0]) if others else order.tasks[0]
        _check(candidate, task)
        cost_s = round(clock.now() - start, 4)
        mine = replace(candidate, task=task.id, engine=order.engine, cost_s=cost_s)
        _send(messages, Found(order.number, mine))
        if count >= most or deadline.left() < -LAST_WORDS_S:
            return count >= most
    return not deadline.passed()


def _contexts(order: JobOrder) -> list[Context]:
    """A context for each task of a job; one for a job over all tasks of the run."""
    about = (Path(order.folder), rung_of(order.without), order.settings)
    ids = [None] if order.whole else [task.id for task in order.tasks]
    return [
        Context(pass_, seed, *about, tuple(c for c in order.known if c.task == id_), order.device)
        for id_, pass_, seed in zip(ids, order.passes, order.seeds, strict=True)
    ]


def _check(candidate: object, task: Task) -> None:
    if not isinstance(candidate, Candidate):
        raise TypeError(f"the engine yielded a {type(candidate).__name__}, not a Candidate")
    grid = candidate.grid
    if getattr(grid, "dtype", None) != "uint8" or not is_grid(grid):
        raise ValueError("the engine yielded a candidate whose grid is not an ARC grid")
    if candidate.test not in range(len(task.tests)):
        raise ValueError(f"the engine yielded a candidate for test {candidate.test}")


def _engine(order: LoadOrder) -> Engine:
    """The order's engine, loaded for the order's rung.

    A version that is too large for memory must not be loaded first.
    """
    name, rung = order.engine, rung_of(order.without)
    if name not in _engines or _engines[name][0] != rung:
        context = Context(0, 0, Path(order.folder), rung, order.settings, device=order.device)
        _engines[name] = rung, load_engine(name, context)
    return _engines[name][1]


_engines: dict[str, tuple[Rung, Engine]] = {}  # with the rung of their last loading


def _send(messages: TextIO, report: Report) -> None:
    messages.write(report_line(report))


def _limit(addresses_mb: int, core: int) -> None:
    """Bind the process to one core, and limit its address space against a huge allocation.

    The parent watches the memory really used. A limit that the system has set is never raised.
    """
    if core >= 0 and hasattr(os, "sched_setaffinity"):
        with suppress(OSError):  # the core may have been taken away since the run began
            os.sched_setaffinity(0, {core})
    if addresses_mb:
        least = min([addresses_mb * 2**20, *filter(None, [address_limit()])])
        resource.setrlimit(resource.RLIMIT_AS, (least, least))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _die_with(parent: int) -> None:
    """End this process when its parent ends, even by SIGKILL."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the parent handles Ctrl-C
    with suppress(OSError):  # the thread below must do
        die_with(parent)
    with suppress(RuntimeError):  # no more threads are allowed: the signal must be enough
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


if __name__ == "__main__":
    main()
