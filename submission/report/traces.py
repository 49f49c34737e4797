"""The grids that programs go through, found in a process of its own.

A journal can hold any text as a program: one that never ends, eats memory or crashes ends
that process and costs its own pictures, not the report.
"""

from __future__ import annotations

import json
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence

from solver.data.journal import pack_grid, unpack_grid
from solver.deadline import Deadline
from solver.grid import Grid
from submission.tools import kit_python

STEP = tuple[str, Grid | None]  # what is computed, and the grid it gives
PROGRAM_S = 10.0  # of processor time for one program; the first may have to compile
MEMORY_BYTES = 6 * 2**30  # of addresses, of which libraries reserve more than they touch
MAX_STEPS = 40


def traces(asked: Sequence[tuple[str, Grid]], deadline: Deadline) -> list[tuple[STEP, ...] | None]:
    """For each program and input, the grids on the way to the output.

    Steps are numbered, and a step inside a later one is named there by its number:
    `#3 = flip(#2)`. None where a program is not of the synthesizer's language, fails, or the
    deadline came first. Of long programs the last `MAX_STEPS` steps are given.
    """
    done: list[tuple[STEP, ...] | None] = []
    while len(done) < len(asked) and not deadline.passed():
        done += _in_child(asked[len(done) :], deadline)
        if len(done) < len(asked):
            done.append(None)  # the one that the process ended at
    return done + [None] * (len(asked) - len(done))


def _in_child(
    asked: Sequence[tuple[str, Grid]], deadline: Deadline
) -> list[tuple[STEP, ...] | None]:
    """As many as one process gets through."""
    lines = "\n".join(json.dumps([program, pack_grid(grid)]) for program, grid in asked)
    command, environment = kit_python("submission.report.traces")
    try:
        child = subprocess.run(
            command,
            env=environment,
            input=lines.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=deadline.left(),
            check=False,
        )
        printed = child.stdout
    except subprocess.TimeoutExpired as late:
        printed = late.stdout or b""
    return [_steps(line) for line in printed.split(b"\n")[:-1]]


def _steps(line: bytes) -> tuple[STEP, ...] | None:
    steps = json.loads(line)
    if steps is None:
        return None
    return tuple((text, grid and unpack_grid(grid)) for text, grid in steps)


def main() -> None:
    """Read `[program, grid]` lines, print a line of steps, or `null`, for each."""
    from solver.synth.interpret import trace  # imports numba: only this process needs it
    from solver.synth.program import parse

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        program, rows = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, PROGRAM_S)  # ends the process, wherever it is
        try:
            steps = trace(parse(program), unpack_grid(rows))
        except ValueError:
            print("null", flush=True)
            continue
        names = abbreviated([text for text, _ in steps])
        shown = [
            [name, None if grid is None else pack_grid(grid)]
            for name, (_, grid) in zip(names, steps, strict=True)
        ]
        print(json.dumps(shown[-MAX_STEPS:]), flush=True)


def abbreviated(texts: Sequence[str]) -> list[str]:
    """Each text numbered, with the earlier ones inside it replaced by their numbers."""
    short = []
    for i, text in enumerate(texts):
        for j in reversed(range(i)):
            inside = rf"(?<!\w){re.escape(texts[j])}(?!\w)"
            text = re.sub(inside, f"#{j + 1}", text)
        short.append(f"#{i + 1} = {text}")
    return short


if __name__ == "__main__":
    main()
