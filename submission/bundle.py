"""`arcsub bundle`: a trained model as the kit ships it, small and with its history."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from solver.grid import DataError
from solver.lm.checkpoint import CHECKPOINT, VECTORS, Place, read_place
from solver.lm.corpus import TRAINING, Corpus, read_corpus
from solver.lm.formats import Batch
from solver.lm.model import WEIGHTS, TaskModel, load
from solver.lm.quantize import METHOD, quantize
from solver.lm.train import measure
from submission.provenance import Provenance, figures, update_card, write
from submission.training import CURVE, fingerprint, watched_batches

MADE_WITH = ("torch", "transformers", "bitsandbytes")


def run_bundle(
    model: str, out: str, data: str | None, card: str | None, say: Callable[[str], None]
) -> None:
    """Quantize the model that a training exported, and write where it comes from.

    Raises `DataError` for a folder that no training made, for other data than it learned from,
    and for a card without marks.
    """
    source, target = Path(model), Path(out)
    place = read_place(source.parent / CHECKPOINT, {})
    exported = _exported(source.parent / CURVE)
    corpus = read_corpus(data, place.about["seed"])
    if place.about["data"] != fingerprint(corpus):
        raise DataError(f"--data {data or ''}: not the data that {source} was trained on")
    watched = watched_batches(corpus)
    before = _unknown_task_loss(source, watched)
    quantize(source, target)
    (target / VECTORS).unlink(missing_ok=True)
    if (source / VECTORS).exists():
        shutil.copyfile(source / VECTORS, target / VECTORS)
    after = _unknown_task_loss(target, watched)
    provenance = _provenance(source, target, place, exported, corpus, (before, after), data)
    write(target, provenance)
    if card is not None:
        update_card(Path(card), provenance)
    say(figures(provenance).rstrip())
    say(f"bundled {target}: {provenance.bytes / 1e6:.1f} MB")


def _exported(curve: Path) -> dict[str, Any]:
    """The line of the curve that the exported model belongs to: the lowest held-out loss."""
    try:
        lines = [json.loads(line) for line in curve.read_text("utf-8").splitlines()]
        return min((x for x in lines if "held_out" in x and x["step"]), key=_held_out)
    except OSError as error:
        raise DataError(f"{curve}: cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError):
        raise DataError(f"{curve}: no curve of a training that exported a model") from None


def _held_out(line: dict[str, Any]) -> float:
    return float(line["held_out"])


def _unknown_task_loss(folder: Path, watched: Sequence[Batch]) -> float:
    """The loss (nats) of a model that is told nothing of the tasks: what training starts from."""
    model = TaskModel(load(folder), 1)
    return measure(model, [replace(b, tasks=np.zeros_like(b.tasks)) for b in watched])[0]


def _provenance(
    source: Path,
    target: Path,
    place: Place,
    exported: dict[str, Any],
    corpus: Corpus,
    losses: tuple[float, float],
    data: str | None,
) -> Provenance:
    parameters = sum(p.numel() for p in load(source).parameters())
    weights = (target / WEIGHTS).read_bytes()
    return Provenance(
        parameters=parameters,
        width=place.about["width"],
        layers=place.about["layers"],
        quantization=f"{METHOD} by bitsandbytes, the rest bfloat16",
        bytes=len(weights),
        sha256=hashlib.sha256(weights).hexdigest(),
        sources=[*TRAINING, *(["RE-ARC"] if data else [])],
        tasks=len(corpus.lessons),
        pairs=sum(len(lesson.originals) for lesson in corpus.lessons),
        generated_pairs=sum(len(lesson.generated) for lesson in corpus.lessons),
        held_out_tasks=len(corpus.held_out),
        data=place.about["data"],
        seed=place.about["seed"],
        steps=exported["step"],
        tokens=exported["tokens"],
        flops=6 * parameters * exported["tokens"],
        seconds=exported["seconds"],
        processes=place.ranks,
        held_out_loss=exported["held_out"],
        held_out_exact=exported["exact"],
        unknown_task_loss=round(losses[0], 5),
        unknown_task_loss_quantized=round(losses[1], 5),
        versions={"python": platform.python_version(), **{n: version(n) for n in MADE_WITH}},
    )
