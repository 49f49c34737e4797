"""New starts of the run from its journal: the needs of the next start, and its time.

After a start that brings nothing, however it ends, the next start needs less. A start that a signal
ended has a second chance. Where no start needs less, pauses grow: a crash loop then neither uses up
nor gives away the time that is left.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from solver.deadline import Deadline
from solver.notebook.usable import SYNTH, Usable

FALLBACK_PROFILE = "cpu"  # the profile that every notebook has
MIN_LEFT_S = 3.0  # a start with less time could not even begin to work
SHORT_S, SHORT_STARTS = 60.0, 5  # a crash loop: this many starts in a row, each shorter than this
MAX_KILLS = 2  # a signal comes from outside: only repeated signals are a sign against a way
PAUSE_S, LONGEST_PAUSE_S, PAUSE_SHARE = 1.0, 300.0, 0.25  # the share is of the time left, at most


@dataclass(frozen=True)
class Way:
    """A way to start the run, with its description in words."""

    profile: str
    plan: Usable
    words: str = "as planned"


@dataclass(frozen=True)
class Ending:
    """The exit code of a start, and its progress: true if the journal gained useful lines."""

    code: int
    progress: bool


def ways(profile: str, plan: Usable) -> tuple[Way, ...]:
    """The ways to start the run: the planned way first, then ways that need less and less."""
    least = Usable(engines=(SYNTH,), workers=plan.workers, visible=plan.visible)
    return (
        Way(profile, plan),
        Way(FALLBACK_PROFILE, least, "only the synthesizer"),
        Way(FALLBACK_PROFILE, replace(least, workers=1), "only the synthesizer, on one worker"),
    )


def keep_on(
    choices: Sequence[Way],
    deadline: Deadline,
    start: Callable[[Way], Ending],
    say: Callable[[str], None],
) -> None:
    """Start the run again and again until it ends well or no time is left."""
    way, *less = choices
    useless = 0  # number of useless starts in a row, of the present way
    while deadline.left() >= MIN_LEFT_S:
        began = deadline.clock.now()
        ending = start(way)
        if ending.code == 0 and (ending.progress or not less):
            return
        say(f"The run ended with {ending.code}; {deadline.left():.0f} s are left.")
        took_s = deadline.clock.now() - began
        useless = useless + 1 if took_s < SHORT_S or not ending.progress else 0
        hopeful = ending.progress or (ending.code < 0 and useless < MAX_KILLS)
        if less and (not hopeful or useless >= SHORT_STARTS):
            way, *less = less
            useless = 0
            say(f"The run got no further: it continues with {way.words}.")
        elif useless > 1 or not hopeful:
            pause_s = min(PAUSE_S * 2 ** min(useless, 20), LONGEST_PAUSE_S)
            deadline.clock.sleep(min(pause_s, PAUSE_SHARE * deadline.left()))


def grown(journal: Path, since: int) -> bool:
    """True if a journal contains a candidate, or an ended job, after its first `since` bytes."""
    try:
        with open(journal, "rb") as file:
            file.seek(since)
            return any(map(_is_of_use, file))
    except OSError:
        return False


def size_of(journal: Path) -> int:
    """The number of bytes of a journal; 0 if there is no journal."""
    try:
        return journal.stat().st_size
    except OSError:
        return 0


def first_digest(journal: Path) -> str | None:
    """The digest of a journal's tasks; None if none of its lines has a digest. Raises `OSError`."""
    with open(journal, "rb") as file:
        for line in file:
            if b'"run"' in line:
                record = _record(line)
                if record.get("kind") == "run":
                    return str(record.get("digest"))
    return None


def _is_of_use(line: bytes) -> bool:
    record = _record(line)
    ended = record.get("kind") == "job" and record.get("outcome") in ("finished", "sliced")
    return ended or record.get("kind") == "candidate"


def _record(line: bytes) -> dict[str, object]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}
