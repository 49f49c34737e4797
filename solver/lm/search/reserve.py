"""Time that a search leaves for measuring what it found: as much as that will take, no more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from solver.deadline import Clock, Deadline
from solver.grid import Grid, Task, key
from solver.lm.search.language import Cache, LanguageModel, LogProbs, Prompt
from solver.lm.search.searches import Guess, Options, Question, Search
from solver.views import View

# Of the time: where more is found than that measures, the likeliest are measured.
MAX_RESERVE_SHARE = 0.3


@dataclass
class Ahead:
    """A clock that is ahead of another by the time that is kept back of what it measures."""

    clock: Clock
    kept: float = 0.0

    def now(self) -> float:
        return self.clock.now() + self.kept

    def sleep(self, seconds: float) -> None:
        self.clock.sleep(seconds)


class Reserve:
    """A model, and a deadline for searching with it that comes earlier the more is found.

    How long a symbol takes is seen whenever the model reads prompts. While nothing is found
    nothing is kept back: all of the time is for finding something.
    """

    def __init__(
        self,
        model: LanguageModel,
        views: int,
        known: Sequence[Grid],
        finalists: int,
        deadline: Deadline,
    ) -> None:
        """`views`: how many a grid will be measured under. `known`: what is measured besides at
        most `finalists` grids that are found."""
        self._model, self._views = model, views
        self._grids = finalists + len(known)
        self._clock = Ahead(deadline.clock)
        self._most = MAX_RESERVE_SHARE * deadline.left()
        self._sizes = {key(grid): symbols(grid) for grid in known}
        self._prompt, self._each = 0, 0.0  # symbols of a prompt, seconds a symbol
        self.deadline = Deadline(deadline.at, self._clock)

    def prompt(self, task: Task, test: int, view: View) -> Prompt:
        """See `LanguageModel.prompt`."""
        return self._model.prompt(task, test, view)

    def read(
        self, prompts: Sequence[Prompt], width: int, room: int, deadline: Deadline
    ) -> tuple[Cache, LogProbs]:
        """See `LanguageModel.read`."""
        begin = self._clock.clock.now()
        cache = self._model.read(prompts, width, room, deadline)
        took = self._clock.clock.now() - begin
        self._prompt = max(map(len, prompts))
        self._each = took / max(1, sum(map(len, prompts)))
        self._keep()
        return cache

    def watching(self, search: Search) -> Search:
        """The same search, each grid of which is counted as soon as it is found."""

        def watched(
            model: LanguageModel, asked: Question, deadline: Deadline, options: Options
        ) -> Iterator[Guess]:
            for guess in search(model, asked, deadline, options):
                self._sizes[key(guess.grid)] = symbols(guess.grid)
                self._keep()
                yield guess

        return watched

    def _keep(self) -> None:
        """Keep back what a reading of all prompts and grids takes."""
        sizes = sorted(self._sizes.values())[-self._grids :]
        needed = self._each * self._views * (self._prompt + sum(sizes)) if sizes else 0.0
        self._clock.kept = min(self._most, needed)


def symbols(grid: Grid) -> int:
    """How many spell a grid, on average over its turns: cells, and an end of each row."""
    return grid.size + sum(grid.shape) // 2
