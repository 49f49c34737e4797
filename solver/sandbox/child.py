"""The inside of the sandbox: a process that runs programs nobody has read, one child for each.

The process imports once the modules that programs may use, then serves requests. For each request
it forks a child. The child gives up all rights that the kernel lets it give up (`LAYERS`) and runs
the program. The child's output is handed on as text that is not trusted. Of the kit, the process
needs only `solver.parent`, `solver.sandbox.kernel` and `solver.sandbox.barc`. So no task, journal
or model is in the memory of a program.

The list of importable modules and the missing built-ins only make errors clear; the real limits are
the kernel's.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import json
import os
import random
import select
import signal
import sys
import time
import traceback
import types
from collections.abc import Callable
from typing import Any, NoReturn

from solver.parent import die_with
from solver.sandbox.kernel import LAYERS, Layer, MissingError, addresses, namespaces

ALLOWED = (
    *("abc", "bisect", "collections", "common", "copy", "dataclasses", "enum", "fractions"),
    "functools",
    *("heapq", "itertools", "math", "numpy", "operator", "queue", "random", "re", "statistics"),
    *("string", "typing", "types"),
)
# Parts of numpy that numpy would import on first use, which is too late in the sandbox.
LAZY = ("numpy.fft", "numpy.lib.stride_tricks", "numpy.linalg", "numpy.ma", "numpy.random")
MISSING = ("breakpoint", "exit", "help", "input", "open", "quit")
SAID_BYTES = 1 << 20  # the most output of one program
ERROR_CHARS = 300
CHANNEL = 3  # the only descriptor a program has
MAX_CELLS = 900


def main() -> None:
    """Serve requests (lines of JSON on standard input) until standard input ends.

    Arguments: the parent's process id, megabytes a program may take, layers to use.
    """
    parent, memory_mb, wanted = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].split(",")
    die_with(parent)
    _import_all()
    most = addresses() + memory_mb * 2**20
    missing = dict.fromkeys(LAYERS.keys() - set(wanted), "not asked for")
    if "namespaces" in wanted:
        missing |= _trial({"namespaces": namespaces}, most)
    if "namespaces" not in missing:
        namespaces(most)  # once for all programs: making a network takes longer than a program
    inner = {name: layer for name, layer in LAYERS.items() if name not in {*missing, "namespaces"}}
    missing |= _trial(inner, most)
    layers = [layer for name, layer in inner.items() if name not in missing]
    print(json.dumps({"missing": missing}), flush=True)
    for line in sys.stdin:
        print(json.dumps(_serve(json.loads(line), layers, most)), flush=True)


def _serve(request: dict[str, Any], layers: list[Layer], most: int) -> dict[str, Any]:
    """Run one program in a child; returns its output, its kind of end, and its seconds."""
    start = time.monotonic()

    def play(say: Callable[[object], None]) -> None:
        for layer in layers:
            layer(most)
        _play(request, say)

    child, channel = _fork(play)
    said, cut = _hear(channel, start + request["seconds"])
    status = _end(child, channel)
    return {
        "said": said.decode("utf-8", "replace"),
        "end": cut or _how(status),
        "seconds": time.monotonic() - start,
    }


def _fork(work: Callable[[Callable[[object], None]], None]) -> tuple[int, int]:
    """Start a child that works and ends, with one pipe for its messages.

    Returns the child's process id and this process's end of the pipe.
    """
    parent = os.getpid()
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        _work(work, theirs, parent)
    os.close(theirs)
    with contextlib.suppress(OSError):  # the child makes the same call, perhaps before this one
        os.setpgid(child, child)
    return child, ours


def _work(work: Callable[[Callable[[object], None]], None], channel: int, parent: int) -> NoReturn:
    code = 1
    try:
        die_with(parent)
        os.setpgid(0, 0)
        os.dup2(channel, CHANNEL)
        os.closerange(0, CHANNEL)
        os.closerange(CHANNEL + 1, os.sysconf("SC_OPEN_MAX"))
        sys.stdin = sys.stdout = sys.stderr = None  # so that print does nothing
        work(_say)
        code = 0
    finally:
        os._exit(code)


def _say(message: object) -> None:
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(CHANNEL, data) :]


def _hear(channel: int, until: float) -> tuple[bytes, str]:
    """A child's output until its end, and "time" or "output" if the child must be stopped."""
    said = b""
    while (left := until - time.monotonic()) > 0:
        if select.select([channel], [], [], left)[0]:
            chunk = os.read(channel, 1 << 16)
            if not chunk:
                return said, ""
            said += chunk
            if len(said) > SAID_BYTES:
                return said[:SAID_BYTES], "output"
    return said, "time"


