"""Programs that nobody has read, run without harm to time, memory, files or network.

A `Sandbox` is one process (`solver.sandbox.child`) that forks a child for each program. A run costs
a few milliseconds. Text goes in and out, never a pickle: any output of a program is parsed as JSON
and must be a grid. A program gets only inputs, so it cannot say that an answer is right.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from solver import start
from solver.data.jsonio import grid_field, parse_json
from solver.deadline import Deadline
from solver.grid import DataError, Grid
from solver.sandbox.kernel import LAYERS

START_S = 60.0  # numpy may have to be read from a slow disk
GRACE_S = 5.0  # for the jail to kill and to answer
MAX_ANSWER = 4 * 2**20


class SandboxError(Exception):
    """No program can be run safely on this machine; the message says why."""


@dataclass(frozen=True, eq=False)
class SandboxResult:
    """The result of a program.

    outcomes: for each grid, an output or one line about the error.
    seconds: time of the program for all grids.
    """

    outcomes: tuple[Grid | str, ...]
    seconds: float


class Sandbox:
    """A runner of programs, each in a separate process.

    Use a `Sandbox` as a context manager, or `close` it. `seconds` of wall time and `memory_mb` are
    for one program over all its grids. `layers` are the protections to use, all by default.
    `missing` contains the layers that this machine lacks, with reasons. The thread that makes a
    `Sandbox` must live as long as the `Sandbox`.
    """

    def __init__(
        self, seconds: float = 4.0, memory_mb: int = 512, layers: Iterable[str] = LAYERS
    ) -> None:
        """Start the process.

        Raises `SandboxError` if nothing on this machine keeps a program from files.
        """
        self._seconds, self._memory_mb, self._layers = seconds, memory_mb, tuple(layers)
        self.missing: dict[str, str] = {}
        self._start()

    def run(
        self, source: str, grids: Sequence[Grid], deadline: Deadline, *, arrays: bool = True
    ) -> SandboxResult:
        """Call the program's `transform` on each grid, as a numpy array or as nested lists.

        Whatever the program does, each grid has an outcome, soon after the deadline at the latest.
        """
        seconds = min(self._seconds, deadline.left())
        if seconds <= 0:
            return SandboxResult(("no time was left",) * len(grids), 0.0)
        request = {
            "source": source,
            "grids": [grid.tolist() for grid in grids],
            "arrays": arrays,
            "seconds": seconds,
        }
        answer = self._ask(request, seconds + GRACE_S)
        if answer is None:  # the jail is gone or stuck: the next program needs a new jail
            self.close()
            self._start()
            return SandboxResult(("the sandbox ended with it",) * len(grids), seconds)
        end = _END.get(answer["end"], f"the process ended with {answer['end']}")
        outcomes = list(_outcomes(answer["said"], len(grids)))
        outcomes += [end] * (len(grids) - len(outcomes))
        return SandboxResult(tuple(outcomes), answer["seconds"])

    def close(self) -> None:
        """End the process and any program that it still runs."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            pipe.close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _start(self) -> None:
        arguments = [str(os.getpid()), str(self._memory_mb), ",".join(self._layers)]
        self._process = subprocess.Popen(
            start.command("solver.sandbox.child", *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(),
            cwd="/",
            bufsize=0,
        )
        first = self._hear(START_S)
        self.missing = first["missing"] if first else {}
        if first is None or {"seccomp", "landlock"} <= self.missing.keys():
            self.close()
            reasons = "; ".join(f"{name}: {why}" for name, why in self.missing.items())
            raise SandboxError(f"the sandbox cannot keep programs from files ({reasons or 'died'})")

    def _ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any] | None:
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
        except BrokenPipeError:
            return None
        return self._hear(seconds)

    def _hear(self, seconds: float) -> dict[str, Any] | None:
        """The next line of the jail, or None if no line comes."""
        assert self._process.stdout
        until, line = time.monotonic() + seconds, b""
        while not line.endswith(b"\n") and (left := until - time.monotonic()) > 0:
            if select.select([self._process.stdout], [], [], left)[0]:
                chunk = self._process.stdout.read(1 << 16)
                if not chunk or len(line) > MAX_ANSWER:
                    return None
                line += chunk
        return json.loads(line) if line.endswith(b"\n") else None


_END = {
    "time": "it did not end in time",
    "output": "it said too much",
    "exit code 0": "the process ended before it answered",
}


def _outcomes(said: str, most: int) -> Iterator[Grid | str]:
    """The outcomes that a program reported, as far as they can be parsed."""
    for line in said.split("\n")[:-1][:most]:
        try:
            answer = parse_json("the answer", line.encode())
            error = answer.get("error") if isinstance(answer, dict) else None
            yield error if isinstance(error, str) else grid_field("the answer", answer, "output")
        except DataError as error:
            yield f"no grid: {error}"


def _environment() -> dict[str, str]:
    """The variables that Python needs to start, and no others of the parent's environment."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PYTHONHASHSEED": "0",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }
