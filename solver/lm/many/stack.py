"""The pair model in G places, each with the adapter and the vectors of another task.

A place has its own copy of the adapted matrices, W + scale * B @ A. The values equal those of a
model with one adapter (`solver.lm.pair.adapter`). Products of all places are one `bmm`. Nothing in
one place enters another. The parts of the model that all places share are frozen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, rms_norm, scaled_dot_product_attention, silu

from solver.lm.many.batches import Beside
from solver.lm.memory import additive
from solver.lm.pair.adapter import Lora, first_side
from solver.lm.pair.model import CELL, TaskModel


class _Product(torch.autograd.Function):
    """The products x @ W.T of all places, for x (G, M, in) and W (G, out, in).

    W is a base + scale * B @ A. The gradients are those of x, A (G, rank, in) and
    B (G, out, rank); the gradient of W is never computed.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(x, weight, a, b)
        ctx.scale = scale
        return torch.bmm(x, weight.transpose(1, 2))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, Tensor, Tensor, None]:
        x, weight, a, b = ctx.saved_tensors
        (gradient,) = gradients  # (G, M, out)
        back = torch.bmm(gradient, b.to(gradient.dtype))  # (G, M, rank)
        ahead = torch.bmm(x, a.to(x.dtype).transpose(1, 2))
        of_a = torch.bmm(back.transpose(1, 2), x).float() * ctx.scale
        of_b = torch.bmm(gradient.transpose(1, 2), ahead).float() * ctx.scale
        return torch.bmm(gradient, weight), None, of_a, of_b, None


@dataclass(frozen=True, eq=False)
class _Adapted:
    """An adapted matrix in all places.

    base (out, in): in float32.
    weight (G, out, in): in the model's precision, with each place's adapter.
    """

    name: str
    base: Tensor
    weight: Tensor


