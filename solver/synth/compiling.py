"""Compile the search kernels on all cores before any task: `python -m solver.synth.compiling`.

A kernel needs the kernels it calls, so the work is a graph of steps. A step runs in a pool of
processes as soon as the steps that it needs are done. Of the steps that are ready, the start of
the longest chain runs first. Compiled code is kept on disk at once (`jit`), so that the next
set-up continues where a killed set-up stopped.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from graphlib import TopologicalSorter
from typing import Any

import numba
from numba import types
from numba.core import event

from solver.deadline import Clock, RealClock, format_duration
from solver.machine import available_mb
from solver.synth.engine import SUBENGINES, prepare
from solver.synth.features.components import component_features
from solver.synth.features.patterns import pattern_features
from solver.synth.grids import dispatch, expand, space
from solver.synth.grids.kernels_list import ordered
from solver.synth.objects.objects import prepare as prepare_objects

MAX_JOBS = 8  # with more, the longest chain of steps decides
JOB_MB = 600  # memory of a process that compiles
LOOK_S = 1.0  # between two looks at the running steps
LINE_S = 15.0  # between two lines of progress, except on a terminal

_NUMBER = types.int64
_IMAGE = types.uint8[:, ::1]
_PIXELS = types.uint8[::1]
_ROWS = types.int64[:, ::1]
_PLACED = (_IMAGE, _NUMBER, _NUMBER, _NUMBER)  # an image, its place (y, x), an argument
_LISTED = (_PIXELS, _ROWS, _NUMBER, _NUMBER)  # pixels, a list's items, their number, an argument
# Dispatching kernels: the operations to choose from, and the arguments of each operation.
_OPERATIONS = {
    "image_op": (dispatch.IMAGE, (*_PLACED, _PIXELS)),
    "sized_op": (dispatch.SIZED, (*_PLACED, _NUMBER, _NUMBER, _PIXELS)),
    "pair_op": (dispatch.PAIR, (*_PLACED, _IMAGE, _PIXELS)),
    "split_op": (dispatch.SPLIT, (*_PLACED, _PIXELS, _ROWS)),
    "join_op": (dispatch.JOIN, (*_LISTED, _PIXELS)),
}
# Seconds on a 2-core x86-64 machine. Once some steps are done, only their ratios count.
_OPERATION_S = 0.6
_SECONDS = {
    "image_op": 4.9, "sized_op": 0.7, "pair_op": 0.3, "split_op": 1.2, "join_op": 1.2,
    "mapped": 3.9, "on_image": 6.1, "on_list": 5.6, "attempt": 7.3, "expand": 8.0,
    "component_features": 4.4, "pattern_features": 2.5, "objects": 2.3,
    "grids": 8.0, "cells": 5.0, "completion": 1.4, "rules": 1.6,
}  # fmt: skip
_A_SECOND = 1.0
# Steps that must be done before a sub-engine's `prepare`, because both compile the same kernels.
_SHARED = {
    "grids": ("expand",),
    "cells": ("component_features", "pattern_features", "image_op"),
    "rule_select": ("objects",),
    "rule_summary": ("rule_select",),
    "rules": ("objects",),
    "placement": ("objects",),
    "rule_derive": ("rules", "completion"),
}


@dataclass(frozen=True)
class Step:
    """A piece of work for the compiler.

    seconds: expected duration once the steps that it needs are done.
    needs: names of steps to do first.
    """

    run: Callable[[], object]
    seconds: float
    needs: tuple[str, ...] = ()


def steps() -> dict[str, Step]:
    """All steps by name: the work of `prepare` in pieces."""
    table: dict[str, Step] = {}
    for name, (operations, arguments) in _OPERATIONS.items():
        parts = {op.__name__: Step(_compiling(op, *arguments), _OPERATION_S) for op in operations}
        compile_ = _compiling(getattr(dispatch, name), _NUMBER, *arguments)
        table |= {**parts, name: _step(name, compile_, *parts)}
    table |= _of_lists_and_states()
    for kernel in (component_features, pattern_features):
        name = kernel.__name__
        table[name] = _step(name, _compiling(kernel, _IMAGE, _NUMBER, types.uint8[:, :, ::1]))
    table["objects"] = _step("objects", prepare_objects)
    for name, module in SUBENGINES.items():
        run = getattr(importlib.import_module(module), "prepare", None)
        if run:
            table[name] = _step(name, run, *_SHARED.get(name, ()))
    return table


def _of_lists_and_states() -> dict[str, Step]:
    states = numba.typeof(space.new_space(1, 1, 1))  # type: ignore[no-untyped-call]
    kept, order = types.boolean[::1], types.int64[::1]
    code = (_NUMBER,) * 3  # kind, code and argument of an operation, or a state and an input

    def on(name: str, *arguments: object, needs: tuple[str, ...]) -> Step:
        return _step(name, _compiling(getattr(expand, name), states, *arguments), *needs)

    images = ("image_op", "sized_op", "pair_op", "split_op")
    lists = ("mapped", "join_op", "ordered", "chosen")
    return {
        "ordered": _step("ordered", _compiling(ordered, *_LISTED, order)),
        "chosen": _step("chosen", _compiling(dispatch.chosen, *_LISTED, kept)),
        "mapped": on("mapped", *code, _ROWS, _NUMBER, needs=("image_op",)),
        "on_image": on("on_image", *code, _NUMBER, _NUMBER, _ROWS, needs=images),
        "on_list": on("on_list", *code, _NUMBER, _NUMBER, needs=lists),
        "attempt": on("attempt", _ROWS, *code, _NUMBER, needs=("on_image", "on_list")),
        "expand": on("expand", _ROWS, _ROWS, _NUMBER, _NUMBER, needs=("attempt",)),
    }


def _compiling(kernel: Any, *arguments: object) -> Callable[[], object]:
    return partial(kernel.compile, arguments)


def _step(name: str, run: Callable[[], object], *needs: str) -> Step:
    return Step(run, _SECONDS.get(name, _A_SECOND), needs)


@dataclass
class Progress:
    """The steps that are left, and the seconds they will take at the pace so far.

    took_s: seconds that compiled steps took.
    expected_s: seconds that the table expects for the same steps.
    """

    table: Mapping[str, Step]
    jobs: int
    left: set[str] = field(default_factory=set)
    # A first guess of the pace; the first steps soon outweigh it.
    took_s: float = 5.0
    expected_s: float = 5.0

    def __post_init__(self) -> None:
        self.left = set(self.table)
        self.tails = tails(self.table)

    def done(self, name: str, took_s: float, compiled: int) -> None:
        """Note a step's end. A step that compiled nothing does not change the pace."""
        self.left.discard(name)
        if compiled:
            self.took_s += took_s
            self.expected_s += self.table[name].seconds

    def left_s(self) -> float:
        """Seconds left: the work shared by all jobs, or the longest chain of steps if longer."""
        work = sum(self.table[name].seconds for name in self.left) / self.jobs
        chain = max((self.tails[name] for name in self.left), default=0.0)
        return max(work, chain) * self.took_s / self.expected_s

    def line(self) -> str:
        """A line of progress: steps done, and the time left while any step is left."""
        count = len(self.table) - len(self.left)
        words = f"compiling the search kernels: {count} of {len(self.table)} steps"
        return (
            f"{words}, about {format_duration(round(self.left_s()))} left" if self.left else words
        )


