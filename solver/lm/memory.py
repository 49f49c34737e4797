"""Keys and values of sequences that are being written, for any decoder of transformers.

Memory is allocated once. A window on this memory replaces the library's cache in one pass of the
model. Each layer stores new keys and values in given columns, and gets all keys and values of the
window's rows. The caller's mask hides the columns that a token must not see.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from solver.lm.symbols import Tokens


class Memory:
    """Keys and values of every layer: (R, 2, H, S, C) for R rows of S columns.

    Most outputs are much shorter than their room. Columns that no output reaches are never
    written, so that the system need not provide memory for these columns.
    """

    def __init__(
        self, config: Any, rows: int, columns: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        """`config`: the model's configuration, with the numbers of layers and of heads."""
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
        """Make the first `length` columns finite.

        The values must be finite even in columns to which a softmax gives no weight.
        """
        if length > self._finite:
            for held in self.layers:
                held[:, :, :, self._finite : length] = 0
            self._finite = length

    def gather(self, sources: Tokens, lengths: Tokens) -> Tokens:
        """Replace row i by the former row `sources[i]`, in the first `lengths[i]` columns.

        Only rows with another source are copied. Returns the numbers of these rows. Raises
        `ValueError` for more rows than the memory has.
        """
        if len(sources) > self.rows:
            raise ValueError(f"{len(sources)} rows in a cache of {self.rows}")
        moved = np.flatnonzero(sources != np.arange(len(sources)))
        if len(moved):
            used = int(lengths[moved].max())
            for held in self.layers:
                held[moved, :, :, :used] = held[sources[moved], :, :, :used]
        return moved


class Window:
    """Some rows of a memory, in place of the library's cache in one pass of a model."""

    def __init__(self, memory: Memory, rows: slice, at: Tokens, length: int) -> None:
        """`at` (B, N): the columns for new tokens. `length`: number of columns that are seen."""
        memory.reach(length)
        self._memory, self._rows, self.length = memory, rows, length
        self._at = torch.from_numpy(at).to(memory.device)  # (B, N)
        self._row = torch.arange(rows.start, rows.stop, device=memory.device)[:, None]

    def get_seq_length(self, _: int = 0) -> int:
        """Zero. Older versions of transformers derive positions from this length.

        They do so only where the caller gives no positions; the kit gives them.
        """
        return 0

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: object) -> tuple[Tensor, Tensor]:
        """Store keys and values (B, H, N, C) of a layer; returns all that are seen (B, H, S, C)."""
        held = self._memory.layers[layer]
        held[self._row, :, :, self._at] = torch.stack([keys, values], 1).permute(0, 3, 1, 2, 4)
        seen = held[self._rows, :, :, : self.length]
        return seen[:, 0], seen[:, 1]


def additive(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask (B, 1, N, S) to add to scores. `visible` (B, N, S): the columns that a token sees."""
    mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return mask.masked_fill_(~visible, torch.finfo(dtype).min)[:, None]
