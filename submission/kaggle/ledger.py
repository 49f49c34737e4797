"""The ledger: an append-only file of what was pushed, run, submitted and scored.

The ledger lies beside `kaggle.toml`, and has one JSON object a line, each with a kind and a time.
A line is written before a change on Kaggle and another line after it, so a command that is killed
between them leaves a trace. A broken line loses only itself. Credentials never get here: only the
client knows them, and a line has no other fields than the callers of `Ledger.add` name.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from solver.data.journal import Journal
from solver.deadline import Deadline
from solver.grid import DataError
from submission.owned import reason

LEDGER_FILE = "ledger.jsonl"
WAIT_S, LOOK_S = 10.0, 0.02  # for another command that is writing a line
LONGEST = 2000  # characters of a text
Event = dict[str, Any]


@dataclass(frozen=True)
class Ledger:
    """The ledger in a file, which need not exist yet."""

    path: Path

    @staticmethod
    def beside(settings_file: Path) -> Ledger:
        """The ledger of a settings file."""
        return Ledger(settings_file.parent / LEDGER_FILE)

    def add(self, kind: str, **facts: Any) -> None:
        """Append an event, and make it survive a power cut.

        Commands at the same time write one after the other. Raises `DataError` if the ledger
        cannot be written.
        """
        at = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._alone():
                journal = Journal(self.path)
                try:
                    journal.append({"kind": kind, "at": at, **_short(facts)})
                    journal.sync()
                finally:
                    journal.close()
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written: {reason(error)}") from None

    def events(self) -> tuple[Event, ...]:
        """Every whole event, in order; empty without a file. Raises `DataError`."""
        return tuple(event for event in self._lines() if event)

    def broken(self) -> int:
        """The number of lines that a killed command or a full disk left incomplete."""
        return sum(not event for event in self._lines())

    def _lines(self) -> Iterator[Event]:
        """The event of each line; an empty one for a broken line."""
        try:
            lines = self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read: {reason(error)}") from None
        for line in filter(bytes.strip, lines):
            event: Any = {}
            with suppress(ValueError, RecursionError):
                event = json.loads(line)
            known = isinstance(event, dict) and {"kind", "at"} <= event.keys()
            yield event if known and isinstance(event["kind"], str) else {}

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other commands from writing meanwhile, where the file system has locks."""
        lock = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            _take(lock, Deadline.after(WAIT_S))
            yield
        finally:
            os.close(lock)  # frees the lock


def _take(lock: int, deadline: Deadline) -> None:
    """Lock a file. Raises `OSError` if another command keeps the lock until the deadline."""
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                return None  # no locks here: a line is one write all the same
            if deadline.passed():
                raise
            deadline.clock.sleep(LOOK_S)


def _short(value: Any) -> Any:
    """A value with long texts cut, for a line that remains legible."""
    if isinstance(value, dict):
        return {str(name): _short(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_short(item) for item in value]
    return value[:LONGEST] if isinstance(value, str) else value
