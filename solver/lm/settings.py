"""What a profile may say about a language model of one's own: its checkpoint and its recipe.

Read in the process of the run, before anything starts, and again by the worker that loads the
model. Nothing here imports torch.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from solver.grid import DataError

PROJECTIONS = (
    *("q_proj", "k_proj", "v_proj", "o_proj"),
    *("gate_proj", "up_proj", "down_proj"),
)
EMBEDDINGS = ("embed_tokens", "lm_head")
CHOICES = {
    "backend": ("transformers", "unsloth"),
    "quantization": ("none", "nf4", "int8"),
    "style": ("chat", "io"),
    "train_colors": ("all", "free", "none"),
    "view_colors": ("all", "free", "none"),
    # The names of `solver.lm.strategies.STRATEGIES`, which this module must not import.
    "strategy": ("greedy", "majority", "best-of-n", "weighted-best-of-n", "beam", "dvts", "dfs"),
}
LEAST_LENGTH = 2048  # the largest pair there can be takes 1,860 tokens and a few for its style


@dataclass(frozen=True)
class Checkpoint:
    """A language model on disk and how it is loaded.

    model: its folder. quantization: of a checkpoint that is not quantized itself.
    max_seq_length: no sequence is longer, in tokens.
    """

    model: str = ""
    backend: str = "transformers"
    quantization: str = "none"
    max_seq_length: int = 8192


@dataclass(frozen=True)
class Settings(Checkpoint):
    """A checkpoint and its recipe; `docs/llm.md` has the published ones side by side.

    style: how grids are written (`solver.lm.vocabulary.STYLES`).
    rank, alpha, rslora, targets: the LoRA adapter. rate, embedding_rate: of AdamW, for the
    layers and for embeddings and head. warmup: part of the steps. sequences: shown in an epoch.
    batch: of sequences in a step. first_output: whether the first output shown costs, too.
    train_colors, view_colors: exchange all ten, those that are `free` to mean anything, or none.
    reshaped: the part of examples that are shifted or enlarged (`solver.lm.reshape`).
    checkpointing: compute activations twice instead of keeping them.
    learning: part of a slice; the rest is for answering, by `strategy` in so many `views`, with
    `width` sequences at once; `threshold` is that of depth-first search.
    """

    style: str = "chat"
    rank: int = 32
    alpha: int = 16
    rslora: bool = True
    targets: tuple[str, ...] = PROJECTIONS
    rate: float = 1e-4
    embedding_rate: float = 1e-5
    warmup: float = 0.1
    sequences: int = 64
    epochs: int = 1
    batch: int = 1
    first_output: bool = True
    train_colors: str = "all"
    reshaped: float = 0.0
    checkpointing: bool = False
    learning: float = 0.5
    views: int = 16
    view_colors: str = "all"
    strategy: str = "dfs"
    threshold: float = 0.1
    width: int = 4


Filled = TypeVar("Filled")


def read(given: Mapping[str, Any]) -> Settings:
    """The settings that a profile gives. Raises `DataError` naming the one that is none."""
    settings = fill(Settings, given)
    _check(settings)
    return settings


def fill(kind: type[Filled], given: Mapping[str, Any]) -> Filled:
    """A dataclass of settings from what a profile gives, each value of its default's type.

    Raises `DataError` for a name that there is not, or a value of another type.
    """
    known = {field.name: field.default for field in fields(kind)}  # type: ignore[arg-type]
    read_: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            raise DataError(f"setting {name!r}: there is none; there are {', '.join(known)}")
        read_[name] = _typed(name, value, known[name])
    return kind(**read_)


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


def _typed(name: str, value: Any, default: Any) -> Any:
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if isinstance(default, tuple) and isinstance(value, list | tuple):
        if value and all(isinstance(item, str) for item in value):
            return tuple(value)
    elif type(value) is type(default):
        return value
    kind = "list of names" if isinstance(default, tuple) else type(default).__name__
    raise DataError(f"setting {name} = {value!r}: must be a {kind}")


def _check(settings: Settings) -> None:
    """Raise `DataError` for values that mean nothing."""
    for name, choices in CHOICES.items():
        if getattr(settings, name) not in choices:
            raise DataError(
                f"setting {name} = {getattr(settings, name)!r}: must be {' or '.join(choices)}"
            )
    if settings.max_seq_length < LEAST_LENGTH:
        raise DataError(
            f"setting max_seq_length = {settings.max_seq_length}: "
            f"must be {LEAST_LENGTH} at least, or the largest pair would not fit"
        )
    parts = ("warmup", "learning", "reshaped")
    wrong = [name for name in parts if not 0 <= getattr(settings, name) < 1]
    wrong += [] if 0 < settings.threshold < 1 else ["threshold"]
    numbers = ("rank", "alpha", "rate", "sequences", "epochs", "batch", "views", "width")
    wrong += [name for name in numbers if getattr(settings, name) <= 0]
    wrong += ["embedding_rate"] if settings.embedding_rate < 0 else []
    if wrong:
        raise DataError(f"setting {wrong[0]} = {getattr(settings, wrong[0])}: out of its range")
