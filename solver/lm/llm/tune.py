"""Test-time training of a language model in the context format, by peft's adapters.

The training loop is the bundled model's (`solver.lm.training.loop`). The trained parameters are
those of peft's modules, so quantized layers work too. The adapter's start is kept, and restored
bit by bit before every task. One adapter may first learn all tasks of a run together; every task
then starts from this adapter.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers.pytorch_utils import Conv1D

from solver.deadline import Deadline
from solver.grid import COLORS, DataError, Task, stable_seed
from solver.lm.llm.causal import ContextModel
from solver.lm.llm.context import collate, encode_example
from solver.lm.pair.checkpoint import write_tensors
from solver.lm.pair.ttt import Learned
from solver.lm.settings import Settings, adapted
from solver.lm.symbols import Batch, Tokens
from solver.lm.training.examples import Example, examples
from solver.lm.training.loop import Dense, Recipe, Step, Trainer, train
from solver.lm.vocabulary import VOCABULARY_FILE

log = logging.getLogger("solver")
_PACKED = ("qweight", "weight_packed")  # weights of linear layers that other libraries quantized
ADAPTER, PART = "adapter.safetensors", "adapter.part.safetensors"
SAVE_S = 120.0  # seconds between two saves of a joint training
_WRITING_S = 5.0  # seconds kept for the last save
_FIXED = {"all": frozenset[int](), "none": frozenset(range(COLORS)), "free": None}


class ContextLearner:
    """A language model that learns one task at a time.

    `model` keeps the task learned last until `reset` or the next `learn`.
    """

    def __init__(self, model: ContextModel, settings: Settings) -> None:
        """Wrap the model's layers. Raises `DataError` if the model lacks the target layers."""
        self.model, self.settings = model, settings
        model.lm = _with_adapter(model.lm, settings)
        self._trained: dict[str, nn.Parameter] = {
            name: p for name, p in model.named_parameters() if p.requires_grad
        }
        self._start = {name: p.detach().clone() for name, p in self._trained.items()}

    def use(self, settings: Settings) -> None:
        """Continue with other settings for the same model and adapter."""
        self.settings, self.model.limit = settings, settings.max_seq_length

    @torch.no_grad()
    def reset(self) -> None:
        """Restore the adapter's start bit by bit, which forgets every task."""
        for name, parameter in self._trained.items():
            parameter.copy_(self._start[name])

    def learn(self, task: Task, deadline: Deadline, seed: int) -> Learned:
        """Forget the last task and learn this one.

        Learning takes the number of epochs in the settings, but ends at the deadline. The rates
        fall to the end of the epochs or to the deadline, whichever comes first.
        """
        self.reset()
        shown = [self._encode(example) for example in self._examples(task, seed)]
        steps = self.settings.epochs * math.ceil(len(shown) / self.settings.batch)
        trainer = self._trainer(max(1, round(self.settings.warmup * steps)))
        losses: list[float] = []
        rng = np.random.default_rng(stable_seed(seed, task.id, "batches"))
        batches = _batches(shown, self.settings, rng)
        train(trainer, batches, deadline, lambda step: losses.append(step.loss), steps=steps)
        return Learned(trainer.steps, trainer.tokens, tuple(losses), None)

    def learn_all(self, tasks: Sequence[Task], folder: Path, deadline: Deadline, seed: int) -> None:
        """Learn all tasks together until the deadline, and write the adapter to `folder`.

        The adapter is saved from time to time. After a killed call, the next call continues from
        the last save, without the optimiser's moments. Returns at once if `folder` contains a
        finished adapter. Raises `DataError` for a saved adapter of another model.
        """
        if (folder / ADAPTER).exists():
            return
        folder.mkdir(parents=True, exist_ok=True)
        self.model.vocabulary.save(folder / VOCABULARY_FILE)
        self.reset()
        before = self._load(folder / PART) if (folder / PART).exists() else 0.0
        begun = saved = deadline.clock.now()

        def keep(step: Step) -> None:
            nonlocal saved
            now = deadline.clock.now()
            if now - saved >= SAVE_S:
                self._save(folder / PART, before + now - begun)
                saved = now

        trainer = self._trainer(warmup=20)
        batches = self._mixed(tasks, seed)
        train(trainer, batches, deadline.earlier(_WRITING_S), keep, spent=before)
        self._save(folder / ADAPTER, before + deadline.clock.now() - begun)
        (folder / PART).unlink(missing_ok=True)

    def start_from(self, path: Path) -> None:
        """Load an adapter as the start that every reset restores.

        Raises `DataError` if the adapter belongs to another model.
        """
        self._load(path)
        self._start = {name: p.detach().clone() for name, p in self._trained.items()}

    def _examples(self, task: Task, seed: int) -> Iterator[Example]:
        settings = self.settings
        return examples(
            task,
            settings.sequences,
            seed,
            context=True,
            fixed=_FIXED[settings.train_colors],
            reshaped=settings.reshaped,
        )

    def _encode(self, example: Example) -> tuple[Tokens, Tokens]:
        first, limit = self.settings.first_output, self.model.limit
        return encode_example(self.model.vocabulary, example, limit, first=first)

    def _trainer(self, warmup: int) -> Trainer:
        recipe = Recipe(
            muon=False,
            matrix_lr=self.settings.rate,
            vector_lr=self.settings.embedding_rate,
            weight_decay=0.0,
            warmup=warmup,
            decay=1.0,
            cosine=True,
        )
        return Trainer(self.model, recipe, Dense(self._trained))

    def _mixed(self, tasks: Sequence[Task], seed: int) -> Iterator[Batch]:
        """Batches of one example of each task, in another order each round, without end."""
        rng = np.random.default_rng(stable_seed(seed, "joint"))
        held = [list(self._examples(task, seed)) for task in tasks]
        for number in range(1 << 62):
            drawn = [held[i][number % len(held[i])] for i in rng.permutation(len(held))]
            for start in range(0, len(drawn), self.settings.batch):
                some = drawn[start : start + self.settings.batch]
                yield collate([self._encode(example) for example in some])

    def _save(self, path: Path, seconds: float) -> None:
        values = {name: p.detach() for name, p in self._trained.items()}
        write_tensors(path, values, {"seconds": json.dumps(seconds)})

    @torch.no_grad()
    def _load(self, path: Path) -> float:
        """Load an adapter. Returns the seconds of its training so far.

        Raises `DataError` if the file is not an adapter of this model.
        """
        try:
            with safe_open(path, framework="pt") as file:
                for name, parameter in self._trained.items():
                    value = file.get_tensor(name)
                    if value.shape != parameter.shape:
                        raise DataError(f"{path}: {name} has another shape")
                    parameter.copy_(value)
                return float(json.loads(file.metadata()["seconds"]))
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{path}: no adapter of this model: {error}") from None


