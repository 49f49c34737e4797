"""Measure joint test-time training of a model, on training tasks that the model never saw.

    python scripts/bench/joint.py MODEL [--tokens 1400000] [--matrix-lr 0.002] [--vector-lr 0.003]

The model learns the demonstrations of the 40 held-out tasks together, as in a run, for a number of
tokens (480 s of one core see 1.4 million). Then the test outputs are measured under all eight
turns. A GPU is used if there is one; MODEL must then not be quantized, unless bitsandbytes is
installed.

The script prints:

- the loss in nats a token, as mean and median over test outputs;
- the part of turned outputs that greedy decoding gets exactly;
- the part of test outputs that are exact in one turn, and in half of the turns.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from solver.deadline import Deadline
from solver.grid import Pair
from solver.lm.pair.fused import speed_up
from solver.lm.pair.joint import MIXTURE, RECIPE
from solver.lm.pair.model import TaskModel, load
from solver.lm.precision import fast_dtype
from solver.lm.symbols import encode
from solver.lm.training.corpus import HeldOut, Lesson, lesson_of, read_corpus
from solver.lm.training.loop import Recipe, Trainer, measure, train
from solver.lm.training.stream import Stream, batch_of
from solver.views import View


def main() -> None:
    """Learn, measure, and print one line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("model", type=Path)
    parser.add_argument("--tokens", type=int, default=1_400_000)
    parser.add_argument("--matrix-lr", type=float, default=RECIPE.matrix_lr)
    parser.add_argument("--vector-lr", type=float, default=RECIPE.vector_lr)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    held_out = read_corpus(None, 0).held_out
    recipe = replace(RECIPE, matrix_lr=options.matrix_lr, vector_lr=options.vector_lr)
    trainer = learn(options.model, held_out, recipe, options.tokens, options.seed)
    loss, exact = (np.array(values) for values in zip(*outputs(trainer, held_out), strict=True))
    told = [f"{name} {value}" for name, value in vars(options).items()]
    print(
        f"{', '.join(told)}: loss {loss.mean():.4f}, median {np.median(loss):.4f}, "
        f"exact {exact.mean():.1%}, one turn {np.mean(exact > 0):.1%}, "
        f"half of the turns {np.mean(exact >= 0.5):.1%}"
    )


def learn(
    model: Path, held_out: tuple[HeldOut, ...], recipe: Recipe, tokens: int, seed: int
) -> Trainer:
    """The trainer and its model after joint training on the demonstrations."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    lm = load(model, fast_dtype(device))
    joint = TaskModel(lm, len(held_out)).to(device, lm.dtype)
    trainer = Trainer(joint, recipe)
    speed_up(joint)
    lessons = [lesson_of(held.task) for held in held_out]
    stream = Stream(lessons, MIXTURE, seed)
    train(trainer, stream, Deadline.after(1e9), steps=-(-tokens // mean_tokens(lessons, seed)))
    return trainer


def mean_tokens(lessons: list[Lesson], seed: int) -> int:
    """Mean tokens of a batch, without padding."""
    batches = Stream(lessons, MIXTURE, seed).batches(0)
    return sum(batch.real for batch in batches) // len(batches)


def outputs(trainer: Trainer, held_out: tuple[HeldOut, ...]) -> list[tuple[float, float]]:
    """Mean loss, and the part of turns that are exact, for each test output."""
    found = []
    for number, held in enumerate(held_out):
        for grid, output in zip(held.task.tests, held.outputs, strict=True):
            pair = Pair(grid, output)
            turned = [(number, encode(View(d8).apply_pair(pair), d8)) for d8 in range(8)]
            each = [measure(trainer.model, [batch_of([one])]) for one in turned]
            loss, exact = np.mean(each, axis=0)
            found.append((float(loss), float(exact)))
    return found


if __name__ == "__main__":
    main()
