"""`arcsub history`: the ledger as a list, and the comparison of two of its entries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from solver.deadline import format_duration
from solver.grid import DataError
from submission.kaggle.entries import Entries, Entry, Score, entries_of
from submission.kaggle.ledger import Ledger
from submission.runs.rerun import compare_scores, pooled_spread

PERCENT = 100.0
SHOWN = 8  # digits of an id or commit
NOT_COMPARED = ("at", "stages", "memory_mb", "format", "id")  # facts of every run of its own


def history_lines(ledger: Ledger) -> list[str]:
    """The ledger's entries, each in a line or a few. Raises `DataError` for an empty ledger."""
    entries = _entries(ledger)
    lines = [line for entry in entries.all for line in _about(entry)]
    lines += [f"stray     {_score_text(score)}: of no version here" for score in entries.strays]
    if broken := ledger.broken():
        lines.append(f"note      {broken} broken lines in {ledger.path} are passed over")
    return lines


def compared_lines(ledger: Ledger, first: int, second: int) -> list[str]:
    """The difference between two entries, and whether their scores differ by more than chance.

    Raises `DataError` if the ledger has no such entry.
    """
    entries = _entries(ledger)
    return compare_entries(entries, _numbered(entries, first), _numbered(entries, second))


def compare_entries(
    entries: Entries, before: Entry, after: Entry, most: int | None = None
) -> list[str]:
    """Lines about the difference between two entries, `most` of them about single facts."""
    changes = list(differing(before, after))
    if most is not None and len(changes) > most:
        more = f"and {len(changes) - most} more: arcsub history {before.number} {after.number}"
        changes = [*changes[:most], more]
    lines = [f"{_title(before)} -> {_title(after)}"]
    lines += changes or ["nothing that the ledger knows is different"]
    return [*lines, *_chance(entries, before, after)]


def differing(before: Entry, after: Entry) -> Iterator[str]:
    """A line for each fact that differs, by its name with dots.

    Between a rehearsal and a push, only facts that both have can differ.
    """
    one, two = dict(_flat(facts_of(before))), dict(_flat(facts_of(after)))
    alike = bool(before.rehearsal) == bool(after.rehearsal)
    for name in sorted({*one, *two} if alike else one.keys() & two.keys()):
        if one.get(name) != two.get(name):
            yield f"{name:24} {_shown(one.get(name))} -> {_shown(two.get(name))}"


def facts_of(entry: Entry) -> dict[str, Any]:
    """Everything about an entry that may explain its score."""
    seen = {name: value for name, value in entry.seen.items() if name not in NOT_COMPARED}
    asked = {name: value for name, value in entry.asked.items() if name != "settings"}
    image = {"image": entry.image} if entry.image else {}
    return {**asked, **({"seen": seen} if seen else {}), **image}


def scores_of(entry: Entry) -> list[float]:
    """The scores of an entry as fractions of 1, the private one before the public one."""
    if entry.rehearsal.get("score") is not None:
        return [float(entry.rehearsal["score"])]
    texts = (score.private or score.public for score in entry.scores)
    return [number / PERCENT for text in texts if (number := _number(text)) is not None]


def _entries(ledger: Ledger) -> Entries:
    entries = entries_of(ledger.events())
    if not entries.all and not entries.strays:
        raise DataError(f"{ledger.path}: no entries yet; arcsub push and arcsub rehearse make them")
    return entries


def _numbered(entries: Entries, number: int) -> Entry:
    if not 1 <= number <= len(entries.all):
        raise DataError(f"history {number}: there are entries 1 to {len(entries.all)}")
    return entries.all[number - 1]


def _title(entry: Entry) -> str:
    return f"{entry.number} ({_name(entry)})"


def _name(entry: Entry) -> str:
    return entry.name if entry.rehearsal else f"{entry.kernel}, {entry.name}"


