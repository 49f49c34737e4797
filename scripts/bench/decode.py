"""Decoding speed on one core, against `generate` of transformers.

    python scripts/bench/decode.py [--model checkpoints/first/model] [--dtype float32]

The same weights, the same eight prompts, greedily and under the same grammar, one thread.
`generate` gets what the pair format needs (positions, task vectors) from a subclass, as an
application would write it, and keeps its own cache, loop and attention (sdpa). Runs alternate;
the medians of the tokens for each CPU second and their ratio are printed. The tokens must be
identical.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, Qwen3_5ForCausalLM

from solver.deadline import Deadline
from solver.grid import as_grid, stable_seed
from solver.lm.cache import PairModel
from solver.lm.decode import greedy
from solver.lm.formats import END, WRITABLE, Tokens, encode_prompt, next_positions
from solver.lm.grammar import most_symbols, shape_of
from solver.lm.language import Prompt
from solver.lm.model import CELL, Size, TaskModel, build, load

BATCH, INPUT_SIDE = 8, 12


def main() -> int:
    """Time both, print the comparison; 1 if the tokens differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a checkpoint; without it, new weights of the usual size")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--side", type=int, default=15, help="the longest side of an output")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    dtype = getattr(torch, options.dtype)
    model = TaskModel(load(options.model) if options.model else build(Size(), 0), BATCH).to(dtype)
    rng = np.random.default_rng(stable_seed(0, "bench"))
    grids = rng.integers(0, 10, (BATCH, INPUT_SIDE, INPUT_SIDE))
    prompts = [Prompt(encode_prompt(as_grid(grid), 0), i) for i, grid in enumerate(grids)]
    plain_model = PlainModel.of(model, prompts)
    ways: list[Callable[[], list[Tokens]]] = [
        lambda: with_generate(plain_model, prompts, options.side),
        lambda: with_cache(model, prompts, options.side),
    ]
    rates: list[list[float]] = [[], []]
    outputs: list[list[list[int]]] = [[], []]
    for _ in range(options.repeats + 1):  # the first is warm-up
        for way, of_way, rate in zip(ways, range(2), rates, strict=True):
            begun = time.process_time()
            tokens = way()
            rate.append(sum(map(len, tokens)) / (time.process_time() - begun))
            outputs[of_way] = [row.tolist() for row in tokens]
    plain, ours = (statistics.median(rate[1:]) for rate in rates)
    lengths = [len(row) for row in outputs[1]]
    print(f"{BATCH} outputs of {min(lengths)} to {max(lengths)} tokens, {options.dtype}")
    print(f"transformers generate   {plain:8,.0f} tokens/s")
    print(f"solver.lm.decode        {ours:8,.0f} tokens/s")
    print(f"ratio                   {ours / plain:8.2f}")
    print("tokens are identical" if outputs[0] == outputs[1] else "TOKENS DIFFER")
    return int(outputs[0] != outputs[1])


def with_cache(model: TaskModel, prompts: list[Prompt], side: int) -> list[Tokens]:
    """Our loop."""
    done = greedy(PairModel(model, {}), prompts, Deadline.after(3600.0), side)
    return [decoded.tokens for decoded in done]


def with_generate(lm: Any, prompts: list[Prompt], side: int) -> list[Tokens]:
    """The loop of transformers. The prompts are of one length."""
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
    """The symbols that our loop allows."""

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
    """The model's own class, told before each step where tokens stand and what the task is."""

    pairs: Any
    places: Any
    last: Any

    @classmethod
    def of(cls, model: TaskModel, prompts: list[Prompt]) -> PlainModel:
        """A copy for these prompts, with the attention that transformers would choose."""
        plain: Any = cls(type(model.lm.config)(**model.lm.config.to_dict()))
        plain.load_state_dict(model.lm.state_dict())
        plain.set_attn_implementation("sdpa")
        plain.to(model.tasks.dtype).eval()
        plain.pairs, plain.places = model, [p.sequence.positions for p in prompts]
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
        """What the pair format passes in, in place of what the class would."""
        tasks = torch.arange(len(input_ids))
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
