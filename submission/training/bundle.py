"""`arcsub bundle`: a trained model in the form that is shipped: quantized, with provenance."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from solver.grid import DataError
from solver.lm.pair.checkpoint import VECTORS
from solver.lm.pair.model import PROVENANCE, WEIGHTS_FILE, TaskModel, load
from solver.lm.pair.quantize import METHOD, quantize
from solver.lm.symbols import Batch
from solver.lm.training.corpus import TRAINING, Corpus, read_corpus
from solver.lm.training.loop import measure
from submission.owned import claim
from submission.training import trained
from submission.training.provenance import Provenance, figures, marked_text, update_card, write
from submission.training.train import fingerprint, watched_batches
from submission.training.trained import Trained


def run_bundle(
    model: str,
    out: str,
    data: str | None,
    made_up: str | None,
    card: str | None,
    say: Callable[[str], None],
) -> None:
    """Quantize the model that a training exported, and write the model's provenance.

    Args:
        model: folder of the exported model.
        out: folder for the quantized model.
        data: the RE-ARC archive or folder that the model learned from.
        made_up: the made-up tasks that the model learned from.
        card: a model card to put the figures of the provenance into.
        say: called with each text for the user.

    Raises `DataError` for a folder that no training made, and for data that the model did not learn
    from. Also raises `DataError` for an `out` that cannot be used, and for a card without marks.
    """
    source, target = Path(model), Path(out)
    told = trained.read(source)
    if source.resolve() == target.resolve():
        raise DataError(f"--out {target}: is the model itself; name another folder")
    corpus = read_corpus(data, told.about["seed"], made_up)
    if told.about["data"] != fingerprint(corpus):
        named = " ".join(f"--{n} {v}" for n, v in (("data", data), ("made-up", made_up)) if v)
        raise DataError(f"{named or 'no --data'}: not what {source} was trained on")
    claim(target, "bundle", proof=PROVENANCE)
    if card is not None:
        marked_text(Path(card))
    watched = watched_batches(corpus)
    before = _unknown_task_loss(source, watched)
    quantize(source, target)
    (target / VECTORS).unlink(missing_ok=True)
    if (source / VECTORS).exists():
        shutil.copyfile(source / VECTORS, target / VECTORS)
    after = _unknown_task_loss(target, watched)
    provenance = _provenance(source, target, told, corpus, (before, after))
    write(target, provenance)
    if card is not None:
        update_card(Path(card), provenance)
    say(figures(provenance).rstrip())
    say(f"bundled {target}: {provenance.bytes / 1e6:.1f} MB")


def _unknown_task_loss(folder: Path, watched: Sequence[Batch]) -> float:
    """The mean loss (nats an output token) of a model without learned vectors for the tasks.

    Every task then has the vectors that new tasks start from.
    """
    model = TaskModel(load(folder), 1)
    return measure(model, [replace(b, tasks=np.zeros_like(b.tasks)) for b in watched])[0]


def _provenance(
    source: Path, target: Path, told: Trained, corpus: Corpus, losses: tuple[float, float]
) -> Provenance:
    parameters = sum(p.numel() for p in load(source).parameters())
    weights = (target / WEIGHTS_FILE).read_bytes()
    known = [lesson for lesson in corpus.lessons if not lesson.made_up]
    made_up = [lesson for lesson in corpus.lessons if lesson.made_up]
    generated = sum(len(lesson.generated) for lesson in known)
    return Provenance(
        parameters=parameters,
        width=told.about["width"],
        layers=told.about["layers"],
        quantization=f"{METHOD} by bitsandbytes, the rest bfloat16",
        bytes=len(weights),
        sha256=hashlib.sha256(weights).hexdigest(),
        sources=[*TRAINING, *(["RE-ARC"] if generated else [])],
        tasks=len(known),
        pairs=sum(len(lesson.originals) for lesson in known),
        generated_pairs=generated,
        made_up_tasks=len(made_up),
        made_up_pairs=sum(len(lesson.generated) for lesson in made_up),
        held_out_tasks=len(corpus.held_out),
        data=told.about["data"],
        seed=told.about["seed"],
        steps=told.steps,
        tokens=told.tokens,
        flops=6 * parameters * told.tokens,
        seconds=told.seconds,
        processes=told.processes,
        device=told.device,
        held_out_loss=told.held_out,
        held_out_exact=told.exact,
        unknown_task_loss=round(losses[0], 5),
        unknown_task_loss_quantized=round(losses[1], 5),
        versions={**told.versions, "bitsandbytes": version("bitsandbytes")},
    )
