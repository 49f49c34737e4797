"""`arcsub train`: train the bundled model, or go on training it, within a budget.

Under `torchrun --nproc-per-node N` every process trains on its own batches and the gradients
are averaged; nothing else changes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
import torch.distributed as dist

from solver.deadline import Budget, Deadline, format_duration, parse_duration
from solver.grid import DataError
from solver.lm.checkpoint import (
    CHECKPOINT,
    VECTORS,
    Place,
    export,
    read_place,
    read_tasks,
    restore,
    save,
    save_tasks,
)
from solver.lm.corpus import Corpus, read_corpus
from solver.lm.formats import Batch, collate, encode
from solver.lm.load import fast_dtype
from solver.lm.model import (
    PROVENANCE,
    Size,
    TaskModel,
    build,
    compile_layers,
    dequantized,
    load,
)
from solver.lm.stream import Mixture, Stream, sequence_length
from solver.lm.train import Recipe, Step, Trainer, measure, train, world
from submission.provenance import read

SAVE_S, MEASURE_S, SAY_S = 120.0, 600.0, 20.0  # at most; short budgets do it more often
WATCHED, WATCHED_TOKENS = 120, 512  # sequences that the held-out loss is measured on
CURVE = "curve.jsonl"


@dataclass(frozen=True)
class Training:
    """What the user asked for; the fields are the command's options."""

    out: str
    budget: str = "2h"
    data: str | None = None
    seed: int = 0
    resume: bool = False
    width: int = 256
    layers: int = 6
    start: str | None = None
    originals: float = Mixture.originals


@dataclass(frozen=True)
class Before:
    """What the model that a training starts from had been trained for."""

    steps: int = 0
    tokens: int = 0
    seconds: float = 0.0


def run_training(request: Training, started: float, say: Callable[[str], None]) -> None:
    """Read, build or resume, train, export. Raises `DataError` for bad input."""
    deadline = _deadline(request.budget, started)
    out = Path(request.out)
    checkpoint = out / CHECKPOINT
    if checkpoint.exists() != request.resume:
        raise DataError(f"{checkpoint}: " + ("no such file" if request.resume else _OCCUPIED))
    with _processes():
        run = prepare(request, out, deadline, say)
        run.measure()
        train(run.trainer, run.stream, deadline.earlier(1.0 + 2 * run.measure_s), run.watch)
        run.measure()
        if run.best == float("inf") and world()[0] == 0:
            raise DataError(f"--budget {request.budget}: too short for a step")
        run.say(f"model in {out / 'model'}: held-out loss {run.best:.4f}")


_OCCUPIED = "a run is there already; go on with --resume or choose another --out"


def _deadline(budget: str, started: float) -> Deadline:
    try:
        usable = Budget.of(parse_duration(budget)).usable
    except ValueError as error:
        raise DataError(f"--budget: {error}") from None
    return Deadline(started + usable)


@contextmanager
def _processes() -> Iterator[None]:
    """Join the other processes where a launcher started several."""
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


