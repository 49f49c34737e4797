"""Settings of a user's language model in a profile: its checkpoint and its recipe.

Read in the process of the run, before anything starts, and again by the worker that loads the
model. Nothing here imports torch.
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
# Of `solver.lm.search.strategies.STRATEGIES`, which this module must not import.
STRATEGIES = ("greedy", "majority", "best-of-n", "weighted-best-of-n", "beam", "dvts", "dfs")
MIN_LENGTH_TOKENS = 2048  # the largest pair there can be takes 1,860 tokens and a few for its style

Number = Annotated[int, Range(least=1)]
Positive = Annotated[float, Range(above=0)]
Part = Annotated[float, Range(least=0, below=1)]
Colors = Annotated[str, OneOf(("all", "free", "none"))]
Strategy = Annotated[str, OneOf(STRATEGIES)]


@dataclass(frozen=True)
class Checkpoint:
    """A language model on disk and how it is loaded.

    model: its folder. quantization: of a checkpoint that is not quantized itself.
    max_seq_length: no sequence is longer, in tokens.
    """

    model: str = ""
    backend: Annotated[str, OneOf(("transformers", "unsloth"))] = "transformers"
    quantization: Annotated[str, OneOf(("none", "nf4", "int8"))] = "none"
    max_seq_length: Number = 8192


@dataclass(frozen=True)
class Settings(Checkpoint):
    """A checkpoint and its recipe; `docs/llm.md` has the published ones side by side.

    style: how grids are written (`solver.lm.vocabulary.STYLES`).
    rank, alpha, rslora, targets: the LoRA adapter. rate, embedding_rate: of AdamW, for the
    layers and for embeddings and head. warmup: part of the steps. sequences: shown in an epoch.
    batch: of sequences in a step. first_output: whether the first output shown costs, too.
    train_colors, view_colors: exchange all ten, those that are `free` to mean anything, or none.
    reshaped: the part of examples that are shifted or enlarged (`solver.lm.training.reshape`).
    checkpointing: compute activations twice instead of keeping them.
    learning: part of a slice; the rest is for answering, by `strategy` in so many `views`, with
    `width` sequences at once; `threshold` is that of depth-first search.
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
    """The settings that a profile gives, `at` a place. Raises `DataError` naming what is none."""
    return fill(Settings, given, at)


def adapted(asked: Sequence[str], linear: Collection[str]) -> tuple[str, ...]:
    """The layers that an adapter is for, by their last names, in a model whose decoder has
    `linear` ones: those that are asked for. Where all projections are and some of them have other
    names there (Phi-3 has `qkv_proj`), all that there are.

    Raises `DataError` for other names that the decoder has not.
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
    """Raise `DataError` for the first library that is not installed and `what` needs."""
    for library in libraries:
        if importlib.util.find_spec(library) is None:
            raise DataError(f"{library} is not installed, which {what} needs")
