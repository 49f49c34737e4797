"""Run searches side by side in one thread; the search that has used least of its share is next.

Searches are generators that pause by yielding None. Cheap ideas of all kinds therefore come
before expensive ideas of any kind.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping

from solver.deadline import Deadline
from solver.grid import Task
from solver.synth.program import Solution

Search = Callable[[Task, Deadline], Iterator[Solution | None]]
Step = Solution | Exception | None


def interleave(
    task: Task,
    deadline: Deadline,
    searches: Mapping[str, Search],
    shares: Mapping[str, float],
    after: Mapping[str, float] | None = None,
) -> Iterator[tuple[str, Step]]:
    """Every step of every search until all have ended or the deadline has passed.

    A step is a solution, None for a pause or an end, or the exception that ended the search. The
    exception has a note with the search's name; the other searches continue.

    shares: relative shares of time by name; 1 for a search that is not listed.
    after: for ideas that can wait. A search begins when each of the others has used this many
    seconds, divided by its share; 0 for a search that is not listed.
    """
    clock = deadline.clock
    running = {name: search(task, deadline) for name, search in searches.items()}
    used = dict.fromkeys(running, 0.0) | dict(after or {})
    while running and not deadline.passed():
        name = min(running, key=lambda search: used[search])
        before = clock.now()
        step, ended = _advance(name, running[name])
        used[name] += (clock.now() - before) / shares.get(name, 1.0)
        if ended:
            del running[name]
        yield name, step


def _advance(name: str, search: Iterator[Solution | None]) -> tuple[Step, bool]:
    """The next step of a search, and True if the search has ended with this step."""
    try:
        return next(search), False
    except StopIteration:
        return None, True
    except Exception as error:  # noqa: BLE001
        # A defect of a search costs only answers of this search; the caller raises the error.
        error.add_note(f"in the search {name!r}")
        traceback.clear_frames(error.__traceback__)  # frees the memory of the search
        return error, True
