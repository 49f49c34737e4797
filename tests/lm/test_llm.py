"""A language model of one's own, from its folder to candidates: a small real one, on a CPU."""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
import runpy
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from solver.deadline import Deadline, StepClock
from solver.engines import Context
from solver.grid import DataError, Pair, Task
from solver.kit import WEIGHTS_FILE
from solver.ladder import FULL, LADDER, Rung, is_out_of_memory, rung_of
from solver.lm.llm import engine
from solver.lm.llm.causal import ContextModel, cut_vocabulary
from solver.lm.llm.context import collate, encode_example
from solver.lm.llm.engine import JOINT, load_learner, spared, views_of
from solver.lm.llm.tune import ADAPTER, PART, ContextLearner
from solver.lm.load import LOADERS, load_causal
from solver.lm.ready import check, read_vocabulary
from solver.lm.settings import Settings
from solver.lm.symbols import Batch
from solver.lm.training.examples import Example
from solver.lm.training.loop import measure
from solver.lm.vocabulary import VOCABULARY_FILE
from solver.views import View
from tests.lm.small import blank, recolored, settings_of
from tests.runs import ROOT

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(small_llm: Path) -> Path:
    return small_llm


@pytest.fixture(scope="module")
def learner(folder: Path) -> ContextLearner:
    return load_learner(settings_of(folder))


def given(settings: Settings) -> dict[str, Any]:
    return dataclasses.asdict(settings)


def steps(n: int) -> Deadline:
    return Deadline.after(float(n), StepClock())


def held_out(model: ContextModel, number: int) -> tuple[Task, Batch]:
    """A task that the model has never seen, and its test pair after its demonstrations."""
    task, output = recolored(number)
    example = Example(Pair(task.tests[0], output), task.train, View())
    return task, collate([encode_example(model.vocabulary, example, model.limit, first=False)])


def logits(model: ContextModel) -> torch.Tensor:
    _, batch = held_out(model.eval(), 9)
    with torch.no_grad():
        result: torch.Tensor = model(torch.from_numpy(batch.tokens))
    return result


@pytest.mark.parametrize("quantization", ["none", "nf4", "int8"])
def test_a_task_is_learned_and_forgotten(folder: Path, quantization: str) -> None:
    learner = load_learner(settings_of(folder, quantization=quantization))
    if quantization != "none":
        assert any(type(m).__module__.startswith("bitsandbytes") for m in learner.model.modules())
    untaught = logits(learner.model)
    for number in range(2):
        task, batch = held_out(learner.model, number)
        learner.reset()
        before, _ = measure(learner.model, [batch])
        learned = learner.learn(task, steps(1000), 0)
        after, _ = measure(learner.model, [batch])
        assert learned.steps == 2 * 32 / 4
        assert np.mean(learned.losses[-4:]) < 0.7 * np.mean(learned.losses[:4])
        assert after < 0.6 * before
    learner.reset()
    assert torch.equal(logits(learner.model), untaught)


def test_what_a_task_gets_does_not_depend_on_those_before_it(learner: ContextLearner) -> None:
    one, two = recolored(1)[0], recolored(2)[0]
    expected = learner.learn(two, steps(6), 5)
    wanted = logits(learner.model)
    learner.learn(one, steps(9), 1)
    assert learner.learn(two, steps(6), 5) == expected
    assert torch.equal(logits(learner.model), wanted)
    assert expected.steps < 2 * 32 / 4  # the deadline came first
    assert learner.learn(two, steps(6), 6) != expected


def test_no_time_changes_nothing(learner: ContextLearner) -> None:
    learner.reset()
    before = logits(learner.model)
    assert learner.learn(recolored(1)[0], steps(0), 0).steps == 0
    assert torch.equal(logits(learner.model), before)


