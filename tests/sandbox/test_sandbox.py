"""The sandbox: hostile programs in real processes do not get out, and the next one runs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solver.deadline import Deadline
from solver.grid import as_grid, same
from solver.sandbox import child as jail
from solver.sandbox import kernel as confine
from solver.sandbox.parent import Sandbox, SandboxError, _outcomes
from tests.runs import ROOT
from tests.sandbox.hostile import (
    ENDLESS,
    GRIDS,
    HONEST,
    HOSTILE,
    RETURNS,
    Prey,
    attempt,
    check_honest,
    inside,
    jailed,
    prey_in,
)


@pytest.fixture(scope="module")
def prey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prey]:
    with prey_in(tmp_path_factory.mktemp("open")) as prey:
        yield prey


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


def outcome(sandbox: Sandbox, program: str, seconds: float = 30, *, arrays: bool = True) -> object:
    """The outcome for the first grid: an error's text, or the output as lists."""
    first = sandbox.run(program, GRIDS[:1], Deadline.after(seconds), arrays=arrays).outcomes[0]
    return first if isinstance(first, str) else first.tolist()


@pytest.mark.parametrize("name", HOSTILE)
def test_no_program_gets_out(name: str, sandbox: Sandbox, prey: Prey) -> None:
    stopped = attempt(sandbox, inside(HOSTILE[name]), prey, 0.7 if name in ENDLESS else 20)
    assert stopped or name in RETURNS, "what stopped it?"


# --- what honest programs get -----------------------------------------------------------


def test_a_program_may_use_what_the_list_allows(sandbox: Sandbox) -> None:
    imports = "".join(f"import {name}\n" for name in jail.ALLOWED)
    uses = """
from collections import Counter, deque
from dataclasses import dataclass
from typing import NamedTuple
import numpy as np

@dataclass
class Box:
    side: int

class Cell(NamedTuple):
    row: int

def transform(grid):
    rng = np.random.default_rng(3)
    assert rng.integers(0, 10, 4).shape == (4,) and np.linalg.det(np.eye(2)) == 1
    assert np.median(grid) >= 0 and np.lib.stride_tricks.sliding_window_view(grid, (1, 1)).size
    assert Counter(grid.ravel().tolist()).most_common(1) and Box(3).side == Cell(3).row
    assert np.fft.fft([1, 2]).size == 2 and np.ma.masked_equal(grid, 0).count() >= 0
    print("no one hears this", grid)
    return copy.deepcopy(grid)
"""
    assert outcome(sandbox, imports + uses) == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("grid.T", [[1, 3], [2, 4]]),
        ("grid * 1.0", [[1, 2], [3, 4]]),
        ("grid > 2", [[0, 0], [1, 1]]),
        ("tuple(map(tuple, grid))", [[1, 2], [3, 4]]),
        ("[list(row) for row in grid]", [[1, 2], [3, 4]]),
    ],
)
def test_answers_of_other_kinds_are_grids_if_they_mean_one(
    sandbox: Sandbox, answer: str, expected: object
) -> None:
    assert outcome(sandbox, f"def transform(grid):\n    return {answer}\n") == expected


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("def transform(grid):\n    return grid + 0.5", "is 1.5, not an integer"),
        ("def transform(grid):\n    return grid + 7", "is 10, not an integer 0..9"),
        ("def transform(grid):\n    return None", "returned no grid but NoneType"),
        ("def transform(grid):\n    return grid[0]", r"returned no grid but ndarray \(2,\)"),
        ("def transform(grid):\n    return [[1], [2, 3]]", "ValueError"),
        ("def transform(grid):\n    return [['a']]", "cell"),
        ("def transform(grid):\n    return [[]]", "not a non-empty list"),
        ("def transform(grid):\n\n    return 1 / 0", r"ZeroDivisionError: .*line 3: return 1 / 0"),
        ("def f(grid):\n    return grid", "no function `transform`"),
        ("def transform(grid:\n", "SyntaxError"),
        ("x = '\x00'", "null bytes"),
        ("x = '\ud800'", "surrogates"),
        ("(" * 10**5, "nested|MemoryError|SyntaxError|exit code|signal"),
        ("", "no function `transform`"),
        ("import os", "os cannot be imported"),
        ("from importlib import import_module", "importlib cannot be imported"),
        ("__import__('sys')", "sys cannot be imported"),
        ("open('/etc/passwd')", "name 'open' is not defined"),
        ("input()", "name 'input' is not defined"),
        ("raise KeyError('x')", "KeyError: 'x'"),
    ],
)
def test_what_went_wrong_is_said(sandbox: Sandbox, program: str, error: str) -> None:
    said = outcome(sandbox, program)
    assert isinstance(said, str)
    assert re.search(error, said), said


