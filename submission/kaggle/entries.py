"""The ledger's entries: one for each version that was pushed and for each rehearsal.

The events of the ledger come in any order: a score may arrive days late, and after the score of a
later version. Each event is given to its entry by the push that it names, else by the version, else
by the notebook's id in the output.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from submission.kaggle.ledger import Event

MARK = re.compile(r"\[arcsub ([0-9a-f]*) v(\d+)\]")
OVER = ("complete", "error", "cancel_acknowledged")  # states of a run that has ended


@dataclass(frozen=True)
class Score:
    """A submission as Kaggle last showed it; `public` and `private` are its scores as texts."""

    ref: int
    at: str
    state: str
    public: str = ""
    private: str = ""


@dataclass(frozen=True)
class Entry:
    """A pushed version or a rehearsal.

    number: the place among the entries, from 1.
    asked: machine, image, competition and data that were asked for; `asked["identity"]` is all
    that the notebook was built from.
    seen: facts of the run's record, `run.json`.
    image: Kaggle's name of the image after the push.
    found: the differences that were read back last, in words, after the `push` and the `run`.
    scores: the submissions of this version, the first one first.
    rehearsal: source, tasks and score of a rehearsal; empty for a pushed version.
    """

    number: int
    push: str
    at: str
    id: str
    kernel: str = ""
    version: int | None = None
    asked: Mapping[str, Any] = field(default_factory=dict)
    seen: Mapping[str, Any] = field(default_factory=dict)
    image: str = ""
    state: str = ""
    found: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    scores: tuple[Score, ...] = ()
    rehearsal: Mapping[str, Any] = field(default_factory=dict)

    @property
    def differences(self) -> tuple[str, ...]:
        """All differences that were read back."""
        return tuple(dict.fromkeys(text for words in self.found.values() for text in words))

    @property
    def name(self) -> str:
        """The entry in a word: its version, or that there is none."""
        if self.rehearsal:
            return "rehearsal"
        return f"version {self.version}" if self.version else "version unknown"


@dataclass(frozen=True)
class Entries:
    """All entries of a ledger, and the scores that belong to none of them."""

    all: tuple[Entry, ...]
    strays: tuple[Score, ...]

    def pushed(self, kernel: str) -> tuple[Entry, ...]:
        """The versions of a notebook, the oldest first."""
        return tuple(entry for entry in self.all if entry.kernel == kernel)


def mark(id: str, version: int) -> str:
    """The text that a submission's note ends in, so that its version can be told again."""
    return f"[arcsub {id} v{version}]"


def entries_of(events: Iterable[Event]) -> Entries:
    """The entries of a ledger's events. Events that lack a field are passed over."""
    made = _Made()
    for event in events:
        step = _STEPS.get(event["kind"])
        if step:
            try:
                step(made, event)
            except (KeyError, TypeError, ValueError, AttributeError):
                continue  # written by another version, or by hand
    return _scored(made)


@dataclass
class _Made:
    """The entries so far; the submissions' entries and scores by reference."""

    entries: list[Entry] = field(default_factory=list)
    submitted: dict[int, tuple[str, int, str]] = field(default_factory=dict)
    scores: dict[int, tuple[Score, Event]] = field(default_factory=dict)

    def change(self, place: int | None, **values: Any) -> None:
        if place is not None:
            self.entries[place] = replace(self.entries[place], **values)


def _pushing(made: _Made, event: Event) -> None:
    entry = Entry(
        number=len(made.entries) + 1,
        push=str(event["push"]),
        at=event["at"],
        id=str(event["id"]),
        kernel=str(event["kernel"]),
        asked=dict(event["asked"]),
    )
    made.entries.append(entry)


def _pushed(made: _Made, event: Event) -> None:
    places = (i for i, entry in enumerate(made.entries) if entry.push == event["push"])
    made.change(next(places, None), version=int(event["version"]))


def _refused(made: _Made, event: Event) -> None:
    places = (i for i, entry in enumerate(made.entries) if entry.push == event["push"])
    made.change(next(places, None), state="refused", found={"push": (str(event["why"]),)})


def _read(made: _Made, event: Event) -> None:
    place = _place(made.entries, event)
    if place is not None:
        words = tuple(map(str, event["differences"]))
        found = {**made.entries[place].found, str(event["after"]): words}
        image = str(event.get("image") or made.entries[place].image)
        made.change(place, found=found, image=image)


def _state(made: _Made, event: Event) -> None:
    made.change(_place(made.entries, event), state=str(event["state"]))


def _ran(made: _Made, event: Event) -> None:
    seen = dict(event["run"])
    place = _place(made.entries, {**event, "id": seen.get("id", "")})
    made.change(place, seen=seen)
    if place is not None and event.get("version"):
        made.change(place, version=int(event["version"]))


def _submitted(made: _Made, event: Event) -> None:
    made.submitted[int(event["ref"])] = (event["kernel"], int(event["version"]), event["id"])


def _score(made: _Made, event: Event) -> None:
    texts = (str(event.get(name) or "") for name in ("state", "public", "private"))
    score = Score(int(event["ref"]), str(event["made"]), *texts)
    made.scores[score.ref] = (score, event)


def _rehearsed(made: _Made, event: Event) -> None:
    entry = Entry(
        number=len(made.entries) + 1,
        push="",
        at=event["at"],
        id=str(event["id"]),
        asked={"identity": dict(event["identity"])},
        seen=dict(event["run"]),
        rehearsal=dict(event["rehearsal"]),
    )
    made.entries.append(entry)


_STEPS = {
    "pushing": _pushing,
    "pushed": _pushed,
    "refused": _refused,
    "read": _read,
    "state": _state,
    "ran": _ran,
    "submitted": _submitted,
    "scored": _score,
    "rehearsed": _rehearsed,
}


def _place(entries: Sequence[Entry], event: Mapping[str, Any]) -> int | None:
    """The place of an event's entry, by version and id together, else by one of them.

    Of several entries with the id, the last one is taken. None if no entry fits.
    """
    own = [i for i, entry in enumerate(entries) if entry.kernel == event["kernel"]]
    version, id = event.get("version"), event.get("id")
    if version:
        exact = [i for i in own if entries[i].version == version]
        # A push that was cut off has no version, but the same notebook.
        nameless = [i for i in own if entries[i].version is None and entries[i].id == id and id]
        return next(iter([*reversed(exact), *reversed(nameless)]), None)
    return next((i for i in reversed(own) if id and entries[i].id == id), None)


def _scored(made: _Made) -> Entries:
    """Give every score to its entry: by the submission's reference, else by its note's mark."""
    entries, strays = list(made.entries), []
    for ref, (score, event) in sorted(made.scores.items()):
        kernel, version, id = made.submitted.get(ref, ("", 0, ""))
        found = MARK.search(str(event.get("note") or ""))
        if not version and found:
            kernel, version, id = str(event.get("kernel")), int(found[2]), found[1]
        named = {"kernel": kernel, "version": version, "id": id}
        place = _place(entries, named) if version else None
        if place is None:
            strays.append(score)
        else:
            one = entries[place]
            entries[place] = replace(one, version=version, scores=(*one.scores, score))
    return Entries(tuple(entries), tuple(strays))