def tails(table: Mapping[str, Step]) -> dict[str, float]:
    """Seconds of the longest chain of steps that begins with each step."""
    found: dict[str, float] = {}
    for name in reversed(
        [*TopologicalSorter({n: s.needs for n, s in table.items()}).static_order()]
    ):
        after = [found[other] for other in found if name in table[other].needs]
        found[name] = table[name].seconds + max(after, default=0.0)
    return found


Show = Callable[[Progress], None]


def compile_steps(
    table: Mapping[str, Step], run: Callable[[str], tuple[float, int]], jobs: int, show: Show
) -> int:
    """Run every step of a table in `jobs` processes, each step after the steps that it needs.

    `run` runs a step by its name in such a process. `run` returns the seconds taken and the
    number of kernels compiled. Returns the total number of kernels compiled. Raises the
    exception of a step that fails, and `BrokenProcessPool` if a process is killed.
    """
    progress, compiled = Progress(table, jobs), 0
    order = TopologicalSorter({name: step.needs for name, step in table.items()})
    order.prepare()
    ready: list[str] = []
    running: dict[Future[tuple[float, int]], str] = {}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, _end_with_parent) as pool:
        while order.is_active():
            ready = sorted([*ready, *order.get_ready()], key=lambda name: progress.tails[name])
            while ready and len(running) < jobs:
                name = ready.pop()
                running[pool.submit(run, name)] = name
            for future in wait(running, LOOK_S, FIRST_COMPLETED).done:
                name = running.pop(future)
                took_s, count = future.result()
                compiled += count
                progress.done(name, took_s, count)
                order.done(name)
            show(progress)
    return compiled


