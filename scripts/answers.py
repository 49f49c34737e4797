"""Solve simple training tasks like a user; fail unless each engine is right on enough of them.

    python scripts/answers.py [--budget 150s]

One run uses this processor as it is. If the processor multiplies bfloat16, a second run keeps
oneDNN and ATen from all instructions newer than AVX2. The script prints a line for each run and
engine. The exit code is 1 if an engine was right on fewer than three tasks.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from solver.data.arcio import read_source
from solver.data.journal import JOURNAL_FILE, replay
from solver.machine import cpu_flags, multiplies_bfloat16

SOURCE = "arc-agi-1:training"
TASKS = ("67a3c6ac", "74dd1130", "3c9b0459", "c8f0f002", "a416b8f3", "68b16354")
ENGINES = ("synth", "model")
MIN_RIGHT = 3  # tasks of six that each engine must get right on any machine
AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}


def main() -> int:
    """Run on each kind of processor that this machine offers; 1 if an engine failed on a kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", default="150s")
    budget = parser.parse_args().budget
    enough = True
    kinds: dict[str, dict[str, str]] = {"this processor": {}}
    if multiplies_bfloat16(cpu_flags(), os.environ):
        kinds["AVX2 alone"] = AVX2
    for name, switches in kinds.items():
        for engine, right in solved(budget, switches).items():
            print(f"{name}, {engine}: right on {right} of {len(TASKS)} tasks", flush=True)
            enough = enough and right >= MIN_RIGHT
    return int(not enough)


def solved(budget: str, switches: dict[str, str]) -> dict[str, int]:
    """The number of tasks that each engine has right, in one run of both engines."""
    solutions = read_source(SOURCE).solutions
    assert solutions
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        arguments = ["--tasks", ",".join(TASKS), "--engines", ",".join(ENGINES)]
        subprocess.run(
            [sys.executable, "-m", "submission.cli", "solve", SOURCE, *arguments]
            + ["--budget", budget, "--run", str(run)],
            env={**os.environ, **switches},
            check=True,
        )
        right: dict[str, set[str]] = {engine: set() for engine in ENGINES}
        for found in replay(run / JOURNAL_FILE).candidates:
            if np.array_equal(found.grid, solutions[found.task][found.test]):
                right[found.engine].add(found.task)
    return {engine: len(tasks) for engine, tasks in right.items()}


if __name__ == "__main__":
    sys.exit(main())