def test_programs_for_nested_lists_get_them(sandbox: Sandbox) -> None:
    program = "def transform(grid):\n    return grid + grid if type(grid[0]) is list else 0\n"
    assert outcome(sandbox, program, arrays=False) == [[1, 2], [3, 4], [1, 2], [3, 4]]


def test_a_program_that_stops_half_way_keeps_what_it_answered(sandbox: Sandbox) -> None:
    program = (
        "def transform(grid):\n    while grid.shape == (1, 3):\n        pass\n    return grid\n"
    )
    first, second = sandbox.run(program, GRIDS, Deadline.after(2)).outcomes
    assert not isinstance(first, str)
    assert same(first, GRIDS[0])
    assert second == "it did not end in time"


def test_programs_leave_nothing_to_the_next(sandbox: Sandbox) -> None:
    spoil = "import numpy as np\ndef transform(grid):\n    np.flipud = None\n    return grid\n"
    assert outcome(sandbox, spoil) == [[1, 2], [3, 4]]
    check_honest(sandbox)


def test_draws_come_out_the_same(sandbox: Sandbox) -> None:
    program = (
        "import numpy as np, random\ndef transform(grid):\n"
        "    names = list({'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'})\n"
        "    return [[random.randrange(10), np.random.randint(10), 'abcdefgh'.index(names[0])]]\n"
    )
    with Sandbox() as other:
        assert outcome(sandbox, program) == outcome(other, program)


def test_a_passed_deadline_runs_nothing(sandbox: Sandbox) -> None:
    run = sandbox.run(HONEST, GRIDS, Deadline.after(-1))
    assert run.outcomes == ("no time was left",) * 2


# --- a forged result --------------------------------------------------------------------

FORGER = inside("os.write(3, b'{\"output\": [[7]]}\\n' * 9)\nreturn [[8]]")


def test_a_forged_result_is_the_forgers_own_answer(sandbox: Sandbox) -> None:
    """Whatever a program says in the channel, it is what it answers: it knows inputs alone, and
    the next program has a channel of its own."""
    run = sandbox.run(FORGER, GRIDS, Deadline.after(30))
    assert [o if isinstance(o, str) else o.tolist() for o in run.outcomes] == [[[7]], [[7]]]
    check_honest(sandbox)


@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from(('{"output": [[1]]}', '{"error": 3}', "[]", "{}", "x"))).map(
        "\n".join
    )
)
def test_whatever_is_said_there_is_at_most_an_outcome_for_each_grid(said: str) -> None:
    outcomes = list(_outcomes(said, 3))
    assert len(outcomes) <= min(3, said.count("\n"))
    assert all(isinstance(o, str) or o.tolist() for o in outcomes)


def test_a_program_sees_no_grid_but_those_it_is_given(sandbox: Sandbox) -> None:
    """A grid of an earlier request is nowhere in the memory that the next program is born with."""
    marked = as_grid([[9, 8, 7, 6, 5, 4, 3, 2, 1]])
    sandbox.run(HONEST, [marked], Deadline.after(30))
    search = inside(
        "gc = sys.modules['gc'] if 'gc' in sys.modules else builtins.__import__('gc')\n"
        "texts = [x for x in gc.get_objects() if type(x) is list and x == [*range(9, 0, -1)]]\n"
        "return [[int(len(texts) > 0)]]"
    )
    assert outcome(sandbox, search) == [[0]]


# --- the layers -------------------------------------------------------------------------

FILES = ("read", "write", "delete", "rename", "truncate", "link", "a folder", "list", "exec")
PROCESSES = ("fork bomb", "fork by its number", "subprocess", "system", "a thread")
ALONE = {
    # What holds without all the others. (One of seccomp and landlock must be there.)
    ("seccomp",): (*FILES, *PROCESSES, "connect", "send", "kill the parent", "trace", "io_uring"),
    ("landlock",): FILES,
    ("landlock", "namespaces"): ("connect", "send"),
    ("landlock", "identity"): ("kill the parent", "another user", "rights", "trace"),
    ("landlock", "identity", "limits"): (*PROCESSES, "a socket", "a pipe", "memory at once"),
}


@pytest.mark.parametrize("layers", ALONE, ids="+".join)
def test_each_layer_alone_stops_what_it_is_there_for(layers: tuple[str, ...], prey: Prey) -> None:
    with Sandbox(layers=layers) as sandbox:
        lacking = {n: why for n, why in sandbox.missing.items() if n in layers}
        if lacking:
            pytest.skip(str(lacking))
        for name in ALONE[layers]:
            attempt(sandbox, inside(HOSTILE[name]), prey, 5)


