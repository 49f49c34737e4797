"""The pair model's layers for training on a CPU, with hand-written forward and backward passes.

The class in transformers computes padding, and tokens that the loss does not use. The class also
starts many small operations. Here tokens are stored without padding. Linear layers with the same
input are one product. The last layer computes only the tokens that the loss uses ("asked").
Nothing is compiled, so the first step is as fast as the others. Results equal those of the class,
up to rounding.

Vectors are float32. Products are computed in the precision of the weights.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from solver.lm.pair.fused_parts import Beside, Norm, Turn
from solver.lm.pair.model import CELL, TaskModel, compile_layers
from solver.lm.pair.packed import Attention, Layout
from solver.lm.symbols import SLOTS
from solver.lm.training.loop import device_of


def speed_up(model: TaskModel) -> None:
    """Make a model train faster: with fused layers on a CPU, with compiled layers on a GPU.

    Call this function after the model has its adapter (if any), its device and its precision.
    """
    if device_of(model).type == "cpu":
        vars(model)["forward"] = _Fused(model)
    else:
        compile_layers(model.lm)


class _Fused:
    """The forward pass of a `TaskModel`, with logits only for the tokens that the loss uses.

    All other logits are zero. The weights are the model's, not copies.
    """

    def __init__(self, model: TaskModel) -> None:
        self._model = model
        self._layers = [_Layer(layer) for layer in model.lm.model.layers]

    def __call__(self, tokens: Tensor, positions: Tensor, prompts: Tensor, tasks: Tensor) -> Tensor:
        """Logits (B, T, V) for tokens (B, T), positions (3, B, T), prompts and tasks (B,)."""
        layout = Layout.of(tokens, prompts)
        row, column = layout.row, layout.column
        vectors = self._embed(tokens[row, column], tasks[row], column)  # (M, D)
        turn = self._turn(positions[:, row, column])
        for layer in self._layers:
            pass_ = _Pass(layer, layout, turn, last=layer is self._layers[-1])
            vectors = _Apply.apply(vectors, pass_, *layer.learned)  # type: ignore[no-untyped-call]
        lm = self._model.lm
        told = linear(lm.model.norm(vectors), lm.lm_head.weight.float())  # (A, V)
        logits = told.new_zeros(*tokens.shape, told.shape[1])
        return logits.index_put((row[layout.asked], column[layout.asked]), told)

    def _embed(self, tokens: Tensor, tasks: Tensor, column: Tensor) -> Tensor:
        """Vectors (M, D) of tokens (M,), from their tasks (M,) and columns (M,) in sequences."""
        learned = self._model.tasks.float()  # (N, K, D)
        vectors: Tensor = self._model.lm.model.embed_tokens(tokens).float() + learned[tasks, -1]
        slots = torch.nonzero((column > 0) & (column <= SLOTS))[:, 0]
        return vectors.index_put((slots,), learned[tasks[slots], column[slots] - 1])

    def _turn(self, positions: Tensor) -> Turn:
        """The rotation at positions (3, M)."""
        cos, sin = self._model.lm.model.rotary_emb(torch.empty(0), positions[:, None] * CELL)
        return Turn(cos[0, :, None], sin[0, :, None])


class _Layer:
    """A layer of the model. `learned`: the layer's tensors that need gradients, in fixed order."""

    def __init__(self, layer: Any) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.head_dim = attention.head_dim
        self.norm, self.later_norm = (
            Norm(layer.input_layernorm),
            Norm(layer.post_attention_layernorm),
        )
        self.query_norm, self.key_norm = Norm(attention.q_norm), Norm(attention.k_norm)
        self.ask = Beside(attention.q_proj)  # for each head a query, then a gate
        self.tell = Beside(attention.k_proj, attention.v_proj)
        self.out = Beside(attention.o_proj)
        self.wide = Beside(mlp.gate_proj, mlp.up_proj)
        self.down = Beside(mlp.down_proj)
        self._parts = (
            *(self.norm, self.later_norm, self.query_norm, self.key_norm),
            *(self.ask, self.tell, self.out, self.wide, self.down),
        )
        self.learned = [tensor for part in self._parts for tensor in part.learned]

    @property
    def gradients(self) -> list[Tensor]:
        """The gradients of `learned` from the last backward pass."""
        return [gradient for part in self._parts for gradient in part.gradients]


