"""Test-time training of the whole model on the demonstrations of all tasks of a run together.

A small model gains more from this than from each task alone (arXiv:2510.04871 trains the
embeddings of all tasks with the weights, too). It runs once, in one process or in several that
average their gradients, before the workers that go on task by task. Killed, it goes on where
its checkpoint stands; ended, its folder holds a model like any other and each task's vectors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from torch import Tensor

from solver.deadline import Deadline
from solver.engines import Context
from solver.grid import DataError, Task, key
from solver.lm.load import CPU, fast_dtype
from solver.lm.pair.checkpoint import (
    CHECKPOINT,
    VECTORS,
    Position,
    export,
    read_position,
    restore,
    save,
    save_tasks,
)
from solver.lm.pair.fused import speed_up
from solver.lm.pair.model import (
    BUNDLE,
    WEIGHTS,
    TaskModel,
    dequantized,
    load,
)
from solver.lm.pair.settings import read
from solver.lm.training.corpus import lesson_of
from solver.lm.training.loop import Recipe, Step, Trainer, train, world
from solver.lm.training.stream import Mixture, Stream

ADAPTED = "model"  # in the folder that a run's workers share
MODEL = "model"  # beside the vectors
RECIPE = Recipe(matrix_lr=2e-3, warmup=20, decay=0.3)
MIXTURE = Mixture(tokens=3072, longest=2048)  # the longest pair has 1,871 tokens
_WRITING_S = 1.0  # what writing the result may take


@dataclass(frozen=True)
class Joint:
    """How all tasks are learned together. `save_s`: seconds between checkpoints."""

    recipe: Recipe = RECIPE
    mixture: Mixture = MIXTURE
    save_s: float = 60.0


JOINT = Joint()


def joint(tasks: Sequence[Task], deadline: Deadline, context: Context) -> None:
    """The engine of a job over all tasks: adapts the bundled model, or another, on one core."""
    torch.set_num_threads(1)
    model = Path(read(context.settings).folder or BUNDLE)
    adapt_jointly(model, tasks, context.folder / ADAPTED, deadline, context.seed)


def adapt_jointly(
    model: Path,
    tasks: Sequence[Task],
    folder: Path,
    deadline: Deadline,
    seed: int,
    joint: Joint = JOINT,
    watch: Callable[[Step], object] = lambda step: None,
) -> None:
    """Train the model in a folder on all tasks until the deadline; leave the result in `folder`.

    Goes on from the checkpoint there, if one is, as if it had never stopped; returns at once if
    the result is there. With several processes all call this (`solver.lm.training.loop.world`); the
    first writes. Raises `DataError` if the folder holds another training or cannot be read.
    """
    if (folder / VECTORS).exists():
        return
    begun = deadline.clock.now()
    folder.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    lm = dequantized(load(model, fast_dtype(device)))
    adapted = TaskModel(lm, len(tasks)).to(device, lm.dtype)
    trainer = Trainer(adapted, joint.recipe)
    stream = Stream([lesson_of(task) for task in tasks], joint.mixture, seed, *world())
    keeper = _Keeper(folder, trainer, stream, _about(model, tasks, seed, joint), deadline)
    keeper.resume(begun)
    speed_up(adapted)

    def after(step: Step) -> object:
        going_on = watch(step)
        keeper.keep(joint.save_s)
        return going_on

    train(trainer, stream, deadline.earlier(_WRITING_S), after, keeper.before)
    if world()[0] == 0:
        _write(folder, trainer.model, tasks)
    if world()[1] > 1:
        dist.barrier()


def load_adapted(folder: Path, task: str) -> TaskModel:
    """The jointly adapted model at one task's vectors; raises `DataError` as `load` does."""
    model = TaskModel(load(folder / MODEL, fast_dtype(CPU)), 1)
    vectors = task_vectors(folder, task)
    with torch.no_grad():
        if vectors is not None:
            model.tasks[0] = vectors
    return model.to(model.lm.dtype)


def task_vectors(folder: Path, task: str) -> Tensor | None:
    """What joint training found for a task, (K, D); None for a task that was no part of it.

    A worker that keeps its model reads these alone between two tasks. Raises `DataError`.
    """
    try:
        with safe_open(folder / VECTORS, framework="pt") as file:
            return file.get_tensor(task) if task in file.keys() else None  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise DataError(f"{folder / VECTORS}: cannot be read: {error}") from None


class _Keeper:
    """The checkpoint of a joint training: when it is written, and from where it goes on."""

    def __init__(
        self,
        folder: Path,
        trainer: Trainer,
        stream: Stream,
        about: dict[str, object],
        deadline: Deadline,
    ) -> None:
        self._path, self._about, self._clock = folder / CHECKPOINT, about, deadline.clock
        self._trainer, self._stream = trainer, stream
        self.before = 0.0  # seconds that earlier processes trained
        self._begun = self._saved = 0.0

    def resume(self, begun: float) -> None:
        """Go to where a checkpoint stands; this process's time counts from `begun`."""
        self._begun = self._saved = begun
        if self._path.exists():
            place = read_position(self._path, self._about)
            restore(self._path, self._trainer, self._stream, place)
            self.before = place.seconds

    def keep(self, every: float) -> None:
        """Write a checkpoint if the last one is older."""
        now = self._clock.now()
        if now - self._saved < every or world()[0] != 0:
            return
        self._saved = now
        trainer, stream = self._trainer, self._stream
        seconds = self.before + now - self._begun
        where = (trainer.steps, trainer.tokens, stream.chunk, stream.place, stream.ranks)
        save(self._path, trainer, Position(self._about, *where, seconds, float("inf")))


def _about(model: Path, tasks: Sequence[Task], seed: int, joint: Joint) -> dict[str, object]:
    """What must be equal to go on."""
    data = hashlib.blake2b(digest_size=8)
    for task in tasks:
        data.update(task.id.encode())
        for pair in task.train:
            data.update(key(pair.input) + key(pair.output))
    weights = hashlib.blake2b((model / WEIGHTS).read_bytes(), digest_size=8)
    return {
        "model": weights.hexdigest(),
        "tasks": data.hexdigest(),
        "seed": seed,
        **asdict(joint.recipe),
        **asdict(joint.mixture),
    }


def _write(folder: Path, model: TaskModel, tasks: Sequence[Task]) -> None:
    """The result; the vectors come last and say that it is whole."""
    export(folder / MODEL, model)
    save_tasks(folder / VECTORS, model, [task.id for task in tasks])
    (folder / CHECKPOINT).unlink(missing_ok=True)
