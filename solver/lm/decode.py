"""Greedy decoding of many prompts at once, with a key-value cache.

The cache is allocated once and written in place; prompts are padded on the left, so that all
sequences grow in step. Tokens go in and tokens come out: grids stop at the format layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from solver.deadline import Deadline
from solver.lm.formats import (
    END,
    MAX_OUTPUT,
    PAD,
    WRITABLE,
    Sequence3D,
    Tokens,
    next_positions,
)
from solver.lm.model import TaskModel, run


@dataclass(frozen=True, eq=False)
class Decoded:
    """Output tokens, END included where it was reached, and their log-probability (nats)."""

    tokens: Tokens
    logprob: float


class Cache:
    """Keys and values of every layer, (B, H, S, C) each, for at most `capacity` tokens."""

    def __init__(self, layers: int, capacity: int) -> None:
        self.capacity, self.used = capacity, 0
        self._layers: list[tuple[Tensor, Tensor] | None] = [None] * layers

    def update(self, keys: Tensor, values: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Append to a layer, and return all that it holds so far."""
        held = self._layers[layer]
        if held is None:
            batch, heads, _, size = keys.shape
            held = (
                keys.new_empty(batch, heads, self.capacity, size),
                values.new_empty(batch, heads, self.capacity, size),
            )
            self._layers[layer] = held
        end = self.used + keys.shape[2]
        held[0][:, :, self.used : end] = keys
        held[1][:, :, self.used : end] = values
        if layer == len(self._layers) - 1:
            self.used = end
        return held[0][:, :, :end], held[1][:, :, :end]


@torch.no_grad()
def greedy(
    model: TaskModel,
    prompts: Sequence[Sequence3D],
    tasks: Sequence[int],
    deadline: Deadline,
    limit: int = MAX_OUTPUT,
) -> list[Decoded]:
    """The likeliest next token, again and again, for each prompt of task `tasks[i]`.

    Ends when every sequence has, at `limit` tokens, or at the deadline; what has not reached
    END by then comes back as far as it got.
    """
    model.eval()
    device = model.tasks.device
    learned = model.tasks[torch.tensor(tasks, device=device)]  # (B, K, D)
    cache, pads, place, logits = _read(model, prompts, tasks, limit)
    written: list[Tokens] = []
    logprob = torch.zeros(len(prompts), device=device)
    open_ = torch.ones(len(prompts), dtype=torch.bool, device=device)
    while True:
        best, choice = torch.log_softmax(logits[:, :WRITABLE].float(), -1).max(-1)  # (B,)
        choice = torch.where(open_, choice, PAD)
        logprob += torch.where(open_, best, 0.0)
        written.append(choice.cpu().numpy())
        open_ &= choice != END
        if not open_.any() or len(written) >= limit or deadline.passed():
            break
        place = next_positions(written[-1], place)
        vectors = model.embed_more(choice[:, None], learned)  # (B, 1, D)
        mask = _hide_padding(pads, 1, cache.used + 1, vectors.dtype)
        where = torch.from_numpy(place).to(device)[:, :, None]  # (3, B, 1)
        logits = run(model.lm, vectors, where, mask, cache)[:, -1]
    table = np.stack(written, 1)  # (B, N)
    return [Decoded(row[row != PAD], float(p)) for row, p in zip(table, logprob, strict=True)]


def _read(
    model: TaskModel, prompts: Sequence[Sequence3D], tasks: Sequence[int], limit: int
) -> tuple[Cache, Tensor, Tokens, Tensor]:
    """Pass the prompts through the model: the cache, where prompts start (B,), the last
    positions (3, B), and the logits (B, V) of the first output token."""
    tokens, positions, starts = _pad_left(prompts)
    longest, device = tokens.shape[1], model.tasks.device
    pads = torch.from_numpy(starts).to(device)
    numbers = torch.tensor(tasks, device=device)
    cache = Cache(model.lm.config.num_hidden_layers, longest + limit)
    vectors = _embed_padded(model, torch.from_numpy(tokens).to(device), pads, numbers)
    mask = _hide_padding(pads, longest, longest, vectors.dtype)
    logits = run(model.lm, vectors, torch.from_numpy(positions).to(device), mask, cache)
    return cache, pads, positions[:, :, -1], logits[:, -1]


def _pad_left(prompts: Sequence[Sequence3D]) -> tuple[Tokens, Tokens, Tokens]:
    """Tokens (B, T), positions (3, B, T), and where each prompt starts (B,)."""
    longest = max(map(len, prompts))
    tokens = np.full((len(prompts), longest), PAD, dtype=np.int64)
    positions = np.zeros((3, len(prompts), longest), dtype=np.int64)
    starts = np.array([longest - len(prompt) for prompt in prompts])
    for i, prompt in enumerate(prompts):
        tokens[i, starts[i] :] = prompt.tokens
        positions[:, i, starts[i] :] = prompt.positions
    return tokens, positions, starts


def _embed_padded(model: TaskModel, tokens: Tensor, starts: Tensor, tasks: Tensor) -> Tensor:
    """Vectors (B, T, D) of prompts that start at different places: embedded at the left edge,
    where `TaskModel.embed` expects the prefix, and moved back."""
    length = tokens.shape[1]
    place = torch.arange(length, device=tokens.device)
    left = (place + starts[:, None]) % length  # (B, T)
    vectors = model.embed(tokens.gather(1, left), tasks)
    back = (place - starts[:, None]) % length
    return vectors.gather(1, back[..., None].expand_as(vectors))


def _hide_padding(starts: Tensor, queries: int, length: int, dtype: torch.dtype) -> Tensor:
    """Additive mask (B, 1, Q, S): every token but padding is seen (prompts whole)."""
    hidden = torch.arange(length, device=starts.device) < starts[:, None]  # (B, S)
    mask = torch.zeros(hidden.shape, dtype=dtype, device=starts.device)
    mask.masked_fill_(hidden, torch.finfo(dtype).min)
    return mask[:, None, None].expand(-1, -1, queries, -1)
