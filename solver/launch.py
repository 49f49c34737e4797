"""A command run from the notebook: its lines are passed on, its end is certain.

The kernel stays small and does no work, so nothing that the run does can end the notebook.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from solver.deadline import Deadline

GRACE_S = 20.0  # from SIGTERM to SIGKILL
LOOK_S = 1.0
TIME_OVER = "time is over: the process is being ended"
READ_BYTES, LAST_READS = 64 * 1024, 32
OOM_SCORE = 500  # so that the system, out of memory, kills the command, not the notebook's kernel


def follow(
    command: Sequence[str],
    deadline: Deadline,
    environment: Mapping[str, str] | None = None,
    say: Callable[[str], None] = print,
) -> int:
    """Run a command to its end, passing on every line it prints.

    At the deadline the command gets SIGTERM; `GRACE_S` later its process group gets SIGKILL.
    Returns the exit code, or minus the number of the signal that ended the command. Raises
    `OSError` if the command cannot start.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **(environment or {}), "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )
    _prefer_for_killing(process.pid)
    lines = _Lines(process, say)
    try:
        _attend(process, lines, deadline)
        if process.poll() is None:
            say(TIME_OVER)
            process.terminate()
            _attend(process, lines, Deadline.after(GRACE_S, deadline.clock))
    finally:  # an interrupted cell must not leave the command running
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        lines.close()
    return process.returncode


class _Lines:
    """The output of a process, in whole lines."""

    def __init__(self, process: subprocess.Popen[bytes], say: Callable[[str], None]) -> None:
        assert process.stdout
        self._pipe, self._say, self._rest = process.stdout, say, b""
        os.set_blocking(self._pipe.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._pipe, selectors.EVENT_READ)
        self.open = True

    def pass_on(self, timeout: float) -> None:
        """Pass on the output that arrives within `timeout` seconds."""
        if not self._selector.select(timeout):
            return
        try:
            chunk = os.read(self._pipe.fileno(), READ_BYTES)
        except BlockingIOError:
            return
        self.open = bool(chunk)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._say(line.decode("utf-8", "replace"))

    def close(self) -> None:
        """Pass on the last output, and close the pipe."""
        for _ in range(LAST_READS):  # a process that it left behind may print for ever
            if self.open:
                self.pass_on(0)
        if self._rest:
            self._say(self._rest.decode("utf-8", "replace"))
        self._selector.close()
        self._pipe.close()


def _attend(process: subprocess.Popen[bytes], lines: _Lines, deadline: Deadline) -> None:
    """Listen until the process has ended or the deadline has passed."""
    while process.poll() is None and not deadline.passed():
        wait_s = max(0.0, min(LOOK_S, deadline.left()))
        if lines.open:
            lines.pass_on(wait_s)
        else:
            deadline.clock.sleep(min(wait_s, 0.1))


def _prefer_for_killing(pid: int) -> None:
    with suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(OOM_SCORE))


def last_words(lines: Sequence[str]) -> str:
    """The last line that says anything."""
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")
