"""Test-time training of the whole model on the demonstrations of all tasks of a run together.

A small model gains more from joint training than from training on each task separately.
arXiv:2510.04871 also trains the embeddings of all tasks together with the weights. Joint training
runs once, before workers learn task by task. Several processes can share the training by averaging
their gradients. A killed training continues from its checkpoint. A finished training leaves a
folder with an ordinary model and each task's vectors.
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
from solver.lm.pair.model import BUNDLE, WEIGHTS_FILE, TaskModel, load_tasks
from solver.lm.pair.settings import read
from solver.lm.precision import CPU, own_device
from solver.lm.training.corpus import lesson_of
from solver.lm.training.loop import Recipe, Step, Trainer, train, world
from solver.lm.training.stream import Mixture, Stream

ADAPTED = "model"  # in the folder that a run's workers share
MODEL = "model"  # in the same folder as the vectors
RECIPE = Recipe(matrix_lr=2e-3, warmup=20, decay=0.3)
MIXTURE = Mixture(tokens=3072, longest=2048)  # the longest pair has 1,871 tokens
_WRITING_S = 1.0  # seconds kept for writing the result


@dataclass(frozen=True)
class Joint:
    """Settings of joint training. `save_s`: seconds between checkpoints."""

    recipe: Recipe = RECIPE
    mixture: Mixture = MIXTURE
    save_s: float = 60.0


JOINT = Joint()


def joint(tasks: Sequence[Task], deadline: Deadline, context: Context) -> None:
    """Train the bundled model, or the model in the settings, on all tasks.

    This function is the engine of a job over all tasks, on one core or one device.
    """
    torch.set_num_threads(1)
    model = Path(read(context.settings).folder or BUNDLE)
    where = own_device(context)
    adapt_jointly(model, tasks, context.folder / ADAPTED, deadline, context.seed, device=where)


def adapt_jointly(
    model: Path,
    tasks: Sequence[Task],
    folder: Path,
    deadline: Deadline,
    seed: int,
    joint: Joint = JOINT,
    watch: Callable[[Step], object] = lambda step: None,
    device: torch.device = CPU,
) -> None:
    """Train a model on all tasks until the deadline, and write the result to `folder`.

    model: the folder of the model to start from.
    watch: called after each step; training ends if `watch` returns False.
    device: where to train; each of several processes may have another.

    Training continues from a checkpoint in `folder` as if never stopped. The function returns at
    once if `folder` contains a result. With several processes (`solver.lm.training.loop.world`),
    all processes call the function, and the first process writes. Raises `DataError` if the model
    or the checkpoint cannot be read, or if the checkpoint is of another training.
    """
    if (folder / VECTORS).exists():
        return
    begun = deadline.clock.now()
    folder.mkdir(parents=True, exist_ok=True)
    adapted = load_tasks(model, len(tasks), device)
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


def load_adapted(folder: Path, task: str, device: torch.device = CPU) -> TaskModel:
    """The jointly trained model with one task's vectors; the mean vectors for an unknown task.

    The model is on `device`, in its fastest precision. Raises `DataError` if the model or the
    vectors cannot be read.
    """
    model = load_tasks(folder / MODEL, 1, device)
    vectors = task_vectors(folder, task)
    with torch.no_grad():
        if vectors is not None:
            model.tasks[0] = vectors
    return model


def task_vectors(folder: Path, task: str) -> Tensor | None:
    """The vectors (K, D) of a task after joint training; None for a task that was not in it.

    A worker keeps its model between two tasks and reads only these vectors. Raises `DataError` if
    the file cannot be read.
    """
    try:
        with safe_open(folder / VECTORS, framework="pt") as file:
            return file.get_tensor(task) if task in file.keys() else None  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise DataError(f"{folder / VECTORS}: cannot be read: {error}") from None


class _Keeper:
    """The checkpoint of a joint training: writes the file from time to time, and resumes."""

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
        """Restore the checkpoint if there is one; this process's time counts from `begun`."""
        self._begun = self._saved = begun
        if self._path.exists():
            place = read_position(self._path, self._about)
            restore(self._path, self._trainer, self._stream, place)
            self.before = place.seconds

    def keep(self, every: float) -> None:
        """Write a checkpoint in the first process, if the last is at least `every` seconds old."""
        now = self._clock.now()
        if now - self._saved < every or world()[0] != 0:
            return
        self._saved = now
        trainer, stream = self._trainer, self._stream
        seconds = self.before + now - self._begun
        where = (trainer.steps, trainer.tokens, stream.chunk, stream.place, stream.ranks)
        save(self._path, trainer, Position(self._about, *where, seconds, float("inf")))


def _about(model: Path, tasks: Sequence[Task], seed: int, joint: Joint) -> dict[str, object]:
    """The facts that must be equal to continue a training: model, tasks, seed and recipe."""
    data = hashlib.blake2b(digest_size=8)
    for task in tasks:
        data.update(task.id.encode())
        for pair in task.train:
            data.update(key(pair.input) + key(pair.output))
    weights = hashlib.blake2b((model / WEIGHTS_FILE).read_bytes(), digest_size=8)
    return {
        "model": weights.hexdigest(),
        "tasks": data.hexdigest(),
        "seed": seed,
        **asdict(joint.recipe),
        **asdict(joint.mixture),
    }


def _write(folder: Path, model: TaskModel, tasks: Sequence[Task]) -> None:
    """Write the result. The file of vectors comes last: a result with vectors is complete."""
    export(folder / MODEL, model)
    save_tasks(folder / VECTORS, model, [task.id for task in tasks])
    (folder / CHECKPOINT).unlink(missing_ok=True)
