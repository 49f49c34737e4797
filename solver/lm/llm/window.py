"""A memory of keys and values in place of the library's cache, in one pass of a model."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import DynamicCache

from solver.lm.memory import Memory


class Window:
    """Some rows of a memory, in place of the library's cache in one pass of a model."""

    def __init__(self, memory: Memory, rows: slice, at: Tensor, length: int) -> None:
        """`at` (B, N): the columns for new tokens. `length`: number of finite columns to see."""
        self._memory, self._rows, self.length = memory, rows, length
        self._at = at
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


class Filing(DynamicCache):
    """A row of an empty memory, in place of the library's cache in one pass over a whole text.

    The model's own attention sees the keys and values of this pass, and no others.
    """

    def __init__(self, memory: Memory, row: int) -> None:
        super().__init__()
        self._memory, self._row = memory, row

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: object) -> tuple[Tensor, Tensor]:
        """Store keys and values (1, H, T, C) of a layer, and return them."""
        held = self._memory.layers[layer][self._row, :, :, : keys.shape[2]]
        held[0], held[1] = keys[0], values[0]
        return keys, values
