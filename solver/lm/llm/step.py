"""A decoder's layers in few operations, with its adapter merged, for answering.

One new token a row makes products small, and most of the time goes into starting operations. With
peft's adapters, a layer of the library starts 160 operations; here a layer starts 16. An adapter is
added to its matrix in float32, once for a task. The weight of a norm goes into the matrix that
follows. Matrices with the same input are joined. All layers compute into the same tensors.

The layers' weights are copied. If there is no room for a copy (`solver.lm.llm.reader`), the
library's layers answer.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import rms_norm, silu

from solver.deadline import Watch
from solver.lm.llm.attention import attend, by_group
from solver.lm.symbols import WRITABLE

KINDS = ("llama", "mistral", "qwen2", "qwen3")  # decoders with the layers that `_Layer` copies
TURNS_AT_ONCE = 64  # tokens of a pass for which the rotations of all layers are computed together
MOVING_ROPES = ("dynamic", "longrope")  # rotations that change with the length of a text


@dataclass(frozen=True, eq=False)
class _Layer:
    """A layer's weights, each as (inputs, outputs), with the weights of norms in them.

    fan, fan_bias: of queries, keys and values: for each group its queries, its key, its value.
    """

    fan: Tensor
    fan_bias: Tensor
    out: Tensor
    wide: Tensor
    down: Tensor

    @classmethod
    def of(cls, layer: Any, groups: int, size: int) -> _Layer:
        """Copy a layer with `groups` keys of `size` numbers."""
        attention, mlp = layer.self_attn, layer.mlp
        joined = [attention.q_proj, attention.k_proj, attention.v_proj]
        dtype = layer.input_layernorm.weight.dtype
        fan = [(m := _matrix(part)).reshape(groups, -1, size, m.shape[1]) for part in joined]
        bias = [_bias(part).reshape(groups, -1, size) for part in joined]
        wide = torch.cat([_matrix(mlp.gate_proj), _matrix(mlp.up_proj)])
        return cls(
            _laid(torch.cat(fan, 1).flatten(0, 2), dtype, layer.input_layernorm),
            torch.cat(bias, 1).flatten().to(dtype),
            _laid(_matrix(attention.o_proj), dtype),
            _laid(wide, dtype, layer.post_attention_layernorm),
            _laid(_matrix(mlp.down_proj), dtype),
        )


@dataclass(frozen=True, eq=False)
class Stepper:
    """Layers, embeddings and head of a decoder with a cut vocabulary, for answering.

    epsilon: of all norms.
    table (S, 2, 1, 1, C): cosines and signed sines of the rotation at each position.
    turned (L, 2, 1, K + 1, C): in each layer, the weights of the norms of queries and keys, for
    cosines and for sines; None if there are no such norms.
    """

    layers: Sequence[_Layer]
    embeddings: Tensor
    head: Tensor
    epsilon: float
    table: Tensor
    turned: Tensor | None
    heads: int
    groups: int
    size: int

    @classmethod
    @torch.no_grad()
    def of(cls, lm: Any, limit: int) -> Stepper:
        """Copy a decoder that `fits`, with its adapter, for positions below `limit`."""
        base = _base(lm)
        config, inner = base.config, base.model
        embedded = base.get_input_embeddings()
        table = embedded(torch.arange(config.vocab_size, device=base.device)).detach()
        size = inner.layers[0].self_attn.head_dim
        head = _matrix(base.get_output_embeddings())[:WRITABLE]
        return cls(
            [_Layer.of(layer, config.num_key_value_heads, size) for layer in inner.layers],
            table,
            _laid(head, table.dtype, inner.norm),
            config.rms_norm_eps,
            _rotations(inner.rotary_emb, table, limit),
            _turned([layer.self_attn for layer in inner.layers]),
            config.num_attention_heads,
            config.num_key_value_heads,
            size,
        )

    @torch.inference_mode()
    def logits(
        self,
        tokens: Tensor,
        positions: Tensor,
        columns: Tensor,
        mask: Tensor | None,
        shape: Shape,
        watch: Watch,
    ) -> Tensor:
        """Logits (M, WRITABLE) of M = B * N new tokens (B, N) at positions (B, N).

        columns (B, N): the places in the memory for keys and values.
        mask (B, 1, N, S): additive; see `attend`.
        watch: looks at the time between layers; the unit of work is a token in a layer.
        Raises `OutOfTimeError` if time is up.
        """
        vectors = self.embeddings[tokens.flatten()]  # (M, D)
        columns = columns.flatten()
        turns = self._turns(positions.flatten())
        every = zip(self.layers, turns, shape.held, shape.seen, strict=True)
        for layer, (cos, sin), held, seen in every:
            watch.look(len(vectors))
            torch.addmm(layer.fan_bias, self._norm(vectors), layer.fan, out=shape.fan)
            turned = shape.both if self.turned is None else self._norm(shape.both)
            rolled = torch.roll(turned, self.size // 2, -1)
            torch.addcmul(turned * cos, rolled, sin, out=shape.both)
            held[shape.row, :, :, columns] = shape.new
            mixed = attend(shape.queries, *seen, mask, self.size**-0.5)
            vectors = torch.addmm(vectors, mixed, layer.out)
            torch.mm(self._norm(vectors), layer.wide, out=shape.wide)
            vectors = torch.addmm(vectors, silu(shape.gate).mul_(shape.up), layer.down)
        return self._norm(vectors) @ self.head

    def _norm(self, vectors: Tensor) -> Tensor:
        """Vectors (..., n) over their root mean square. The weights of norms are in matrices."""
        return rms_norm(vectors, vectors.shape[-1:], eps=self.epsilon)

    def _turns(self, positions: Tensor) -> Iterable[tuple[Tensor, Tensor]]:
        """Cosines and signed sines of each layer at positions (M,), times the weights of norms."""
        cos, sin = self.table[positions].unbind(1)  # (M, 1, 1, C)
        if self.turned is None:
            return [(cos, sin)] * len(self.layers)
        if len(positions) > TURNS_AT_ONCE:  # which would take much memory for all layers
            return ((cos * weights[0], sin * weights[1]) for weights in self.turned)
        weights = self.turned[:, :, None]  # (L, 2, 1, 1, K + 1, C)
        return zip((cos * weights[:, 0]).unbind(0), (sin * weights[:, 1]).unbind(0), strict=True)


class Shape:
    """The shape of a pass over B rows of N new tokens: its tensors, which may serve many passes.

    row (M,): the row in the memory of each of the M = B * N tokens.
    held: keys and values (R, 2, G, ., C) of each layer in the memory.
    seen: keys and values (B, G, S, C) of each layer that the tokens may see.
    fan, wide: the tensors that every layer computes into; the others are parts of them.
    """

    def __init__(
        self, of: Stepper, held: Sequence[Tensor], rows: range, new: int, length: int | None
    ) -> None:
        """`held`: of the memory, to which new keys and values go.

        `length`: the number of columns to see. None for the first tokens of a row: they see each
        other.
        """
        tokens, share, like = len(rows) * new, of.heads // of.groups, of.embeddings
        self.held = held
        place = torch.arange(rows.start, rows.stop, device=like.device)
        self.row = place.repeat_interleave(new)
        self.fan = like.new_empty(tokens, of.groups * (share + 2) * of.size)
        each = self.fan.view(tokens, of.groups, share + 2, of.size)
        apart = each.view(len(rows), new, of.groups, share + 2, of.size)
        self.both = each[:, :, : share + 1]  # queries and keys (M, G, K + 1, C)
        self.new = each[:, :, share:].transpose(1, 2)  # keys and values (M, 2, G, C)
        self.queries = by_group(apart[:, :, :, :share])
        self.wide = like.new_empty(tokens, of.layers[0].wide.shape[1])
        self.gate, self.up = self.wide.chunk(2, -1)
        self.seen: list[tuple[Tensor, Tensor]] = []
        for layer in held:
            if length is None:
                keys, values = apart[:, :, :, share:].permute(3, 0, 2, 1, 4).unbind(0)
            else:
                keys, values = layer[rows.start : rows.stop, :, :, :length].unbind(1)
            self.seen.append((keys, values))


def fits(lm: Any) -> bool:
    """True for a decoder that a `Stepper` can copy: a known kind, with dense or 4-bit weights."""
    base = _base(lm)
    config = base.config
    if getattr(config, "model_type", None) not in KINDS or config.hidden_act != "silu":
        return False
    rotary = getattr(base.model, "rotary_emb", None)
    if getattr(rotary, "rope_type", MOVING_ROPES[0]) in MOVING_ROPES:
        return False
    for layer in base.model.layers:
        parts = [layer.self_attn.o_proj, *(getattr(layer.mlp, f"{n}_proj") for n in ("gate", "up"))]
        if any(_linear(part).bias is not None for part in (*parts, layer.mlp.down_proj)):
            return False
        every = [
            *parts,
            layer.mlp.down_proj,
            *(getattr(layer.self_attn, f"{n}_proj") for n in "qkv"),
        ]
        if not all(_is_dense(part) or _is_packed(part) for part in map(_linear, every)):
            return False
    return True


def copied_bytes(lm: Any) -> int:
    """The bytes of a `Stepper`'s copy of the layers."""
    base, count = _base(lm), 0
    for layer in base.model.layers:
        for part in (layer.self_attn, layer.mlp):
            linear = [_linear(module) for name, module in part.named_children() if "proj" in name]
            count += sum(module.in_features * module.out_features for module in linear)
    return int(count * base.dtype.itemsize)


