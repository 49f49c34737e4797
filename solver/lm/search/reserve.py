"""Time that a search leaves for measuring the grids that it finds, and no more than that.

A `Reserve` knows the seconds. A `Timed` model tells the reserve how long reading takes. An `Ahead`
clock makes the search stop so many seconds earlier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from solver.deadline import Clock, Deadline
from solver.grid import Grid, Task, key
from solver.lm.search.language import Cache, LanguageModel, LogProbs, Prompt
from solver.views import View

# Part of the time. If measuring takes more, only the first grids of the ranking are measured.
MAX_RESERVE_SHARE = 0.3


class Reserve:
    """The seconds that reading all prompts and grids takes, as far as is known.

    While no grid is found the reserve is 0: all of the time is for finding a grid.
    """

    def __init__(self, views: int, known: Sequence[Grid], finalists: int, longest_s: float) -> None:
        """`views`: the number of views under which a grid will be measured.

        `known` grids are measured besides at most `finalists` grids that are found. The reserve
        never exceeds `longest_s`.
        """
        self.seconds = 0.0
        self._views, self._longest_s = views, longest_s
        self._grids = finalists + len(known)
        self._sizes = {key(grid): symbols(grid) for grid in known}
        self._prompt, self._symbol_s = 0, 0.0  # symbols of a prompt, seconds of a symbol

    def found(self, grid: Grid) -> None:
        """Count a grid that will be measured."""
        self._sizes[key(grid)] = symbols(grid)
        self._update()

    def timed(self, prompts: Sequence[Prompt], seconds: float) -> None:
        """Learn how long reading these prompts took."""
        lengths = [len(prompt) for prompt in prompts]
        self._prompt, self._symbol_s = max(lengths), seconds / max(1, sum(lengths))
        self._update()

    def _update(self) -> None:
        sizes = sorted(self._sizes.values())[-self._grids :]
        needed = self._symbol_s * self._views * (self._prompt + sum(sizes)) if sizes else 0.0
        self.seconds = min(self._longest_s, needed)


@dataclass(frozen=True)
class Timed:
    """A model that tells a reserve how long reading takes.

    Only prompts that were not read before are counted, since a model may keep what it has read.
    """

    model: LanguageModel
    reserve: Reserve
    clock: Clock
    seen: set[tuple[int, bytes, bytes]] = field(default_factory=set)

    def prompt(self, task: Task, test: int, view: View) -> Prompt:
        """See `LanguageModel.prompt`."""
        return self.model.prompt(task, test, view)

    def read(
        self, prompts: Sequence[Prompt], width: int, room: int, deadline: Deadline
    ) -> tuple[Cache, LogProbs]:
        """See `LanguageModel.read`."""
        begin = self.clock.now()
        found = self.model.read(prompts, width, room, deadline)
        took = self.clock.now() - begin
        new = [prompt for prompt in prompts if prompt.key not in self.seen]
        if new:
            self.reserve.timed(new, took)
        self.seen.update(prompt.key for prompt in new)
        return found


@dataclass(frozen=True)
class Ahead:
    """A clock that is ahead of another clock by the seconds of a reserve."""

    clock: Clock
    reserve: Reserve

    def now(self) -> float:
        """See `Clock.now`."""
        return self.clock.now() + self.reserve.seconds

    def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        self.clock.sleep(seconds)


def symbols(grid: Grid) -> int:
    """The number of symbols that spell a grid: the cells, and an end of each row.

    The number is the average over the grid's turns, rounded down.
    """
    return grid.size + sum(grid.shape) // 2
