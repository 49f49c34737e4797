"""Answering for all places of a stack: passes of the model over the caches of many searches.

Each search has its own cache (`solver.lm.pair.cache`), as if alone. Only the layers are computed
for all searches at once, with the matrices of each place. Results equal those of
`solver.lm.pair.step`, up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention, silu

from solver.deadline import OutOfTimeError, Watch
from solver.lm.many.meeting import Ask
from solver.lm.many.stack import Stack
from solver.lm.pair.cache import PairModel
from solver.lm.pair.model import TaskModel
from solver.lm.pair.step import Held, Layer, Stepper, turned


@dataclass(frozen=True, eq=False)
class _Asked:
    """The arguments of `Stepper.logits` for the task in a place."""

    place: int
    vectors: Tensor
    positions: Tensor
    mask: Tensor
    memories: Sequence[Tensor]
    at: Held
    watch: Watch


@dataclass(frozen=True, eq=False)
class _Desk:
    """A stepper for one search, which asks for a pass together with other searches."""

    ask: Ask
    place: int

    def logits(self, *arguments: Any) -> Tensor:
        logits: Tensor = self.ask(_Asked(self.place, *arguments))
        return logits


@dataclass(frozen=True, eq=False)
class PlacedModel(PairModel):
    """The pair model with the task in one place, for one search of a meeting."""

    place: int
    ask: Ask

    @cached_property
    def stepper(self) -> Any:
        return _Desk(self.ask, self.place)


class StackedStepper:
    """The layers of a stack, as they are now, laid out for the passes of searches.

    model: the embeddings, with the vectors of each place's task.
    """

    def __init__(self, model: TaskModel, stack: Stack) -> None:
        shown = TaskModel(model.lm, stack.places).to(stack.device, stack.dtype)
        with torch.no_grad():
            shown.tasks.copy_(stack.vectors())
        self.model = shown
        self._one = Stepper.of(model.lm)
        self._layers = [
            Layer.of(layer, partial(_weight, stack, layer, number))
            for number, layer in enumerate(model.lm.model.layers)
        ]

    @torch.no_grad()
    def answer(self, asked: Sequence[_Asked]) -> list[Tensor | OutOfTimeError]:
        """The logits of each pass; an error for a pass whose time is up."""
        spans, width = _spans(asked)
        places = self.model.tasks.shape[0]
        vectors = asked[0].vectors.new_zeros(places, width, asked[0].vectors.shape[-1])
        for one, span in zip(asked, spans, strict=True):
            vectors[one.place, span] = one.vectors
        turns = [self._one.turn(one.vectors, one.positions) for one in asked]
        size = turns[0][0].shape[-1]
        late: dict[int, OutOfTimeError] = {}
        for number, layer in enumerate(self._layers):
            fan = torch.bmm(layer.norm(vectors), layer.fan).view(places, width, 4, -1, size)
            mixed = torch.zeros_like(fan[:, :, 0])
            for i, (one, span) in enumerate(zip(asked, spans, strict=True)):
                try:
                    one.watch.look(len(one.vectors))
                except OutOfTimeError as error:
                    late[i] = error
                if i not in late:
                    mine = fan[one.place, span]
                    mixed[one.place, span] = _attend(layer, mine, turns[i], one, number)
            gated = mixed.flatten(2) * torch.sigmoid(fan[:, :, 3].flatten(2))
            vectors = vectors + torch.bmm(gated, layer.out)
            gate, up = torch.bmm(layer.later_norm(vectors), layer.wide).chunk(2, -1)
            vectors = vectors + torch.bmm(silu(gate) * up, layer.down)
        logits = self._one.norm(vectors) @ self._one.head
        found = [logits[one.place, span] for one, span in zip(asked, spans, strict=True)]
        return [late.get(i, told) for i, told in enumerate(found)]


def _spans(asked: Sequence[_Asked]) -> tuple[list[slice], int]:
    """Each pass's tokens among those of its place, and the most tokens of a place."""
    used: dict[int, int] = {}
    spans = []
    for one in asked:
        start = used.get(one.place, 0)
        used[one.place] = start + len(one.vectors)
        spans.append(slice(start, used[one.place]))
    return spans, max(used.values())


def _attend(
    layer: Layer, fan: Tensor, turn: tuple[Tensor, Tensor], one: _Asked, number: int
) -> Tensor:
    """Attention (M, H, C) of one pass over its own memory, as in `Stepper.logits`."""
    at, mask, memory = one.at, one.mask, one.memories[number]
    fan[:, :2] = turned(layer.turned_norm(fan[:, :2]), *turn)
    memory[at.first + at.row, :, :, at.column] = fan[:, 1:3]
    keys, values = memory[at.first : at.first + len(mask), :, :, : mask.shape[-1]].unbind(1)
    query = at.padded(fan[:, 0], len(mask), mask.shape[2]).transpose(1, 2)  # (B, H, N, C)
    scale = fan.shape[-1] ** -0.5
    mixed = scaled_dot_product_attention(query, keys, values, mask, scale=scale)
    return at.packed(mixed.transpose(1, 2))


def _weight(stack: Stack, layer: Any, number: int, name: str) -> Tensor:
    """A matrix (G, outputs, inputs) of all places, by its name in the layer of this number."""
    return stack.weight(f"model.layers.{number}.{name}", layer.get_submodule(name).weight)
