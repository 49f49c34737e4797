"""Commands within Kaggle's limits: a private /kaggle, no network, few cores, little memory."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from solver.config import cores
from solver.parent import die_with
from submission.tools import namespace

SCRIPT = Path(__file__).parent / "inside" / "sandbox.sh"
LOOK_S = 0.2
MEASURE_S = 1.0  # between two measurements of the memory


@dataclass(frozen=True)
class Limits:
    """The limits of a command.

    seconds: wall time.
    cpus: number of cores.
    memory_mb: memory of all processes together, in MB.
    """

    seconds: float
    cpus: int = 4
    memory_mb: int = 30_000


@dataclass(frozen=True)
class Fault:
    """A SIGKILL, `after_s` seconds after its trigger.

    With `words`, the fault kills a process whose command line contains these words in a row. The
    trigger is the first sight of such a process. Without `words`, the fault kills the whole
    command. The trigger is then the presence of `file`, or the command's start if there is no
    `file`. `name` is the victim's name in reports.
    """

    after_s: float
    words: tuple[str, ...] = ()
    file: Path | None = None
    name: str = "the session"


@dataclass
class Ending:
    """The end of a command.

    code: exit code, or minus the number of a signal.
    seconds: wall time.
    peak_mb: the most memory that the command's processes took together, in MB.
    events: limits enforced and faults caused, a line each.
    """

    code: int = 0
    seconds: float = 0.0
    peak_mb: float = 0.0
    events: list[str] = field(default_factory=list)


def isolated(network: bool = False) -> list[str]:
    """The words before a command that give it private mounts, private processes and no network.

    With `network` the command keeps the machine's network. Raises `DataError` if the system allows
    no namespaces.
    """
    kinds = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    kinds += [] if network else ["--net"]
    return namespace(
        kinds,
        "this system lets nobody make a namespace (unshare), so /kaggle and the missing network "
        "cannot be rehearsed: run it as root, or allow user namespaces",
    )


def run_isolated(
    folder: Path,
    command: Sequence[str],
    environment: Mapping[str, str],
    limits: Limits,
    fault: Fault | None = None,
    network: bool = False,
) -> Ending:
    """Run a command that sees `folder/kaggle` as /kaggle, within limits; pass its output on.

    If memory runs out, the largest process is killed, as the system would do. Raises `DataError` if
    the system allows no namespaces.
    """
    (folder / "root").mkdir(exist_ok=True)
    script = [*isolated(network), "sh", str(SCRIPT), str(folder), *command]
    chosen = cores()[: limits.cpus]
    began = time.monotonic()
    process = subprocess.Popen(
        script,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: _begin(chosen),
    )
    ending = Ending()
    try:
        _guard(process, began, limits, fault, ending)
    finally:
        process.kill()  # --kill-child also kills everything that the process started
        process.wait()
    ending.code, ending.seconds = process.returncode, time.monotonic() - began
    return ending


def _begin(chosen: Sequence[int]) -> None:
    """Bind the new process to the chosen cores, and let the end of its parent kill it."""
    die_with(os.getppid())
    os.sched_setaffinity(0, chosen)


def _guard(
    process: subprocess.Popen[bytes],
    began: float,
    limits: Limits,
    fault: Fault | None,
    ending: Ending,
) -> None:
    """Wait for the command's end; meanwhile enforce the limits and cause the fault."""
    measured = seen = 0.0
    while process.poll() is None:
        now = time.monotonic()
        if now - began > limits.seconds:
            ending.events.append(f"ended: it took over {limits.seconds:.0f} s")
            return
        if fault and not seen and _begun(process.pid, fault):
            seen = now
        if fault and seen and now - seen >= fault.after_s:
            ending.events.append(f"{_strike(process, fault)} after {now - began:.0f} s")
            fault = None
        if now - measured >= MEASURE_S:
            measured = now
            _watch_memory(process.pid, limits.memory_mb, ending)
        time.sleep(LOOK_S)


def _begun(parent: int, fault: Fault) -> bool:
    if fault.words:
        return _pick(parent, fault.words) is not None
    return fault.file is None or fault.file.exists()


def _strike(process: subprocess.Popen[bytes], fault: Fault) -> str:
    if not fault.words:
        process.kill()
        return f"{fault.name} was killed"
    victim = _pick(process.pid, fault.words)
    if victim:
        _kill(victim)
        return f"{fault.name} was killed"
    return f"{fault.name} had ended before it could be killed"


def _watch_memory(parent: int, limit_mb: int, ending: Ending) -> None:
    used = {pid: memory_mb(pid) for pid in descendants(parent)}
    total = sum(used.values())
    ending.peak_mb = max(ending.peak_mb, total)
    if total > limit_mb:
        largest = max(used, key=lambda pid: used[pid])
        ending.events.append(f"out of memory: killed a process of {used[largest]:.0f} MB")
        _kill(largest)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


# --- processes ------------------------------------------------------------------------


def descendants(parent: int) -> list[int]:
    """The ids of all processes that a process started, directly or not."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, IndexError):
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    return list(_below(parent, children))


def _below(parent: int, children: Mapping[int, list[int]]) -> Iterator[int]:
    for child in children.get(parent, ()):
        yield child
        yield from _below(child, children)


def memory_mb(pid: int) -> float:
    """A process's memory in MB, with its part of memory shared with other processes.

    0 if the process has ended or cannot be read.
    """
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(x.split()[1]) / 1024 for x in lines if x.startswith("Pss:")), 0.0)


def _pick(parent: int, words: Sequence[str]) -> int | None:
    """A process below `parent` whose command line contains these words in a row; else None."""
    wanted = b"\0".join(word.encode() for word in words) + b"\0"
    for pid in descendants(parent):
        with suppress(OSError):
            if wanted in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
    return None
