"""The training loop: the same code trains the bundled model and adapts it to new tasks.

Matrices learn by Muon (Jordan 2024; arXiv:2502.16982 for the scale of its steps), all other
parameters by AdamW. The model computes in its precision; the optimisers keep float32 copies.
The rate warms up, stays, and decays towards the deadline (warmup-stable-decay,
arXiv:2404.06395). The number of steps need therefore not be known.
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
    """Rates of learning.

    muon: True if the layers' matrices learn by Muon, False if by AdamW.
    matrix_lr: the rate for the layers' matrices.
    vector_lr: the rate for all other parameters.
    weight_decay: for the layers' matrices only.
    warmup: number of steps in which rates rise.
    decay: the last part of the time, in which rates fall.
    clip: largest norm of the gradient.
    cosine: True if rates fall along half a cosine, False if along a line.
    """

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
    """The result of one step.

    number: number of steps so far.
    tokens: number of tokens so far, of all processes, without padding.
    loss: mean over output tokens, in nats.
    norm: norm of the gradient before clipping.
    scale: the part of the recipe's rates at which the step learned.
    """

    number: int
    tokens: int
    loss: float
    norm: float
    scale: float


class Weights(Protocol):
    """The trained parameters of a model: float32 masters for the optimisers, by name."""

    masters: dict[str, nn.Parameter]

    def collect(self) -> None:
        """Move the model's gradients to the masters."""

    def publish(self) -> None:
        """Copy the masters' values to the model."""


class Dense:
    """Parameters of a model that are trained directly, each with one master."""

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

    The model gives logits for the tokens, positions, prompts and tasks of a `Batch`. `weights`
    lists the trained parameters; if None, all parameters that require a gradient are trained.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, weights: Weights | None = None) -> None:
        self.model: Any = model  # of a class that the caller knows
        self.recipe = recipe
        self.steps, self.tokens = 0, 0
        self.weights = weights or Dense(
            {name: p for name, p in model.named_parameters() if p.requires_grad}
        )
        self.masters = self.weights.masters
        self.optimizers = _optimizers(self.masters, recipe)
        self._rates = [group["lr"] for group in self._groups()]

    def step(self, batch: Batch, scale: float) -> Step:
        """Learn from a batch at `scale` times the recipe's rates.

        If the gradient's norm is not finite, the parameters do not change.
        """
        self.model.train()
        for master in self.masters.values():  # a skipped step leaves its gradient
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
        """Average the masters' gradients over the processes, and sum `counts`, in place."""
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
        """Let the optimisers take a step along the masters' gradients, and publish the result."""
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
    """Train until the deadline, until the batches end, or until `watch` returns False.

    A step that is not expected to end before the deadline is not begun. `spent`: seconds that an
    earlier process took for the first steps of the same training; the rates continue from there.
    `steps`: number of steps after which the batches end, or 0 if unknown. The rates fall with the
    steps or with the time that is left, whichever is the smaller part of its total.
    """
    trimmed = deadline.left()
    total, pace = trimmed + spent, Pace()
    for batch in batches:
        left = deadline.left()
        ready = left > pace.predict(batch)
        part = min(left / total, 1 - trainer.steps / steps if steps else 1.0) if ready else 0.0
        scale = schedule(trainer.recipe, trainer.steps, part)
        # Clocks of processes differ a little; their weights must not.
        scale = agree(scale, device_of(trainer.model))
        if scale <= 0.0 or watch(trainer.step(batch, scale)) is False:
            return
        pace.note(batch, left - deadline.left())
        if trimmed - left > TRIM_S:
            give_back_memory()
            trimmed = left


class Pace:
    """The expected duration of a step, learned from the last steps of the same training.

    Steps of other tasks do not count: the training of a task must not depend on earlier tasks.
    """

    def __init__(self) -> None:
        self._took: deque[tuple[float, float]] = deque(maxlen=8)  # work, seconds
        self._noted = 0

    def note(self, batch: Batch, seconds: float) -> None:
        """Book the seconds of a step.

        The first step may have compiled code; its seconds are dropped when the second is booked.
        """
        if self._noted == 1:
            self._took.clear()
        self._noted += 1
        self._took.append((_work(batch), seconds))

    def predict(self, batch: Batch) -> float:
        """Seconds of a step with a batch, rather too many than too few; 0 before the first step.

        The prediction is the longest time of a step with at least as much work. If there is none,
        the time of the step with the most work is scaled up in proportion to the work. Smaller
        steps are not scaled: their fixed time, such as a compilation, would be multiplied.
        """
        work = _work(batch)
        alike = [seconds for done, seconds in self._took if done >= work]
        if alike or not self._took:
            return max(alike, default=0.0)
        most, seconds = max(self._took)
        return seconds * work / most


def _work(batch: Batch) -> float:
    """The number of products for a batch, in layers and attention, up to a constant factor."""
    rows, length = batch.tokens.shape
    return float(rows * length * (1.0 + length / 2000.0))


def schedule(recipe: Recipe, step: int, left: float) -> float:
    """The part of the full rate for a step. `left`: the part of the time that is left."""
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
    """Mean loss of output tokens (nats), and the part of sequences that are exactly right.

    A sequence is right if each output token is the likeliest token at its place. Greedy decoding
    writes exactly these outputs.
    """
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
    """A batch on the model's device: tokens, positions, targets, prompts, tasks."""
    device = device_of(model)
    arrays = (batch.tokens, batch.positions, batch.targets, batch.prompts, batch.tasks)
    tokens, positions, targets, prompts, tasks = (
        torch.from_numpy(array).to(device) for array in arrays
    )
    return tokens, positions, targets, prompts, tasks


def device_of(model: nn.Module) -> torch.device:
    """The device of a model's parameters."""
    return next(model.parameters()).device


def world() -> tuple[int, int]:
    """This process's rank, and the number of processes."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def agree(value: float, device: torch.device) -> float:
    """The smallest of all processes' values, so that all processes stop at the same step."""
    if world()[1] == 1:
        return value
    least = torch.tensor([value], dtype=torch.float64, device=device)
    dist.all_reduce(least, dist.ReduceOp.MIN)
    return least.item()


def _leave_compiler_out() -> None:
    """Let optimisers be made without importing PyTorch's compiler.

    PyTorch keeps this method from being compiled, and imports the compiler for it. That takes a
    worker 2 s of its first slice.
    """
    method = getattr(torch.optim.Optimizer.add_param_group, "__wrapped__", None)
    if method is not None:
        method.__dynamo_disable = method


def _optimizers(masters: dict[str, nn.Parameter], recipe: Recipe) -> list[torch.optim.Optimizer]:
    _leave_compiler_out()
    matrices = [p for n, p in masters.items() if p.ndim == 2 and ".layers." in n]
    others = [p for n, p in masters.items() if p.ndim != 2 or ".layers." not in n]
    vectors = {"params": others, "lr": recipe.vector_lr, "weight_decay": 0.0}
    decayed = {"params": matrices, "lr": recipe.matrix_lr, "weight_decay": recipe.weight_decay}
    if not recipe.muon:
        return [torch.optim.AdamW([decayed, vectors], betas=(0.9, 0.95), fused=True)]
    return [torch.optim.Muon([decayed]), torch.optim.AdamW([vectors], betas=(0.9, 0.95))]
