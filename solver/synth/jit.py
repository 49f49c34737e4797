"""`kernel`: numba's `njit` with a disk cache that notices changes in imported kernels.

Numba keys a cached function by its own source file only. A function that calls kernels of another
module would therefore keep the old code of these kernels after an update. Here the cache folder
is named after the sources of the module and of every `solver.synth` module that it imports,
directly or not. An edit then recompiles exactly the kernels that depend on the edited module.

The cache folder is the first of these that can be written:
- below `NUMBA_CACHE_DIR`, if this variable is set;
- in `__pycache__` beside this file;
- in a private folder of the system's temporary directory, since an installed package is often
  read-only.

Numba's cache files do not allow two writers. A process that needs a kernel which another process
is compiling therefore waits. If no folder can be written, or the disk is full, a compiled kernel
stays in the memory of its process, and nothing else changes.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import logging
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import numba
from numba.core import config
from numba.core.caching import FunctionCache

log = logging.getLogger("solver")

_HERE = Path(__file__).resolve().parent
_PACKAGE = "solver.synth."
_IMPORT = re.compile(
    r"^(?:from|import) (solver\.synth[\w.]*)(?: import (\([^)]*\)|.*))?", re.MULTILINE
)


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel that is compiled on its first call and kept on disk.

    Integer division by zero gives 0 instead of an error.
    """
    compiled: Any = numba.njit(error_model="numpy")(function)
    root = cache_root()
    if root is not None and not config.DISABLE_JIT:  # type: ignore[attr-defined]
        _keep_on_disk(compiled, root / _digest(function.__module__))
    return cast(Callable[..., Any], compiled)


def _keep_on_disk(compiled: Any, folder: Path) -> None:
    """Let a kernel load its compiled code from the folder, and save it there."""
    before = config.CACHE_DIR  # type: ignore[attr-defined]
    config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]
    try:
        # `njit(cache=True)` does the same with numba's own class.
        compiled._cache = _Cache(compiled.py_func)  # type: ignore[no-untyped-call]
    except (OSError, RuntimeError) as error:  # RuntimeError: numba found no folder to write to
        log.debug("%s is compiled in memory: %s", compiled, error)
    finally:
        config.CACHE_DIR = before  # type: ignore[attr-defined]
    lock = folder / f"{compiled.py_func.__qualname__}.lock"
    compiled.compile = functools.partial(_compile, compiled.compile, lock)


def _compile(compile_: Callable[[Any], Any], lock: Path, signature: Any) -> Any:
    """Load or compile a kernel for a signature, under a lock against other processes."""
    with _alone(lock):
        return compile_(signature)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold a lock file; go without a lock if the file cannot be created or locked."""
    with ExitStack() as stack:
        with suppress(OSError):
            lock.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(lock.open("w"))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


class _Cache(FunctionCache):
    """Numba's cache of a function; a disk error never becomes an error of the function."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled code for a signature; None if there is no readable code on disk."""
        try:
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except Exception:
            # A truncated or overwritten file can contain anything, so any error is possible.
            log.debug("compiled code that cannot be read is compiled again", exc_info=True)
            with suppress(OSError):
                self.flush()  # type: ignore[no-untyped-call]
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Save the compiled code for a signature, if the disk has room."""
        try:
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]
        except OSError as error:
            log.debug("compiled code is kept in memory: %s", error)


@functools.cache
def cache_root() -> Path | None:
    """The folder for compiled kernels; None if no folder can be written."""
    wanted = os.environ.get("NUMBA_CACHE_DIR")
    if wanted and _writable(Path(wanted)):
        return Path(wanted)
    if _writable(_HERE / "__pycache__"):
        return _HERE / "__pycache__" / "numba"
    with suppress(OSError):
        return _private_temp()
    log.warning("no folder can hold compiled kernels: each worker compiles them in memory")
    return None


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _private_temp() -> Path:
    if os.path.samefile(tempfile.gettempdir(), os.curdir):
        raise FileNotFoundError("where there is no other folder, Python names the current one")
    # Cached code is executed, so a folder that another user can have made is not used.
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
        digest.update(_file(name).read_bytes())
    return f"{module.removeprefix(_PACKAGE)}-{digest.hexdigest()}"


def _closure(module: str) -> set[str]:
    """The module and every `solver.synth` module that it imports, directly or not."""
    found: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        if name not in found and _file(name).exists():
            found.add(name)
            for package, names in _IMPORT.findall(_file(name).read_text(encoding="utf-8")):
                todo += [package, *(f"{package}.{word}" for word in re.findall(r"\w+", names))]
    return found


def _file(module: str) -> Path:
    return _HERE.parents[1] / f"{module.replace('.', '/')}.py"
