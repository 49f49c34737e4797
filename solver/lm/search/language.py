"""The interface that decoding needs of a language model: read prompts, write, go back, branch.

Search sees the twelve symbols that spell a grid and their log-probabilities, never a
vocabulary, a tensor or a position: those are the model's own business. So a model with another
prompt format serves every search strategy once it has these four methods.
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
    """What a model is given before an output, and the number of the task it belongs to.

    `like`: a grid that the output may repeat in part, such as the test input. It is guessed
    from, so that less is written symbol by symbol; what is written does not depend on it.
    """

    sequence: Sequence3D
    task: int
    like: Grid | None = None

    def __len__(self) -> int:
        return len(self.sequence)


class Cache(Protocol):
    """What a model remembers of some sequences: prompts, and symbols written after them."""

    def extend(self, symbols: Tokens, counts: Tokens) -> LogProbs:
        """Append the first `counts[i]` of `symbols[i]` (B, N) to sequence i.

        Raises `OutOfTimeError` where that takes long and the reading's deadline passes.
        Returns the log-probabilities (B, N, WRITABLE) of what follows each symbol; those beyond
        the counts mean nothing.
        """

    def gather(self, rows: Sequence[int], lengths: Sequence[int]) -> None:
        """Let sequence i be what sequence `rows[i]` was, cut to its first `lengths[i]` symbols.

        A row may be left out or named many times; B becomes the number of rows named.
        """


class LanguageModel(Protocol):
    """A model that continues prompts with grids."""

    def prompt(self, task: Task, test: int, view: View) -> Prompt:
        """The prompt for a test input in a view."""

    def read(
        self, prompts: Sequence[Prompt], width: int, room: int, deadline: Deadline
    ) -> tuple[Cache, LogProbs]:
        """Read prompts: a cache of one row each, and the log-probabilities (B, WRITABLE) of the
        first symbol. The cache can hold up to `width` rows of `room` symbols.

        Raises `OutOfTimeError` where the deadline passes between two parts of the reading.
        """