def test_all_tasks_are_learned_together_and_each_goes_on_from_there(
    learner: ContextLearner, tmp_path: Path
) -> None:
    tasks = [recolored(number)[0] for number in range(3)]
    untaught = logits(learner.model)
    before = [measure(learner.model, [held_out(learner.model, n)[1]])[0] for n in range(3)]
    learner.learn_all(tasks, tmp_path, steps(60), 0)
    assert {p.name for p in tmp_path.iterdir()} == {ADAPTER, VOCABULARY_FILE}
    written = (tmp_path / ADAPTER).read_bytes()
    learner.learn_all(tasks, tmp_path, steps(60), 0)  # nothing is left to do
    assert (tmp_path / ADAPTER).read_bytes() == written
    start_ = {name: value.clone() for name, value in learner._start.items()}
    learner.start_from(tmp_path / ADAPTER)
    learner.reset()
    after = [measure(learner.model, [held_out(learner.model, n)[1]])[0] for n in range(3)]
    assert sum(after) < 0.8 * sum(before)
    # One that was killed goes on: where it stood is where the next one begins.
    (tmp_path / ADAPTER).rename(tmp_path / PART)
    learner.learn_all(tasks, tmp_path, steps(0), 0)
    assert {p.name for p in tmp_path.iterdir()} == {ADAPTER, VOCABULARY_FILE}
    learner.start_from(tmp_path / ADAPTER)
    learner.reset()
    again = [measure(learner.model, [held_out(learner.model, n)[1]])[0] for n in range(3)]
    assert again == after
    learner._start = start_
    learner.reset()
    assert torch.equal(logits(learner.model), untaught)


def test_an_adapter_of_another_model_is_refused(
    learner: ContextLearner, folder: Path, tmp_path: Path
) -> None:
    other = load_learner(settings_of(folder, rank=4))
    other.learn_all([recolored(0)[0]], tmp_path, steps(0), 0)
    with pytest.raises(DataError, match=r"adapter\.safetensors: .* has another shape"):
        learner.start_from(tmp_path / ADAPTER)
    (tmp_path / ADAPTER).write_bytes(b"\0" * 30)
    with pytest.raises(DataError, match=r"adapter\.safetensors: no adapter of this model"):
        learner.start_from(tmp_path / ADAPTER)
    with pytest.raises(DataError, match="targets nothing: "):
        load_learner(settings_of(folder, targets=("nothing",)))


def test_embeddings_and_head_are_adapted_at_their_own_rate(folder: Path) -> None:
    targets = ("q_proj", "embed_tokens", "lm_head")
    learner = load_learner(
        settings_of(folder, targets=targets, embedding_rate=0.0, checkpointing=True)
    )
    learner.learn(recolored(0)[0], steps(8), 0)
    moved = {
        name
        for name, parameter in learner._trained.items()
        if not torch.equal(parameter, learner._start[name])
    }
    assert moved
    assert all("q_proj" in name for name in moved)
    assert {part for name in learner._trained for part in targets if part in name} == set(targets)


def test_the_engine_learns_and_answers(folder: Path, tmp_path: Path) -> None:
    task = blank(100)
    settings = settings_of(folder, epochs=1)
    context = Context(0, 7, tmp_path, settings=given(settings))
    engine.prepare(context)
    engine.joint([task], Deadline.after(7), context)
    assert (tmp_path / JOINT / ADAPTER).exists()
    found = list(engine.llm(task, Deadline.after(60), context))
    assert {candidate.engine for candidate in found} == {"llm"}
    assert any(not candidate.grid.any() for candidate in found)
    assert all(len(candidate.scores) in (0, settings.views) for candidate in found)
    assert any(candidate.scores for candidate in found)


def test_every_rung_of_the_ladder_is_heeded(folder: Path, tmp_path: Path) -> None:
    settings = settings_of(folder, epochs=1, width=4, max_seq_length=2048)
    rung = rung_of(LADDER)
    wanted = spared(settings, rung)
    assert (wanted.batch, wanted.width, wanted.views) == (1, 1, 2)
    assert (wanted.max_seq_length, wanted.quantization, wanted.checkpointing) == (2048, "nf4", True)
    assert spared(settings, FULL) == settings
    context = Context(0, 7, tmp_path, rung, given(settings))
    found = list(engine.llm(blank(101), Deadline.after(60), context))
    assert found
    learner = engine.worker_of(settings, rung).learner
    assert learner.settings == wanted
    assert all(torch.equal(p, learner._start[name]) for name, p in learner._trained.items())


def test_views_are_as_the_recipe_says() -> None:
    task = recolored(0)[0]
    for colors in ("all", "free", "none"):
        views = views_of(task, Settings(view_colors=colors), 0)
        assert len(views) == 16
        assert [sum(v.d8 == d8 for v in views) for d8 in range(8)] == [2] * 8
        assert {len(v.order) for v in views} == {3}
        black = {v.colors[0] for v in views}
        assert (black == {0}) == (colors != "all")
        assert (len({v.colors for v in views}) == 1) == (colors == "none")


