"""Saving and continuing a training run, and exporting its model.

A checkpoint is one safetensors file, replaced atomically. The file contains the float32 copies
and the optimisers' state. A JSON object in the header has the place in the data and the facts
that identify the run.
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
from solver.lm.pair.model import CONFIG_FILE, WEIGHTS_FILE, TaskModel
from solver.lm.symbols import END, PAD, SLOTS, TASK
from solver.lm.training.loop import Trainer
from solver.lm.training.stream import Stream

CHECKPOINT = "checkpoint.safetensors"
VECTORS = "tasks.safetensors"  # each task's vectors, (K, D), by its id


@dataclass(frozen=True)
class Position:
    """The progress of a training run.

    about: facts that must be equal to continue, such as seed, data and recipe.
    steps, tokens: trained so far.
    chunk, place: the place in the stream of batches.
    ranks: number of processes; with another number the data continues at the next chunk.
    seconds: training time so far.
    best: the lowest loss so far; infinite if none was measured.
    """

    about: dict[str, Any]
    steps: int
    tokens: int
    chunk: int
    place: int
    ranks: int
    seconds: float
    best: float


def save(path: Path, trainer: Trainer, place: Position) -> None:
    """Write a checkpoint, replacing the file at `path` as a whole."""
    write_tensors(path, dict(_state(trainer)), {"place": json.dumps(vars(place))})


def read_position(path: Path, about: dict[str, Any]) -> Position:
    """The progress that a checkpoint has stored.

    Raises `DataError` if the file cannot be read, or if a fact in `about` differs there.
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
    """Restore a trainer and a stream from a checkpoint.

    With the same number of processes, the next loss is the one of a run that was never stopped.
    Raises `DataError` if the file cannot be read, or lacks a tensor of the right shape.
    """
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
    """Write the language model as a folder that `load` reads.

    The embeddings of the task slots become the mean of all task vectors, in the model too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        model.lm.model.embed_tokens.weight[TASK : TASK + SLOTS] = model.tasks.float().mean(0)
    lm = model.lm
    (folder / CONFIG_FILE).write_text(lm.config.written(lm.dtype, PAD, END), encoding="utf-8")
    write_tensors(folder / WEIGHTS_FILE, lm.state_dict(), {"format": "pt"})


def save_tasks(path: Path, model: TaskModel, ids: Sequence[str]) -> None:
    """Write the vectors of a model's first tasks by id, replacing the file as a whole."""
    first = model.tasks.detach()[: len(ids)]
    rows = {name: row.clone() for name, row in zip(ids, first, strict=True)}
    write_tensors(path, rows)


def read_tasks(path: Path, like: Tensor) -> dict[str, Tensor]:
    """The task vectors in a file, by task id; empty if the file is missing.

    `like` (K, D): a tensor of the shape that every task's vectors have. Raises `DataError` if the
    file cannot be read or its vectors have another shape.
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
    """Replace a file of tensors as a whole, after the new file is on the disk."""
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
    """The tensors that decide the next step, each with a unique name."""
    for name, master in trainer.masters.items():
        yield f"master.{name}", master.data
    names = {id(master): name for name, master in trainer.masters.items()}
    for optimizer in trainer.optimizers:
        for parameter, values in optimizer.state.items():
            for key, value in sorted(values.items()):
                yield f"{key}.{names[id(parameter)]}", value


def _make_state(trainer: Trainer) -> None:
    """Make new optimisers create their tensors, by a step with rate 0 and gradients of 0."""
    for master in trainer.masters.values():
        master.grad = torch.zeros_like(master)
    trainer.advance(0.0)
