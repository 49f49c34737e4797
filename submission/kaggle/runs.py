"""A pushed notebook's runs: their state, log and output, and the read-back of what they saw."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from solver.data.submissions import read_submission
from solver.deadline import Deadline
from solver.grid import DataError
from solver.notebook.record import RUN_FILE, SAID, read_record
from submission.kaggle.entries import OVER, Entry, entries_of
from submission.kaggle.ledger import Ledger
from submission.kaggle.notebook import on_kaggle
from submission.kaggle.readback import Difference, after_push, after_run
from submission.kaggle.service import ServiceError, asking, connect
from submission.kaggle.settings import Settings
from submission.owned import claim

POLL_S = 30.0
BREAKS = 5  # of a log's connection without a new line, before it is given up
LISTED = "packages"  # a long list, which the ledger keeps as a digest


def status(api: Any, settings: Settings, ledger: Ledger, deadline: Deadline, wait: bool) -> str:
    """The state of the notebook's last run, with the reason of a failure; kept in the ledger.

    With `wait`, the run's end is waited for until the deadline. Raises `ServiceError` if the run
    has not ended then.
    """
    state, why = _state(api, settings.kernel, deadline)
    while wait and state not in OVER:
        if deadline.left() <= POLL_S:
            raise ServiceError(f"notebook {settings.kernel}: still {state} (--timeout)")
        deadline.clock.sleep(POLL_S)
        state, why = _state(api, settings.kernel, deadline)
    last = last_pushed(settings, ledger)
    if last and last.state != state:
        ledger.add("state", kernel=last.kernel, version=last.version, id=last.id, state=state)
    version = f", version {last.version}" if last and last.version else ""
    return f"{settings.kernel}{version}: {state}{why}"


def _state(api: Any, kernel: str, deadline: Deadline) -> tuple[str, str]:
    with asking(f"notebook {kernel}", deadline):
        answer = api.kernels_status(kernel)
    return answer.status.name.lower(), f": {answer.failure_message}" * bool(answer.failure_message)


def last_pushed(settings: Settings, ledger: Ledger) -> Entry | None:
    """The version of the notebook that was pushed last; None if the ledger has none."""
    return next(iter(reversed(entries_of(ledger.events()).pushed(settings.kernel))), None)


def logs(
    settings: Settings, deadline: Deadline, write: Callable[[str], None], version: int | None = None
) -> None:
    """Write the output of a run; a run that is not over is followed until its end.

    Kaggle closes a silent connection after minutes. The log then goes on where it stopped.
    Raises `ServiceError` if the connection breaks `BREAKS` times without a new line.
    """
    from requests.exceptions import ChunkedEncodingError, ConnectionError

    api, kernel = connect(deadline), _of(settings, version)
    written = broken = 0
    with asking(f"notebook {settings.kernel}", deadline):
        while True:
            before = written
            try:
                for place, event in enumerate(api.kernels_logs_stream(kernel)):
                    if place >= written:
                        written = place + 1
                        write(str(event.get("data", "")))
                return
            except (ChunkedEncodingError, ConnectionError):
                broken = 0 if written > before else broken + 1
                if broken >= BREAKS:
                    raise
                deadline.clock.sleep(min(1.0, max(0.0, deadline.left())))


def output(
    settings: Settings,
    folder: Path,
    ledger: Ledger,
    deadline: Deadline,
    say: Callable[[str], None],
    *,
    version: int | None = None,
    wait: bool = False,
) -> None:
    """Download the files of a run into a folder that is new or has earlier output.

    The run is the last one, or that of `version`. What the run saw is kept in the ledger and
    compared with what was asked for. Raises `DataError` for any other folder, and for a run
    without files. Raises `ServiceError` for a submission that is not valid, and for a run that was
    not as asked for.
    """
    claim(folder, "download")
    api = connect(deadline)
    if wait:
        say(status(api, settings, ledger, deadline, wait))
    (folder / RUN_FILE).unlink(missing_ok=True)  # of an earlier download
    with asking(f"notebook {settings.kernel}", deadline):
        files, _ = api.kernels_output(_of(settings, version), str(folder), force=True)
    for file in map(Path, files):
        say(f"{file}, {file.stat().st_size / 1e3:.1f} kB")
    if not files:
        raise DataError(f"notebook {settings.kernel}: its run left nothing, or still runs")
    _check(settings, folder, say)
    last = last_pushed(settings, ledger)
    current = last if last and version in (None, last.version) else None
    changed = _changed(api, current, deadline) if current and current.id else []
    _compare(settings, folder, ledger, version, changed, say)


def _changed(api: Any, last: Entry, deadline: Deadline) -> list[Difference]:
    """The settings that Kaggle has changed since they were pushed."""
    there = on_kaggle(api, last.kernel, deadline)
    wanted = {**last.asked["settings"], "version": last.version, "cells": there["cells"]}
    return after_push(wanted, there)


def _of(settings: Settings, version: int | None) -> str:
    return f"{settings.kernel}/{version}" if version else settings.kernel


def _check(settings: Settings, folder: Path, say: Callable[[str], None]) -> None:
    path = folder / settings.rules.submission
    if path.is_file():
        try:
            answers = read_submission(path, settings.rules.attempts)
        except DataError as error:
            raise ServiceError(f"the run left no valid submission: {error}") from None
        say(f"{path} is valid: {len(answers)} tasks")


def _compare(
    settings: Settings,
    folder: Path,
    ledger: Ledger,
    version: int | None,
    changed: list[Difference],
    say: Callable[[str], None],
) -> None:
    """Keep what the run saw, and raise `ServiceError` if that is not what was asked for."""
    seen = seen_in(folder)
    every = entries_of(ledger.events()).pushed(settings.kernel)
    wanted = next((e for e in reversed(every) if version in (None, e.version)), None)
    whose = next((e for e in reversed(every) if e.id and e.id == seen.get("id")), None)
    if wanted and wanted.id == seen.get("id"):
        whose = wanted
    if seen and seen.get("id"):
        kept = {name: value for name, value in seen.items() if name != LISTED}
        ledger.add("ran", kernel=settings.kernel, version=whose and whose.version, run=kept)
    if wanted is None or not wanted.id:
        return  # pushed without a ledger, or by an older kit
    found = changed + (_strange(wanted, whose, seen) or after_run(wanted.asked, seen))
    words = list(map(str, found))
    if whose is wanted:
        about = {"kernel": wanted.kernel, "version": wanted.version, "id": wanted.id}
        ledger.add("read", **about, after="run", differences=words)
    if found:
        raise ServiceError(f"{settings.kernel}, {wanted.name}: {'; '.join(words)}")
    say(f"{wanted.name}: it ran as asked for, notebook id {wanted.id}")


def _strange(wanted: Entry, whose: Entry | None, seen: dict[str, Any]) -> list[Difference]:
    """The difference of an output that is of another notebook, or that names none."""
    if whose is wanted:
        return []
    if not seen.get("id"):
        return [Difference(f"the run left no {RUN_FILE}", "look at arcsub logs")]
    if whose:
        way = f"wait for the run of {wanted.name}: arcsub output --wait"
        return [Difference(f"this is the output of {whose.name}", way)]
    way = "it was not pushed from here: push again, or use that checkout"
    return [Difference(f"this is the output of another notebook, id {seen['id']}", way)]


def seen_in(folder: Path) -> dict[str, Any]:
    """The record of a run in a folder of output, else in its log; empty if there is none."""
    record = read_record(folder / RUN_FILE)
    return record or next((said for log in folder.glob("*.log") for said in _said(log)), {})


def _said(log: Path) -> Iterator[dict[str, Any]]:
    """The records that a log prints. Kaggle's logs are lists of events or plain text."""
    text = log.read_text("utf-8", "replace")
    try:
        events = json.loads(text)
        text = "".join(str(event.get("data", "")) for event in events)
    except (ValueError, AttributeError, TypeError):
        pass  # plain text
    for line in text.splitlines():
        if line.startswith(SAID):
            try:
                said = json.loads(line.removeprefix(SAID))
            except ValueError:
                continue
            if isinstance(said, dict):
                yield said
