"""Low-rank adapters (LoRA, arXiv:2106.09685), merged into the model's weights at every step.

A weight of the model is W + scale * B @ A, but only A and B are trained. The forward pass and
decoding therefore cost no more than without an adapter. The backward pass computes the gradients
of A and B without the gradient of the whole matrix. A reset restores W bit by bit. The files have
peft's format: peft loads an adapter trained here, and this module loads peft's.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import linear

from solver.grid import DataError, stable_seed
from solver.lm.pair.checkpoint import write_tensors
from solver.lm.pair.model import TaskModel
from solver.lm.training.loop import Dense

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."


@dataclass(frozen=True)
class Lora:
    """The settings of an adapter.

    rslora: the scale is alpha / sqrt(rank) (arXiv:2312.03732) instead of alpha / rank.
    targets: last names of the linear layers to adapt.
    """

    rank: int = 32
    alpha: int = 16
    rslora: bool = True
    targets: tuple[str, ...] = (
        *("q_proj", "k_proj", "v_proj", "o_proj"),
        *("gate_proj", "up_proj", "down_proj"),
    )

    @property
    def scale(self) -> float:
        return float(self.alpha / (self.rank**0.5 if self.rslora else self.rank))


LORA = Lora()


class _Product(torch.autograd.Function):
    """The product x @ W.T for x (..., in), where W (out, in) is a base + scale * B @ A.

    Narrow products give the gradients of A (rank, in) and B (out, rank). The gradient of W
    (out, in) is never computed.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(x, weight, a, b)
        ctx.scale = scale
        return linear(x, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, Tensor, Tensor, None]:
        x, weight, a, b = ctx.saved_tensors
        (gradient,) = gradients
        rows, backs = x.flatten(0, -2), gradient.flatten(0, -2)  # (N, in), (N, out)
        left = (backs @ b.to(backs.dtype)).T @ rows
        right = backs.T @ (rows @ a.to(rows.dtype).T)
        scale = ctx.scale
        return gradient @ weight, None, left.float() * scale, right.float() * scale, None


class Adapted(nn.Linear):
    """A linear layer whose weight an adapter keeps up to date.

    sides: A and B in float32. They belong to the adapter, not to the model's state.
    """

    def __init__(self, layer: nn.Linear, lora: Lora) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight, self.bias = layer.weight, layer.bias
        zeros = torch.zeros(lora.rank, device=layer.weight.device)
        self.sides = (
            nn.Parameter(zeros[:, None].repeat(1, layer.in_features)),
            nn.Parameter(zeros.repeat(layer.out_features, 1)),
        )
        self.scale = lora.scale

    def forward(self, input: Tensor) -> Tensor:
        product: Tensor = _Product.apply(input, self.weight, *self.sides, self.scale)  # type: ignore[no-untyped-call]
        return product if self.bias is None else product + self.bias


class LowRank:
    """The adapter of a model and its task vectors, as a trainer's weights.

    Masters: `<layer>.lora_A` (rank, in) and `<layer>.lora_B` (out, rank) for every adapted
    layer, and `tasks`. Everything else in the model is frozen. Every `reset` restores the weights
    that the model has now. Raises `ValueError` if no linear layer has one of the target names.
    """

    def __init__(self, model: TaskModel, lora: Lora) -> None:
        self.model, self.lora = model, lora
        found = [
            (name, layer)
            for name, layer in model.lm.named_modules()
            if isinstance(layer, nn.Linear) and name.rpartition(".")[2] in lora.targets
        ]
        if not found:
            raise ValueError(f"no linear layer is called {' or '.join(lora.targets)}")
        model.requires_grad_(False)
        model.tasks.requires_grad_(True)
        self._layers = {name: Adapted(layer, lora) for name, layer in found}
        self._bases = {name: layer.weight.detach().float().clone() for name, layer in found}
        self.masters: dict[str, nn.Parameter] = {}
        for name, layer in self._layers.items():
            model.lm.set_submodule(name, layer)
            for side, master in zip(("lora_A", "lora_B"), layer.sides, strict=True):
                self.masters[f"{name}.{side}"] = master
        self._rest = Dense({"tasks": model.tasks})
        self.masters.update(self._rest.masters)

    @torch.no_grad()
    def reset(self, tasks: Tensor, seed: int) -> None:
        """Restore the model bit by bit, and start a new adapter for task vectors (N, K, D)."""
        for name, layer in self._layers.items():
            layer.weight.copy_(self._bases[name])
            a, b = layer.sides
            a.copy_(first_side(seed, name, self.lora.rank, layer.weight.shape[1]))
            b.zero_()
        self.masters["tasks"].copy_(tasks)
        self._rest.publish()

    def collect(self) -> None:
        """Move the gradient of the task vectors; A and B are masters themselves."""
        self._rest.collect()

    @torch.no_grad()
    def publish(self) -> None:
        for name, layer in self._layers.items():
            a, b = layer.sides
            layer.weight.copy_(torch.addmm(self._bases[name], b, a, alpha=layer.scale))
        self._rest.publish()

    def save(self, folder: Path) -> None:
        """Write the adapter in peft's format, without the task vectors."""
        folder.mkdir(parents=True, exist_ok=True)
        lora = self.lora
        config = {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "r": lora.rank,
            "lora_alpha": lora.alpha,
            "use_rslora": lora.rslora,
            "target_modules": list(lora.targets),
            "inference_mode": True,
        }
        (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2), encoding="utf-8")
        named = {_key(name): m.detach() for name, m in self.masters.items()}
        low_rank = {name: m for name, m in named.items() if ".lora_" in name}
        write_tensors(folder / WEIGHTS_FILE, low_rank, {"format": "pt"})

    @torch.no_grad()
    def load(self, folder: Path) -> None:
        """Load an adapter that this class or peft wrote.

        Raises `DataError` naming the file that cannot be read or belongs to another adapter.
        """
        if read_lora(folder) != self.lora:
            raise DataError(f"{folder / CONFIG_FILE}: an adapter with other settings")
        try:
            saved = load_file(folder / WEIGHTS_FILE)
        except (OSError, SafetensorError) as error:
            raise DataError(f"{folder / WEIGHTS_FILE}: cannot be read: {error}") from None
        for name, master in self.masters.items():
            if ".lora_" not in name:
                continue
            value = saved.get(_key(name))
            if value is None or value.shape != master.shape:
                raise DataError(
                    f"{folder / WEIGHTS_FILE}: no {name} of shape {tuple(master.shape)}"
                )
            master.copy_(value)
        self.publish()


def first_side(seed: int, name: str, rank: int, into: int) -> Tensor:
    """The start of A (rank, into) for the layer of a name, drawn as peft draws it."""
    random = torch.Generator().manual_seed(stable_seed(seed, name))
    start: Tensor = torch.rand(rank, into, generator=random) * 2 - 1
    return start * math.pow(into, -0.5)


def read_lora(folder: Path) -> Lora:
    """The settings of an adapter on disk. Raises `DataError` if they cannot be read."""
    path = folder / CONFIG_FILE
    try:
        config = json.loads(path.read_text("utf-8"))
        targets = set(config["target_modules"])
        return Lora(
            config["r"],
            config["lora_alpha"],
            config["use_rslora"],
            # peft writes a set in any order
            tuple(sorted(targets, key=lambda t: (_place(t), t))),
        )
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: no settings of an adapter: {error!r}") from None


def _place(target: str) -> int:
    known = LORA.targets
    return known.index(target) if target in known else len(known)


def _key(master: str) -> str:
    return f"{_PREFIX}{master}.weight"