class Stack:
    """G places for tasks. `learned` (G, P) has everything that the places learn, in float32.

    A row of `learned` has A and B of every adapted matrix, one after another, and then the task's
    vectors. Raises `ValueError` if no linear layer has one of the adapter's target names.
    """

    def __init__(self, model: TaskModel, lora: Lora, places: int) -> None:
        """`model`: dense, with one task; it stays as it is."""
        self.lora, self.places = lora, places
        self._lm: Any = model.lm
        self._start = model.tasks[0].detach().float()  # (K, D)
        self.device, self.dtype = model.tasks.device, model.lm.dtype
        self._adapted = {
            name: _Adapted(name, base, base.to(self.dtype).repeat(places, 1, 1))
            for name, base in _targets(model, lora)
        }
        if not self._adapted:
            raise ValueError(f"no linear layer is called {' or '.join(lora.targets)}")
        self._shapes = [shape for one in self._adapted.values() for shape in self._sides(one)]
        self._shapes.append(tuple(self._start.shape))
        self.sizes = [torch.Size(shape).numel() for shape in self._shapes]
        zeros = torch.zeros(places, sum(self.sizes), device=self.device)
        self.learned = nn.Parameter(zeros)

    def _sides(self, one: _Adapted) -> Iterator[tuple[int, ...]]:
        """The shapes of an adapted matrix's A and B in one place."""
        yield self.lora.rank, one.base.shape[1]
        yield one.base.shape[0], self.lora.rank

    @torch.no_grad()
    def reset(self, place: int, seed: int, vectors: Tensor | None = None) -> None:
        """Forget the task in a place. `vectors` (K, D): the start of the next task's vectors.

        The start equals the one of `LowRank.reset` for the same seed.
        """
        rows = []
        for one in self._adapted.values():
            out, into = one.base.shape
            start = first_side(seed, one.name, self.lora.rank, into)
            rows += [start, torch.zeros(out, self.lora.rank)]
            one.weight[place].copy_(one.base)
        rows.append(self._start.cpu() if vectors is None else vectors.float().cpu())
        self.learned[place].copy_(torch.cat([row.reshape(-1) for row in rows]))

    @torch.no_grad()
    def publish(self) -> None:
        """Bring the matrices of every place up to date with the adapters."""
        parts = iter(self._parts())
        for one in self._adapted.values():
            a, b = next(parts), next(parts)
            base = one.base.expand(self.places, -1, -1)
            one.weight.copy_(torch.baddbmm(base, b, a, alpha=self.lora.scale))

    def vectors(self) -> Tensor:
        """The vectors (G, K, D) of the tasks in all places."""
        return self._parts()[-1].detach()

    def weight(self, name: str, plain: Tensor) -> Tensor:
        """A matrix (G, out, in) of all places; the model's own (out, in) if it is not adapted."""
        if name in self._adapted:
            return self._adapted[name].weight
        return plain.detach().expand(self.places, -1, -1)

    def _parts(self) -> list[Tensor]:
        """Views of `learned`: A and B of every adapted matrix, then the vectors of the tasks."""
        parts = torch.split(self.learned, self.sizes, 1)
        return [part.view(-1, *shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def logits(self, batch: Beside) -> Tensor:
        """Logits (G, M, V) for the batches of all places."""
        *sides, tasks = self._parts()
        self._now = dict(zip(self._adapted, zip(sides[::2], sides[1::2], strict=True), strict=True))
        vectors = self._embed(batch, tasks)
        mask = additive(batch.visible(), self.dtype)  # (G, 1, M, M)
        turn = self._lm.model.rotary_emb(vectors, batch.positions * CELL)  # each (G, M, C)
        for number, layer in enumerate(self._lm.model.layers):
            inside = f"model.layers.{number}"
            vectors = vectors + self._attend(layer, inside, vectors, mask, turn)
            vectors = vectors + self._think(layer, inside, vectors)
        last = _normed(vectors, self._lm.model.norm).to(self.dtype)
        return linear(last, self._lm.lm_head.weight).float()

    def _embed(self, batch: Beside, tasks: Tensor) -> Tensor:
        """Vectors (G, M, D), in float32, from the vectors of the tasks (G, K, D)."""
        plain = self._lm.model.embed_tokens(batch.tokens).float() + tasks[:, -1:]
        slots = batch.slots.clamp(min=0)[..., None].expand(-1, -1, tasks.shape[-1])
        return torch.where(batch.slots[..., None] >= 0, torch.gather(tasks, 1, slots), plain)

    def _attend(
        self, layer: Any, inside: str, vectors: Tensor, mask: Tensor, turn: tuple[Tensor, Tensor]
    ) -> Tensor:
        """The vectors that attention adds to vectors (G, M, D)."""
        about, name = layer.self_attn, f"{inside}.self_attn"
        size, shape = about.head_dim, vectors.shape[:2]
        normed = _normed(vectors, layer.input_layernorm).to(self.dtype)
        asked = self._times(normed, f"{name}.q_proj", about.q_proj).view(*shape, -1, 2, size)
        keys = self._times(normed, f"{name}.k_proj", about.k_proj).view(*shape, -1, size)
        values = self._times(normed, f"{name}.v_proj", about.v_proj).view(*shape, -1, size)
        query = _turned(_normed(asked[..., 0, :], about.q_norm), *turn).to(self.dtype)
        keys = _turned(_normed(keys, about.k_norm), *turn).to(self.dtype)
        mixed = scaled_dot_product_attention(
            query.transpose(1, 2),
            keys.transpose(1, 2),
            values.transpose(1, 2),
            mask,
            scale=size**-0.5,
        ).transpose(1, 2)  # (G, M, H, C)
        gated = (mixed * torch.sigmoid(asked[..., 1, :])).flatten(2)
        return self._times(gated, f"{name}.o_proj", about.o_proj).float()

    def _think(self, layer: Any, inside: str, vectors: Tensor) -> Tensor:
        """The vectors that the feed-forward part adds to vectors (G, M, D)."""
        mlp, name = layer.mlp, f"{inside}.mlp"
        normed = _normed(vectors, layer.post_attention_layernorm).to(self.dtype)
        gate = self._times(normed, f"{name}.gate_proj", mlp.gate_proj)
        up = self._times(normed, f"{name}.up_proj", mlp.up_proj)
        return self._times(silu(gate) * up, f"{name}.down_proj", mlp.down_proj).float()

    def _times(self, x: Tensor, name: str, layer: Any) -> Tensor:
        """Products (G, M, out) of x (G, M, in) with a matrix of each place."""
        if name not in self._adapted:
            return linear(x, layer.weight)
        a, b = self._now[name]
        product: Tensor = _Product.apply(x, self._adapted[name].weight, a, b, self.lora.scale)  # type: ignore[no-untyped-call]
        return product


def _targets(model: TaskModel, lora: Lora) -> Iterator[tuple[str, Tensor]]:
    """The names of the layers' matrices to adapt, each with a copy (out, in) in float32."""
    for name, layer in model.lm.named_modules():
        linear_layer = isinstance(layer, nn.Linear) and ".layers." in name
        if linear_layer and name.rpartition(".")[2] in lora.targets:
            yield name, layer.weight.detach().float().clone()


def _normed(vectors: Tensor, norm: Any) -> Tensor:
    """Root-mean-square normalisation of the last dimension, in float32."""
    factor = 1.0 + norm.weight.detach().float()
    return rms_norm(vectors.float(), vectors.shape[-1:], factor, norm.eps)


def _turned(plain: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Vectors (G, M, H, C) rotated by cosines and sines (G, M, C)."""
    low, high = plain.chunk(2, -1)
    cos, sin = cos.float()[:, :, None], sin.float()[:, :, None]
    return plain * cos + torch.cat([-high, low], -1) * sin
