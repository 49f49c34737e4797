"""The bundled model as a `LanguageModel`: prompts in the pair format and a key-value cache.

The cache is allocated once. Every row fills its own columns from the left, so that rows of
different lengths stand side by side, a row is cut by forgetting its length, and going back to
an earlier symbol costs nothing. Keys are turned to their positions before they are stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from solver.grid import Task
from solver.lm.formats import OUT, PAD, WRITABLE, Tokens, encode_prompt, next_positions
from solver.lm.language import LogProbs, Prompt
from solver.lm.model import TaskModel, run
from solver.views import View

SCORES_AT_ONCE = 1 << 24  # entries of an attention matrix: a layer's scores stay below 64 MB


@dataclass(frozen=True, eq=False)
class PairModel:
    """A `TaskModel`, and the numbers that it knows tasks by."""

    model: TaskModel
    numbers: Mapping[str, int]

    def prompt(self, task: Task, test: int, view: View) -> Prompt:
        """The test input as the view shows it. Raises `KeyError` for a task without a number."""
        shown = view.apply(task.tests[test])
        return Prompt(encode_prompt(shown, view.d8), self.numbers[task.id])

    def read(self, prompts: Sequence[Prompt], width: int, room: int) -> tuple[PairCache, LogProbs]:
        """See `LanguageModel.read`."""
        self.model.eval()
        return PairCache.reading(self.model, prompts, max(width, len(prompts)), room)


class PairCache:
    """Keys and values of every layer, (R, H, S, C) each for R rows of S places.

    The last column is where the padding of shorter rows is written, and never shown. Memory
    begins as zeros: what a softmax gives no weight must still be finite.
    """

    def __init__(self, model: TaskModel, width: int, capacity: int) -> None:
        self._model = model
        config, device = model.lm.config, model.tasks.device
        shape = (width, config.num_key_value_heads, capacity + 1, config.head_dim)
        self._layers = [
            tuple(torch.zeros(shape, dtype=model.tasks.dtype, device=device) for _ in range(2))
            for _ in range(config.num_hidden_layers)
        ]
        self._heads = config.num_attention_heads
        self._places = np.zeros((width, capacity + 1, 3), dtype=np.int64)
        self._prompts = self._lengths = self._tasks = np.zeros(0, dtype=np.int64)  # (B,)

    @classmethod
    def reading(
        cls, model: TaskModel, prompts: Sequence[Prompt], width: int, room: int
    ) -> tuple[PairCache, LogProbs]:
        """A cache that holds prompts, and log-probabilities (B, WRITABLE) after them."""
        lengths = np.array([len(prompt) for prompt in prompts])
        cache = cls(model, width, int(lengths.max()) + room)
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
        if len(source) > len(self._places):
            raise ValueError(f"{len(source)} rows in a cache of {len(self._places)}")
        self._lengths = self._prompts[source] + np.asarray(lengths)
        self._prompts, self._tasks = self._prompts[source], self._tasks[source]
        moved = np.flatnonzero(source != np.arange(len(source)))
        if len(moved):
            used = int(self._lengths[moved].max())
            self._places[moved, :used] = self._places[source[moved], :used]
            for layer in self._layers:
                for held in layer:
                    held[moved, :, :used] = held[source[moved], :, :used]

    @torch.no_grad()
    def _forward(self, tokens: Tokens, places: Tokens, counts: Tokens, whole: bool) -> LogProbs:
        """Append tokens (B, N) at places (3, B, N); log-probabilities (B, N, WRITABLE).

        `whole`: each token sees all of its row's tokens, else those up to itself.
        """
        before = self._lengths
        at = before[:, None] + np.arange(tokens.shape[1])  # (B, N)
        padding = np.arange(tokens.shape[1]) >= counts[:, None]
        at = np.where(padding, self._places.shape[1] - 1, at)
        self._places[np.arange(len(at))[:, None], at] = places.transpose(1, 2, 0)
        self._lengths = before + counts
        seen = np.where(whole, self._lengths[:, None], at + 1)  # (B, N)
        length = int(self._lengths.max())
        rows = max(1, SCORES_AT_ONCE // (self._heads * tokens.shape[1] * length))
        parts = []
        for start in range(0, len(tokens), rows):
            part = slice(start, min(start + rows, len(tokens)))
            window = _Window(self, part, at[part], length)
            parts.append(window.forward(tokens[part], places[:, part], seen[part], whole))
        return np.concatenate(parts)


class _Window:
    """Some rows of a cache, as a layer of the model sees them in one pass."""

    def __init__(self, cache: PairCache, rows: slice, at: Tokens, length: int) -> None:
        device = cache._model.tasks.device
        self._cache, self._rows, self._length = cache, rows, length
        self._at = torch.from_numpy(at).to(device)  # (B, N)
        self._row = torch.arange(rows.start, rows.stop, device=device)[:, None]

    def update(self, keys: Tensor, values: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Append (B, H, N, C) to a layer, and return all that its rows hold."""
        held = self._cache._layers[layer]
        for memory, new in zip(held, (keys, values), strict=True):
            memory[self._row, :, self._at] = new.transpose(1, 2)
        return held[0][self._rows, :, : self._length], held[1][self._rows, :, : self._length]

    def forward(self, tokens: Tokens, places: Tokens, seen: Tokens, whole: bool) -> LogProbs:
        """Pass tokens (B, N) at places (3, B, N), each of which sees `seen` (B, N) columns."""
        model, device = self._cache._model, self._at.device
        given = torch.from_numpy(tokens).to(device)
        tasks = torch.from_numpy(self._cache._tasks[self._rows]).to(device)
        if whole:
            vectors = model.embed(given, tasks)  # (B, N, D)
        else:
            vectors = model.embed_more(given, model.tasks[tasks])
        column = torch.arange(self._length, device=device)
        hidden = column >= torch.from_numpy(seen[:, None, :, None]).to(device)  # (B, 1, N, S)
        mask = torch.zeros(hidden.shape, dtype=vectors.dtype, device=device)
        mask.masked_fill_(hidden, torch.finfo(vectors.dtype).min)
        positions = torch.from_numpy(places).to(device)
        logits = run(model.lm, vectors, positions, mask, self)[..., :WRITABLE].double()
        logits[..., OUT] = -torch.inf
        return torch.log_softmax(logits, -1).cpu().numpy()
