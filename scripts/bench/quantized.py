"""Compare exact outputs after test-time training of two models: quantized, and not quantized.

    python scripts/bench/quantized.py checkpoints/first/model models/pair --data re_arc.zip

Both models learn from the same batches, for the same number of tokens. The batches contain the
demonstrations of training tasks that the bundled model's training held out, if their pairs are
short. All tasks are learned together with all weights, as in a run. Then each model is asked,
teacher-forced, for test outputs under some turns. The questions include generated pairs of the same
tasks, which the model has not seen. An output counts if every token has the highest probability.
The script prints both parts, and their difference with its interval over tasks.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from solver.grid import Pair
from solver.lm.pair.fused import speed_up
from solver.lm.pair.joint import MIXTURE, RECIPE
from solver.lm.pair.model import TaskModel, load
from solver.lm.symbols import encode
from solver.lm.training.corpus import HeldOut, lesson_of, read_corpus, read_generated
from solver.lm.training.loop import Trainer, measure, schedule
from solver.lm.training.stream import Drawn, Stream, batch_of, cut, sequence_length
from solver.views import View
from submission.runs.stats import difference


def main() -> None:
    """Train and ask both models; print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs=2, type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=600_000)
    parser.add_argument("--longest", type=int, default=300, help="tokens of a pair")
    parser.add_argument("--pairs", type=int, default=25)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    held_out = [
        held
        for held in read_corpus(None, options.seed).held_out
        if all(sequence_length(pair) <= options.longest for pair in held.task.train)
    ]
    asked = questions(held_out, options)
    parts = []
    for folder in options.models:
        model = learned(folder, held_out, options.tokens, options.seed)
        parts.append(exact(model, asked))
        mean = sum(parts[-1]) / len(parts[-1])
        print(f"{folder}: {mean:.2%}, the mean of {len(parts[-1])} tasks, {len(asked)} outputs")
    change = difference(parts[0], parts[1])
    print(
        f"difference {change.mean:+.2%} of a task's, from {change.low:+.2%} to {change.high:+.2%}"
    )


def questions(held_out: Sequence[HeldOut], options: argparse.Namespace) -> list[Drawn]:
    """Sequences of pairs that are not demonstrations, each with the number of its task."""
    generated = dict(read_generated(options.data))
    drawn = []
    for number, held in enumerate(held_out):
        tests = [Pair(i, o) for i, o in zip(held.task.tests, held.outputs, strict=True)]
        known = generated[held.task.id].pairs if held.task.id in generated else ()
        more = [p for p in known if sequence_length(p) <= options.longest]
        for pair in (*tests, *more[: options.pairs]):
            for d8 in range(options.turns):
                drawn.append((number, encode(View(d8).apply_pair(pair), d8)))
    return drawn


def learned(folder: Path, held_out: Sequence[HeldOut], tokens: int, seed: int) -> TaskModel:
    """The model of a folder, after `tokens` tokens of the tasks' demonstrations."""
    lm = load(folder, torch.bfloat16)
    model: TaskModel = TaskModel(lm, len(held_out)).to(lm.dtype)
    trainer = Trainer(model, RECIPE)
    speed_up(model)
    for batch in Stream([lesson_of(held.task) for held in held_out], MIXTURE, seed):
        left = 1 - trainer.tokens / tokens
        if left <= 0:
            break
        trainer.step(batch, schedule(RECIPE, trainer.steps, left))
    return model


def exact(model: TaskModel, asked: Sequence[Drawn]) -> list[float]:
    """The part of each task's outputs in which every token has the highest probability."""
    by_task = [[one for one in asked if one[0] == task] for task in sorted({t for t, _ in asked})]
    batches = [map(batch_of, cut(some, 4 * MIXTURE.tokens)) for some in by_task]
    return [measure(model, some)[1] for some in batches]


if __name__ == "__main__":
    main()
