"""Sequences of the pair format without padding, and attention over them.

Sequences of one shape form a group, and a group's tokens are stored one after another. A prompt's
tokens attend to the prompt. An output's tokens attend to themselves and to all earlier tokens.
Products cover only the columns that some query of the span attends to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from solver.lm.pair.product import product
from solver.lm.symbols import END, PAD

LOG2_E = 1.4426950408889634  # exp2 takes half the time of exp


@dataclass(frozen=True)
class Group:
    """Sequences of one shape.

    start: the place of the group's first token, among all M tokens.
    size: number of sequences.
    length: tokens of a sequence.
    prompt: tokens of a sequence's prompt.
    asked_start: the place of the group's first token that the loss uses, among all A such tokens.
    """

    start: int
    size: int
    length: int
    prompt: int
    asked_start: int

    @property
    def asked(self) -> int:
        """The number of a sequence's tokens that the loss uses: OUT and all tokens after OUT."""
        return self.length - self.prompt + 1

    def of(self, vectors: Tensor) -> Tensor:
        """View the group's part of vectors (M, ...) as (size, length, ...)."""
        part = vectors[self.start : self.start + self.size * self.length]
        return part.view(self.size, self.length, *vectors.shape[1:])

    def of_asked(self, vectors: Tensor) -> Tensor:
        """View the group's part of the asked tokens' vectors (A, ...) as (size, asked, ...)."""
        part = vectors[self.asked_start : self.asked_start + self.size * self.asked]
        return part.view(self.size, self.asked, *vectors.shape[1:])


@dataclass(frozen=True, eq=False)
class Layout:
    """The order of M tokens without padding.

    row, column (M,): each token's place in the padded batch.
    asked (A,): the places, among the M tokens, of the tokens that the loss uses.
    """

    groups: tuple[Group, ...]
    row: Tensor
    column: Tensor
    asked: Tensor

    @classmethod
    def of(cls, tokens: Tensor, prompts: Tensor) -> Layout:
        """Lay out padded tokens (B, T) whose prompts have lengths (B,).
        END is left out, since no token follows END.
        """
        lengths = ((tokens != PAD) & (tokens != END)).sum(1)
        shapes = list(zip(lengths.tolist(), prompts.tolist(), strict=True))
        groups: list[Group] = []
        start = asked = 0
        for shape in sorted(set(shapes)):
            groups.append(Group(start, shapes.count(shape), *shape, asked))
            start += groups[-1].size * groups[-1].length
            asked += groups[-1].size * groups[-1].asked
        order = sorted(range(len(shapes)), key=lambda row: shapes[row])
        row = torch.tensor(order).repeat_interleave(lengths[order])
        column = torch.cat([torch.arange(shapes[row][0]) for row in order])
        return cls(tuple(groups), row, column, torch.nonzero(column >= prompts[row] - 1)[:, 0])


class _Span(NamedTuple):
    """Neighbouring queries of a group, computed in one product.

    group: the group's number.
    start, end: the queries' places among a sequence's tokens, or among its asked tokens (`last`).
    seen: number of columns; every query attends only to columns before `seen`.
    causal: the column of the first query; each query sees no column after the query's column.
    None if every query attends to all columns before `seen`.
    """

    group: int
    start: int
    end: int
    seen: int
    causal: int | None


class _Attended(NamedTuple):
    """The tensors of a span that the backward pass needs.

    queries (G, H, N, C): scaled.
    keys, values (G, H, S, C).
    weights (G, H, N, S): before division by their sums.
    inverse (G, H, N, 1): 1 / the sums of the weights.
    """

    queries: Tensor
    keys: Tensor
    values: Tensor
    weights: Tensor
    inverse: Tensor


class Attention:
    """Attention of M tokens, each within its sequence: call `forward`, then `backward`.

    With `last`, only the A tokens that the loss uses have queries.
    """

    def __init__(self, layout: Layout, last: bool) -> None:
        self._layout, self._last = layout, last
        self._kept: list[_Attended] = []

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Mix values (M, H, C) for queries (M or A, H, C): (M or A, H, C), float32.

        Products are computed in the precision of keys and values.
        """
        scaled = queries * (queries.shape[-1] ** -0.5 * LOG2_E)
        mixed = torch.empty_like(queries)
        for span in self._spans():
            group = self._layout.groups[span.group]
            asking = self._part(scaled, span).transpose(1, 2)  # (G, H, N, C)
            some = group.of(keys)[:, : span.seen].transpose(1, 2)  # (G, H, S, C)
            told = group.of(values)[:, : span.seen].transpose(1, 2)
            weights = product(asking, some.transpose(2, 3))  # (G, H, N, S)
            if span.causal is not None:
                _hide(weights[..., span.causal :])
            weights.sub_(weights.amax(-1, keepdim=True)).exp2_()
            inverse = weights.sum(-1, keepdim=True).reciprocal_()
            self._part(mixed, span).copy_((product(weights, told) * inverse).transpose(1, 2))
            self._kept.append(_Attended(asking, some, told, weights, inverse))
        return mixed

    def backward(self, gradient: Tensor, mixed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of queries (M or A, H, C), keys and values (M, H, C).

        gradient: the gradient of `mixed`.
        mixed: the result of `forward`.
        """
        tokens, dtype = len(self._layout.row), self._kept[0].keys.dtype
        inner = (gradient * mixed).sum(-1, keepdim=True)  # (M or A, H, 1)
        of_queries = torch.empty_like(gradient)
        of_keys, of_values = gradient.new_zeros(2, tokens, *gradient.shape[1:])
        for span, kept in zip(self._spans(), self._kept, strict=True):
            group = self._layout.groups[span.group]
            some = (self._part(gradient, span).transpose(1, 2) * kept.inverse).to(dtype)
            each = self._part(inner, span).transpose(1, 2) * kept.inverse  # (G, H, N, 1)
            told = product(kept.weights.transpose(2, 3), some)  # (G, H, S, C)
            group.of(of_values)[:, : span.seen] += told.transpose(1, 2)
            scores = product(some, kept.values.transpose(2, 3)).sub_(each).mul_(kept.weights)
            asking = product(scores, kept.keys).mul_(gradient.shape[-1] ** -0.5)
            self._part(of_queries, span).copy_(asking.transpose(1, 2))
            shown = product(scores.transpose(2, 3), kept.queries.to(dtype)).mul_(1 / LOG2_E)
            group.of(of_keys)[:, : span.seen] += shown.transpose(1, 2)
        return of_queries, of_keys, of_values

    def _spans(self) -> Iterator[_Span]:
        for number, group in enumerate(self._layout.groups):
            length, cut = group.length, group.prompt
            if self._last:
                yield _Span(number, 0, group.asked, length, cut - 1)
                continue
            yield _Span(number, 0, cut, cut, None)
            if cut < length:
                yield _Span(number, cut, length, length, cut)

    def _part(self, vectors: Tensor, span: _Span) -> Tensor:
        """View a span's part (G, N, ...) of vectors (M or A, ...)."""
        group = self._layout.groups[span.group]
        mine = group.of_asked(vectors) if self._last else group.of(vectors)
        return mine[:, span.start : span.end]


def _hide(scores: Tensor) -> None:
    """Hide later columns from each query, in place, in scores (..., N, N) by query and column."""
    later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu_(1)
    scores.masked_fill_(later, -torch.inf)
