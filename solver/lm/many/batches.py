"""Batches of several tasks side by side, without padding inside a task's sequences.

A step on a GPU must be large. Each of G tasks brings one batch of its own. The task's sequences
stand one after another in M tokens, so that long and short examples do not pad each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from solver.lm.symbols import END, IGNORED, PAD, SLOTS, Batch, Tokens

MULTIPLE = 256  # M is a multiple of this number: few lengths mean few CUDA graphs
NO_SEQUENCE = -1  # of the places after a task's last token


@dataclass(frozen=True, eq=False)
class Beside:
    """The batches of G tasks, on one device.

    tokens (G, M).
    positions (3, G, M).
    targets (G, M): `IGNORED` outside outputs.
    sequences (G, M): the number of each token's sequence, `NO_SEQUENCE` after the last token.
    prompt (G, M): true for tokens of a prompt, which all tokens of the sequence see.
    slots (G, M): the number of a slot for the task's vectors, -1 for other tokens.
    """

    tokens: Tensor
    positions: Tensor
    targets: Tensor
    sequences: Tensor
    prompt: Tensor
    slots: Tensor

    def to(self, device: torch.device) -> Beside:
        """The same batches on a device. The copy to a GPU does not wait for the GPU."""
        parts = [getattr(self, field.name) for field in fields(self)]
        if device.type == "cuda":
            parts = [part.pin_memory() for part in parts]
        return Beside(*(part.to(device, non_blocking=True) for part in parts))

    def copy_(self, other: Beside) -> None:
        """Overwrite these batches, of the same shape, in place."""
        for field in fields(self):
            getattr(self, field.name).copy_(getattr(other, field.name), non_blocking=True)

    def visible(self) -> Tensor:
        """The tokens that each token sees (G, M, M): its prompt, itself and those before it."""
        place = torch.arange(self.tokens.shape[1], device=self.tokens.device)
        same = self.sequences[:, :, None] == self.sequences[:, None]
        return same & ((place <= place[:, None]) | self.prompt[:, None])


def beside(batches: Sequence[Batch | None], multiple: int = MULTIPLE) -> Beside:
    """Put the batches of G tasks side by side; None is a task without a batch.

    The number of tokens M is the most of any task, rounded up to a multiple of `multiple`.
    """
    parts = [None if batch is None else _in_line(batch) for batch in batches]
    longest = max((len(part[0]) for part in parts if part), default=1)
    shape = (len(batches), -(-longest // multiple) * multiple)
    tokens, sequences = np.full(shape, PAD), np.full(shape, NO_SEQUENCE)
    targets, slots = np.full(shape, IGNORED), np.full(shape, -1)
    positions, prompt = np.zeros((3, *shape), dtype=np.int64), np.zeros(shape, dtype=bool)
    for i, (batch, part) in enumerate(zip(batches, parts, strict=True)):
        if batch is None or part is None:
            continue
        row, column = part
        here = slice(0, len(row))
        tokens[i, here], targets[i, here] = batch.tokens[row, column], batch.targets[row, column]
        positions[:, i, here] = batch.positions[:, row, column]
        sequences[i, here], prompt[i, here] = row, column < batch.prompts[row]
        slots[i, here] = np.where((column > 0) & (column <= SLOTS), column - 1, -1)
    arrays = (tokens, positions, targets, sequences, prompt, slots)
    return Beside(*map(torch.from_numpy, arrays))


def _in_line(batch: Batch) -> tuple[Tokens, Tokens]:
    """The row and column (N,) of each token that is read, sequence after sequence.

    END is left out, since no token follows END.
    """
    row, column = np.nonzero((batch.tokens != PAD) & (batch.tokens != END))
    return row, column
