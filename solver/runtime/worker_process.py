"""One worker process as the parent sees it: started, fed, read without ever blocking, killed.

Nothing here waits for a worker, since pipes are non-blocking. A worker that stops in the middle of
a line, floods its output or never reads its input therefore delays only itself.
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
PRINTED_BYTES = 64 * 1024  # of an engine's output, in a tick: the rest waits in the pipe
TAIL_BYTES = 4000
SPARE_DESCRIPTORS = 4  # more than writing and reading back a submission needs
# Libraries read these variables at import: no library may wait for a network that is not there.
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "UNSLOTH_DISABLE_STATISTICS": "1",
    "WANDB_DISABLED": "true",
    "TOKENIZERS_PARALLELISM": "false",
}
# oneDNN compiles products for each shape and keeps a thousand; the layer by which torch calls it
# does the same. For grids of changing sizes, both keep more than a gigabyte without any speed-up.
SPARING = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64", "LRU_CACHE_CAPACITY": "64"}


class GarbageError(Exception):
    """A worker sent bytes that are no report of its order."""


@dataclass(frozen=True)
class Seat:
    """The place in which a worker runs.

    core: the core that the worker is pinned to; -1 for none.
    memory_mb: the worker's memory.
    visible: the worker's devices as in `CUDA_VISIBLE_DEVICES`; None for all that the parent sees.
    path: folders in which the worker looks for a user's engines, after all other folders.
    """

    core: int
    memory_mb: int
    visible: str | None = None
    path: tuple[str, ...] = ()

    @property
    def addresses_mb(self) -> int:
        """The limit of the address space in MB, or 0 for no limit.

        The limit is wider than the memory, since libraries reserve more than they touch. A worker
        with a device has no limit, since its driver reserves more than any machine has.
        """
        return 0 if self.visible else 2 * self.memory_mb + 2048


class WorkerProcess:
    """A `solver.runtime.worker` in a separate process group."""

    def __init__(self, place: Seat) -> None:
        """Start the worker, which says `ready` once it can take a job.

        Raises `OSError` or `MemoryError` if the system has no room for the worker, or would have
        no descriptors left for the submission.
        """
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
        self.closed = False  # True: the worker will send nothing more
        self.tail = b""  # the end of its output

    def fileno(self) -> int:
        """The message pipe, for a selector."""
        return self._messages

    def send(self, order: LoadOrder) -> None:
        """Queue an order; `pump` writes as much as the pipe takes."""
        self._outbox += order_line(order)
        self.pump()

    def pump(self) -> None:
        """Move bytes both ways, as far as possible without waiting."""
        try:
            while self._outbox:
                self._outbox = self._outbox[os.write(self._stdin.fileno(), self._outbox) :]
        except (BlockingIOError, BrokenPipeError):
            pass  # the pipe is full, or the process is dead, as `ended` will soon show
        try:
            printed = os.read(self._stdout.fileno(), PRINTED_BYTES)
            self.tail = (self.tail + printed)[-TAIL_BYTES:]
        except BlockingIOError:
            pass

    def receive(self) -> Iterator[Report]:
        """The reports that have arrived. Raises `GarbageError` for bytes that are no report."""
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
        """The way in which the process ended, in words; None while the process runs."""
        code = self._process.poll()
        if code is None and self.closed:
            try:
                code = self._process.wait(timeout=0.2)  # the process is most likely just ending
            except subprocess.TimeoutExpired:
                return "closed its messages"
        if code is None:
            return None
        return f"signal {_signal_name(-code)}" if code < 0 else f"exit code {code}"

    def memory_mb(self) -> float:
        """Resident memory in MB; 0 where the system does not tell."""
        try:
            resident = Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]
        except (OSError, IndexError):
            return 0.0
        return int(resident) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def printed(self) -> str:
        """The end of the process's output."""
        return self.tail.decode("utf-8", "replace").strip()

    def kill(self) -> None:
        """End the process and all processes it started at once, and free the pipes."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except OSError:  # the group is gone, or one of its processes now belongs to another user
            with suppress(OSError):
                self._process.kill()
        try:
            self._process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            pass  # a process stuck in the kernel (by a hung device) can only be left behind
        os.close(self._messages)
        for pipe in (self._stdin, self._stdout):
            try:
                pipe.close()
            except (BrokenPipeError, BlockingIOError):
                pass


@contextmanager
def _spare_descriptors() -> Iterator[None]:
    """Keep `SPARE_DESCRIPTORS` descriptors unused while others are opened inside.

    Raises `OSError` if there are too few.
    """
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
    """A signal's name, such as `SIGKILL`, or the number of a signal without a name (real time)."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _environment(place: Seat) -> dict[str, str]:
    """The parent's environment with the changes for a worker.

    Each library has one thread, does not look for a network, and keeps little memory for compiled
    code. Nothing is imported from the current folder. Only the devices of the place are visible;
    these must be set before the first library looks for devices.
    """
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
