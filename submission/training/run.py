"""A training run, with its reports, measurements, checkpoints and exports."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from solver.deadline import Deadline, format_duration
from solver.lm.pair.checkpoint import CHECKPOINT, VECTORS, Position, export, save, save_tasks
from solver.lm.symbols import Batch
from solver.lm.training.loop import Step, Trainer, device_of, measure, world
from solver.lm.training.stream import Stream
from submission.training.trained import Trained, device_name, made_with, write

SAVE_S, MEASURE_S, SAY_S = 120.0, 600.0, 20.0  # at most; shorter in short budgets
CURVE = "curve.jsonl"


@dataclass(frozen=True)
class Before:
    """The earlier training of the model that a training starts from."""

    steps: int = 0
    tokens: int = 0
    seconds: float = 0.0


@dataclass
class TrainingRun:
    """A training run, with its reports, measurements, checkpoints and exports.

    out: folder of the run.
    about: size, mixture, seed and data, and `earlier` as JSON values.
    watched: batches to measure the held-out loss on.
    ids: ids of the known tasks, whose vectors come first in the model.
    tell: called with each text for the user.
    earlier: the training of the model that this run started from.
    best: the lowest held-out loss so far.
    before_s: seconds of training before this process resumed the run.
    measure_s: seconds of the last measurement.
    losses: losses of the steps since the last report.
    """

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
        """Do all that is due after a step: report, save, measure."""
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
        """Measure the held-out loss, and export the model if the loss is the lowest so far.

        Before the first step the model is not exported. Only the first of several processes
        measures.
        """
        if world()[0] != 0:
            return
        if not self.measure_s:  # compile once, so that `measure_s` does not include compilation
            measure(self.trainer.model, self.watched[:1])
        began = self.deadline.clock.now()
        loss, exact = measure(self.trainer.model, self.watched)
        if loss < self.best and self.trainer.steps:
            self.best = loss
            self._export(loss, exact)
        self.measured = self.deadline.clock.now()
        self.measure_s = self.measured - began
        self.say(f"held-out loss {loss:.4f}, {exact:.1%} exact")
        self._note(held_out=loss, exact=exact)

    def _export(self, loss: float, exact: float) -> None:
        """Write the model, the vectors of its known tasks, and the record of the training."""
        folder, model = self.out / "model", self.trainer.model
        export(folder, model)
        save_tasks(folder / VECTORS, model, self.ids)
        device = device_name(device_of(model))
        told = Trained(
            self.about, **self._progress(), processes=world()[1], device=device,
            held_out=round(loss, 5), exact=round(exact, 5), versions=made_with(),
        )  # fmt: skip
        write(folder, told)

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
        """Append a line to the curve. Only the first of several processes does this."""
        if world()[0] != 0:
            return
        line = {**self._progress(), **{k: round(v, 5) for k, v in values.items()}}
        with open(self.out / CURVE, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _progress(self) -> dict[str, Any]:
        """Steps, tokens and seconds of the whole training, including the earlier training."""
        return {
            "steps": self.earlier.steps + self.trainer.steps,
            "tokens": self.earlier.tokens + self.trainer.tokens,
            "seconds": round(self.earlier.seconds + self._seconds(), 1),
        }

    def _seconds(self) -> float:
        return self.before_s + self.deadline.clock.now() - self.begun

    def save(self, now: float) -> None:
        """Write a checkpoint to resume from.

        The last checkpoint is written as the decay begins. A resumed run can therefore have any
        length.
        """
        self.saved = now
        if world()[0] == 0:
            place = Position(
                self.about,
                self.trainer.steps,
                self.trainer.tokens,
                self.stream.chunk,
                self.stream.place,
                self.stream.ranks,
                best=self.best,
                seconds=round(self._seconds(), 1),
            )
            save(self.out / CHECKPOINT, self.trainer, place)
