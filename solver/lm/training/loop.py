"""The training loop: the same code trains the bundled model and adapts it to new tasks.

Matrices learn by Muon (Jordan 2024, arXiv:2502.16982 for the scale of its steps), everything
else by AdamW. The model computes in its own precision; the optimisers keep float32 copies.
The rate warms up, stays, and decays with the end of the deadline (warmup-stable-decay,
arXiv:2404.06395), so the number of steps need not be known.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from solver.deadline import Deadline
from solver.lm.symbols import IGNORED, Batch
from solver.machine import give_back_memory

TRIM_S = 1.0  # between two calls of `give_back_memory`


@dataclass(frozen=True)
class Recipe:
    """Rates of learning. `warmup` counts steps, `decay` is the last part of the time, over which
    rates fall along a line or half a cosine. `muon`: whether matrices learn by Muon or, at
    `matrix_lr` too, by AdamW."""

    muon: bool = True
    matrix_lr: float = 0.02
    vector_lr: float = 3e-3
    weight_decay: float = 0.01
    warmup: int = 100
    decay: float = 0.3
    clip: float = 1.0
    cosine: bool = False


@dataclass(frozen=True)
class Step:
    """What one step did. `tokens` counts real ones, not padding, of all processes; `loss` is
    the mean over output tokens in nats; `norm` is that of the gradient before clipping."""

    number: int
    tokens: int
    loss: float
    norm: float
    scale: float


class Weights(Protocol):
    """What is trained of a model: float32 masters that the optimisers follow, by name."""

    masters: dict[str, nn.Parameter]

    def collect(self) -> None:
        """Move the model's gradients to the masters."""

    def publish(self) -> None:
        """Give the model the masters' values."""


class Dense:
    """Parameters of a model trained as they are, each with one master."""

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        self._parameters = dict(parameters)
        self.masters = {n: nn.Parameter(p.detach().float()) for n, p in parameters.items()}

    def collect(self) -> None:
        for name, parameter in self._parameters.items():
            gradient, parameter.grad = parameter.grad, None
            self.masters[name].grad = None if gradient is None else gradient.float()

    @torch.no_grad()
    def publish(self) -> None:
        for name, parameter in self._parameters.items():
            parameter.copy_(self.masters[name])


