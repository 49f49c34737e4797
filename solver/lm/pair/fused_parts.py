"""The parts of fused layers, each with a backward pass: rotation, norm, linear layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from solver.lm.pair.adapter import Adapted
from solver.lm.pair.product import product


@dataclass(frozen=True, eq=False)
class Turn:
    """Cosines and sines (M, 1, C) of the rotation of queries and keys."""

    cos: Tensor
    sin: Tensor

    def of(self, places: Tensor) -> Turn:
        """The rotation of some of the tokens, by their places among the M."""
        return Turn(self.cos[places], self.sin[places])

    def forward(self, plain: Tensor) -> Tensor:
        """Rotate vectors (M, H, C)."""
        return _rotated(plain, self.cos, self.sin)

    def backward(self, gradient: Tensor) -> Tensor:
        """Rotate gradients (M, H, C) back."""
        return _rotated(gradient, self.cos, -self.sin)


def _rotated(plain: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = plain.shape[-1] // 2
    turned = plain * cos
    turned[..., :half].addcmul_(plain[..., half:], sin[..., :half], value=-1)
    turned[..., half:].addcmul_(plain[..., :half], sin[..., half:])
    return turned


class Norm:
    """Root-mean-square normalisation of the last dimension."""

    def __init__(self, norm: Any) -> None:
        self._norm = norm
        self.learned = [norm.weight] if norm.weight.requires_grad else []
        self.gradients: Sequence[Tensor] = ()

    @property
    def _factor(self) -> Tensor:
        factor: Tensor = 1.0 + self._norm.weight.detach().float()
        return factor

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised vectors (..., n), and the scale (..., 1) of each."""
        square = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True).square_()
        scale = square.mul_(1 / vectors.shape[-1]).add_(self._norm.eps).rsqrt_()
        return (vectors * scale).mul_(self._factor), scale

    def backward(self, gradient: Tensor, vectors: Tensor, scale: Tensor) -> Tensor:
        """The gradient of `vectors`, from the gradient of the normalised vectors."""
        plain = vectors * scale
        if self.learned:
            self.gradients = [(gradient * plain).flatten(0, -2).sum(0)]
        inner = gradient * self._factor
        mean = (inner * plain).mean(-1, keepdim=True)
        return inner.addcmul_(plain, mean, value=-1).mul_(scale)


class Beside:
    """Linear layers with the same input, computed as one product.

    The layers' weights become views of one matrix (N, D). For adapted layers, the gradients are
    those of A and B. For other layers, they are those of the weights, if these require gradients.
    """

    def __init__(self, *layers: Any) -> None:
        self._layers = layers
        self._weight = torch.cat([layer.weight.detach() for layer in layers])
        self._rows = [len(layer.weight) for layer in layers]
        for layer, view in zip(layers, torch.split(self._weight, self._rows), strict=True):
            layer.weight.data = view
        self._adapted = isinstance(layers[0], Adapted)
        sides = [side for layer in layers if self._adapted for side in layer.sides]
        self.learned = sides or [x.weight for x in layers if x.weight.requires_grad]
        self.gradients: Sequence[Tensor] = ()

    def forward(self, vectors: Tensor) -> Tensor:
        """Products (M, N) of vectors (M, D)."""
        return product(vectors, self._weight.t())

    def backward(self, gradient: Tensor, vectors: Tensor) -> Tensor:
        """The gradient of vectors (M, D), from the gradient of their products (M, N)."""
        if self._adapted:
            self.gradients = list(self._narrow(gradient, vectors))
        elif self.learned:
            whole = product(gradient.t(), vectors.to(self._weight.dtype))  # (N, D)
            self.gradients = torch.split(whole, self._rows)
        return product(gradient, self._weight)

    def _narrow(self, gradient: Tensor, vectors: Tensor) -> Iterator[Tensor]:
        """Gradients of each layer's A (rank, D) and B (n, rank), from a gradient (M, N)."""
        dtype = self._weight.dtype
        sides = [[side.detach().to(dtype) for side in layer.sides] for layer in self._layers]
        parts = torch.split(gradient, self._rows, 1)
        backs = [product(part, b) for part, (_, b) in zip(parts, sides, strict=True)]
        of_a = product(torch.cat(backs, 1).t(), vectors.to(dtype))  # (L * rank, D)
        ahead = product(vectors, torch.cat([a for a, _ in sides]).t()).to(dtype)  # (M, L * rank)
        rank = len(sides[0][0])
        each = zip(
            self._layers, parts, torch.split(of_a, rank), torch.split(ahead, rank, 1), strict=True
        )
        for layer, part, a, some in each:
            yield a.mul_(layer.scale)
            yield product(part.t(), some).mul_(layer.scale)
