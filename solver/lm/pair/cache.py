"""The bundled model as a `LanguageModel`: prompts in the pair format and a key-value cache.

The cache is allocated once. Every row fills its columns from the left, so rows may have different
lengths. Cutting a row only changes its length, so going back to an earlier symbol costs nothing.
Keys are rotated by their positions before they are stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from solver.deadline import Deadline, Watch
from solver.grid import Task
from solver.lm.memory import Memory, additive
from solver.lm.pair.model import TaskModel
from solver.lm.pair.step import Held, Stepper
from solver.lm.search.language import LogProbs, Prompt
from solver.lm.symbols import OUT, PAD, WRITABLE, Tokens, encode_prompt, next_positions
from solver.views import View

SCORES_AT_ONCE = 1 << 24  # attention scores of a layer that are computed at once, at most
TOKENS_AT_ONCE = 1024  # on a CPU: a job may be late by the time of one layer over these tokens
LOOK_EVERY = 512  # tokens of a layer, at least, between two looks at the time


@dataclass(frozen=True, eq=False)
class PairModel:
    """A `TaskModel`, and the number of each task in it, by the task's id.

    The first `read` copies the layers' weights: training the layers afterwards has no effect.
    """

    model: TaskModel
    numbers: Mapping[str, int]

    @cached_property
    def stepper(self) -> Stepper:
        """The layers, laid out once for all prompts."""
        return Stepper.of(self.model.lm)

    def prompt(self, task: Task, test: int, view: View) -> Prompt:
        """The test input in a view. Raises `KeyError` for a task without a number."""
        shown = view.apply(task.tests[test])
        return Prompt(encode_prompt(shown, view.d8), self.numbers[task.id], shown)

    def read(
        self, prompts: Sequence[Prompt], width: int, room: int, deadline: Deadline
    ) -> tuple[PairCache, LogProbs]:
        """See `LanguageModel.read`."""
        self.model.eval()
        return PairCache.reading(self, prompts, max(width, len(prompts)), room, deadline)


class PairCache:
    """Keys and values of the tokens that the model has read, for some rows."""

    def __init__(self, known: PairModel, width: int, capacity: int, deadline: Deadline) -> None:
        self._model, self._stepper, self._deadline = known.model, known.stepper, deadline
        config, tasks = known.model.lm.config, known.model.tasks
        self._memory = Memory(config, width, capacity, tasks.dtype, tasks.device)
        self._heads = config.num_attention_heads
        self._places = np.zeros((width, capacity, 3), dtype=np.int64)
        self._prompts = self._lengths = self._tasks = np.zeros(0, dtype=np.int64)  # (B,)

    @classmethod
    def reading(
        cls,
        known: PairModel,
        prompts: Sequence[Prompt],
        width: int,
        room: int,
        deadline: Deadline,
    ) -> tuple[PairCache, LogProbs]:
        """A cache that contains prompts, and log-probabilities (B, WRITABLE) after them."""
        lengths = np.array([len(prompt) for prompt in prompts])
        cache = cls(known, width, int(lengths.max()) + room, deadline)
        cache._tasks = np.array([prompt.task for prompt in prompts])
        cache._lengths = np.zeros_like(lengths)
        cache._prompts = lengths
        tokens = np.full((len(prompts), lengths.max()), PAD)
        places = np.zeros((3, *tokens.shape), dtype=np.int64)
        for i, prompt in enumerate(prompts):
            tokens[i, : len(prompt)] = prompt.sequence.tokens
            places[:, i, : len(prompt)] = prompt.sequence.positions
        logprobs = cache._forward(tokens, places, lengths, whole=True)
        return cache, logprobs[np.arange(len(prompts)), lengths - 1]

    def extend(self, symbols: Tokens, counts: Tokens) -> LogProbs:
        """See `Cache.extend`."""
        places = np.empty((3, *symbols.shape), dtype=np.int64)
        last = self._places[np.arange(len(symbols)), self._lengths - 1].T  # (3, B)
        for n in range(symbols.shape[1]):
            last = places[:, :, n] = next_positions(symbols[:, n], last)
        return self._forward(symbols, places, counts, whole=False)

    def gather(self, rows: Sequence[int], lengths: Sequence[int]) -> None:
        """See `Cache.gather`. Raises `ValueError` for more rows than there is memory for."""
        source = np.asarray(rows)
        reached = self._prompts[source] + np.asarray(lengths)
        moved = self._memory.gather(source, reached)
        self._places[moved] = self._places[source[moved]]
        self._prompts, self._tasks = self._prompts[source], self._tasks[source]
        self._lengths = reached

    @torch.no_grad()
    def _forward(self, tokens: Tokens, places: Tokens, counts: Tokens, whole: bool) -> LogProbs:
        """Append the first `counts` (B,) of tokens (B, N) at places (3, B, N) to each row.

        Returns log-probabilities (B, N, WRITABLE), zero for padding. `whole`: each token attends
        to all tokens of its row; otherwise only to tokens up to itself. Raises `OutOfTimeError`
        between two layers if time is up.
        """
        at = self._lengths[:, None] + np.arange(tokens.shape[1])  # (B, N)
        real = np.arange(tokens.shape[1]) < counts[:, None]
        row, place = np.nonzero(real)  # (M,)
        self._places[row, at[real]] = places[:, row, place].T
        self._lengths = self._lengths + counts
        seen = np.where(whole, self._lengths[:, None], at + 1)  # (B, N)
        length = int(self._lengths.max())
        self._memory.reach(length)
        rows = self._at_once(tokens.shape[1], length)
        watch = Watch(self._deadline, LOOK_EVERY)
        logprobs = np.zeros((*tokens.shape, WRITABLE))
        for start in range(0, len(tokens), rows):
            part = slice(start, min(start + rows, len(tokens)))
            mine = (row >= part.start) & (row < part.stop)
            if not mine.any():
                continue
            r, n = row[mine] - start, place[mine]
            held = Held(start, *self._there(r, n, at[part][r, n]))
            logits = self._stepper.logits(
                held.packed(vectors := self._embed(tokens[part], part, whole)),
                self._there(places[:, part][:, r, n])[0],
                hiding(seen[part], length, vectors),
                self._memory.layers,
                held,
                watch,
            )
            logprobs[r + start, n] = _logprobs(logits)
        return logprobs

    def _at_once(self, tokens: int, length: int) -> int:
        """The number of rows to compute at once.

        Each row has `tokens` new tokens, and each token attends to at most `length` columns.
        """
        most = SCORES_AT_ONCE // (self._heads * tokens * length)
        if self._memory.device.type == "cpu":
            most = min(most, TOKENS_AT_ONCE // tokens)
        return max(1, most)

    def _there(self, *arrays: Tokens) -> list[Tensor]:
        """Copy arrays to the model's device."""
        return [torch.from_numpy(array).to(self._model.tasks.device) for array in arrays]

    def _embed(self, tokens: Tokens, rows: slice, whole: bool) -> Tensor:
        """Vectors (B, N, D) of tokens (B, N). `whole`: the tokens begin with the prefix."""
        model, device = self._model, self._model.tasks.device
        given = torch.from_numpy(tokens).to(device)
        tasks = torch.from_numpy(self._tasks[rows]).to(device)
        return model.embed(given, tasks) if whole else model.embed_more(given, model.tasks[tasks])


def hiding(seen: Tokens, length: int, vectors: Tensor) -> Tensor:
    """Additive mask (B, 1, N, `length`) that shows each token the first `seen` (B, N) columns."""
    column = torch.arange(length, device=vectors.device)
    return additive(column < torch.from_numpy(seen[..., None]).to(vectors.device), vectors.dtype)


def _logprobs(logits: Tensor) -> LogProbs:
    """Log-probabilities (..., WRITABLE) of the symbols of an output, from logits (..., V)."""
    writable = logits[..., :WRITABLE].double()
    writable[..., OUT] = -torch.inf
    return torch.log_softmax(writable, -1).cpu().numpy()