class Trainer:
    """A model with its optimisers. One `step` is one batch in every process.

    The model gives logits for tokens, positions, prompts and tasks, as a `Batch` has them.
    `weights` says what is trained: everything that requires a gradient, if it is left out.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, weights: Weights | None = None) -> None:
        self.model: Any = model  # of whatever class: who made it knows
        self.recipe = recipe
        self.steps, self.tokens = 0, 0
        self.weights = weights or Dense(
            {name: p for name, p in model.named_parameters() if p.requires_grad}
        )
        self.masters = self.weights.masters
        self.optimizers = _optimizers(self.masters, recipe)
        self._rates = [group["lr"] for group in self._groups()]

    def step(self, batch: Batch, scale: float) -> Step:
        """Learn from a batch at `scale` times the recipe's rates."""
        self.model.train()
        for master in self.masters.values():  # where a step was not taken, its gradient is left
            master.grad = None
        loss = batch_loss(self.model, batch)
        torch.autograd.backward(loss)
        counts = torch.tensor([loss.item(), float(batch.real)], device=loss.device)
        self.weights.collect()
        self._average(counts)
        norm = nn.utils.clip_grad_norm_(self.masters.values(), self.recipe.clip).item()
        if torch.isfinite(torch.tensor(norm)):
            self.advance(scale)
        ranks = world()[1]
        self.steps += 1
        self.tokens += int(counts[1])
        return Step(self.steps, self.tokens, float(counts[0]) / ranks, norm, scale)

    def _average(self, counts: Tensor) -> None:
        """Average the masters' gradients over the processes; sum the counts."""
        if world()[1] == 1:
            return
        gradients = [m.grad for m in self.masters.values() if m.grad is not None]
        flat = torch.cat([counts, *(g.reshape(-1) / world()[1] for g in gradients)])
        dist.all_reduce(flat)
        counts.copy_(flat[: len(counts)])
        parts = torch.split(flat[len(counts) :], [g.numel() for g in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    @torch.no_grad()
    def advance(self, scale: float) -> None:
        """Let the optimisers follow the masters' gradients."""
        for group, rate in zip(self._groups(), self._rates, strict=True):
            group["lr"] = rate * scale
        for optimizer in self.optimizers:
            optimizer.step()
        self.weights.publish()

    def _groups(self) -> Iterator[dict[str, float]]:
        for optimizer in self.optimizers:
            yield from optimizer.param_groups


def train(
    trainer: Trainer,
    batches: Iterator[Batch],
    deadline: Deadline,
    watch: Callable[[Step], object] = lambda step: None,
    spent: float = 0.0,
    steps: int = 0,
) -> None:
    """Train until the deadline, or until `watch` returns False.

    A step that would not end before the deadline is not begun. `spent` is the time that an
    earlier process took for the first steps of the same training: the rates go on as they were.
    `steps`, where the batches end after so many: the rates fall as fast as these or the time go.
    """
    trimmed = deadline.left()
    total, pace = trimmed + spent, Pace()
    for batch in batches:
        left = deadline.left()
        ready = left > pace.predict(batch)
        part = min(left / total, 1 - trainer.steps / steps if steps else 1.0) if ready else 0.0
        scale = schedule(trainer.recipe, trainer.steps, part)
        # Clocks differ by a little, weights must not.
        scale = agree(scale, device_of(trainer.model))
        if scale <= 0.0 or watch(trainer.step(batch, scale)) is False:
            return
        pace.note(batch, left - deadline.left())
        if trimmed - left > TRIM_S:
            give_back_memory()
            trimmed = left


class Pace:
    """How long steps take, from the last ones. Another task's steps tell nothing: what one task
    gets must not depend on those before it."""

    def __init__(self) -> None:
        self._took: deque[tuple[float, float]] = deque(maxlen=8)  # work, seconds
        self._noted = 0

    def note(self, batch: Batch, seconds: float) -> None:
        """What a step took. The first one's, which may have compiled, stands until the second."""
        if self._noted == 1:
            self._took.clear()
        self._noted += 1
        self._took.append((_work(batch), seconds))

    def predict(self, batch: Batch) -> float:
        """Seconds, rather too many than too few: the slowest step with as much work, or else
        the largest one's time for each unit of work. Nothing before the first.

        Smaller ones do not tell: what a step takes whatever its work, a compilation of its shape
        too, would be multiplied."""
        work = _work(batch)
        alike = [seconds for done, seconds in self._took if done >= work]
        if alike or not self._took:
            return max(alike, default=0.0)
        most, seconds = max(self._took)
        return seconds * work / most


def _work(batch: Batch) -> float:
    """Products of a batch, up to a factor: of the layers, and of attention."""
    rows, length = batch.tokens.shape
    return float(rows * length * (1.0 + length / 2000.0))


def schedule(recipe: Recipe, step: int, left: float) -> float:
    """The part of the full rate for a step, when the part `left` of the time is left."""
    fallen = min(1.0, max(0.0, left) / recipe.decay)
    if recipe.cosine:
        fallen = (1 - math.cos(math.pi * fallen)) / 2
    return min((step + 1) / recipe.warmup, fallen)


def batch_loss(model: nn.Module, batch: Batch) -> Tensor:
    """Mean negative log-likelihood (nats) of the output tokens."""
    tokens, positions, targets, prompts, tasks = tensors(model, batch)
    logits = model(tokens, positions, prompts, tasks)
    return cross_entropy(logits.float().flatten(0, 1), targets.reshape(-1), ignore_index=IGNORED)


@torch.no_grad()
def measure(model: nn.Module, batches: Iterable[Batch]) -> tuple[float, float]:
    """Mean loss of output tokens (nats), and the part of sequences whose every output token
    comes first: these are what greedy decoding gets exactly right."""
    model.eval()
    cost, tokens, right, sequences = 0.0, 0, 0, 0
    for batch in batches:
        inputs, positions, targets, prompts, tasks = tensors(model, batch)
        logits = model(inputs, positions, prompts, tasks).float()  # (B, T, V)
        asked = targets != IGNORED  # (B, T)
        cost += cross_entropy(logits[asked], targets[asked], reduction="sum").item()
        right += int(((logits.argmax(-1) == targets) | ~asked).all(1).sum())
        tokens += int(asked.sum())
        sequences += len(asked)
    return cost / tokens, right / sequences


def tensors(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """A batch where the model is: tokens, positions, targets, prompts, tasks."""
    device = device_of(model)
    arrays = (batch.tokens, batch.positions, batch.targets, batch.prompts, batch.tasks)
    tokens, positions, targets, prompts, tasks = (
        torch.from_numpy(array).to(device) for array in arrays
    )
    return tokens, positions, targets, prompts, tasks


def device_of(model: nn.Module) -> torch.device:
    """Where a model computes."""
    return next(model.parameters()).device


def world() -> tuple[int, int]:
    """This process's rank and how many there are."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def agree(value: float, device: torch.device) -> float:
    """The smallest of all processes' values: they stop at the same step."""
    if world()[1] == 1:
        return value
    least = torch.tensor([value], dtype=torch.float64, device=device)
    dist.all_reduce(least, dist.ReduceOp.MIN)
    return least.item()


def _optimizers(masters: dict[str, nn.Parameter], recipe: Recipe) -> list[torch.optim.Optimizer]:
    matrices = [p for n, p in masters.items() if p.ndim == 2 and ".layers." in n]
    others = [p for n, p in masters.items() if p.ndim != 2 or ".layers." not in n]
    vectors = {"params": others, "lr": recipe.vector_lr, "weight_decay": 0.0}
    decayed = {"params": matrices, "lr": recipe.matrix_lr, "weight_decay": recipe.weight_decay}
    if not recipe.muon:
        return [torch.optim.AdamW([decayed, vectors], betas=(0.9, 0.95), fused=True)]
    return [torch.optim.Muon([decayed]), torch.optim.AdamW([vectors], betas=(0.9, 0.95))]