def _base(lm: Any) -> Any:
    """The decoder itself, which peft may have wrapped."""
    return lm.get_base_model() if hasattr(lm, "get_base_model") else lm


def _linear(layer: Any) -> Any:
    """The linear layer itself, which peft may have wrapped."""
    return layer.get_base_layer() if hasattr(layer, "get_base_layer") else layer


def _is_dense(layer: Any) -> bool:
    return type(layer) is torch.nn.Linear


def _is_packed(layer: Any) -> bool:
    """True for a linear layer whose weights bitsandbytes has packed into four bits."""
    return type(layer.weight).__name__ == "Params4bit"


def _matrix(layer: Any) -> Tensor:
    """A linear layer's weights (outputs, inputs) in float32, with its adapter if it has one."""
    linear = _linear(layer)
    weight = linear.weight.detach()
    if _is_packed(linear):
        functional = importlib.import_module("bitsandbytes.functional")
        weight = functional.dequantize_4bit(linear.weight.data, linear.weight.quant_state)
    exact: Tensor = weight.float()
    for name in getattr(layer, "active_adapters", ()):
        low, high = layer.lora_A[name].weight.float(), layer.lora_B[name].weight.float()
        exact = torch.addmm(exact, high, low, alpha=layer.scaling[name])
    return exact


