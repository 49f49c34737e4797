"""Exact outputs on the held-out training tasks, after joint test-time training.

    python scripts/heldout.py checkpoints/first/model [--tokens 2e6] [--tasks 40] [--seed 0]

Trains the whole model on the demonstrations of the held-out tasks together, for a number of
tokens, then decodes every test input greedily under the eight turns. Prints the held-out tests
solved by the most frequent answer, by the two most frequent, by any, and under a single view.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Sequence

import torch

from solver.deadline import CpuClock, Deadline, FakeClock
from solver.grid import Grid, key
from solver.lm.cache import PairModel
from solver.lm.corpus import HeldOut, lesson_of, read_corpus
from solver.lm.decode import greedy
from solver.lm.formats import FormatError, decode
from solver.lm.model import TaskModel, compile_layers, dequantized, fast_dtype, load
from solver.lm.stream import Mixture, Stream
from solver.lm.train import Recipe, Step, Trainer, train
from solver.views import View

AT_ONCE = 8


def main() -> None:
    """Train, decode, vote, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--tokens", type=float, default=2e6)
    parser.add_argument("--tasks", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    held = read_corpus(None, options.seed).held_out[: options.tasks]
    lm = dequantized(load(options.model, fast_dtype(torch.device("cpu"))))
    model = TaskModel(lm, len(held)).to(lm.dtype)
    compile_layers(lm)
    begun = time.process_time()
    adapt(model, held, options.tokens, options.seed)
    trained = time.process_time()
    answers = decode_all(model, held)
    decoded = time.process_time()
    print(f"{report(held, answers)}; {trained - begun:.0f} s of training, ", end="")
    print(f"{decoded - trained:.0f} s of decoding, on one core")


def adapt(model: TaskModel, held: Sequence[HeldOut], tokens: float, seed: int) -> None:
    """Joint training on all demonstrations; the clock counts tokens."""
    stream = Stream([lesson_of(h.task) for h in held], Mixture(tokens=4096, longest=2048), seed)
    clock = FakeClock()
    trainer = Trainer(model, Recipe(warmup=20, decay=0.3))

    def watch(step: Step) -> None:
        clock.time = float(trainer.tokens)
        if step.number % 50 == 0:
            print(f"step {step.number}  loss {step.loss:.4f}", flush=True)

    if tokens:
        train(trainer, stream, Deadline.after(tokens, clock), watch)


def decode_all(model: TaskModel, held: Sequence[HeldOut]) -> list[list[Grid]]:
    """For each test of each task, the grids that the eight turns gave, turned back."""
    jobs = [
        (n, t, View(d8))
        for n, h in enumerate(held)
        for t in range(len(h.outputs))
        for d8 in range(8)
    ]
    pairs = PairModel(model, {h.task.id: n for n, h in enumerate(held)})
    prompts = [pairs.prompt(held[n].task, t, view) for n, t, view in jobs]
    found: dict[tuple[int, int], list[Grid]] = {(n, t): [] for n, t, _ in jobs}
    order = sorted(range(len(jobs)), key=lambda i: len(prompts[i]))
    for start in range(0, len(order), AT_ONCE):
        some = order[start : start + AT_ONCE]
        done = greedy(pairs, [prompts[i] for i in some], Deadline.after(600.0, CpuClock()))
        for i, result in zip(some, done, strict=True):
            number, test, view = jobs[i]
            try:
                found[number, test].append(view.undo(decode(result.tokens)))
            except FormatError:
                continue
    return list(found.values())


def report(held: Sequence[HeldOut], answers: Sequence[Sequence[Grid]]) -> str:
    """One line of shares."""
    outputs = [key(output) for h in held for output in h.outputs]
    first = second = anywhere = single = 0
    for want, grids in zip(outputs, answers, strict=True):
        votes = [grid for grid, _ in Counter(map(key, grids)).most_common()]
        first += votes[:1] == [want]
        second += want in votes[:2]
        anywhere += want in votes
        single += sum(key(grid) == want for grid in grids)
    n = len(outputs)
    return (
        f"{n} tests: {first / n:.1%} by one attempt, {second / n:.1%} by two, "
        f"{anywhere / n:.1%} by any view, {single / (8 * n):.1%} of single views"
    )


if __name__ == "__main__":
    main()
