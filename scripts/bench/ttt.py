"""Measure test-time training on one core: fused layers against the model's own class.

    OPENBLAS_NUM_THREADS=1 python scripts/bench/ttt.py [--steps 24] [--precision float32]
        [--tasks 4] [--compiled] [--peft]

Both use the same model, adapter, optimiser and batches, on one thread. Each step is taken by both
in turns, and the CPU seconds of the two steps are compared as a pair.

The script prints:

- the tokens (without padding) for each CPU second of both;
- their ratio, with a 95 % bootstrap interval;
- the greatest difference between the losses of the same steps.

With `--compiled`, the class's layers first go through `torch.compile`. With `--peft`,
`transformers.Trainer` over peft's modules with sdpa is timed on the last task's batches, too.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import peft
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import Trainer as PlainTrainer
from transformers import TrainerCallback, TrainingArguments

from solver.data.arcio import pick_tasks, read_source
from solver.lm.pair.adapter import LORA, LowRank
from solver.lm.pair.model import Size, TaskModel, build, compile_layers
from solver.lm.pair.ttt import Adaptation, Learner
from solver.lm.symbols import IGNORED, VOCABULARY, Batch
from solver.lm.training.loop import Recipe, Trainer
from tests.lm.plain import plain

WARMUP = 6
RATE = 1e-3
RECIPE = Recipe(muon=False, matrix_lr=RATE, vector_lr=RATE, weight_decay=0.0)


def main() -> None:
    """Take the steps, and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=24, help="of each task")
    parser.add_argument("--precision", default="float32", choices=["bfloat16", "float32"])
    parser.add_argument("--tasks", default="4", help="a number to draw, or ids")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--peft", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    dtype = getattr(torch, options.precision)
    fused = Learner(_model(dtype), Adaptation())
    plain = Learner(_model(dtype), Adaptation())
    del vars(plain.model)["forward"]  # back to the class's own method
    if options.compiled:
        compile_layers(plain.model.lm)
    steps = []
    for task in pick_tasks(read_source("arc-agi-1:training").tasks, options.tasks, 0):
        batches = list(itertools.islice(fused.batches(task, 0), options.steps + WARMUP))
        steps += list(paired(_adapted(fused), _adapted(plain), batches))[WARMUP:]
    report(steps)
    if options.peft:
        speed, _ = plain_speed(_with_peft(dtype), batches)
        print(f"transformers.Trainer, peft   {speed:8,.0f} tokens/s, the last task's batches")


class Pair(NamedTuple):
    """A step taken by both trainers; pairs of numbers are for fused and plain.

    tokens: tokens of the batch, without padding.
    seconds: CPU seconds of both.
    losses: losses of both.
    """

    tokens: int
    seconds: tuple[float, float]
    losses: tuple[float, float]


def paired(fused: Trainer, plain: Trainer, batches: Sequence[Batch]) -> Iterator[Pair]:
    """Take a step with each batch by both trainers; the order of the trainers alternates."""
    for number, batch in enumerate(batches):
        each: dict[int, tuple[float, float]] = {}
        for which in (0, 1) if number % 2 else (1, 0):
            began = time.process_time()
            loss = (fused, plain)[which].step(batch, 1.0).loss
            each[which] = time.process_time() - began, loss
        yield Pair(batch.real, (each[0][0], each[1][0]), (each[0][1], each[1][1]))


def report(steps: Sequence[Pair]) -> None:
    """Print the speeds, their ratio with its interval, and the difference of the losses."""
    tokens = sum(step.tokens for step in steps)
    seconds = np.array([step.seconds for step in steps])  # (N, 2)
    drawn = np.random.default_rng(0).integers(0, len(steps), (2000, len(steps)))
    sums = seconds[drawn].sum(1)  # (2000, 2)
    low, high = np.quantile(sums[:, 1] / sums[:, 0], [0.025, 0.975])
    fused, plain = seconds.sum(0)
    apart = max(abs(step.losses[0] - step.losses[1]) for step in steps)
    print(f"the model's class            {tokens / plain:8,.0f} tokens/s")
    print(f"fused layers                 {tokens / fused:8,.0f} tokens/s")
    print(f"ratio                        {plain / fused:8.2f} [{low:.2f}, {high:.2f}]")
    print(f"losses differ by at most     {apart:8.1e}")


def _model(dtype: torch.dtype) -> TaskModel:
    return TaskModel(build(Size(), 0), 1).to(dtype)


def _adapted(learner: Learner) -> Trainer:
    learner.reset()
    return Trainer(learner.model, RECIPE, learner.adapter)


def _with_peft(dtype: torch.dtype) -> TaskModel:
    """The same model with peft's modules, which begin as the kit's adapter does."""
    start = LowRank(_model(dtype), LORA)
    start.reset(start.model.tasks.detach().clone(), 0)
    model = plain(_model(dtype))
    model.requires_grad_(False)
    config = peft.LoraConfig(
        r=LORA.rank,
        lora_alpha=LORA.alpha,
        use_rslora=LORA.rslora,
        target_modules=list(LORA.targets),
    )
    peft.inject_adapter_in_model(config, model.lm)
    for name, parameter in model.lm.named_parameters():
        if ".lora_" in name:
            master = name.replace(".default.weight", "")
            parameter.data = start.masters[master].detach().clone()
    model.tasks.requires_grad_(True)
    return model


class Trained(nn.Module):
    """The model as `transformers.Trainer` takes it: arrays of a batch in, a loss out."""

    def __init__(self, model: TaskModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, targets: Tensor, **inputs: Tensor) -> dict[str, Tensor]:
        logits = self.model(**inputs).float().view(-1, VOCABULARY)
        return {"loss": cross_entropy(logits, targets.reshape(-1), ignore_index=IGNORED)}


def plain_speed(model: TaskModel, batches: Sequence[Batch]) -> tuple[float, list[float]]:
    """Tokens for each CPU second of a `transformers.Trainer`, and its losses."""
    timing = Timing(batches)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            per_device_train_batch_size=1,
            max_steps=len(batches),
            learning_rate=RATE,
            lr_scheduler_type="constant",
            adam_beta2=0.95,
            max_grad_norm=RECIPE.clip,
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            logging_steps=1,
            remove_unused_columns=False,
        )
        PlainTrainer(
            Trained(model),
            arguments,
            train_dataset=[{}] * len(batches),
            data_collator=timing.collate,
            callbacks=[timing],
        ).train()
    return timing.tokens / timing.seconds, timing.losses


class Timing(TrainerCallback):
    """Hands out the batches in their order; counts tokens and CPU seconds after the warm-up."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self.tokens, self.seconds, self.begun = 0, 0.0, 0.0
        self.losses: list[float] = []
        self._batches, self._next = batches, iter(batches)

    def collate(self, some: list[Any]) -> dict[str, Tensor]:
        batch = next(self._next)
        names = ("tokens", "positions", "targets", "prompts", "tasks")
        return {name: torch.from_numpy(getattr(batch, name)) for name in names}

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        now, batch = time.process_time(), self._batches[state.global_step - 1]
        if state.global_step > WARMUP:
            self.tokens += batch.real
            self.seconds += now - self.begun
        self.begun = now

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if "loss" in logs:
            self.losses.append(float(logs["loss"]))


if __name__ == "__main__":
    main()
