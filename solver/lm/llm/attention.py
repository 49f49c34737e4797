"""Attention of grouped queries to the keys and values that a group shares, without repeated keys.

Where a mask is given, the library repeats keys and values for every query of a group. For a
Qwen3-4B these copies take four times the memory of a layer's cache. Here the queries of a group
become rows of one product if there is one new token. For more tokens, each query of the group reads
the same keys and values in a call of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

PLAIN, GROUPED = "sdpa", "grouped"  # names of ways to attend, as in a model's configuration


def use_grouped(lm: Any) -> None:
    """Let a model attend in this way, unless the model has a special way of its own."""
    if getattr(lm.config, "_attn_implementation", None) == PLAIN:
        AttentionInterface.register(GROUPED, grouped)
        lm.config._attn_implementation = GROUPED


def grouped(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """Attend as the library's layers ask for it; without a mask, as the library does.

    query (B, H, N, C); key and value (B, G, S, C); attention_mask (B, 1, N, S). Returns
    (B, N, H, C).
    """
    if attention_mask is None:
        found: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, None, scaling=scaling, **more
        )
        return found
    rows, heads, new, size = query.shape
    parts = by_group(query.transpose(1, 2).reshape(rows, new, key.shape[1], -1, size))
    mixed = attend(parts, key, value, attention_mask, scaling)
    return mixed.view(rows, new, heads, size), None


def by_group(query: Tensor) -> list[Tensor]:
    """Views (B, G, M, C) of queries (B, N, G, K, C), which share G keys and values each.

    For one new token there is one view, of the K queries of a group. Otherwise there are K views of
    N tokens.
    """
    if query.shape[1] == 1:
        return [query[:, 0]]
    return [part.transpose(1, 2) for part in query.unbind(3)]


def attend(
    queries: Sequence[Tensor],
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None,
    scale: float | None = None,
) -> Tensor:
    """The values that queries attend to: (B * N, G * K * C), as rows of new tokens.

    queries: of `by_group`.
    keys, values (B, G, S, C).
    mask (B, 1, N, S): additive. None for the first N = S tokens, of which each sees those before.
    """
    mixed = [
        scaled_dot_product_attention(q, keys, values, mask, is_causal=mask is None, scale=scale)
        for q in queries
    ]
    if mask is not None and mask.shape[2] == 1:
        return mixed[0].reshape(len(keys), -1)
    every = torch.stack(mixed, 3).transpose(1, 2)  # (B, N, G, K, C)
    return every.reshape(every.shape[0] * every.shape[1], -1)