class _Pass:
    """One layer's pass over one batch: forward, then backward.

    Attributes keep the values that the backward pass needs. `last`: the forward pass returns only
    the tokens that the loss uses.
    """

    def __init__(self, layer: _Layer, layout: Layout, turn: Turn, last: bool) -> None:
        self._layer, self._last, self._asked = layer, last, layout.asked
        self._turn, self._asking_turn = turn, turn.of(layout.asked) if last else turn
        self._attention = Attention(layout, last)

    def forward(self, vectors: Tensor) -> Tensor:
        """Vectors (M, D) after the layer; after the last layer (A, D), of the asked tokens."""
        asking = vectors[self._asked] if self._last else vectors
        vectors = asking + self._attend(vectors)
        return vectors + self._think(vectors)

    def backward(self, gradient: Tensor) -> Tensor:
        """The gradient of the vectors before the layer, from the gradient of those after."""
        gradient = gradient + self._think_back(gradient)
        whole = self._attend_back(gradient)
        if self._last:
            return whole.index_add_(0, self._asked, gradient)
        return whole.add_(gradient)

    def _attend(self, vectors: Tensor) -> Tensor:
        layer, size = self._layer, self._layer.head_dim
        self._vectors = vectors
        self._normed, self._scale = layer.norm.forward(vectors)
        told = layer.tell.forward(self._normed).view(len(vectors), 2, -1, size)  # (M, 2, H, C)
        self._asking = self._normed[self._asked] if self._last else self._normed
        asked = layer.ask.forward(self._asking).view(len(self._asking), -1, 2, size)
        self._keys, self._queries = told[:, 0], asked[:, :, 0]
        keys, self._key_scale = layer.key_norm.forward(self._keys)
        queries, self._query_scale = layer.query_norm.forward(self._queries)
        self._mixed = self._attention.forward(
            self._asking_turn.forward(queries), self._turn.forward(keys), told[:, 1]
        )
        self._open = torch.sigmoid(asked[:, :, 1])  # (M or A, H, C)
        self._gated = (self._mixed * self._open).flatten(1)
        return layer.out.forward(self._gated)

    def _attend_back(self, gradient: Tensor) -> Tensor:
        layer = self._layer
        gated = layer.out.backward(gradient, self._gated).view_as(self._mixed)
        queries, keys, values = self._attention.backward(gated * self._open, self._mixed)
        gates = gated.mul_(self._mixed).mul_(self._open - self._open.square())
        queries = layer.query_norm.backward(
            self._asking_turn.backward(queries), self._queries, self._query_scale
        )
        keys = layer.key_norm.backward(self._turn.backward(keys), self._keys, self._key_scale)
        asked, told = torch.stack([queries, gates], 2), torch.stack([keys, values], 1)
        normed = layer.tell.backward(told.flatten(1), self._normed)
        asking = layer.ask.backward(asked.flatten(1), self._asking)
        if self._last:
            normed.index_add_(0, self._asked, asking)
        else:
            normed += asking
        return layer.norm.backward(normed, self._vectors, self._scale)

    def _think(self, vectors: Tensor) -> Tensor:
        self._later = vectors
        self._later_normed, self._later_scale = self._layer.later_norm.forward(vectors)
        gate, self._up = self._layer.wide.forward(self._later_normed).chunk(2, 1)  # (M or A, F)
        self._sigmoid = torch.sigmoid(gate)
        self._silu = gate * self._sigmoid
        self._inside = self._silu * self._up
        return self._layer.down.forward(self._inside)

    def _think_back(self, gradient: Tensor) -> Tensor:
        layer = self._layer
        inside = layer.down.backward(gradient, self._inside)
        wide = torch.empty(len(inside), 2, inside.shape[1])  # gradients of gate and up
        torch.mul(inside, self._silu, out=wide[:, 1])
        slope = torch.addcmul(self._sigmoid, self._silu, 1 - self._sigmoid)
        torch.mul(inside.mul_(self._up), slope, out=wide[:, 0])
        normed = layer.wide.backward(wide.flatten(1), self._later_normed)
        return layer.later_norm.backward(normed, self._later, self._later_scale)


class _Apply(torch.autograd.Function):
    """A layer's pass as a function of autograd."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, pass_: _Pass, *learned: Tensor) -> Tensor:
        ctx.pass_ = pass_
        return pass_.forward(vectors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        pass_ = ctx.pass_
        del ctx.pass_  # frees the tensors that the pass kept
        return (pass_.backward(gradients[0]), None, *pass_._layer.gradients)
