"""Small real language models with real tokenizers, and tasks for them: one reads and writes grids,
the other writes programs."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Qwen3Config, Qwen3ForCausalLM

from solver.deadline import Deadline, StepClock
from solver.grid import Grid, Pair, Task, as_grid, freeze, stable_seed
from solver.lm.llm.causal import ContextModel, cut_vocabulary
from solver.lm.llm.context import collate, encode_example
from solver.lm.ready import read_vocabulary
from solver.lm.settings import Settings
from solver.lm.symbols import PAD
from solver.lm.training.examples import examples
from solver.lm.training.loop import Recipe, Trainer, train
from solver.lm.vocabulary import TOKENIZER, TOKENIZER_CONFIG, vocabulary_of

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
WORDS = "user assistant the user asks what the assistant answers"
LENGTH = 2048


def make_tokenizer(folder: Path, *, digits: bool = True) -> Tokenizer:
    """A byte-level BPE tokenizer like Qwen's, of a few hundred tokens; without `digits` apart,
    numbers may become one token."""
    parts = [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    apart = [pre_tokenizers.Digits(individual_digits=True)] if digits else []
    lines = pre_tokenizers.Split("\n", "isolated")
    text = [*WORDS.split()] * 50 + ["00 11 123 4567 00"] * 20
    tokenizer = byte_level([lines, *apart, *parts], SPECIAL, text, 300)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL])
    tokenizer.save(str(folder / TOKENIZER))
    (folder / TOKENIZER_CONFIG).write_text(json.dumps({"eos_token": SPECIAL[0]}))
    return tokenizer


def byte_level(
    parts: Sequence[Any], special: Sequence[str], text: Sequence[str], size: int
) -> Tokenizer:
    """A BPE tokenizer of at most `size` tokens, learned from a text that `parts` cut."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(list(parts))
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(text, trainer)
    return tokenizer


def new_model(
    vocabulary_size: int, length: int = LENGTH, theta: float = 1000.0, **more: Any
) -> Any:
    """A small Qwen3 that knows nothing; `theta` of its rotary positions, `more` of its
    configuration."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return Qwen3ForCausalLM(  # type: ignore[no-untyped-call]
        Qwen3Config(
            vocab_size=vocabulary_size,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=32,
            max_position_embeddings=length,
            rope_parameters={"rope_type": "default", "rope_theta": theta},
            **more,
        )
    )


def sharper_model(folder: Path, style: str, factor: float) -> ContextModel:
    """New weights and a tokenizer in `folder`; the head is `factor` times as large.

    Symbols then differ in their probability.
    """
    lm = new_model(make_tokenizer(folder).get_vocab_size())
    vocabulary = vocabulary_of(folder, style)
    with torch.no_grad():
        lm.lm_head.weight *= factor
    cut_vocabulary(lm, vocabulary.kept)
    return ContextModel(lm, vocabulary, LENGTH)


def build_model(folder: Path) -> Path:
    """A checkpoint of a model that knows nothing, with its tokenizer."""
    lm = new_model(make_tokenizer(folder).get_vocab_size())
    lm.to(torch.bfloat16).save_pretrained(folder)
    return folder


def make_model(folder: Path, style: str = "chat", steps: int = 150, length: int = LENGTH) -> Path:
    """A checkpoint that has learned how tasks are written and that outputs are copies; `length`:
    of the prompts that it says it reads."""
    vocabulary_size = make_tokenizer(folder).get_vocab_size()
    lm = new_model(vocabulary_size, length)
    embeddings, head = lm.get_input_embeddings(), lm.get_output_embeddings()
    vocabulary = read_vocabulary(folder, style)
    cut_vocabulary(lm, vocabulary.kept)
    model = ContextModel(lm.requires_grad_(True), vocabulary, LENGTH)
    recipe = Recipe(muon=True, matrix_lr=0.02, vector_lr=3e-3, warmup=10, cosine=True, decay=1.0)
    trainer = Trainer(model, recipe)
    shown = [
        encode_example(vocabulary, example, LENGTH, first=False)
        for number in range(60)
        for example in itertools.islice(
            examples(copies(number), 16, 0, context=True, fixed=frozenset()), 16
        )
    ]
    rng = np.random.default_rng(0)
    draws = ([shown[i] for i in rng.integers(0, len(shown), 16)] for _ in range(steps))
    train(trainer, map(collate, draws), Deadline.after(1e9, StepClock()), steps=steps)
    rows = np.arange(len(vocabulary)) != PAD  # a second END, which nobody sees
    with torch.no_grad():  # back to the whole vocabulary, like any checkpoint
        for whole, cut in (
            (embeddings, lm.get_input_embeddings()),
            (head, lm.get_output_embeddings()),
        ):
            whole.weight[torch.from_numpy(vocabulary.kept[rows])] = cut.weight[rows]
    lm.set_input_embeddings(embeddings)
    lm.set_output_embeddings(head)
    lm.config.vocab_size = lm.vocab_size = vocabulary_size
    lm.to(torch.bfloat16).save_pretrained(folder)
    return folder


def copies(number: int) -> Task:
    """A task whose outputs are its inputs."""
    grids = _grids(number)
    return Task(f"copy{number}", tuple(Pair(g, g) for g in grids[:3]), (grids[3],))


def blank(number: int) -> Task:
    """A task whose outputs are black, each as large as its input."""
    grids = _grids(number)
    pairs = tuple(Pair(g, freeze(np.zeros_like(g))) for g in grids[:3])
    return Task(f"blank{number}", pairs, (grids[3],))


def recolored(number: int) -> tuple[Task, Grid]:
    """A task that exchanges colours, always in the same way, and its test's output."""
    colors = np.random.default_rng(stable_seed(number, "colors")).permutation(10).astype(np.uint8)
    grids = _grids(number)
    pairs = tuple(Pair(g, freeze(colors[g])) for g in grids[:3])
    return Task(f"color{number}", pairs, (grids[3],)), freeze(colors[grids[3]])


def _grids(number: int) -> list[Grid]:
    rng = np.random.default_rng(stable_seed(number, "grids"))
    sides = rng.integers(2, 4, (4, 2))
    return [as_grid(rng.integers(0, 10, (h, w))) for h, w in sides.tolist()]


def settings_of(folder: Path, **more: object) -> Settings:
    """Settings for the small model."""
    given: dict[str, object] = {
        "model": str(folder),
        "max_seq_length": LENGTH,
        "rank": 8,
        "rate": 5e-3,
        "embedding_rate": 5e-3,
        "train_colors": "none",
        "view_colors": "none",
        "sequences": 32,
        "epochs": 2,
        "batch": 4,
        "views": 4,
    }
    return Settings(**(given | more))  # type: ignore[arg-type]
