"""A run's folder: locked against a second run, with its journal and its log open."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from solver.data.journal import JOURNAL_FILE, Journal
from solver.grid import DataError

log = logging.getLogger("solver")

# Errors of flock on file systems without locks; any other error means that the lock is taken.
NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOLCK)


@contextmanager
def run_folder(folder: Path, resume: bool) -> Iterator[Journal]:
    """The folder, locked against a second run, with its journal and log open."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror}") from None
    try:
        unlocked = _take(lock, folder)
        if not resume and (folder / JOURNAL_FILE).exists():
            raise DataError(f"{folder}: holds a run already; add --resume, or choose another --run")
        with _opened(folder) as journal:
            if unlocked:
                log.warning("%s: no lock against a second run: %s", folder, unlocked)
            yield journal
    finally:
        os.close(lock)  # frees the lock; the end of a killed process also frees the lock


def _take(lock: int, folder: Path) -> str:
    """Lock the folder.

    Returns the reason why its file system cannot lock; empty if the folder is locked. Raises
    `DataError` if another run uses the folder.
    """
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in NO_LOCKS:
            return os.strerror(error.errno)
        raise DataError(f"{folder}: another run is using this folder") from None
    return ""


class _LogFile(logging.FileHandler):
    """A log that a full disk cannot turn into an error of the run."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Drop the line."""

    def close(self) -> None:
        try:
            super().close()
        except OSError:
            pass  # the last lines did not fit


@contextmanager
def _opened(folder: Path) -> Iterator[Journal]:
    try:
        journal = Journal(folder / JOURNAL_FILE)
        handler = _LogFile(folder / "run.log", encoding="utf-8")
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror}") from None
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield journal
    finally:
        log.removeHandler(handler)
        handler.close()
        journal.close()
