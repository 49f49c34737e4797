"""Keys and values of sequences that are being written, for any decoder.

Memory is allocated once. Each layer stores new keys and values in given columns, and gets the keys
and values of some rows. The caller's mask hides the columns that a token must not see.
"""

from __future__ import annotations

import math
import resource
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from solver.lm.symbols import Tokens
from solver.machine import address_limit, available_mb


class Memory:
    """Keys and values of every layer: (R, 2, H, S, C) for R rows of S columns.

    Most outputs are much shorter than their room. Columns that no output reaches are never
    written, so that the system need not provide memory for these columns.
    """

    def __init__(
        self, config: Any, rows: int, columns: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        """`config`: the model's configuration, with the numbers of layers and of heads."""
        shape = _shape(config, rows, columns)
        self.layers = [
            torch.empty(shape, dtype=dtype, device=device) for _ in range(config.num_hidden_layers)
        ]
        self.rows, self.columns, self.device = rows, columns, device
        self._finite = 0  # columns

    def grow(self, columns: int) -> None:
        """Give every row more columns, one layer after the other.

        Only one layer is in memory twice at a time.
        """
        for number in range(len(self.layers)):
            held = self.layers[number]
            more = held.new_empty(*held.shape[:3], columns, held.shape[4])
            more[:, :, :, : self._finite] = held[:, :, :, : self._finite]
            self.layers[number] = more
            del held  # before memory for the next layer is allocated
        self.columns = columns

    def copy(self, row: int, other: Memory, length: int) -> None:
        """Copy the first `length` columns of another memory's first row to a row."""
        for mine, held in zip(self.layers, other.layers, strict=True):
            mine[row, :, :, :length] = held[0, :, :, :length]

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


def size_of(config: Any, rows: int, columns: int, dtype: torch.dtype) -> int:
    """The bytes of a `Memory`."""
    layers: int = config.num_hidden_layers
    return layers * math.prod(_shape(config, rows, columns)) * dtype.itemsize


def free_bytes(device: torch.device) -> int:
    """Memory of a device that this process could still allocate, in bytes; 0 if unknown."""
    if device.type == "cuda":
        idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + idle
    free = available_mb() * 2**20
    if limit := address_limit():
        free = min(free, limit - _addresses())
    return max(0, free)


def _addresses() -> int:
    """Bytes of addresses that this process uses."""
    pages = Path("/proc/self/statm").read_text().split()[0]
    return int(pages) * resource.getpagesize()


def _shape(config: Any, rows: int, columns: int) -> tuple[int, ...]:
    """The shape of a layer's keys and values (R, 2, H, S, C)."""
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return rows, 2, config.num_key_value_heads, columns, width


def additive(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask (B, 1, N, S) to add to scores. `visible` (B, N, S): the columns that a token sees."""
    mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return mask.masked_fill_(~visible, torch.finfo(dtype).min)[:, None]