def _about(entry: Entry) -> Iterator[str]:
    identity = entry.asked.get("identity", {})
    profile = identity.get("profile") or identity.get("settings", {}).get("profile", "")
    on = f" on {entry.asked['machine']}" if entry.asked.get("machine") else ""
    commit = str(identity.get("commit", ""))
    dirty = "-edited" if commit.endswith("-edited") else ""
    yield (
        f"{entry.number:<4} {entry.at[:16].replace('T', ' ')}  {_name(entry)}  "
        f"id {entry.id[:SHOWN] or 'none'}, commit {commit[:SHOWN]}{dirty}, {profile}{on}"
    )
    if entry.rehearsal:
        yield f"     {_rehearsal_text(entry.rehearsal)}"
    elif entry.state or entry.seen:
        yield f"     run {entry.state or 'ended'}{_run_text(entry.seen)}"
    for found in entry.differences:
        yield f"     BEWARE {found}"
    for score in entry.scores:
        yield f"     {_score_text(score)}"


def _run_text(seen: Mapping[str, Any]) -> str:
    if not seen:
        return ""
    ends = [times.get("to_s", times["from_s"]) for times in seen.get("stages", {}).values()]
    took = f", {format_duration(max(ends))}" if ends else ""
    counted = Counter(map(str, seen.get("devices", ())))
    devices = ", ".join(f"{number} {name}" for name, number in counted.items()) or "no GPU"
    tasks = seen.get("tasks", {})
    return f"{took} on {devices}; {tasks.get('number', 0)} tasks, {tasks.get('version', '')}"


def _rehearsal_text(rehearsal: Mapping[str, Any]) -> str:
    score = rehearsal.get("score")
    shown = "not scored" if score is None else f"{PERCENT * score:.1f} %"
    return f"{shown} of {rehearsal['tasks']} tasks of {rehearsal['source']}, {rehearsal['version']}"


def _score_text(score: Score) -> str:
    shown = f"score {score.public}" if score.public else score.state
    private = f", private {score.private}" if score.private else ""
    return f"submission {score.ref} of {score.at[:16].replace('T', ' ')}: {shown}{private}"


# --- scores and chance ----------------------------------------------------------------


def _chance(entries: Entries, before: Entry, after: Entry) -> list[str]:
    """Lines about the scores, and about what chance alone would do."""
    one, two = scores_of(before), scores_of(after)
    tasks = _tasks(before), _tasks(after)
    if not one or not two:
        return ["score     not both entries have a score"]
    if before.rehearsal.get("digest") != after.rehearsal.get("digest") or tasks[0] != tasks[1]:
        return ["score     not comparable: the scores are of different tasks"]
    spread = pooled_spread(_reruns(entries, tasks[0]))
    result = compare_scores(one, two, tasks[0], spread)
    basis = "public reruns" if spread is None else "your own reruns"
    verdict = "more than chance" if result.more_than_chance else "no more than chance"
    return [
        f"score     {_mean(one)} -> {_mean(two)}: {PERCENT * result.mean:+.1f} points, {verdict}",
        f"chance    two runs of one notebook differ by as much with p = {result.p:.2f} (deviation "
        f"{PERCENT * result.deviation:.1f} points, from {basis}; {tasks[0]} tasks)",
        f"others    on other tasks like these either score may be off by "
        f"{PERCENT * result.elsewhere:.1f} points",
    ]


def _reruns(entries: Entries, tasks: int) -> Sequence[list[float]]:
    """The scores of each notebook on so many tasks, over all of its entries."""
    groups: dict[tuple[str, object], list[float]] = {}
    for entry in entries.all:
        if _tasks(entry) == tasks and entry.id:
            where = entry.rehearsal.get("digest")
            groups.setdefault((entry.id, where), []).extend(scores_of(entry))
    return list(groups.values())


def _tasks(entry: Entry) -> int:
    return int(entry.rehearsal.get("tasks") or entry.asked.get("tasks") or 0)


def _mean(scores: Sequence[float]) -> str:
    of = f" (mean of {len(scores)})" if len(scores) > 1 else ""
    return f"{PERCENT * sum(scores) / len(scores):.1f} %{of}"


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _flat(facts: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{at}{name}.")
        else:
            yield f"{at}{name}", value


def _shown(value: Any) -> str:
    text = "none" if value in (None, "", [], ()) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
