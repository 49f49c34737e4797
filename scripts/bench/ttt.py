"""Speed of test-time training on one core, against `transformers.Trainer` with peft.

    python scripts/bench/ttt.py [--steps 12] [--precision bfloat16] [--task 05f2a901]

The same model, adapter, optimiser and batches, one thread; peft's side uses sdpa. Prints tokens
(padding left out) for each CPU second of both, of our loop over peft's modules, the greatest
difference between the losses of the same steps, and what a second task compiles anew.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import peft
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.nn.functional import cross_entropy
from transformers import Trainer as PlainTrainer
from transformers import TrainerCallback, TrainingArguments

from solver.arcio import read_source
from solver.deadline import Deadline, StepClock
from solver.grid import Task
from solver.lm.adapter import LORA, LowRank
from solver.lm.formats import IGNORED, VOCABULARY, Batch
from solver.lm.model import Size, TaskModel, build, compile_layers
from solver.lm.train import Recipe, Trainer
from solver.lm.ttt import Adaptation, Learner

WARMUP = 6
RATE = 1e-3
RECIPE = Recipe(muon=False, matrix_lr=RATE, vector_lr=RATE, weight_decay=0.0)


def main() -> None:
    """Run the loops and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--precision", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--task", default="05f2a901")
    options = parser.parse_args()
    torch.set_num_threads(1)
    dtype = getattr(torch, options.precision)
    tasks = read_source("arc-agi-1:training").tasks
    learner = Learner(_model(dtype), Adaptation())
    (task,) = (task for task in tasks if task.id == options.task)
    batches = list(itertools.islice(learner.batches(task, 0), options.steps + WARMUP))
    plain, expected = plain_speed(_with_peft(dtype), batches)
    compile_layers(learner.model.lm)
    learner.warm_up()
    ours, losses = our_speed(_adapted(learner), batches)
    recompiled = graphs_of_another_task(learner, tasks[0])
    modules = _with_peft(dtype)
    compile_layers(modules.lm)
    inside, _ = our_speed(Trainer(modules, RECIPE), batches)
    apart = max(abs(a - b) for a, b in zip(losses, expected, strict=True))
    print(f"transformers.Trainer, peft   {plain:8,.0f} tokens/s")
    print(f"our loop, peft's modules     {inside:8,.0f} tokens/s")
    print(f"our loop, merged adapter     {ours:8,.0f} tokens/s")
    print(f"ratio                        {ours / plain:8.2f}")
    print(f"losses differ by at most     {apart:8.1e}, {expected[0]:.3f} to {expected[-1]:.3f}")
    print(f"graphs another task compiled {recompiled:8d}")


def _model(dtype: torch.dtype) -> TaskModel:
    return TaskModel(build(Size(), 0), 1).to(dtype)


def _adapted(learner: Learner) -> Trainer:
    learner.reset()
    return Trainer(learner.model, RECIPE, learner.adapter)


def _with_peft(dtype: torch.dtype) -> TaskModel:
    """The same model with peft's modules inside, and the adapter that ours starts from."""
    start = LowRank(model := _model(dtype), LORA)
    start.reset(model.tasks.detach().clone(), 0)
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


def our_speed(trainer: Trainer, batches: Sequence[Batch]) -> tuple[float, list[float]]:
    """Tokens for each CPU second after the warm-up, and all losses."""
    losses: list[float] = []
    for number, batch in enumerate(batches):
        if number == WARMUP:
            before, began = trainer.tokens, time.process_time()
        losses.append(trainer.step(batch, 1.0).loss)
    return (trainer.tokens - before) / (time.process_time() - began), losses


def graphs_of_another_task(learner: Learner, task: Task) -> int:
    """How much is compiled when the learner goes on to a task of other sizes."""
    before = counters["stats"]["unique_graphs"]
    learner.learn(task, Deadline.after(60.0, StepClock()), 0)
    return counters["stats"]["unique_graphs"] - before


class Plain(nn.Module):
    """The model as `transformers.Trainer` takes it: arrays of a batch in, a loss out."""

    def __init__(self, model: TaskModel) -> None:
        super().__init__()
        self.model = model
        model.lm.set_attn_implementation("sdpa")

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
            Plain(model),
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