def _bias(layer: Any) -> Tensor:
    linear = _linear(layer)
    if linear.bias is None:
        return torch.zeros(linear.out_features, device=linear.weight.device)
    bias: Tensor = linear.bias.detach().float()
    return bias


def _laid(matrix: Tensor, dtype: torch.dtype, norm: Any = None) -> Tensor:
    """A matrix (outputs, inputs) as (inputs, outputs), after the weights of a norm of its input."""
    if norm is not None:
        matrix = matrix * norm.weight.detach().float()
    return matrix.to(dtype).t().contiguous()


def _turned(attentions: Sequence[Any]) -> Tensor | None:
    """Weights of the norms of queries and keys for `Stepper`; None if there are no such norms.

    A sine is multiplied by a number from the other half of a vector, and so by the weight there.
    """
    if not hasattr(attentions[0], "q_norm"):
        return None
    share = attentions[0].num_key_value_groups
    norms = [[a.q_norm.weight] * share + [a.k_norm.weight] for a in attentions]
    weights = torch.stack([torch.stack(some) for some in norms]).detach()  # (L, K + 1, C)
    return torch.stack([weights, weights.roll(weights.shape[-1] // 2, -1)], 1)[:, :, None]


def _rotations(rotary: Any, like: Tensor, limit: int) -> Tensor:
    """Cosines and signed sines (S, 2, 1, 1, C) at every position below `limit`."""
    cos, sin = rotary(like[None], torch.arange(limit, device=like.device)[None])  # (1, S, C)
    low, high = sin[0].chunk(2, -1)
    return torch.stack([cos[0], torch.cat([-low, high], -1)], 1)[:, :, None, None]
