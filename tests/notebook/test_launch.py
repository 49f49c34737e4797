"""Commands that the notebook starts: what they print arrives, and they end."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from solver.deadline import Deadline
from solver.launch import TIME_OVER, follow


def lines_of(code: str, seconds: float = 60.0) -> tuple[int, list[str]]:
    said: list[str] = []
    status = follow([sys.executable, "-c", code], Deadline.after(seconds), say=said.append)
    return status, said


def test_lines_arrive_also_the_last_without_an_end() -> None:
    code = "import sys; print('one'); print('two', file=sys.stderr); print('three', end='')"
    assert lines_of(code) == (0, ["one", "two", "three"])


def test_lines_arrive_as_they_are_printed() -> None:
    moments: list[float] = []
    code = "import time; print(1); time.sleep(0.7); print(2)"
    follow(
        [sys.executable, "-c", code], Deadline.after(60), say=lambda _: moments.append(time.time())
    )
    assert moments[1] - moments[0] > 0.4


def test_bytes_that_are_no_text_and_a_flood() -> None:
    code = "import os; os.write(1, b'\\xff\\n'); print('x' * 3_000_000); print('end')"
    status, said = lines_of(code)
    assert (status, said[0], len(said[1]), said[2]) == (0, "\ufffd", 3_000_000, "end")


@pytest.mark.parametrize(("code", "status"), [("exit(3)", 3), ("import os; os.abort()", -6)])
def test_how_it_ended(code: str, status: int) -> None:
    assert lines_of(code)[0] == status


def test_at_the_deadline_it_may_end_by_itself() -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, lambda *_: exit(7)); print('on'); "
        "time.sleep(60)"
    )
    begun = time.monotonic()
    status, said = lines_of(code, 3.0)
    assert status == 7
    assert said[-1] == TIME_OVER
    assert time.monotonic() - begun < 30


def test_what_it_started_ends_with_it(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    code = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', "
        f"'import time; time.sleep(600)']); open({str(file)!r}, 'w').write(str(p.pid))"
    )
    assert lines_of(code)[0] == 0
    state = Path(f"/proc/{file.read_text()}/stat")
    until = time.monotonic() + 30
    while state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] != "Z":
        assert time.monotonic() < until
        time.sleep(0.05)


def test_where_memory_runs_out_the_notebook_is_not_first(tmp_path: Path) -> None:
    code = "import time; time.sleep(0.5); print(open('/proc/self/oom_score_adj').read())"
    own = int(Path("/proc/self/oom_score_adj").read_text())
    assert int(lines_of(code)[1][0]) > own


def test_a_command_that_is_not_there() -> None:
    with pytest.raises(OSError, match="nothing-here"):
        follow(["/nothing-here"], Deadline.after(5))


def test_it_sees_the_environment_given() -> None:
    said: list[str] = []
    code = "import os; print(os.environ['MINE'], len(os.environ))"
    follow([sys.executable, "-c", code], Deadline.after(60), {"MINE": "yes"}, said.append)
    assert said[0].split()[0] == "yes"
    assert int(said[0].split()[1]) > len(os.environ)
