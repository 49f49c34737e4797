"""`arcsub train`: train a model for the bundle, or continue a training, within a budget.

Under `torchrun --nproc-per-node N` every process trains on separate batches, and the gradients are
averaged. Nothing else changes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.distributed as dist

from solver.deadline import Budget, Deadline, duration_of
from solver.grid import MAX_SIDE, DataError
from solver.lm.pair.checkpoint import CHECKPOINT, VECTORS, read_position, read_tasks, restore
from solver.lm.pair.fused import speed_up
from solver.lm.pair.model import (
    PROVENANCE,
    Size,
    TaskModel,
    build,
    load,
)
from solver.lm.precision import fast_dtype
from solver.lm.symbols import Batch, collate, encode
from solver.lm.training.corpus import Corpus, read_corpus
from solver.lm.training.loop import Recipe, Trainer, train, world
from solver.lm.training.stream import Mixture, Stream, sequence_length
from submission.owned import check_output, claim
from submission.training.ahead import drawn_ahead
from submission.training.provenance import read
from submission.training.run import CURVE, Before, TrainingRun

WATCHED, WATCHED_TOKENS = 120, 512  # sequences that the held-out loss is measured on
# On a GPU: steps that are worth launching, and lengths that suit matrix products.
GPU = {"tokens": 81920, "chunk": 4096, "multiple": 8}
DRAWING = 6  # processes that draw batches for a GPU
MIN_BUDGET_S = 10.0  # for a first measurement and a step


@dataclass(frozen=True)
class Training:
    """The user's request; the fields are the command's options."""

    out: str
    budget: str = "2h"
    data: str | None = None
    seed: int = 0
    resume: bool = False
    width: int = 256
    layers: int = 6
    start: str | None = None
    originals: float = Mixture.originals
    made_up: str | None = None


def run_training(request: Training, started: float, say: Callable[[str], None]) -> None:
    """Read the data, build or resume the run, train and export.

    Raises `DataError` for bad input, and for a budget that is too short for a step.
    """
    deadline = _deadline(request.budget, started)
    out = Path(request.out)
    _check_folder(out, request.resume)
    with _processes():
        _check_time(request, not deadline.passed())
        run = prepare(request, out, deadline, say)
        _check_time(request, deadline.left() >= MIN_BUDGET_S)
        with drawn_ahead(run.stream, DRAWING if torch.cuda.is_available() else 0):
            run.measure()
            train(run.trainer, run.stream, deadline.earlier(1.0 + 2 * run.measure_s), run.watch)
        _check_time(request, run.trainer.steps > 0)
        run.measure()
        run.say(f"model in {out / 'model'}: held-out loss {run.best:.4f}")


def _check_folder(out: Path, resume: bool) -> None:
    """Raise `DataError` if the folder has no run to resume, or cannot be used for a new run."""
    checkpoint = out / CHECKPOINT
    if checkpoint.exists() != resume:
        raise DataError(f"{checkpoint}: " + ("no such file" if resume else _OCCUPIED))
    if resume:
        check_output(out / CURVE, "curve", lambda _: True)
    else:
        claim(out, "training")


def _check_time(request: Training, enough: bool) -> None:
    """Raise `DataError` unless there is enough time left for a step."""
    if not enough:
        raise DataError(f"--budget {request.budget}: too short for a step")


_OCCUPIED = "a run is there already; continue it with --resume or choose another --out"


def _deadline(budget: str, started: float) -> Deadline:
    return Deadline(started + Budget.of(duration_of("--budget", budget)).usable)


@contextmanager
def _processes() -> Iterator[None]:
    """Join the other processes, if a launcher started several, within a `with` block."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def prepare(
    request: Training, out: Path, deadline: Deadline, say: Callable[[str], None]
) -> TrainingRun:
    """The run before its first step, or at the step of its checkpoint.

    Raises `DataError` for bad input.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    size, mixture = _size(request), _mixture(request, device)
    corpus = read_corpus(request.data, request.seed, request.made_up)
    tasks = len(corpus.lessons)
    ids = tuple(lesson.id for lesson in corpus.lessons if not lesson.made_up)
    if request.start is None:
        model, before = TaskModel(build(size, request.seed), tasks), Before()
    else:
        model, before = _started(Path(request.start), ids, tasks, device)
        size = Size(model.lm.config.hidden_size, model.lm.config.num_hidden_layers)
    lm = model.to(device, fast_dtype(device)).lm
    trainer = Trainer(model, Recipe())
    stream = Stream(corpus.lessons, mixture, request.seed, *world())
    about = {
        **asdict(size),
        **asdict(mixture),
        "seed": request.seed,
        "data": fingerprint(corpus),
    }
    run = TrainingRun(out, trainer, stream, about, watched_batches(corpus), ids, deadline, say)
    if request.resume:
        place = read_position(out / CHECKPOINT, about)
        restore(out / CHECKPOINT, trainer, stream, place)
        before = Before(**place.about.get("before", {}))
        run.best, run.before_s, run.said_tokens = place.best, place.seconds, place.tokens
    run.earlier, run.about = before, {**about, "before": asdict(before)}
    speed_up(model)
    out.mkdir(parents=True, exist_ok=True)
    if corpus.left_out:
        run.say(f"{corpus.left_out} pairs left out: a side is over {MAX_SIDE}, no task's is")
    parameters = sum(p.numel() for p in lm.parameters())
    run.say(f"{parameters / 1e6:.2f} M parameters, {tasks} tasks, {world()[1]} processes")
    return run


@torch.no_grad()
def _started(
    folder: Path, ids: Sequence[str], tasks: int, device: torch.device
) -> tuple[TaskModel, Before]:
    """A trained model to continue from, and its earlier training.

    The model's first tasks have the ids `ids`. They get the vectors that the folder has for them.
    The earlier training is read from the provenance. Without provenance the earlier training is
    `Before()`.
    """
    model = TaskModel(load(folder, fast_dtype(device)), tasks)
    known = read_tasks(folder / VECTORS, model.tasks[0])
    for row, name in zip(model.tasks[: len(ids)], ids, strict=True):
        if name in known:
            row.copy_(known[name])
    told = read(folder) if (folder / PROVENANCE).exists() else None
    return model, Before(told.steps, told.tokens, told.seconds) if told else Before()


def _mixture(request: Training, device: torch.device) -> Mixture:
    return Mixture(originals=request.originals, **(GPU if device.type == "cuda" else {}))


def _size(request: Training) -> Size:
    if request.width < 64 or request.width % 64 or request.layers < 1:
        raise DataError(f"--width {request.width} --layers {request.layers}: no such model")
    return Size(request.width, request.layers)


def fingerprint(corpus: Corpus) -> str:
    """A hash of the lessons: of their ids and the numbers of their pairs."""
    ids = "\n".join(f"{x.id} {len(x.originals)} {len(x.generated)}" for x in corpus.lessons)
    return hashlib.blake2b(ids.encode(), digest_size=8).hexdigest()


def watched_batches(corpus: Corpus) -> list[Batch]:
    """Pairs to measure the held-out loss on, in batches of similar length.

    No lesson contains these pairs. If the corpus has no such pairs, known pairs are used.
    """
    known = [(i, x.originals[-1]) for i, x in enumerate(corpus.lessons) if not x.made_up]
    items = corpus.watched or known
    short = [item for item in items if sequence_length(item[1]) <= WATCHED_TOKENS]
    chosen = sorted(short[:: max(1, len(short) // WATCHED)], key=lambda x: sequence_length(x[1]))
    parts = (chosen[i : i + 8] for i in range(0, len(chosen), 8))
    return [collate([encode(p, 0) for _, p in part], [i for i, _ in part]) for part in parts]
