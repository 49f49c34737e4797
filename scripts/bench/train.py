"""Measure training speed on one core, against a plain `transformers.Trainer`.

    python scripts/bench/train.py [--steps 12] [--width 256] [--layers 6]

Both use a model of the same size, in the precision that the processor multiplies fast, on one
thread. The Trainer takes pairs of the same corpus in random order, sixteen at a time, padded to the
longest pair, with sdpa. Warm-up steps are left out of the figures.

The script prints:

- the tokens (without padding) for each CPU second of both, and their ratio;
- the CPU seconds of the loop's warm-up;
- the FLOP/s of a large product of matrices, and the FLOP/s of the loop's products in proportion.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from typing import Any

import torch
from torch import Tensor
from transformers import Trainer as PlainTrainer
from transformers import TrainerCallback, TrainingArguments

from solver.lm.pair.fused import speed_up
from solver.lm.pair.model import CELL, Size, TaskModel, build
from solver.lm.precision import CPU, fast_dtype
from solver.lm.symbols import IGNORED, Sequence3D, collate, encode
from solver.lm.training.corpus import read_corpus
from solver.lm.training.loop import Recipe, Trainer
from solver.lm.training.stream import Mixture, Stream, sequence_length
from tests.lm.plain import as_transformers

LONGEST, ROWS, PLAIN_WARMUP, WARMUP = 1024, 16, 2, 6


def main() -> None:
    """Run both loops and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--width", type=int, default=Size.width)
    parser.add_argument("--layers", type=int, default=Size.layers)
    options = parser.parse_args()
    torch.set_num_threads(1)
    size = Size(options.width, options.layers)
    peak = large_product()
    plain = plain_speed(size, options.steps)
    ours, flops, warm_up = our_speed(size, options.steps)
    print(f"transformers.Trainer, sdpa   {plain:8,.0f} tokens/s")
    print(f"solver.lm.training.loop      {ours:8,.0f} tokens/s  after {warm_up:.0f} s of warm-up")
    print(f"ratio                        {ours / plain:8.2f}")
    print(f"large product                {peak / 1e12:8.3f} TFLOP/s")
    print(f"products of the loop         {flops / 1e12:8.3f} TFLOP/s, {flops / peak:.0%} of it")


def large_product(side: int = 4096) -> float:
    """FLOP for each CPU second of a product of matrices in the precision of the loop."""
    a = torch.randn(side, side).to(fast_dtype(CPU))
    a @ a
    begun = time.process_time()
    a @ a
    return 2 * side**3 / (time.process_time() - begun)


def our_speed(size: Size, steps: int) -> tuple[float, float, float]:
    """Tokens and FLOP for each CPU second, and the CPU seconds of the warm-up."""
    lessons = read_corpus(None, 0).lessons
    lm = build(size, 0)
    model = TaskModel(lm, len(lessons)).to(fast_dtype(CPU))
    trainer = Trainer(model, Recipe())
    speed_up(model)
    stream = Stream(lessons, Mixture(longest=LONGEST), 0)
    began = time.process_time()
    for _ in range(WARMUP):
        trainer.step(next(stream), 1.0)
    warmed, before, flops = time.process_time(), trainer.tokens, 0.0
    for _ in range(steps):
        batch = next(stream)
        flops += step_flops(lm, batch.tokens.shape)
        trainer.step(batch, 1.0)
    seconds = time.process_time() - warmed
    return (trainer.tokens - before) / seconds, flops / seconds, warmed - began


def step_flops(lm: Any, shape: tuple[int, ...]) -> float:
    """FLOP of the products of one step, forward and backward, with padding."""
    rows, length = shape
    matrices = (p for n, p in lm.named_parameters() if p.ndim == 2 and "embed" not in n)
    weights: int = sum(p.numel() for p in matrices)
    config = lm.config
    scores: int = 2 * config.num_hidden_layers * length * config.hidden_size  # two a layer
    return 6.0 * rows * length * (weights + scores)


def plain_speed(size: Size, steps: int) -> float:
    """Tokens for each CPU second of a `transformers.Trainer`."""
    lm = as_transformers(build(size, 0).to(fast_dtype(CPU)))
    data = sequences(ROWS * (steps + PLAIN_WARMUP))
    timing = Timing()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            per_device_train_batch_size=ROWS,
            max_steps=len(data) // ROWS,
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            logging_strategy="no",
            remove_unused_columns=False,
        )
        trainer = PlainTrainer(
            lm,
            arguments,
            train_dataset=data,
            data_collator=timing.collate,
            callbacks=[timing],
        )
        trainer.train()
    return timing.tokens / timing.seconds


def sequences(n: int) -> list[Sequence3D]:
    """Sequences of at most `n` pairs of the corpus, in random order."""
    pairs = [p for lesson in read_corpus(None, 0).lessons for p in lesson.originals]
    short = [pair for pair in pairs if sequence_length(pair) <= LONGEST]
    order = torch.randperm(len(short), generator=torch.Generator().manual_seed(0))[:n]
    return [encode(short[i], 0) for i in order.tolist()]


class Timing(TrainerCallback):
    """Counts tokens and CPU seconds after the warm-up."""

    def __init__(self) -> None:
        self.tokens, self.seconds, self.begun = 0, 0.0, 0.0
        self._waiting: list[int] = []  # tokens of each batch, since batches are made one step ahead

    def collate(self, some: list[Sequence3D]) -> dict[str, Tensor]:
        """A batch in the form for the model's class, whose loss shifts the labels by one."""
        batch = collate(some, [0] * len(some))
        self._waiting.append(sum(len(sequence) - 1 for sequence in some))
        tokens, targets = torch.from_numpy(batch.tokens), torch.from_numpy(batch.targets)
        first = torch.full((len(some), 1), IGNORED)
        length = torch.tensor([len(sequence) - 1 for sequence in some])
        return {
            "input_ids": tokens,
            "position_ids": torch.from_numpy(batch.positions) * CELL,
            "attention_mask": (torch.arange(tokens.shape[1]) < length[:, None]).long(),
            "labels": torch.cat([first, targets[:, :-1]], 1),
        }

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        now, tokens = time.process_time(), self._waiting.pop(0)
        if state.global_step > PLAIN_WARMUP:
            self.tokens += tokens
            self.seconds += now - self.begun
        self.begun = now


if __name__ == "__main__":
    main()
