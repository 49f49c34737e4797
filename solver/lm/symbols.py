"""The pair format: one input-output pair as a sequence of tokens with positions.

    [view] [task slots] input rows OUT output rows END

Rows are joined by ROW. Every token has a position (grid, row, column). A cell has its own row, and
columns of cells are counted from 1. The token that ends a row has column 0 of the next row. The
token before a cell is therefore always one step to the cell's left. This module does not need
torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solver.grid import COLORS, MAX_SIDE, Grid, Pair, freeze

ROW, OUT, END, PAD = range(COLORS, COLORS + 4)
VIEW = 14  # 14..21: the eight elements of D8
TASK = 22  # 22..31: slots for what is learned about one task
SLOTS = 10
VOCABULARY = TASK + SLOTS
WRITABLE = END + 1  # an output contains only colours, ROW and END
MAX_OUTPUT = MAX_SIDE * (MAX_SIDE + 1)  # tokens of the largest output, END included
PREFIX_GRID, INPUT_GRID, OUTPUT_GRID = range(3)
IGNORED = -100  # a target that does not count in the loss

Tokens = NDArray[np.int64]


class FormatError(ValueError):
    """Tokens that do not spell a grid; the message gives the reason."""


@dataclass(frozen=True, eq=False)
class Sequence3D:
    """Tokens (T,), their positions (3, T), and the number of tokens in the prompt."""

    tokens: Tokens
    positions: Tokens
    prompt: int

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True, eq=False)
class Batch:
    """B sequences, padded on the right to T + 1 tokens; the last token is only a target.

    tokens: (B, T).
    positions: (3, B, T).
    targets: (B, T), IGNORED outside the output.
    prompts: (B,), the lengths of the prompts.
    tasks: (B,), the number of each sequence's task.
    """

    tokens: Tokens
    positions: Tokens
    targets: Tokens
    prompts: Tokens
    tasks: Tokens

    @property
    def real(self) -> int:
        """The number of tokens to read, without padding."""
        return int(self.prompts.sum() - len(self.prompts) + (self.targets != IGNORED).sum())


def encode(pair: Pair, d8: int, slots: int = SLOTS) -> Sequence3D:
    """The whole sequence of a pair whose grids are already turned by `d8`."""
    prompt = encode_prompt(pair.input, d8, slots)
    tokens, positions = _grid_tokens(pair.output, OUTPUT_GRID, END)
    return Sequence3D(
        np.concatenate([prompt.tokens, tokens]),
        np.concatenate([prompt.positions, positions], axis=1),
        len(prompt),
    )


def encode_prompt(grid: Grid, d8: int, slots: int = SLOTS) -> Sequence3D:
    """The sequence up to OUT, OUT included: all tokens that are known before the output."""
    prefix = np.array([VIEW + d8, *range(TASK, TASK + slots)])  # (1 + slots,)
    places = np.zeros((3, len(prefix)), dtype=np.int64)
    places[2] = np.arange(len(prefix))
    tokens, positions = _grid_tokens(grid, INPUT_GRID, OUT)
    positions[:, -1] = OUTPUT_GRID, 0, 0  # OUT has the position where the output begins
    tokens = np.concatenate([prefix, tokens])
    return Sequence3D(tokens, np.concatenate([places, positions], axis=1), len(tokens))


def output_symbols(grid: Grid) -> Tokens:
    """Symbols (H * (W + 1),) that spell an output, END included: the inverse of `decode`."""
    return _grid_tokens(grid, OUTPUT_GRID, END)[0]


def _grid_tokens(grid: Grid, which: int, last: int) -> tuple[Tokens, Tokens]:
    """Tokens (H * (W + 1),) and positions (3, H * (W + 1)) of a grid that ends with `last`."""
    height, width = grid.shape
    tokens = np.full((height, width + 1), ROW, dtype=np.int64)
    tokens[:, :-1] = grid
    tokens[-1, -1] = last
    positions = np.empty((3, height, width + 1), dtype=np.int64)
    positions[0] = which
    positions[1] = np.arange(height)[:, None]
    positions[2] = np.arange(1, width + 2)
    positions[1, :, -1] += 1
    positions[2, :, -1] = 0
    return tokens.reshape(-1), positions.reshape(3, -1)


def next_positions(tokens: Tokens, positions: Tokens) -> Tokens:
    """The positions (3, B) of the tokens that follow `tokens` (B,) at `positions` (3, B)."""
    grid, row, column = positions
    ends = tokens >= COLORS
    return np.stack([grid, row + ends, np.where(ends, 0, column + 1)])


def decode(tokens: Sequence[int] | Tokens) -> Grid:
    """The grid that output tokens spell, END included: the inverse of `output_symbols`.

    Raises `FormatError` if the last token is not END, or if a token cannot occur in an output.
    Also raised if a row is empty, if rows differ in width, or if a side is over 30.
    """
    spelled = [int(token) for token in tokens]
    if not spelled or spelled[-1] != END:
        raise FormatError(f"{len(spelled)} tokens without END")
    rows: list[list[int]] = [[]]
    for place, token in enumerate(spelled[:-1]):
        if token == ROW:
            rows.append([])
        elif 0 <= token < COLORS:
            rows[-1].append(token)
        else:
            raise FormatError(f"token {token} at place {place} of an output")
    for r, row in enumerate(rows):
        if not row or len(row) != len(rows[0]):
            raise FormatError(f"row {r} has {len(row)} cells where row 0 has {len(rows[0])}")
    if len(rows) > MAX_SIDE or len(rows[0]) > MAX_SIDE:
        raise FormatError(f"{len(rows)} rows of {len(rows[0])} cells, more than {MAX_SIDE}")
    return freeze(np.array(rows, dtype=np.uint8))


def collate(sequences: Sequence[Sequence3D], tasks: Sequence[int], multiple: int = 1) -> Batch:
    """Pad sequences to one length T + 1, where T is a multiple of `multiple`.

    The target at each place is the next token if that token belongs to the output, else IGNORED.
    """
    longest = max(map(len, sequences))
    longest += -(longest - 1) % multiple
    tokens = np.full((len(sequences), longest), PAD, dtype=np.int64)  # (B, T + 1)
    positions = np.zeros((3, len(sequences), longest), dtype=np.int64)  # (3, B, T + 1)
    for i, sequence in enumerate(sequences):
        tokens[i, : len(sequence)] = sequence.tokens
        positions[:, i, : len(sequence)] = sequence.positions
    prompts = np.array([sequence.prompt for sequence in sequences], dtype=np.int64)
    given = np.arange(1, longest) < prompts[:, None]  # (B, T)
    targets = np.where(given | (tokens[:, 1:] == PAD), IGNORED, tokens[:, 1:])
    return Batch(tokens[:, :-1], positions[:, :, :-1], targets, prompts, np.array(tasks))
