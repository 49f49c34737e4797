"""Strict JSON in, atomic files out.

Any fault of a file becomes a `DataError` of one line that names file and field.
"""

from __future__ import annotations

import errno
import gc
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from solver.grid import DataError, Grid, as_grid, names

MAX_BYTES = 512 * 2**20


def load_json(path: Path) -> Any:
    """The value in a file of strict JSON in UTF-8. Raises `DataError` for any other file."""
    return parse_json(path, _read(path))


def parse_json(path: Path | str, raw: bytes) -> Any:
    """The value in the bytes of a file; `path` names the file in an error."""
    if raw.startswith(b"\xef\xbb\xbf"):
        raise DataError(f"{path}: starts with a byte order mark; save it as plain UTF-8")
    try:
        text = raw.decode("utf-8")
        with uncollected():
            return json.loads(text, object_pairs_hook=_distinct_keys, parse_constant=_no_constant)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise DataError(f"{path}: not JSON of this kind: nested too deeply") from None
    except ValueError as error:
        raise DataError(f"{path}: not JSON: {error}") from None


@contextmanager
def uncollected() -> Iterator[None]:
    """A context without garbage collection, which would search millions of new lists repeatedly."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _read(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size  # 0 for a pipe, whose size is unknown
            raw = file.read(MAX_BYTES + 1) if size <= MAX_BYTES else b""
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    if max(size, len(raw)) > MAX_BYTES:
        raise DataError(f"{path}: over {MAX_BYTES / 2**20:.0f} MiB")
    return raw


def _distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = [k for k, _ in pairs if k in seen or seen.add(k)]  # type: ignore[func-returns-value]
        raise DataError(f"key {names(twice)} appears twice")
    return result


def _no_constant(name: str) -> NoReturn:
    raise DataError(f"{name} is not a number here")


def hidden(name: str) -> bool:
    """True for files that no user put there: hidden ones, and those that macOS adds to archives."""
    return any(part.startswith(".") or part == "__MACOSX" for part in Path(name).parts)


def grid_field(field: str, holder: Any, name: str) -> Grid:
    if not isinstance(holder, dict):
        raise DataError(f"{field}: expected an object with {name}")
    if name not in holder:
        raise DataError(f"{field}: {name} is missing")
    return grid_at(f"{field}, {name}", holder[name])


def grid_at(field: str, value: Any) -> Grid:
    try:
        return as_grid(value)
    except DataError as error:
        raise DataError(f"{field}: {error}") from None


def object_at(path: Path, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected an object of tasks, got {type(value).__name__}")
    return value


def list_at(field: str, value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise DataError(f"{field}: expected a non-empty list")
    return value


def atomic_write(path: Path, text: str, check: Callable[[Path], None] | None = None) -> None:
    """Write `text` to `path` so that a reader sees the old file or the new file, never a part."""
    beside = path.with_name(f".{path.name}.new")
    try:
        with open(beside, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            sync(file.fileno())
        if check:
            check(beside)
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    with suppress(OSError):  # the file is there; not every file system can sync a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # so that the rename itself survives a power cut
        finally:
            os.close(folder)


def sync(descriptor: int) -> None:
    """Make written bytes survive a power cut, where the file system can be asked to do so.

    Raises `OSError` if the bytes did not fit or were lost.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise
