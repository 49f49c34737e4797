"""Measure decoding speed on one core, against `generate` of transformers.

    python scripts/bench/decode.py [--model models/pair] [--dtype float32] [--learn 10]

The model learns a task for some CPU seconds, as in a run. Then the model writes the output of the
test input in the eight views, greedily and under the grammar, on one thread. The next task follows.
`generate` gets the needs of the pair format (positions, task vectors) from a subclass, as in an
application. `generate` keeps its own cache, loop and attention (sdpa). The two ways alternate. The
script prints tokens for each CPU second of both, and their ratio. The tokens must be identical.

The tasks are drawn from the ARC-AGI-1 training set. The first test input of each task is a
square of 8 to 20 cells a side. All views then have one length, which `generate` needs.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, Qwen3_5ForCausalLM

from solver.data.arcio import read_source
from solver.deadline import CpuClock, Deadline
from solver.grid import MAX_SIDE, Task, stable_seed
from solver.lm.pair.cache import PairModel
from solver.lm.pair.model import BUNDLE, CELL, TaskModel, load
from solver.lm.pair.ttt import Adaptation, Learner
from solver.lm.search.decode import greedy
from solver.lm.search.grammar import most_symbols, shape_of
from solver.lm.search.language import Prompt
from solver.lm.symbols import END, WRITABLE, Tokens, next_positions
from solver.views import View
from tests.lm.plain import as_transformers


def main() -> int:
    """Time both ways and print the comparison. Returns 1 if the tokens differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=BUNDLE)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--learn", type=float, default=10.0, help="seconds of each task")
    parser.add_argument("--tasks", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    lm = load(options.model, getattr(torch, options.dtype))
    learner = Learner(TaskModel(lm, 1).to(lm.dtype), Adaptation())
    tokens, took, same = 0, [0.0, 0.0], True
    for task in square_tasks(options.tasks):
        learner.learn(task, Deadline.after(options.learn, CpuClock()), 0)
        written, best, alike = compare(learner.model, task, options.repeats)
        tokens, same = tokens + written, same and alike
        took = [a + b for a, b in zip(took, best, strict=True)]
        print(f"{task.id}: {written} tokens, {best[0] / best[1]:.2f} times as fast")
    print(f"transformers generate   {tokens / took[0]:8,.0f} tokens/s, {options.dtype}")
    print(f"solver.lm.search.decode {tokens / took[1]:8,.0f} tokens/s")
    print(f"ratio                   {took[0] / took[1]:8.2f}")
    print("tokens are identical" if same else "TOKENS DIFFER")
    return int(not same)


def square_tasks(count: int) -> list[Task]:
    """Tasks whose first test input is a square of 8 to 20 cells a side, drawn by a fixed seed."""
    tasks = [
        task
        for task in read_source("arc-agi-1:training").tasks
        if task.tests[0].shape[0] == task.tests[0].shape[1] and 8 <= len(task.tests[0]) <= 20
    ]
    rng = np.random.default_rng(stable_seed(0, "bench"))
    return [tasks[i] for i in rng.permutation(len(tasks))[:count]]


def compare(model: TaskModel, task: Task, repeats: int) -> tuple[int, list[float], bool]:
    """Tokens written, the least CPU seconds of each way, and True if the tokens are identical."""
    ours = PairModel(model, {task.id: 0})
    prompts = [ours.prompt(task, 0, View(d8)) for d8 in range(8)]
    plain = PlainModel.of(model, prompts)
    took: list[list[float]] = [[], []]
    for _ in range(repeats):
        begun = time.process_time()
        theirs = with_generate(plain, prompts, MAX_SIDE)
        between = time.process_time()
        mine = with_cache(model, prompts, MAX_SIDE)
        took[0].append(between - begun)
        took[1].append(time.process_time() - between)
    same = [row.tolist() for row in theirs] == [row.tolist() for row in mine]
    return sum(map(len, mine)), [min(times) for times in took], same


def with_cache(model: TaskModel, prompts: list[Prompt], side: int) -> list[Tokens]:
    """The tokens that the kit's own loop writes."""
    done = greedy(PairModel(model, {}), prompts, Deadline.after(3600.0), side)
    return [decoded.tokens for decoded in done]


def with_generate(lm: Any, prompts: list[Prompt], side: int) -> list[Tokens]:
    """The tokens that the loop of transformers writes. The prompts have one length."""
    ids = torch.from_numpy(np.stack([prompt.sequence.tokens for prompt in prompts]))
    with torch.no_grad():
        out = lm.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=most_symbols(side),
            do_sample=False,
            eos_token_id=END,
            logits_processor=LogitsProcessorList([Grammar(ids.shape[1], side)]),
        )
    rows = out[:, ids.shape[1] :].numpy()
    return [row[: int((row == END).argmax()) + 1] for row in rows]


class Grammar(LogitsProcessor):
    """The kit's grammar for the loop of transformers: other symbols get no probability."""

    def __init__(self, prompt: int, side: int) -> None:
        self._prompt, self._side = prompt, side
        self._shapes: list[Any] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        written = input_ids[:, self._prompt :]
        if not written.shape[1]:
            self._shapes = [shape_of(()) for _ in written]
        else:
            last = written[:, -1].tolist()
            self._shapes = [s.after(t) for s, t in zip(self._shapes, last, strict=True)]
        legal = torch.zeros(scores.shape, dtype=torch.bool)
        mask = np.stack([shape.legal(self._side) for shape in self._shapes])
        legal[:, :WRITABLE] = torch.from_numpy(mask)
        return scores.masked_fill(~legal, -torch.inf)


class PlainModel(Qwen3_5ForCausalLM):  # type: ignore[no-untyped-call]
    """The model's own class, which gets positions and task vectors before each step."""

    pairs: Any
    tasks: Any
    places: Any
    last: Any

    @classmethod
    def of(cls, model: TaskModel, prompts: list[Prompt]) -> PlainModel:
        """A copy for these prompts, with the attention that transformers would choose."""
        plain = as_transformers(model.lm, kind=cls)
        plain.eval()
        plain.pairs, plain.places = model, [p.sequence.positions for p in prompts]
        plain.tasks = torch.tensor([p.task for p in prompts])
        made: PlainModel = plain
        return made

    def prepare_inputs_for_generation(
        self,
        input_ids: Any,
        next_sequence_length: Any = None,
        past_key_values: Any = None,
        attention_mask: Any = None,
        inputs_embeds: Any = None,
        is_first_iteration: Any = None,
        **_: Any,
    ) -> Any:
        """The inputs of the pair format, in place of the inputs that the class would prepare."""
        tasks = self.tasks
        read = past_key_values.get_seq_length()
        if read:
            last = next_positions(input_ids[:, -1].numpy(), self.last)
            vectors = self.pairs.embed_more(input_ids[:, -1:], self.pairs.tasks[tasks])
            places, self.last = last[:, :, None], last
        else:
            places = np.stack(self.places, 1)  # (3, B, T)
            vectors, self.last = self.pairs.embed(input_ids, tasks), places[:, :, -1]
        seen = torch.zeros(1, 1, vectors.shape[1], read + vectors.shape[1], dtype=vectors.dtype)
        return {
            "inputs_embeds": vectors,
            "position_ids": torch.from_numpy(places) * CELL,
            "attention_mask": {"full_attention": seen, "linear_attention": None},
            "past_key_values": past_key_values,
            "use_cache": True,
        }


if __name__ == "__main__":
    sys.exit(main())
