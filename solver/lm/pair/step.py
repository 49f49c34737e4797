"""The bundled model's layers over a key-value cache, faster than the class in transformers.

With one token a row, products are small and most of the time goes into starting operations. With
rows of different lengths, most of the time goes into padding. Here a layer starts a third as many
operations as in the class. The weights of layers with the same input are joined once. Queries and
keys are normalised and rotated together. New keys and values go directly to the memory that
attention reads. All but attention is computed without padding. Nothing is compiled, so a new shape
costs no time within a slice. Results equal those of the class, up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention, silu

from solver.deadline import Watch
from solver.lm.pair.decoder import Decoder
from solver.lm.pair.model import CELL


@dataclass(frozen=True, eq=False)
class _Norm:
    """Root-mean-square normalisation of the last dimension, in float32 as in the class."""

    factor: Tensor  # (..., n): 1 + the weights, times the square root of n
    floor: Tensor  # keeps the result for a vector of zeros finite

    @classmethod
    def of(cls, *norms: Any) -> _Norm:
        """Join norms for vectors (..., len(norms), H, n), or take one norm for (..., n).

        The factor is 1 + the weight, as in the class.
        """
        size = norms[0].weight.shape[-1]
        factors = [(1.0 + norm.weight.detach().float()) * size**0.5 for norm in norms]
        factor = factors[0] if len(norms) == 1 else torch.stack(factors)[:, None]
        return cls(factor, factor.new_tensor((norms[0].eps * size) ** 0.5))

    def __call__(self, vectors: Tensor) -> Tensor:
        exact = vectors.float()
        length = torch.linalg.vector_norm(exact, dim=-1, keepdim=True)
        return (exact * (self.factor / torch.hypot(length, self.floor))).type_as(vectors)


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer's weights, each as (inputs, outputs), which makes products with few rows faster.

    fan: weights of queries, keys, values and gates.
    wide: weights of gate and up projection.
    """

    norm: _Norm
    fan: Tensor
    turned_norm: _Norm  # of queries and keys
    out: Tensor
    later_norm: _Norm
    wide: Tensor
    down: Tensor

    @classmethod
    def of(cls, layer: Any, weight: Callable[[str], Tensor] | None = None) -> Layer:
        """Copy a layer's weights.

        `weight`: gives the matrix (..., outputs, inputs) of a name such as `mlp.up_proj`, in place
        of the layer's own.
        """
        matrix = weight or (lambda name: layer.get_submodule(name).weight)
        attention, queries = layer.self_attn, matrix("self_attn.q_proj")
        # Each head has a query, then a gate.
        both = queries.unflatten(-2, (-1, 2, attention.head_dim))  # (..., H, 2, C, inputs)
        plain, gates = (part.flatten(-3, -2) for part in both.unbind(-3))
        keys, values = matrix("self_attn.k_proj"), matrix("self_attn.v_proj")
        return cls(
            _Norm.of(layer.input_layernorm),
            _beside(plain, keys, values, gates),
            _Norm.of(attention.q_norm, attention.k_norm),
            _beside(matrix("self_attn.o_proj")),
            _Norm.of(layer.post_attention_layernorm),
            _beside(matrix("mlp.gate_proj"), matrix("mlp.up_proj")),
            _beside(matrix("mlp.down_proj")),
        )


@dataclass(frozen=True, eq=False)
class Held:
    """The places of M new tokens of B rows, without padding.

    first: the first of the B rows in the memory.
    row (M,): each token's row among the B rows.
    place (M,): each token's place among the new tokens of its row.
    column (M,): each token's column in the memory.
    """

    first: int
    row: Tensor
    place: Tensor
    column: Tensor

    def padded(self, vectors: Tensor, rows: int, width: int) -> Tensor:
        """Vectors (M, ...) as (`rows`, `width`, ...), padded with zeros."""
        if len(vectors) == rows * width:
            return vectors.view(rows, width, *vectors.shape[1:])
        wide = vectors.new_zeros(rows, width, *vectors.shape[1:])
        wide[self.row, self.place] = vectors
        return wide

    def packed(self, wide: Tensor) -> Tensor:
        """Vectors (M, ...) from padded vectors (B, N, ...)."""
        if len(self.row) == wide.shape[0] * wide.shape[1]:
            return wide.flatten(0, 1)
        return wide[self.row, self.place]


@dataclass(frozen=True, eq=False)
class Stepper:
    """A copy of the weights of a model's layers and head. Later training does not change it."""

    layers: Sequence[Layer]
    norm: _Norm
    head: Tensor
    rotary: Any

    @classmethod
    def of(cls, lm: Decoder) -> Stepper:
        """Copy a model's weights."""
        layers = [Layer.of(layer) for layer in lm.model.layers]
        return cls(layers, _Norm.of(lm.model.norm), _beside(lm.lm_head.weight), lm.model.rotary_emb)

    def logits(
        self,
        vectors: Tensor,
        positions: Tensor,
        mask: Tensor,
        memories: Sequence[Tensor],
        at: Held,
        watch: Watch,
    ) -> Tensor:
        """Logits (M, V) of the M new tokens of B rows, up to N tokens a row, without padding.

        vectors (M, D), positions (3, M): of the tokens.
        mask (B, 1, N, S): additive; tokens attend to the first S columns of their rows.
        memories: keys and values (R, 2, H, ., C) of each layer; new ones are written to the
        places in `at`.
        watch: looks at the time between layers; the unit of work is a token in a layer.

        Raises `OutOfTimeError` if time is up.
        """
        turn = self.turn(vectors, positions)
        size, length = turn[0].shape[-1], mask.shape[-1]
        end, row = at.first + len(mask), at.first + at.row
        for layer, memory in zip(self.layers, memories, strict=True):
            watch.look(len(vectors))
            fan = (layer.norm(vectors) @ layer.fan).view(len(vectors), 4, -1, size)  # (M, 4, H, C)
            fan[:, :2] = turned(layer.turned_norm(fan[:, :2]), *turn)  # queries and keys
            memory[row, :, :, at.column] = fan[:, 1:3]
            keys, values = memory[at.first : end, :, :, :length].unbind(1)
            query = at.padded(fan[:, 0], len(mask), mask.shape[2]).transpose(1, 2)  # (B, H, N, C)
            mixed = scaled_dot_product_attention(query, keys, values, mask, scale=size**-0.5)
            mixed = at.packed(mixed.transpose(1, 2)).flatten(1)  # (M, H * C)
            vectors = vectors + (mixed * torch.sigmoid(fan[:, 3].flatten(1))) @ layer.out
            gate, up = (layer.later_norm(vectors) @ layer.wide).chunk(2, -1)
            vectors = vectors + (silu(gate) * up) @ layer.down
        return self.norm(vectors) @ self.head

    def turn(self, vectors: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and signed sines (M, 1, 1, C) of the rotation at positions (3, M)."""
        cos, sin = self.rotary(vectors, positions[:, None] * CELL)  # (1, M, C)
        low, high = sin[0].chunk(2, -1)
        signed = torch.cat([-low, high], -1)
        return cos[0, :, None, None], signed[:, None, None]


def turned(plain: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Vectors (..., C) rotated by cosines and signed sines."""
    return plain * cos + torch.roll(plain, plain.shape[-1] // 2, -1) * sin


def _beside(*weights: Tensor) -> Tensor:
    """Matrices (..., N, D) with the same input, transposed and joined: (..., D, sum of all N)."""
    return torch.cat(weights, -2).detach().mT.contiguous()
