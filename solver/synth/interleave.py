"""Run searches side by side in one thread: whoever has used least of its share goes on next.

Searches are generators that pause by yielding None. So cheap ideas of all kinds come before
expensive ideas of any kind.
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

    A step is a solution, None for a pause, or the exception that ended this search, with a note
    that names it; the others go on. `shares` are relative, 1 where nothing is said. `after` is
    for ideas that can wait: a search begins when the others have used so much of their shares.
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
    """A search's next step, and whether the search has ended with it."""
    try:
        return next(search), False
    except StopIteration:
        return None, True
    except Exception as error:  # noqa: BLE001
        # One search's defect costs its own answers only; whoever reads the steps raises it.
        error.add_note(f"in the search {name!r}")
        traceback.clear_frames(error.__traceback__)  # what it held in memory, others may need
        return error, True