def _end_with_parent() -> None:
    """End this process as soon as its parent process has ended for any reason."""
    parent = multiprocessing.parent_process()
    assert parent

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def run_step(name: str) -> tuple[float, int]:
    """Run a step of `steps`; returns the seconds taken and the number of kernels compiled."""
    began = time.monotonic()
    with event.install_recorder("numba:compile") as recorder:
        steps()[name].run()
    return time.monotonic() - began, sum(map(_is_ours, recorder.buffer))


def _is_ours(entry: tuple[float, event.Event]) -> bool:
    """True for the event that starts compiling a kernel of this package."""
    about = entry[1]
    module: str = about.data["dispatcher"].py_func.__module__
    return bool(about.is_start) and module.startswith("solver.")


@dataclass
class Lines:
    """Show progress: one changing line on a terminal, else a line every `LINE_S` seconds.

    shown_at: time of the last line, in seconds of the clock.
    """

    clock: Clock = field(default_factory=RealClock)
    terminal: bool = field(default_factory=lambda: sys.stdout.isatty())
    shown_at: float = -LINE_S

    def __call__(self, progress: Progress) -> None:
        now = self.clock.now()
        if now - self.shown_at < (LOOK_S / 2 if self.terminal else LINE_S):
            return
        self.shown_at = now
        start, end = ("\r\033[K", "") if self.terminal else ("", "\n")
        print(f"{start}{progress.line()}", end=end, flush=True)


def jobs_for(cores: Collection[int], memory_mb: int) -> int:
    """The number of processes that may compile side by side; at least one."""
    return max(1, min(len(cores), MAX_JOBS, memory_mb // JOB_MB))


def compile_all() -> None:
    """Compile every kernel that is not on disk yet, on all cores, and show the progress."""
    began = time.monotonic()
    lines = Lines()
    cores = (
        os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    )
    compiled = compile_steps(steps(), run_step, jobs_for(cores, available_mb()), lines)
    prepare()  # compiles kernels that no step covers; proves that all kernels load
    took = format_duration(time.monotonic() - began)
    start = "\r\033[K" if lines.terminal else ""
    print(
        f"{start}search kernels: {compiled} compiled in {took}"
        if compiled
        else f"{start}search kernels: all there"
    )


def main() -> int:
    """Compile; returns the exit code: 1 if a process that compiled was killed, else 0."""
    try:
        compile_all()
    except BrokenProcessPool:
        print(
            "search kernels: a process that compiled them was killed, for want of memory perhaps; "
            "the next set-up continues from here",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