def test_the_filter_for_the_other_processor_is_as_long() -> None:
    for column, machine in confine.MACHINES.values():
        numbers = [numbers[column] for numbers in confine.CALLS.values()]
        assert len(set(numbers)) == len(numbers)
        assert len(confine.bpf(numbers, machine)) == 8 * (len(numbers) + 6)


@pytest.mark.parametrize("layers", [(), ("identity", "limits", "namespaces")])
def test_where_nothing_keeps_programs_from_files_none_is_run(layers: tuple[str, ...]) -> None:
    before = jailed()
    with pytest.raises(SandboxError, match=r"cannot keep programs from files .*not asked for"):
        Sandbox(layers=layers)
    assert jailed() == before


# Root as containers know it: without the right to make namespaces, or with no right at all.
CONTAINER = """
import ctypes, json, sys
from solver.deadline import Deadline
from solver.sandbox.parent import Sandbox
from tests.sandbox.hostile import GRIDS, HOSTILE, inside

kept = json.loads(sys.argv[1])
libc = ctypes.CDLL(None)
header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
for cap in range(64):
    if cap not in kept:
        libc.prctl(24, cap, 0, 0, 0)  # out of the bounding set
for cap in kept:
    none[cap // 32 * 3] |= 1 << cap % 32
    none[cap // 32 * 3 + 1] |= 1 << cap % 32
assert libc.capset(header, none) == 0
with Sandbox() as sandbox:
    print(json.dumps(sandbox.missing))
    for name in ("fork bomb", "a thread", "connect", "send", "read", "kill the parent"):
        program = inside(HOSTILE[name]).replace("TESTS", sys.argv[2])
        program = program.replace("SECRET", "'/etc/hostname'").replace("TCP", "('127.0.0.1', 1)")
        run = sandbox.run(program.replace("UDP", "('127.0.0.1', 1)"), GRIDS, Deadline.after(20))
        print(json.dumps([o if isinstance(o, str) else o.tolist() for o in run.outcomes]))
"""
DOCKER = [0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31]  # the rights Docker leaves to root


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")
@pytest.mark.parametrize(
    ("kept", "missing"), [(DOCKER, {"namespaces"}), ([], {"namespaces", "identity"})]
)
def test_in_a_container_the_rest_of_the_layers_holds(kept: list[int], missing: set[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CONTAINER, str(kept), str(os.getpid())],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    first, *said = done.stdout.splitlines()
    assert all(f'"{name}": "' in first for name in missing), first
    assert "not permitted" in first
    assert "seccomp" not in first
    assert len(said) == 6
    assert not any("[[1]]" in line for line in said)


# --- the sandbox's own end --------------------------------------------------------------


def test_a_sandbox_that_dies_is_replaced() -> None:
    before = set(jailed())
    with Sandbox() as sandbox:
        (first,) = set(jailed()) - before
        os.kill(first, signal.SIGKILL)
        assert "ended" in str(outcome(sandbox, HONEST))
        check_honest(sandbox)
        assert first not in jailed()
    assert set(jailed()) == before


def test_a_stuck_sandbox_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("solver.sandbox.parent.GRACE_S", 0.1)
    before = set(jailed())
    with Sandbox() as sandbox:
        (first,) = set(jailed()) - before
        os.kill(first, signal.SIGSTOP)
        assert "ended" in str(outcome(sandbox, HONEST, 0.2))
        monkeypatch.undo()
        check_honest(sandbox)
        assert first not in jailed()


def test_a_sandbox_ends_with_the_process_that_made_it() -> None:
    """Even by SIGKILL, and with a program running."""
    code = (
        "from solver.deadline import Deadline; from solver.sandbox.parent import Sandbox\n"
        "from tests.sandbox.hostile import GRIDS, HOSTILE, inside\n"
        "sandbox = Sandbox(seconds=600); print(sandbox._process.pid, flush=True)\n"
        "sandbox.run(inside(HOSTILE['signals ignored']), GRIDS, Deadline.after(600))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    pid = int(process.stdout.readline())
    deadline = Deadline.after(60)
    while not (running := children(pid)) and not deadline.passed():
        time.sleep(0.02)
    process.kill()
    process.communicate()
    while any(map(alive, [pid, *running])) and not deadline.passed():
        time.sleep(0.02)
    assert running
    assert not any(map(alive, [pid, *running]))


def children(pid: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_all_layers_hold_here_or_say_why_not(sandbox: Sandbox) -> None:
    assert sandbox.missing.keys() <= confine.LAYERS.keys()
    assert all(sandbox.missing.values())
    assert "seccomp" not in sandbox.missing
