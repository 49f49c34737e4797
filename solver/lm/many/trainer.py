"""Steps of learning in all places of a stack at once, with AdamW (arXiv:1711.05101).

Each place has its own gradient norm, rate and number of steps. A step starts operations on the
device and waits for none of them: losses stay on the device until they are read. On a GPU a whole
step is one CUDA graph for each number of tokens.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from solver.ladder import is_out_of_memory
from solver.lm.many.batches import Beside, beside
from solver.lm.many.stack import Stack
from solver.lm.symbols import IGNORED, Batch
from solver.lm.training.loop import Recipe

log = logging.getLogger("solver")
BETAS, EPSILON = (0.9, 0.95), 1e-8
WARM_UPS = 3  # steps of no effect before a CUDA graph is captured

Work = Callable[[Beside, Tensor], Tensor]


class StackedTrainer:
    """A stack with its optimiser. Matrices and vectors learn by AdamW without weight decay."""

    def __init__(self, stack: Stack, recipe: Recipe) -> None:
        """Raise `ValueError` for a recipe with Muon or weight decay."""
        if recipe.muon or recipe.weight_decay:
            raise ValueError("places learn by AdamW without weight decay")
        self.stack, self._clip = stack, recipe.clip
        learned = stack.learned
        self._first, self._second = torch.zeros_like(learned), torch.zeros_like(learned)
        self._steps = learned.new_zeros(stack.places, 1)
        vectors = stack.sizes[-1]
        self._rates = learned.new_full((1, learned.shape[1]), recipe.matrix_lr)
        self._rates[:, -vectors:] = recipe.vector_lr
        self._graphs = _Graphs(self._work) if stack.device.type == "cuda" else None

    @property
    def captured(self) -> int:
        """The number of steps that run as a CUDA graph, each of another number of tokens."""
        return len(self._graphs.captured) if self._graphs else 0

    def reset(self, place: int, seed: int, vectors: Tensor | None = None) -> None:
        """Forget the task in a place, and what the optimiser knows of it."""
        self.stack.reset(place, seed, vectors)
        for state in (self._first, self._second, self._steps):
            state[place] = 0

    def step(self, batches: Sequence[Batch | None], scales: Sequence[float]) -> Tensor:
        """Learn from one batch in each place, at `scales` (G,) times the recipe's rates.

        Places of scale 0 do not change. If the norm of a place's gradient is not finite, the place
        does not change either. Returns the mean losses (G,) of output tokens in nats, on the
        device.
        """
        device = self.stack.device
        batch = beside(batches).to(device)
        rates = torch.tensor(scales, dtype=torch.float32)[:, None]  # (G, 1)
        if device.type == "cuda":
            rates = rates.pin_memory().to(device, non_blocking=True)
        return self._graphs(batch, rates) if self._graphs else self._work(batch, rates)

    def _work(self, batch: Beside, scales: Tensor) -> Tensor:
        """A step on the device: losses, gradients, new values."""
        losses = mean_losses(self.stack, batch)
        (gradient,) = torch.autograd.grad(losses.sum(), [self.stack.learned])
        self._advance(gradient, scales)
        self.stack.publish()
        return losses.detach()

    @torch.no_grad()
    def _advance(self, gradient: Tensor, scales: Tensor) -> None:
        """Take a step along the gradient (G, P), in each place whose scale (G, 1) is above 0."""
        norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)  # (G, 1)
        moves = torch.isfinite(norm) & (scales > 0)
        gradient = gradient * (self._clip / (norm + 1e-6)).clamp(max=1.0)  # as torch clips
        gradient = torch.where(moves, gradient, 0.0)
        self._steps += moves
        for state, value, beta in (
            (self._first, gradient, BETAS[0]),
            (self._second, gradient.square(), BETAS[1]),
        ):
            state.lerp_(value, moves * (1 - beta))
        count = self._steps.clamp(min=1)
        first, second = (1 - beta**count for beta in BETAS)
        root = (self._second / second).sqrt_().add_(EPSILON)
        size = self._rates * torch.where(moves, scales / first, 0.0)
        self.stack.learned.addcdiv_(self._first * size, root, value=-1)

    @torch.no_grad()
    def measure(self, batches: Sequence[Batch | None]) -> tuple[Tensor, Tensor]:
        """The sum of the losses (nats) and the number of output tokens, both (G,)."""
        batch = beside(batches).to(self.stack.device)
        counts = (batch.targets != IGNORED).sum(1)
        return mean_losses(self.stack, batch) * counts, counts


def mean_losses(stack: Stack, batch: Beside) -> Tensor:
    """Mean negative log-likelihood (nats) of output tokens in each place (G,); 0 without any."""
    logits = stack.logits(batch)
    each = cross_entropy(
        logits.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED, reduction="none"
    ).view_as(batch.targets)
    return each.sum(1) / (batch.targets != IGNORED).sum(1).clamp(min=1)


class _Graphs:
    """Steps as CUDA graphs, one for each number of tokens; plain steps if no graph can be made."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self.captured: dict[torch.Size, tuple[Beside, Tensor, Tensor, torch.cuda.CUDAGraph]] = {}
        self._able = True

    def __call__(self, batch: Beside, scales: Tensor) -> Tensor:
        if self._able and batch.tokens.shape not in self.captured:
            self._able = self._capture(batch, scales)
        if not self._able:
            return self._work(batch, scales)
        inputs, rates, losses, graph = self.captured[batch.tokens.shape]
        inputs.copy_(batch)
        rates.copy_(scales, non_blocking=True)
        graph.replay()
        return losses.clone()

    def _capture(self, batch: Beside, scales: Tensor) -> bool:
        """Capture a step of this shape. False if the device or a library cannot."""
        still = torch.zeros_like(scales)  # steps of scale 0 change nothing
        try:
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(WARM_UPS):
                    self._work(batch, still)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                losses = self._work(batch, still)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            log.warning("no CUDA graph: %s", " ".join(str(error).split())[:200])
            return False
        self.captured[batch.tokens.shape] = (batch, still, losses, graph)
        return True
