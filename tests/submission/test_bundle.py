"""`arcsub bundle`: from a training's folder to a quantized model with its history and card."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from solver.grid import DataError
from solver.lm.pair.checkpoint import VECTORS, export, save_tasks
from solver.lm.pair.model import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    Size,
    TaskModel,
    build,
    is_quantized,
    load,
)
from solver.lm.training.corpus import read_corpus
from submission.training import trained as told
from submission.training.bundle import run_bundle
from submission.training.provenance import figures, read
from submission.training.train import fingerprint
from submission.training.trained import TRAINED, Trained
from tests.runs import ROOT

MODELS = ROOT / "models"
MARKS = "<!-- figures -->\nold\n<!-- /figures -->\n"
CORPUS = read_corpus(None, 0)
ABOUT = {"seed": 0, "data": fingerprint(CORPUS), "width": 64, "layers": 1}
TOLD = Trained(ABOUT, 3, 500, 60.0, 2, "CPU", 2.0, 0.25, {"torch": "2"})


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A folder as a training leaves it."""
    torch.set_num_threads(1)
    folder = tmp_path / "trained"
    model = TaskModel(build(Size(64, 1), 0), 1).to(torch.bfloat16)
    export(folder / "model", model)
    told.write(folder / "model", TOLD)
    (tmp_path / "card.md").write_text("# Card\n\n" + MARKS)
    return folder


def bundle(trained: Path, made_up: str | None = None) -> Path:
    """Bundle a trained folder beside it."""
    target = trained.parent / "small"
    card = str(trained.parent / "card.md")
    run_bundle(str(trained / "model"), str(target), None, made_up, card, lambda line: None)
    return target


def test_a_trained_model_becomes_a_small_one_with_its_history(trained: Path) -> None:
    target = bundle(trained)
    lm, plain = load(target), load(trained / "model")
    assert is_quantized(target)
    assert lm.config.hidden_size == 64
    of = read(target)
    weights = (target / WEIGHTS_FILE).read_bytes()
    assert (of.bytes, of.sha256) == (len(weights), hashlib.sha256(weights).hexdigest())
    assert (of.steps, of.tokens, of.seconds, of.held_out_exact) == (3, 500, 60.0, 0.25)
    assert of.parameters == sum(p.numel() for p in plain.parameters())
    assert of.flops == 6 * of.parameters * 500
    assert (of.tasks, of.generated_pairs, of.processes) == (len(CORPUS.lessons), 0, 2)
    assert (of.made_up_tasks, of.device) == (0, "CPU")
    assert of.versions == {"torch": "2", "bitsandbytes": version("bitsandbytes")}
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


def test_made_up_tasks_are_counted_apart(trained: Path) -> None:
    folder = trained.parent / "made_up" / "tasks"
    folder.mkdir(parents=True)
    pairs = [{"input": [[1]], "output": [[i]]} for i in range(3)]
    (folder / "made-up.json").write_text(json.dumps(pairs))
    with_more = read_corpus(None, 0, folder.parent)
    about = {**ABOUT, "data": fingerprint(with_more)}
    told.write(trained / "model", replace(TOLD, about=about))
    with pytest.raises(DataError, match=r"no --data: not what .*model was trained on"):
        bundle(trained)
    of = read(bundle(trained, str(folder.parent)))
    assert (of.tasks, of.made_up_tasks, of.made_up_pairs) == (len(CORPUS.lessons), 1, 3)


def break_record(folder: Path) -> None:
    (folder / "model" / TRAINED).write_text("{}")


def break_card(folder: Path) -> None:
    (folder.parent / "card.md").write_text("no marks")


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda folder: (folder / "model" / TRAINED).unlink(), r"training\.json: cannot be read"),
        (break_record, r"training\.json: not written by a training"),
        (lambda folder: (folder / "model" / CONFIG_FILE).unlink(), r"config\.json: cannot be read"),
        (break_card, r"card\.md: has no <!-- figures -->"),
    ],
    ids=["missing", "record", "config", "card"],
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
    weights = (MODELS / "pair" / WEIGHTS_FILE).read_bytes()
    assert hashlib.sha256(weights).hexdigest() == of.sha256
    assert len(weights) == of.bytes < 12e6
    assert f"<!-- figures -->\n{figures(of)}<!-- /figures -->" in (MODELS / "README.md").read_text()
    config = load(MODELS / "pair").config
    assert (config.hidden_size, config.num_hidden_layers) == (of.width, of.layers)
    assert is_quantized(MODELS / "pair")
    assert of.flops == 6 * of.parameters * of.tokens
    assert figures(replace(of, steps=of.steps + 1)) != figures(of)
    assert all(value is not None for value in asdict(of).values())


def test_neither_the_model_nor_others_files_are_replaced(trained: Path) -> None:
    model, others = trained / "model", trained.parent / "others"
    others.mkdir()
    (others / CONFIG_FILE).write_text("mine")
    before = {file.name: file.read_bytes() for file in model.iterdir()}
    for target, said in (
        (str(model / ".." / "model"), "is the model itself"),
        (str(others), "no bundle of the kit made"),
        ("/proc/out", "/proc/out: cannot be written"),
        (str(others / CONFIG_FILE), "cannot be written"),
    ):
        with pytest.raises(DataError, match=said):
            run_bundle(str(model), target, None, None, None, print)
    assert {file.name: file.read_bytes() for file in model.iterdir()} == before
    assert (others / CONFIG_FILE).read_text() == "mine"


@pytest.mark.parametrize("card", [b"no marks", b"\xff", None])
def test_a_card_is_looked_at_before_the_work(trained: Path, card: bytes | None) -> None:
    place = trained.parent / "card.md"
    place.unlink()
    if card is not None:
        place.write_bytes(card)
    with pytest.raises(DataError, match=r"card\.md: (has no|cannot be read)"):
        bundle(trained)
    assert not (trained.parent / "small" / WEIGHTS_FILE).exists()
