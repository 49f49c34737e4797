"""`arcsub bundle`: from a training's folder to a quantized model with its history and card."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from solver.grid import DataError
from solver.lm.checkpoint import CHECKPOINT, VECTORS, Place, export, save, save_tasks
from solver.lm.corpus import read_corpus
from solver.lm.model import CONFIG, WEIGHTS, Size, TaskModel, build, load
from solver.lm.train import Recipe, Trainer
from submission.bundle import run_bundle
from submission.provenance import figures, read
from submission.training import CURVE, fingerprint
from tests.runs import ROOT

MODELS = ROOT / "models"
MARKS = "<!-- figures -->\nold\n<!-- /figures -->\n"
CORPUS = read_corpus(None, 0)
ABOUT = {"seed": 0, "data": fingerprint(CORPUS), "width": 64, "layers": 1}
CURVE_LINES = [
    {"step": 0, "tokens": 0, "seconds": 1.0, "held_out": 0.1, "exact": 0.0},
    {"step": 3, "tokens": 500, "seconds": 60.0, "held_out": 2.0, "exact": 0.25},
    {"step": 4, "tokens": 900, "seconds": 65.0, "loss": 1.0},
    {"step": 5, "tokens": 1000, "seconds": 70.0, "held_out": 2.5, "exact": 0.5},
]


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A folder as a training leaves it."""
    torch.set_num_threads(1)
    folder = tmp_path / "trained"
    model = TaskModel(build(Size(64, 1), 0), 1).to(torch.bfloat16)
    export(folder / "model", model)
    place = Place(ABOUT, 5, 1000, 0, 0, 2, 70.0, 2.0)
    save(folder / CHECKPOINT, Trainer(model, Recipe()), place)
    (folder / CURVE).write_text("".join(json.dumps(line) + "\n" for line in CURVE_LINES))
    (tmp_path / "card.md").write_text("# Card\n\n" + MARKS)
    return folder


def bundle(trained: Path, out: str = "small", data: str | None = None) -> Path:
    """Bundle a trained folder beside it."""
    target = trained.parent / out
    card = str(trained.parent / "card.md")
    run_bundle(str(trained / "model"), str(target), data, card, lambda line: None)
    return target


def test_a_trained_model_becomes_a_small_one_with_its_history(trained: Path) -> None:
    target = bundle(trained)
    lm, plain = load(target), load(trained / "model")
    assert lm.is_quantized
    assert lm.config.hidden_size == 64
    of = read(target)
    weights = (target / WEIGHTS).read_bytes()
    assert (of.bytes, of.sha256) == (len(weights), hashlib.sha256(weights).hexdigest())
    assert (of.steps, of.tokens, of.seconds, of.held_out_exact) == (3, 500, 60.0, 0.25)
    assert of.parameters == sum(p.numel() for p in plain.parameters())
    assert of.flops == 6 * of.parameters * 500
    assert (of.tasks, of.generated_pairs, of.processes) == (len(CORPUS.lessons), 0, 2)
    assert "RE-ARC" not in of.sources
    assert of.unknown_task_loss == pytest.approx(of.unknown_task_loss_quantized, rel=0.05)
    assert (trained.parent / "card.md").read_text() == f"# Card\n\n{MARKS}".replace(
        "old\n", figures(of)
    )
    assert read(bundle(trained)) == of  # once more, over itself


def test_the_vectors_of_the_tasks_come_along(trained: Path) -> None:
    vectors = trained / "model" / VECTORS
    assert not (bundle(trained) / VECTORS).exists()
    save_tasks(vectors, TaskModel(load(trained / "model"), 2), ["a", "b"])
    assert (bundle(trained) / VECTORS).read_bytes() == vectors.read_bytes()
    vectors.unlink()
    assert not (bundle(trained) / VECTORS).exists()


def break_curve(folder: Path) -> None:
    (folder / CURVE).write_text(json.dumps(CURVE_LINES[0]))


def break_card(folder: Path) -> None:
    (folder.parent / "card.md").write_text("no marks")


def other_data(folder: Path) -> None:
    model = TaskModel(build(Size(64, 1), 0), 1)
    place = Place({**ABOUT, "data": "0"}, 5, 1000, 0, 0, 2, 70.0, 2.0)
    save(folder / CHECKPOINT, Trainer(model, Recipe()), place)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda folder: (folder / CHECKPOINT).unlink(), r"checkpoint\.safetensors: cannot be read"),
        (lambda folder: (folder / CURVE).unlink(), r"curve\.jsonl: cannot be read"),
        (break_curve, r"curve\.jsonl: no curve of a training that exported"),
        (lambda folder: (folder / "model" / CONFIG).unlink(), r"config\.json: cannot be read"),
        (other_data, r"--data : not the data that .*model was trained on"),
        (break_card, r"card\.md: has no <!-- figures -->"),
    ],
    ids=["checkpoint", "curve", "no-export", "config", "data", "card"],
)
def test_what_is_missing_is_named(trained: Path, harm: Callable[[Path], None], reason: str) -> None:
    harm(trained)
    with pytest.raises(DataError, match=reason):
        bundle(trained)


def test_a_provenance_of_something_else_is_named(tmp_path: Path) -> None:
    for text in ("{}", "[]", '{"sha256": 1}'):
        (tmp_path / "provenance.json").write_text(text)
        with pytest.raises(DataError, match=r"provenance\.json: no provenance"):
            read(tmp_path)


def test_the_shipped_model_is_the_one_its_card_is_about() -> None:
    of = read(MODELS / "pair")
    weights = (MODELS / "pair" / WEIGHTS).read_bytes()
    assert hashlib.sha256(weights).hexdigest() == of.sha256
    assert len(weights) == of.bytes < 12e6
    assert f"<!-- figures -->\n{figures(of)}<!-- /figures -->" in (MODELS / "README.md").read_text()
    config = load(MODELS / "pair").config
    assert (config.hidden_size, config.num_hidden_layers) == (of.width, of.layers)
    assert config.quantization_config.quant_method == "bitsandbytes"
    assert of.flops == 6 * of.parameters * of.tokens
    assert figures(replace(of, steps=of.steps + 1)) != figures(of)
    assert all(value is not None for value in asdict(of).values())
