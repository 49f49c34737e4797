"""Starting the run again, from its journal: what the next start does without, and when it comes.

A start that brings nothing, however it ends, is followed by one that needs less; one that a signal
ended has a second chance. Where nothing needs less, pauses grow: a crash loop neither eats the time
that is left nor gives it away.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from solver.deadline import Deadline
from solver.notebook.usable import SYNTH, Usable

FALLBACK_PROFILE = "cpu"  # the profile that every notebook has
MIN_LEFT_S = 3.0  # a start with less could not even begin to work
SHORT_S, SHORT_STARTS = 60.0, 5  # so many starts in a row that end so soon are a crash loop
MAX_KILLS = 2  # a signal comes from elsewhere: it says something of a way only when it comes again
PAUSE_S, LONGEST_PAUSE_S, PAUSE_SHARE = 1.0, 300.0, 0.25  # the last of the time left, at most


@dataclass(frozen=True)
class Way:
    """How the run is started, and that in words."""

    profile: str
    plan: Usable
    words: str = "as it is to be"


@dataclass(frozen=True)
class Ending:
    """The exit code of a start, and whether the journal grew by what is of use."""

    code: int
    progress: bool


def ways(profile: str, plan: Usable) -> tuple[Way, ...]:
    """What is started as long as it brings something, then what needs less and less."""
    least = Usable(engines=(SYNTH,), workers=plan.workers, visible=plan.visible)
    return (
        Way(profile, plan),
        Way(FALLBACK_PROFILE, least, "the synthesizer alone"),
        Way(FALLBACK_PROFILE, replace(least, workers=1), "the synthesizer alone, on one worker"),
    )


def keep_on(
    choices: Sequence[Way],
    deadline: Deadline,
    start: Callable[[Way], Ending],
    say: Callable[[str], None],
) -> None:
    """Start the run again and again until it ends well or no time is left."""
    way, *less = choices
    useless = 0  # starts in a row, of this way
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
            say(f"It got no further: it goes on with {way.words}.")
        elif useless > 1 or not hopeful:
            pause_s = min(PAUSE_S * 2 ** min(useless, 20), LONGEST_PAUSE_S)
            deadline.clock.sleep(min(pause_s, PAUSE_SHARE * deadline.left()))


def grown(journal: Path, since: int) -> bool:
    """True if a journal holds a candidate, or a job that came to its end, after so many bytes."""
    try:
        with open(journal, "rb") as file:
            file.seek(since)
            return any(map(_is_of_use, file))
    except OSError:
        return False


def size_of(journal: Path) -> int:
    """The bytes of a journal; none if there is none."""
    try:
        return journal.stat().st_size
    except OSError:
        return 0


def first_digest(journal: Path) -> str | None:
    """Which tasks a journal is about; nothing if no line of it says so. Raises `OSError`."""
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