def test_a_checkpoint_cut_at_home_computes_the_same(
    learner: ContextLearner, folder: Path, tmp_path: Path
) -> None:
    script = runpy.run_path(str(ROOT / "scripts/cut_vocabulary.py"))
    script["cut"](folder, tmp_path, "chat")
    check({"model": str(tmp_path), "max_seq_length": 2048}, 2000)
    sizes = [(path / WEIGHTS_FILE).stat().st_size for path in (tmp_path, folder)]
    assert sizes[0] < 0.8 * sizes[1]
    cut = load_learner(settings_of(tmp_path))
    learner.reset()
    assert torch.equal(logits(cut.model), logits(learner.model))
    with pytest.raises(DataError, match="cut already"):
        script["cut"](tmp_path, tmp_path / "again", "chat")


def first_of(positions: Any) -> Any:
    """Every token stands where the first one does."""
    return None if positions is None else torch.zeros_like(positions)


def refuse(*_: object) -> Any:
    raise ImportError("no kernels for this machine")


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    with caplog.at_level(logging.INFO, "solver"):
        logger = logging.getLogger("solver")
        before, logger.propagate = logger.propagate, True
        yield caplog.messages
        logger.propagate = before


def test_the_fallback_has_an_order_and_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str], caplog: Any
) -> None:
    monkeypatch.setitem(LOADERS, "unsloth", refuse)
    asked = settings_of(folder, backend="unsloth", quantization="nf4")
    seen = []

    def finish(lm: Any) -> Any:
        seen.append(getattr(lm, "is_quantized", False))
        if len(seen) == 1:
            raise DataError("not today")
        return lm

    lm = load_causal(asked, CPU, finish)
    assert seen == [True, False]
    assert not getattr(lm, "is_quantized", False)
    assert [line.partition(": ")[2] for line in caplog.messages] == [
        "not as unsloth, nf4: no kernels for this machine; now as transformers, nf4",
        "not as transformers, nf4: not today; now as transformers",
        "loaded as transformers",
    ]
    monkeypatch.setitem(LOADERS, "transformers", refuse)
    with pytest.raises(ImportError, match="no kernels"):
        load_causal(asked, CPU)


def test_no_way_that_takes_more_memory_is_tried_when_that_runs_out(folder: Path) -> None:
    tried = []

    def finish(lm: Any) -> torch.Tensor:
        tried.append(lm.is_quantized)
        return torch.empty(1 << 50)

    with pytest.raises(RuntimeError) as raised:
        load_causal(settings_of(folder, quantization="nf4"), CPU, finish)
    assert is_out_of_memory(raised.value)
    assert tried == [True]


def test_one_model_is_held_and_only_what_is_in_memory_decides_which(
    folder: Path, tmp_path: Path
) -> None:
    def held(rung: Rung, **more: Any) -> ContextLearner:
        settings = settings_of(folder, **more)
        engine.prepare(Context(0, 0, tmp_path, rung, given(settings)))
        return engine.worker_of(settings, rung).learner

    whole = held(FULL)
    for rung in (rung_of(["batch", "views", "context"]), rung_of(["training"])):
        assert held(rung) is whole
    assert held(FULL, sequences=5, learning=0.1, strategy="greedy") is whole
    gone = weakref.ref(whole.model)
    del whole
    spare = held(rung_of(["four_bit"]))
    assert gone() is None
    assert spare.settings.quantization == "nf4"


@pytest.mark.skipif(importlib.util.find_spec("unsloth") is not None, reason="unsloth is installed")
def test_without_unsloth_transformers_loads(folder: Path, lines: list[str], caplog: Any) -> None:
    learner = load_learner(settings_of(folder, backend="unsloth"))
    assert learner.learn(recolored(0)[0], steps(9), 0).steps
    assert "No module named 'unsloth'; now as transformers" in caplog.messages[0]


def test_a_model_that_ignores_positions_is_refused(folder: Path) -> None:
    def forgetful(lm: Any) -> ContextModel:
        inner = lm.forward

        def forward(*arguments: Any, position_ids: Any = None, **more: Any) -> Any:
            return inner(*arguments, **more, position_ids=first_of(position_ids))

        lm.forward = forward
        vocabulary = read_vocabulary(folder, "chat")
        cut_vocabulary(lm, vocabulary.kept)
        model = ContextModel(lm, vocabulary, 2048)
        engine.verify(model)
        return model

    with pytest.raises(DataError, match="computes otherwise step by step than at once, by"):
        load_causal(settings_of(folder), CPU, forgetful)
