"""Saving a training run and going on with it; exporting its model.

A checkpoint is one safetensors file, replaced atomically: the float32 copies, the optimisers'
state, and in the header a JSON object with the place in the data and what the run is about.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from solver.grid import DataError
from solver.lm.pair.model import WEIGHTS, TaskModel
from solver.lm.symbols import SLOTS, TASK
from solver.lm.training.loop import Trainer
from solver.lm.training.stream import Stream

CHECKPOINT = "checkpoint.safetensors"
VECTORS = "tasks.safetensors"  # each task's vectors, (K, D), by its id


@dataclass(frozen=True)
class Position:
    """Where a run stands. `about` must be equal to go on: size, seed, data. With another number
    of processes the data goes on at the next chunk."""

    about: dict[str, Any]
    steps: int
    tokens: int
    chunk: int
    place: int
    ranks: int
    seconds: float
    best: float


def save(path: Path, trainer: Trainer, place: Position) -> None:
    """Write a checkpoint beside `path` and put it in its place."""
    write_tensors(path, dict(_state(trainer)), {"place": json.dumps(vars(place))})


def read_position(path: Path, about: dict[str, Any]) -> Position:
    """Where the run of a checkpoint stands.

    Raises `DataError` if the file cannot be read or the run was about something else.
    """
    with _open(path) as file:
        try:
            place = Position(**json.loads(file.metadata()["place"]))
        except (KeyError, TypeError, ValueError):
            raise DataError(f"{path}: no checkpoint of a training run") from None
    for field, value in about.items():
        if place.about.get(field) != value:
            raise DataError(f"{path}: another run: {field} differs; choose another folder")
    return place


def restore(path: Path, trainer: Trainer, stream: Stream, place: Position) -> None:
    """Put trainer and stream where the checkpoint was written; the next loss is the same."""
    with _open(path) as file:
        _make_state(trainer)
        for name, tensor in _state(trainer):
            try:
                saved = file.get_tensor(name)
            except SafetensorError:
                raise DataError(f"{path}: holds no {name}") from None
            if saved.shape != tensor.shape:
                raise DataError(f"{path}: {name} has another shape")
            tensor.copy_(saved)
    trainer.steps, trainer.tokens = place.steps, place.tokens
    trainer.weights.publish()
    same = place.ranks == stream.ranks
    stream.seek(*((place.chunk, place.place) if same else (place.chunk + 1, 0)))


def export(folder: Path, model: TaskModel) -> None:
    """Write the language model as a folder that `load` reads; its slots hold the mean task."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        model.lm.model.embed_tokens.weight[TASK : TASK + SLOTS] = model.tasks.float().mean(0)
    lm = model.lm
    lm.config.dtype = lm.dtype
    lm.config.save_pretrained(folder)
    write_tensors(folder / WEIGHTS, lm.state_dict(), {"format": "pt"})


def save_tasks(path: Path, model: TaskModel, ids: Sequence[str]) -> None:
    """Write the vectors of a model's first tasks under their ids; the file is replaced as a
    whole."""
    first = model.tasks.detach()[: len(ids)]
    rows = {name: row.clone() for name, row in zip(ids, first, strict=True)}
    write_tensors(path, rows)


def read_tasks(path: Path, like: Tensor) -> dict[str, Tensor]:
    """The vectors by the ids of their tasks; none where the file is missing.

    `like` (K, D) has their shape. Raises `DataError` for a file that holds something else.
    """
    if not path.exists():
        return {}
    try:
        rows = load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    if any(row.shape != like.shape for row in rows.values()):
        raise DataError(f"{path}: vectors of another model")
    return rows


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Replace a file of tensors as a whole, once the new one is on the disk."""
    beside = path.with_name(f".{path.name}.new")
    save_file({name: t.contiguous() for name, t in tensors.items()}, beside, metadata=metadata)
    with open(beside, "rb") as file:
        os.fsync(file.fileno())
    beside.chmod(0o644)
    os.replace(beside, path)


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    except SafetensorError as error:
        raise DataError(f"{path}: corrupt: {error}") from None


def _state(trainer: Trainer) -> Iterator[tuple[str, Tensor]]:
    """Every tensor that decides the next step, by a name of its own."""
    for name, master in trainer.masters.items():
        yield f"master.{name}", master.data
    names = {id(master): name for name, master in trainer.masters.items()}
    for optimizer in trainer.optimizers:
        for parameter, values in optimizer.state.items():
            for key, value in sorted(values.items()):
                yield f"{key}.{names[id(parameter)]}", value


def _make_state(trainer: Trainer) -> None:
    """Let new optimisers create their tensors, by a step at rate zero along no gradient."""
    for master in trainer.masters.values():
        master.grad = torch.zeros_like(master)
    trainer.advance(0.0)