def linear_layers(lm: Any) -> set[str]:
    """The last names of a decoder's linear layers, quantized or not; the head is left out."""
    ends = {id(lm.get_input_embeddings()), id(lm.get_output_embeddings())}
    kinds = (nn.Linear, Conv1D)
    return {
        name.rpartition(".")[2]
        for name, module in lm.named_modules()
        if id(module) not in ends
        and (isinstance(module, kinds) or any(hasattr(module, w) for w in _PACKED))
    }


def _with_adapter(lm: Any, settings: Settings) -> Any:
    targets = adapted(settings.targets, linear_layers(lm))
    if targets != settings.targets:
        log.info("%s: adapters for %s", settings.model, ", ".join(targets))
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        use_rslora=settings.rslora,
        target_modules=list(targets),
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
    )
    if settings.checkpointing:
        lm.gradient_checkpointing_enable({"use_reentrant": False})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stable_seed(0, "adapter"))
        try:
            wrapped: Any = get_peft_model(lm, config, autocast_adapter_dtype=False)
        except ValueError as error:
            raise DataError(f"targets {', '.join(targets)}: {error}") from None
    for parameter in wrapped.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(lm.dtype)
    return wrapped


def _batches(
    shown: Sequence[tuple[Tokens, Tokens]], settings: Settings, rng: np.random.Generator
) -> Iterator[Batch]:
    """Batches of all examples, in another order each epoch."""
    for _ in range(settings.epochs):
        order = rng.permutation(len(shown)).tolist()
        for start in range(0, len(order), settings.batch):
            yield collate([shown[i] for i in order[start : start + settings.batch]])
