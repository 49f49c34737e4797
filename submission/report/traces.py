"""The intermediate grids of programs, computed in a separate process.

A journal may contain any text as a program. A program that never ends, uses too much memory or
crashes only ends this process. The report then lacks only the pictures of that program.
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

STEP = tuple[str, Grid | None]  # a computed expression, and its value as a grid
PROGRAM_S = 10.0  # of processor time for one program; the first program may include compilation
MEMORY_BYTES = 6 * 2**30  # of address space; libraries reserve more than they use
MAX_STEPS = 40


def traces(asked: Sequence[tuple[str, Grid]], deadline: Deadline) -> list[tuple[STEP, ...] | None]:
    """The steps from input to output, for each program and input.

    Steps are numbered. A later step names an earlier step by its number, such as
    `#3 = flip(#2)`. The entry is None if the program is not in the synthesizer's language, fails,
    or is not reached before the deadline. Long programs have only their last `MAX_STEPS` steps.
    """
    done: list[tuple[STEP, ...] | None] = []
    while len(done) < len(asked) and not deadline.passed():
        done += _in_child(asked[len(done) :], deadline)
        if len(done) < len(asked):
            done.append(None)  # the program that ended the process
    return done + [None] * (len(asked) - len(done))


def _in_child(
    asked: Sequence[tuple[str, Grid]], deadline: Deadline
) -> list[tuple[STEP, ...] | None]:
    """The steps of the first programs, up to the program that ends the process."""
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
    """Read lines `[program, grid]`, and print a line of steps, or `null`, for each line."""
    from solver.synth.interpret import trace  # imports numba, which only this process needs
    from solver.synth.program import parse

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        program, rows = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, PROGRAM_S)  # ends even compiled code
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
    """The texts, numbered, with earlier texts inside a text replaced by their numbers."""
    short = []
    for i, text in enumerate(texts):
        for j in reversed(range(i)):
            inside = rf"(?<!\w){re.escape(texts[j])}(?!\w)"
            text = re.sub(inside, f"#{j + 1}", text)
        short.append(f"#{i + 1} = {text}")
    return short


if __name__ == "__main__":
    main()
