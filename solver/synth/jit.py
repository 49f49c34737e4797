"""`kernel`: numba's `njit` with a disk cache that notices changes in imported kernels.

Numba keys a cached function by its own source file only, so a function that calls kernels
of another module would keep their old code after an update. Here the cache folder is named
after the sources of the module and of every `solver.synth` module it imports, so an edit
recompiles exactly what depends on it.

The folder stands below `NUMBA_CACHE_DIR` if that is set, else in `__pycache__` beside this
file, else (an installed package is often read-only) in a private folder in the system's
temporary directory. Processes that need the same kernel at the same time wait for the one that
compiles it: numba's cache files are not made for two writers. Where nothing can be kept (no room),
a kernel serves the process that compiled it.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import numba
from numba.core import config, sigutils

_HERE = Path(__file__).resolve().parent
_MODULE = re.compile(r"^(?:from|import) solver\.synth\.(\w+)", re.MULTILINE)
_MODULES = re.compile(r"^from solver\.synth import ((?:\([^)]*\)|.*)$)", re.MULTILINE)


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile on first call, keep on disk; integer division by zero gives 0, it never raises."""
    before = config.CACHE_DIR  # type: ignore[attr-defined]
    module = function.__module__.rpartition(".")[2]
    folder = cache_root() / _digest(module)
    config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]
    try:
        dispatcher: Any = numba.njit(cache=True, error_model="numpy")(function)
    finally:
        config.CACHE_DIR = before  # type: ignore[attr-defined]
    lock = folder / f"{function.__qualname__}.lock"
    dispatcher.compile = functools.partial(_compile, dispatcher, dispatcher.compile, lock)
    return cast(Callable[..., Any], dispatcher)


def _compile(dispatcher: Any, compile_: Callable[[Any], Any], lock: Path, signature: Any) -> Any:
    """Load or compile a kernel for a signature while no other process does."""
    with _alone(lock):
        try:
            return compile_(signature)
        except OSError:  # compiled, and there is no room to keep it
            arguments, _ = sigutils.normalize_signature(signature)  # type: ignore[no-untyped-call]
            if arguments not in dispatcher.overloads:
                raise
            return dispatcher.overloads[arguments].entry_point


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold a lock file; do without where there is no room for one or it cannot be locked."""
    with ExitStack() as stack:
        with suppress(OSError):
            lock.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(lock.open("w"))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@functools.cache
def cache_root() -> Path:
    """The folder that holds compiled kernels; created if need be."""
    if os.environ.get("NUMBA_CACHE_DIR"):
        return Path(os.environ["NUMBA_CACHE_DIR"])
    beside = _HERE / "__pycache__"
    try:
        beside.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=beside):
            return beside / "numba"
    except OSError:
        return _private_temp()


def _private_temp() -> Path:
    # Cached code is executed, so a folder that another user could have made is not taken.
    folder = Path(tempfile.gettempdir()) / f"arc-solver-numba-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077:
        return folder
    return Path(tempfile.mkdtemp(prefix="arc-solver-numba-"))


@functools.cache
def _digest(module: str) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(_closure(module)):
        digest.update((_HERE / f"{name}.py").read_bytes())
    return f"{module}-{digest.hexdigest()}"


def _closure(module: str) -> set[str]:
    """The module and every module of this package that it imports, directly or not."""
    found: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        path = _HERE / f"{name}.py"
        if name not in found and path.exists():
            found.add(name)
            text = path.read_text(encoding="utf-8")
            todo += _MODULE.findall(text)
            todo += re.findall(r"\w+", " ".join(_MODULES.findall(text)))
    return found
