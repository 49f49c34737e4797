"""Settings of a user's language model in a profile: its checkpoint and its recipe.

The supervisor reads the settings before a run starts; the worker that loads the model reads them
again. This module does not import torch.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from solver.grid import DataError
from solver.settings import NotEmpty, OneOf, Range, fill

PROJECTIONS = (
    *("q_proj", "k_proj", "v_proj", "o_proj"),
    *("gate_proj", "up_proj", "down_proj"),
)
EMBEDDINGS = ("embed_tokens", "lm_head")
# The names in `solver.lm.search.strategies.STRATEGIES`, which this module must not import.
STRATEGIES = ("greedy", "majority", "best-of-n", "weighted-best-of-n", "beam", "dvts", "dfs")
MIN_LENGTH_TOKENS = 2048  # the largest possible pair takes 1,860 and a few for its style

Number = Annotated[int, Range(least=1)]
Positive = Annotated[float, Range(above=0)]
Part = Annotated[float, Range(least=0, below=1)]
Colors = Annotated[str, OneOf(("all", "free", "none"))]
Strategy = Annotated[str, OneOf(STRATEGIES)]


@dataclass(frozen=True)
class Checkpoint:
    """A language model on disk and the way to load it.

    model: the model's folder.
    quantization: applied to a checkpoint that is not quantized on disk.
    max_seq_length: tokens of the longest sequence.
    """

    model: str = ""
    backend: Annotated[str, OneOf(("transformers", "unsloth"))] = "transformers"
    quantization: Annotated[str, OneOf(("none", "nf4", "int8"))] = "none"
    max_seq_length: Number = 8192


@dataclass(frozen=True)
class Settings(Checkpoint):
    """A checkpoint and its recipe; `docs/llm.md` compares the published recipes.

    style: the way of writing grids (`solver.lm.vocabulary.STYLES`).
    rank, alpha, rslora, targets: the LoRA adapter.
    rate: AdamW's learning rate for the layers.
    embedding_rate: AdamW's learning rate for embeddings and head.
    warmup: part of the steps in which the learning rate rises.
    sequences: number of sequences in an epoch.
    batch: number of sequences in a step.
    first_output: True if the first output of a sequence counts in the loss, too.
    train_colors, view_colors: the colours to exchange: all ten, only those that are `free` to mean
    anything, or none.
    reshaped: the part of examples that are shifted or enlarged (`solver.lm.training.reshape`).
    checkpointing: True to compute activations twice instead of keeping them in memory.
    learning: part of a slice for learning; the rest is for answering.
    views: number of views of a test input.
    strategy: the search for answers.
    threshold: lowest probability of an output that depth-first search follows.
    width: number of sequences decoded at once.
    """

    max_seq_length: Annotated[int, Range(least=MIN_LENGTH_TOKENS)] = 8192
    style: Annotated[str, OneOf(("chat", "io"))] = "chat"
    rank: Number = 32
    alpha: Number = 16
    rslora: bool = True
    targets: Annotated[tuple[str, ...], NotEmpty()] = PROJECTIONS
    rate: Positive = 1e-4
    embedding_rate: Annotated[float, Range(least=0)] = 1e-5
    warmup: Part = 0.1
    sequences: Number = 64
    epochs: Number = 1
    batch: Number = 1
    first_output: bool = True
    train_colors: Colors = "all"
    reshaped: Part = 0.0
    checkpointing: bool = False
    learning: Part = 0.5
    views: Number = 16
    view_colors: Colors = "all"
    strategy: Strategy = "dfs"
    threshold: Annotated[float, Range(above=0, below=1)] = 0.1
    width: Number = 4


def read(given: Mapping[str, Any], at: str = "") -> Settings:
    """The settings that a profile gives. Raises `DataError` naming an invalid setting.

    `at`: the place of the settings in the profile, for errors.
    """
    return fill(Settings, given, at)


def adapted(asked: Sequence[str], linear: Collection[str]) -> tuple[str, ...]:
    """The layers that an adapter changes, by the last part of their names.

    `asked`: the requested names. `linear`: the names of the linear layers in the model's decoder.
    If the decoder has all requested names, the result is these names. Some decoders have other
    names for projections (Phi-3 has `qkv_proj`). If all projections are requested there, the
    result is every linear layer, and the requested embeddings. Raises `DataError` for other names
    that the decoder lacks.
    """
    lacking = [t for t in asked if t not in linear and t not in EMBEDDINGS]
    if not lacking:
        return tuple(asked)
    if set(PROJECTIONS) <= set(asked) and linear:
        return (*sorted(linear), *(t for t in asked if t in EMBEDDINGS))
    raise DataError(
        f"targets {', '.join(lacking)}: no such layer; there are {', '.join(sorted(linear))}"
    )


def require(libraries: Iterable[str], what: str) -> None:
    """Raise `DataError` for the first library that is not installed; `what` needs all of them."""
    for library in libraries:
        if importlib.util.find_spec(library) is None:
            raise DataError(f"{library} is not installed, which {what} needs")
