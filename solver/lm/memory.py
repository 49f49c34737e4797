"""Keys and values of sequences that are being written, for any decoder of transformers.

Memory is allocated once. A window on it stands in for the library's cache in one pass of the
model: each layer leaves the new keys and values in the columns it is told, and gets all those
that its rows hold. What must not be seen is the caller's mask's business.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from solver.lm.symbols import Tokens


class Memory:
    """Keys and values of every layer, (R, 2, H, S, C) for R rows of S columns.

    Most outputs end long before their room does, and columns that nothing reaches are never
    touched: the system then need not even find memory for them.
    """

    def __init__(
        self, config: Any, rows: int, columns: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        """`config`: of the model, with its layers, heads and their width."""
        width = getattr(config, "head_dim", None) or (
            config.hidden_size // config.num_attention_heads
        )
        shape = (rows, 2, config.num_key_value_heads, columns, width)
        self.layers = [
            torch.empty(shape, dtype=dtype, device=device) for _ in range(config.num_hidden_layers)
        ]
        self.rows, self.device = rows, device
        self._finite = 0  # columns

    def reach(self, length: int) -> None:
        """Let the first `length` columns be finite: what a softmax gives no weight must be, too."""
        if length > self._finite:
            for held in self.layers:
                held[:, :, :, self._finite : length] = 0
            self._finite = length

    def gather(self, sources: Tokens, lengths: Tokens) -> Tokens:
        """Let row i be what row `sources[i]` was, in its first `lengths[i]` columns. Returns the
        rows that moved; only those are copied. Raises `ValueError` for more rows than there is
        memory for."""
        if len(sources) > self.rows:
            raise ValueError(f"{len(sources)} rows in a cache of {self.rows}")
        moved = np.flatnonzero(sources != np.arange(len(sources)))
        if len(moved):
            used = int(lengths[moved].max())
            for held in self.layers:
                held[moved, :, :, :used] = held[sources[moved], :, :, :used]
        return moved


class Window:
    """Some rows of a memory, as a model sees them in one pass."""

    def __init__(self, memory: Memory, rows: slice, at: Tokens, length: int) -> None:
        """`at` (B, N): the columns that new tokens take. `length`: all that is seen."""
        memory.reach(length)
        self._memory, self._rows, self.length = memory, rows, length
        self._at = torch.from_numpy(at).to(memory.device)  # (B, N)
        self._row = torch.arange(rows.start, rows.stop, device=memory.device)[:, None]

    def get_seq_length(self, _: int = 0) -> int:
        """Asked by older versions of transformers, which make positions of it where none are
        given; here they are given."""
        return 0

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: object) -> tuple[Tensor, Tensor]:
        """Append (B, H, N, C) to a layer, and return all that its rows hold."""
        held = self._memory.layers[layer]
        held[self._row, :, :, self._at] = torch.stack([keys, values], 1).permute(0, 3, 1, 2, 4)
        seen = held[self._rows, :, :, : self.length]
        return seen[:, 0], seen[:, 1]


def additive(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask (B, 1, N, S) to add to scores, from what each token sees (B, N, S)."""
    mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return mask.masked_fill_(~visible, torch.finfo(dtype).min)[:, None]
