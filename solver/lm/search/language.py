"""The interface between search and a language model: read prompts, write, go back, branch.

Search sees only the twelve symbols that spell a grid, and their log-probabilities. Vocabularies,
tensors and positions are private to the model. A model with another prompt format therefore serves
every search strategy once it has these four methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from solver.deadline import Deadline
from solver.grid import Grid, Task
from solver.lm.symbols import Sequence3D, Tokens
from solver.views import View

LogProbs = NDArray[np.float64]  # (..., WRITABLE) nats, normalised over the twelve legal symbols


@dataclass(frozen=True, eq=False)
class Prompt:
    """The sequence that a model reads before an output, and the number of the task.

    like: a grid that the output may repeat in part, such as the test input. Guesses from this
    grid save passes of the model; the output does not depend on the guesses.
    expected: the number of symbols that the output will probably have; 0 if unknown.
    """

    sequence: Sequence3D
    task: int
    like: Grid | None = None
    expected: int = 0

    def __len__(self) -> int:
        return len(self.sequence)

    @property
    def key(self) -> tuple[int, bytes, bytes]:
        """A value that prompts have in common if a model reads the same in them."""
        return self.task, self.sequence.tokens.tobytes(), self.sequence.positions.tobytes()


class Cache(Protocol):
    """A model's memory of some sequences: prompts, and symbols written after the prompts."""

    def extend(self, symbols: Tokens, counts: Tokens) -> LogProbs:
        """Append the first `counts[i]` of `symbols[i]` (B, N) to sequence i.

        Returns the log-probabilities (B, N, WRITABLE) of the symbol that follows each symbol. The
        values beyond the counts have no meaning. A long call raises `OutOfTimeError` if the
        deadline given to `read` passes.
        """

    def gather(self, rows: Sequence[int], lengths: Sequence[int]) -> None:
        """Replace sequence i by the former sequence `rows[i]`, cut to `lengths[i]` symbols.

        The prompt is kept and does not count in the length. A row may be left out or named many
        times; B becomes the length of `rows`.
        """


class LanguageModel(Protocol):
    """A model that continues prompts with grids."""

    def prompt(self, task: Task, test: int, view: View) -> Prompt:
        """The prompt for a test input in a view."""

    def read(
        self, prompts: Sequence[Prompt], width: int, room: int, deadline: Deadline
    ) -> tuple[Cache, LogProbs]:
        """Read prompts into a cache, with one row for each prompt.

        Returns the cache and the log-probabilities (B, WRITABLE) of the first symbol. The cache
        has room for `width` rows of `room` symbols. Raises `OutOfTimeError` if the deadline passes
        between two parts of the reading.
        """