def prepare(request: Training, out: Path, deadline: Deadline, say: Callable[[str], None]) -> _Run:
    """The run at its first step, or where its checkpoint stands."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    size, mixture = _size(request), Mixture(originals=request.originals)
    corpus = read_corpus(request.data, request.seed)
    ids = tuple(lesson.id for lesson in corpus.lessons)
    if request.start is None:
        model, before = TaskModel(build(size, request.seed), len(ids)), Before()
    else:
        model, before = _started(Path(request.start), ids, device)
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
    run = _Run(out, trainer, stream, about, watched_batches(corpus), ids, deadline, say)
    if request.resume:
        place = read_place(out / CHECKPOINT, about)
        restore(out / CHECKPOINT, trainer, stream, place)
        before = Before(**place.about.get("before", {}))
        run.best, run.before_s, run.said_tokens = place.best, place.seconds, place.tokens
    run.earlier, run.about = before, {**about, "before": asdict(before)}
    compile_layers(lm)
    out.mkdir(parents=True, exist_ok=True)
    parameters = sum(p.numel() for p in lm.parameters())
    run.say(
        f"{parameters / 1e6:.2f} M parameters, {len(corpus.lessons)} tasks, {world()[1]} processes"
    )
    return run


@torch.no_grad()
def _started(folder: Path, ids: Sequence[str], device: torch.device) -> tuple[TaskModel, Before]:
    """A trained model to go on from, with the vectors that it has for these tasks, and what its
    provenance tells of it."""
    model = TaskModel(dequantized(load(folder, fast_dtype(device))), len(ids))
    known = read_tasks(folder / VECTORS, model.tasks[0])
    for row, name in zip(model.tasks, ids, strict=True):
        if name in known:
            row.copy_(known[name])
    told = read(folder) if (folder / PROVENANCE).exists() else None
    return model, Before(told.steps, told.tokens, told.seconds) if told else Before()


def _size(request: Training) -> Size:
    if request.width < 64 or request.width % 64 or request.layers < 1:
        raise DataError(f"--width {request.width} --layers {request.layers}: no such model")
    return Size(request.width, request.layers)


def fingerprint(corpus: Corpus) -> str:
    """Equal for equal lessons: their tasks and the numbers of their pairs."""
    ids = "\n".join(f"{x.id} {len(x.originals)} {len(x.generated)}" for x in corpus.lessons)
    return hashlib.blake2b(ids.encode(), digest_size=8).hexdigest()


def watched_batches(corpus: Corpus) -> list[Batch]:
    """Pairs that no lesson holds, or known ones if there are none, in batches of like length."""
    known = [(i, lesson.originals[-1]) for i, lesson in enumerate(corpus.lessons)]
    items = corpus.watched or known
    short = [item for item in items if sequence_length(item[1]) <= WATCHED_TOKENS]
    chosen = sorted(short[:: max(1, len(short) // WATCHED)], key=lambda x: sequence_length(x[1]))
    parts = (chosen[i : i + 8] for i in range(0, len(chosen), 8))
    return [collate([encode(p, 0) for _, p in part], [i for i, _ in part]) for part in parts]


@dataclass
class _Run:
    """A training run and what is done beside it: talk, measure, save, export."""

    out: Path
    trainer: Trainer
    stream: Stream
    about: dict[str, object]
    watched: list[Batch]
    ids: tuple[str, ...]
    deadline: Deadline
    tell: Callable[[str], None]
    earlier: Before = Before()
    best: float = float("inf")
    before_s: float = 0.0
    measure_s: float = 0.0
    losses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        now = self.deadline.clock.now()
        self.begun = self.said = self.saved = self.measured = now
        self.total = self.deadline.left()
        self.said_tokens = self.trainer.tokens
        self.decaying = False

    def watch(self, step: Step) -> None:
        """After every step: whatever is due."""
        now = self.deadline.clock.now()
        self.losses.append(step.loss)
        if now - self.said >= min(SAY_S, self.total / 30):
            self._report(step, now)
        decaying = self.deadline.left() < self.trainer.recipe.decay * self.total
        if decaying != self.decaying or (
            not decaying and now - self.saved >= min(SAVE_S, self.total / 20)
        ):
            self.save(now)
        self.decaying = decaying
        if now - self.measured >= min(MEASURE_S, self.total / 5):
            self.measure()

    def measure(self) -> None:
        """The held-out loss; a model better than all before is exported."""
        if world()[0] != 0:
            return
        began = self.deadline.clock.now()
        loss, exact = measure(self.trainer.model, self.watched)
        if loss < self.best and self.trainer.steps:
            self.best = loss
            export(self.out / "model", self.trainer.model)
            save_tasks(self.out / "model" / VECTORS, self.trainer.model, self.ids)
        self.measured = self.deadline.clock.now()
        self.measure_s = self.measured - began
        self.say(f"held-out loss {loss:.4f}, {exact:.1%} exact")
        self._note(held_out=loss, exact=exact)

    def say(self, text: str) -> None:
        if world()[0] == 0:
            self.tell(text)

    def _report(self, step: Step, now: float) -> None:
        loss = sum(self.losses) / len(self.losses)
        rate = (step.tokens - self.said_tokens) / (now - self.said)
        left = format_duration(self.deadline.left())
        self.say(f"step {step.number}  loss {loss:.4f}  {rate:,.0f} tokens/s  {left} left")
        self._note(loss=loss, norm=step.norm, scale=step.scale, rate=rate)
        self.said, self.said_tokens, self.losses = now, step.tokens, []

    def _note(self, **values: float) -> None:
        """A line of the curve."""
        if world()[0] != 0:
            return
        earlier, seconds = self.earlier, self._seconds()["seconds"]
        line = {
            "step": earlier.steps + self.trainer.steps,
            "tokens": earlier.tokens + self.trainer.tokens,
            "seconds": round(earlier.seconds + seconds, 1),
        }
        with open(self.out / CURVE, "a", encoding="utf-8") as file:
            file.write(json.dumps({**line, **{k: round(v, 5) for k, v in values.items()}}) + "\n")

    def _seconds(self) -> dict[str, float]:
        return {"seconds": round(self.before_s + self.deadline.clock.now() - self.begun, 1)}

    def save(self, now: float) -> None:
        """Keep a place to go on from. It lies before the decay: from there any length goes on."""
        self.saved = now
        if world()[0] == 0:
            place = Place(
                self.about,
                self.trainer.steps,
                self.trainer.tokens,
                self.stream.chunk,
                self.stream.place,
                self.stream.ranks,
                best=self.best,
                **self._seconds(),
            )
            save(self.out / CHECKPOINT, self.trainer, place)