def _end(child: int, channel: int) -> int:
    """Kill a child and all processes it may have started; returns the child's exit status."""
    os.close(channel)
    for kill in (os.killpg, os.kill):  # the child may have left its group
        with contextlib.suppress(ProcessLookupError):
            kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def _how(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _trial(layers: dict[str, Layer], most: int) -> dict[str, str]:
    """Try layers in a child; returns the layers that this machine lacks, each with the reason."""

    def give_up(say: Callable[[object], None]) -> None:
        for name, layer in layers.items():
            try:
                layer(most)
            except (MissingError, OSError, ValueError) as error:
                say([name, str(error)])
        say(["", ""])

    child, channel = _fork(give_up)
    said, cut = _hear(channel, time.monotonic() + 20)
    status = _end(child, channel)
    missing = dict(json.loads(line) for line in said.splitlines())
    if "" not in missing:  # the filter did not even let the report through
        return dict.fromkeys(layers, f"the trial ended with {cut or _how(status)}")
    return {name: why for name, why in missing.items() if name}


# --- the program ------------------------------------------------------------------------


def _import_all() -> None:
    """Import all modules that programs may import, since later no file can be opened."""
    sys.modules["common"] = importlib.import_module("solver.sandbox.barc")
    for name in (*ALLOWED, *LAZY):
        importlib.import_module(name)


def _play(request: dict[str, Any], say: Callable[[object], None]) -> None:
    """Send a line about each grid: its output, or an error."""
    source: str = request["source"]
    np: Any = sys.modules["numpy"]
    module = sys.modules["program"] = types.ModuleType("program")  # for dataclasses
    scope = vars(module)
    scope["__builtins__"] = _builtins()
    random.seed(0)
    np.random.seed(0)
    try:
        exec(compile(source, "<program>", "exec"), scope)
        if "transform" not in scope:
            raise NameError("there is no function `transform`")
        transform = scope["transform"]
    except Exception as error:  # noqa: BLE001
        return say({"error": _complaint(error, source)})
    for grid in request["grids"]:
        try:
            given = np.array(grid) if request["arrays"] else [list(row) for row in grid]
            answer = {"output": _cells(transform(given))}
        except Exception as error:  # noqa: BLE001
            # A program may fail in any way: the error is then its answer.
            answer = {"error": _complaint(error, source)}
        say(answer)
    return None


def _builtins() -> dict[str, Any]:
    def guarded(name: str, *args: Any, **more: Any) -> Any:
        if name.partition(".")[0] not in ALLOWED:
            raise ImportError(f"{name} cannot be imported here; there are {', '.join(ALLOWED)}")
        return __import__(name, *args, **more)

    rest = {name: value for name, value in vars(builtins).items() if name not in MISSING}
    return rest | {"__import__": guarded}


def _cells(answer: Any) -> Any:
    """A program's answer as nested lists; whole numbers in floats and booleans are integers."""
    np: Any = sys.modules["numpy"]
    cells = np.asarray(answer)
    if cells.ndim != 2 or cells.size > MAX_CELLS:
        raise ValueError(f"transform returned no grid but {type(answer).__name__} {cells.shape}")
    whole = cells.astype(np.int64) if cells.dtype.kind in "bf" else cells
    return (whole if (whole == cells).all() else cells).tolist()


def _complaint(error: Exception, source: str) -> str:
    """One line about an exception, with the last line of the program in its traceback."""
    frames = traceback.walk_tb(error.__traceback__)
    lines = [number for frame, number in frames if frame.f_code.co_filename == "<program>"]
    text = f"{type(error).__name__}: {error}"[:ERROR_CHARS]
    if lines:
        code = "".join(source.splitlines()[lines[-1] - 1 : lines[-1]]).strip()
        text += f" (line {lines[-1]}: {code[:ERROR_CHARS]})"
    return text


if __name__ == "__main__":
    main()
