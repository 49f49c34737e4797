"""One worker process as the parent sees it: started, fed, read without ever blocking, killed.

Nothing here waits for a worker: pipes are non-blocking, so a worker that stops in the middle
of a line, floods its output or never reads its input can hold up nobody but itself.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from solver import start
from solver.runtime.messages import LoadOrder, Report, order_line, read_report

READ_BYTES = 256 * 1024  # of messages, at a time
MAX_LINE = 4 * 2**20
PRINTED_BYTES = 64 * 1024  # of what an engine prints, a tick: more waits in its own pipe
TAIL_BYTES = 4000
SPARE_DESCRIPTORS = 4  # a submission is written and read back with fewer
# Libraries read these when they are imported: nothing may wait for a network that is not there.
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "UNSLOTH_DISABLE_STATISTICS": "1",
    "WANDB_DISABLED": "true",
    "TOKENIZERS_PARALLELISM": "false",
}
# oneDNN compiles products for each shape and keeps a thousand, and so does what torch calls it by:
# for grids of ever other sizes that is more than a gigabyte that brings no speed.
SPARING = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64", "LRU_CACHE_CAPACITY": "64"}


class GarbageError(Exception):
    """A worker sent something that is no report of its order."""


@dataclass(frozen=True)
class Seat:
    """Where a worker runs: pinned to a core (-1: to none), with so much memory, and with the
    devices that `CUDA_VISIBLE_DEVICES` names (None: whatever the parent sees).

    `path`: folders in which it looks for engines of one's own, after all others.
    """

    core: int
    memory_mb: int
    visible: str | None = None
    path: tuple[str, ...] = ()

    @property
    def addresses_mb(self) -> int:
        """The limit of the address space: wider than the memory, since libraries reserve more
        than they touch. 0 where there is a device: its driver reserves more than any machine has.
        """
        return 0 if self.visible else 2 * self.memory_mb + 2048


class WorkerProcess:
    """A `solver.runtime.worker` in a process group of its own."""

    def __init__(self, place: Seat) -> None:
        """Start it. It says `ready` once it can take a job. Raises `OSError` or `MemoryError`
        if the system has no room for it, or no descriptors left for the submission besides."""
        with _spare_descriptors():
            self._messages, child_end = os.pipe()
            try:
                self._process = _popen(place, child_end)
            except BaseException:
                os.close(self._messages)
                raise
            finally:
                os.close(child_end)
        assert self._process.stdin
        assert self._process.stdout
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        for fd in (self._messages, self._stdin.fileno(), self._stdout.fileno()):
            os.set_blocking(fd, False)
        self._outbox = b""
        self._inbox = b""
        self.closed = False  # it will send no more
        self.tail = b""  # of what it printed

    def fileno(self) -> int:
        """The message pipe, for a selector."""
        return self._messages

    def send(self, order: LoadOrder) -> None:
        """Queue an order; `pump` writes what the pipe takes."""
        self._outbox += order_line(order)
        self.pump()

    def pump(self) -> None:
        """Move bytes both ways as far as that goes without waiting."""
        try:
            while self._outbox:
                self._outbox = self._outbox[os.write(self._stdin.fileno(), self._outbox) :]
        except (BlockingIOError, BrokenPipeError):
            pass  # full, or about to be found dead
        try:
            printed = os.read(self._stdout.fileno(), PRINTED_BYTES)
            self.tail = (self.tail + printed)[-TAIL_BYTES:]
        except BlockingIOError:
            pass

    def receive(self) -> Iterator[Report]:
        """The reports that have arrived. Raises `GarbageError` for what is none."""
        try:
            chunk = os.read(self._messages, READ_BYTES)
        except BlockingIOError:
            return
        self.closed = not chunk
        self._inbox += chunk
        *lines, self._inbox = self._inbox.split(b"\n")
        if len(self._inbox) > MAX_LINE:
            raise GarbageError(f"a report of over {MAX_LINE} bytes")
        for line in lines:
            try:
                yield read_report(line)
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise GarbageError(f"no report: {line[:80]!r} ({error})") from None

    def ended(self) -> str | None:
        """How the process ended, or None while it runs."""
        code = self._process.poll()
        if code is None and self.closed:
            try:
                code = self._process.wait(timeout=0.2)  # it is most likely just ending
            except subprocess.TimeoutExpired:
                return "closed its messages"
        if code is None:
            return None
        return f"signal {_signal_name(-code)}" if code < 0 else f"exit code {code}"

    def memory_mb(self) -> float:
        """Resident memory; 0 where the system does not tell."""
        try:
            resident = Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]
        except (OSError, IndexError):
            return 0.0
        return int(resident) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def printed(self) -> str:
        """The last of what it printed."""
        return self.tail.decode("utf-8", "replace").strip()

    def kill(self) -> None:
        """End the process and all it started, now, and free the pipes."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except OSError:  # it is gone, or one of the group has become another user's
            with suppress(OSError):
                self._process.kill()
        try:
            self._process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            pass  # stuck in the kernel (a hung device): it cannot be waited for, only left
        os.close(self._messages)
        for pipe in (self._stdin, self._stdout):
            try:
                pipe.close()
            except (BrokenPipeError, BlockingIOError):
                pass


@contextmanager
def _spare_descriptors() -> Iterator[None]:
    """Keep a few descriptors free of what is opened inside. Raises `OSError` if there are none."""
    with ExitStack() as spare:
        for _ in range(SPARE_DESCRIPTORS):
            spare.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        yield


def _popen(place: Seat, messages: int) -> subprocess.Popen[bytes]:
    limits = (messages, place.addresses_mb, place.core, os.getpid())
    return subprocess.Popen(
        start.command("solver.runtime.worker", *limits, *place.path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=[messages],
        env=_environment(place),
        start_new_session=True,
    )


def _signal_name(number: int) -> str:
    """`SIGKILL`, or the number of one that has no name (those for real time)."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _environment(place: Seat) -> dict[str, str]:
    """The parent's environment with one thread a library, no network for libraries that would
    look for one, little memory for what they compiled, nothing imported from the current folder,
    and the devices of the place: they must be named before the first library that looks."""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    path = start.import_path(os.environ.get("PYTHONPATH"))
    visible = {} if place.visible is None else {"CUDA_VISIBLE_DEVICES": place.visible}
    return {
        **os.environ,
        **visible,
        **dict.fromkeys(threads, "1"),
        **OFFLINE,
        **SPARING,
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONSAFEPATH": "1",  # for the processes that libraries start
        "PYTHONUNBUFFERED": "1",
    }
