"""Search kernels compiled on all cores: in order, once each, and on after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from solver.deadline import FakeClock
from solver.synth import jit
from solver.synth.compiling import (
    JOB_MB,
    LINE_S,
    Lines,
    Progress,
    Step,
    compile_steps,
    jobs_for,
    steps,
    tails,
)
from solver.synth.grids import dispatch
from tests.runs import ROOT, finish, start

SMALL = ("erase_color", "swap_two", "solid", "one_cell", "count_drawn", "scale_down")
TABLE = {
    "a": Step(print, 2.0),
    "b": Step(print, 1.0),
    "c": Step(print, 4.0, ("a", "b")),
    "d": Step(print, 3.0),
}


def note(file: Path, name: str) -> tuple[float, int]:
    """A step that writes its start and its end down."""
    for word in ("begins", "ended"):
        with file.open("a") as out:
            out.write(f"{name} {word}\n")
    return 1.0, 1


def fails(name: str) -> tuple[float, int]:
    raise ValueError(name)


def compile_apart(cache: Path, code: str) -> subprocess.Popen[str]:
    """A process of its own with an empty cache of kernels."""
    return subprocess.Popen(
        [sys.executable, "-c", "from tests.synth.test_compiling import *\n" + code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(cache)},
        stdout=subprocess.PIPE,
        text=True,
    )


def compile_small(jobs: int = 1) -> None:
    """Compile the small kernels and print how many were not there."""
    from solver.synth.compiling import run_step

    every = steps()
    print(compile_steps({name: every[name] for name in SMALL}, run_step, jobs, lambda shown: None))


def test_a_step_begins_when_those_it_needs_have_ended(tmp_path: Path) -> None:
    shown: list[int] = []
    watch: Callable[[Progress], None] = lambda progress: shown.append(len(progress.left))  # noqa: E731
    assert compile_steps(TABLE, partial(note, tmp_path / "log"), 2, watch) == 4
    lines = (tmp_path / "log").read_text().splitlines()
    assert sorted(lines) == sorted(f"{n} {word}" for n in TABLE for word in ("begins", "ended"))
    assert max(lines.index("a ended"), lines.index("b ended")) < lines.index("c begins")
    assert shown == sorted(shown, reverse=True)
    assert shown[-1] == 0


def test_a_step_that_fails_is_heard() -> None:
    with pytest.raises(ValueError, match=r"^[abd]$"):
        compile_steps(TABLE, fails, 2, lambda shown: None)


def test_the_longest_chain_goes_first_and_bounds_the_time_left() -> None:
    assert tails(TABLE) == {"a": 6.0, "b": 5.0, "c": 4.0, "d": 3.0}
    progress = Progress(TABLE, jobs=2, took_s=1.0, expected_s=1.0)
    assert progress.left_s() == 6.0  # the chain; all the work on two cores is 5 s
    assert Progress(TABLE, jobs=1, took_s=1.0, expected_s=1.0).left_s() == 10.0


def test_the_estimate_follows_the_pace_of_what_was_compiled() -> None:
    progress = Progress(TABLE, jobs=1, took_s=0.0, expected_s=0.0)
    progress.done("a", took_s=6.0, compiled=3)
    assert progress.left_s() == 8.0 * 3
    progress.done("d", took_s=0.1, compiled=0)  # it was there: the pace is as before
    assert progress.left_s() == 5.0 * 3
    assert progress.line() == "compiling the search kernels: 2 of 4 steps, about 15.0s left"


def test_lines_come_now_and_then_and_a_terminal_sees_one_that_changes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = FakeClock()
    for terminal in (False, True):
        show = Lines(clock, terminal)
        for _ in range(4):
            show(Progress(TABLE, 1))
            clock.sleep(LINE_S / 2)
    out = capsys.readouterr().out
    assert out.count("0 of 4 steps") == 2 + 4
    assert out.count("\n") == 2
    assert out.count("\r\033[K") == 4


def test_cores_and_memory_bound_the_processes() -> None:
    assert jobs_for(range(2), 10**6) == 2
    assert jobs_for(range(64), 10**6) == 8
    assert jobs_for(range(64), 2 * JOB_MB) == 2
    assert jobs_for(range(2), 0) == 1


def test_every_primitive_is_a_step_and_is_compiled_for_one_kind_of_arguments() -> None:
    """Were a step's arguments not those that a search calls it with, both would be on disk."""
    table = steps()
    version = f".py{sys.version_info[0]}{sys.version_info[1]}."
    every = dispatch.IMAGE + dispatch.SIZED + dispatch.PAIR + dispatch.SPLIT + dispatch.JOIN
    kernels: tuple[Any, ...] = every
    root = jit.cache_root()
    assert root
    for kernel in kernels:
        name = kernel.__name__
        assert name in table
        folder = root / jit._digest(kernel.__module__)
        kept = [path for path in folder.rglob(f"*.{name}-*.nbc") if version in path.name]
        assert len(kept) <= 1, kept


def test_a_killed_set_up_continues(tmp_path: Path) -> None:
    first = compile_apart(tmp_path, "compile_small()")
    while not list(tmp_path.rglob("*.nbc")):
        assert first.poll() is None
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    assert first.communicate()[0] == ""  # its child has ended too
    kept = len(list(tmp_path.rglob("*.nbc")))
    out, _ = compile_apart(tmp_path, "compile_small()").communicate()
    assert 0 < int(out) == len(list(tmp_path.rglob("*.nbc"))) - kept


def test_a_set_up_that_loses_a_process_says_so_in_a_line(tmp_path: Path) -> None:
    """The system kills one of the compiling processes, as when memory runs out."""
    run = start([sys.executable, "-m", "solver.synth.compiling"], NUMBA_CACHE_DIR=str(tmp_path))
    while not list(tmp_path.rglob("*.nbc")):
        assert run.poll() is None
        time.sleep(0.01)
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    code, _, err = finish(run)
    assert code == 1
    assert err.startswith("search kernels: a process that compiled them was killed")
    assert len(err.splitlines()) == 1


def test_no_two_processes_compile_the_same_kernel(tmp_path: Path) -> None:
    both = [compile_apart(tmp_path, "compile_small()") for _ in range(2)]
    compiled = sum(int(process.communicate()[0]) for process in both)
    assert compiled == len(list(tmp_path.rglob("*.nbc"))) >= len(SMALL)


def test_without_room_to_keep_it_a_kernel_serves_its_process(tmp_path: Path) -> None:
    code = """
import resource
import numpy as np
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
out = np.empty(4, np.uint8)
dispatch.kc.solid(np.ones((2, 2), np.uint8), 0, 0, 3, out)
import os; os.write(1, b"compiled")
"""
    out, _ = compile_apart(tmp_path, code).communicate()
    assert out == "compiled"
    assert not [path for path in tmp_path.rglob("*.nbc") if path.stat().st_size]
