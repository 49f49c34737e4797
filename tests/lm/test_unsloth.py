"""unsloth for real, where it is: `scripts/test_unsloth.sh` makes an environment for it."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import Any

import pytest

if importlib.util.find_spec("unsloth") is None:
    pytest.skip("unsloth is not installed: run scripts/test_unsloth.sh", allow_module_level=True)

from solver.deadline import Deadline, StepClock
from solver.lm.llm.engine import load_learner, views_of
from solver.lm.llm.reader import Reader
from solver.lm.search.searches import Options, Question
from solver.lm.search.strategies import STRATEGIES, propose
from solver.lm.training.loop import measure
from tests.lm.small import settings_of
from tests.lm.test_llm import held_out


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_unsloth_loads_learns_and_answers(small_llm: Path, quantization: str, caplog: Any) -> None:
    settings = settings_of(small_llm, backend="unsloth", quantization=quantization)
    with caplog.at_level(logging.INFO, "solver"):
        learner = load_learner(settings)
    name = "unsloth" + ("" if quantization == "none" else f", {quantization}")
    assert caplog.messages[-1].endswith(f"loaded as {name}"), caplog.messages
    task, batch = held_out(learner.model, 0)
    before, _ = measure(learner.model, [batch])
    learned = learner.learn(task, Deadline.after(1000, StepClock()), 0)
    after, _ = measure(learner.model, [batch])
    print(f"{name}: {before:.2f} to {after:.2f} nats in {learned.steps} steps")
    assert after < 0.6 * before
    asked = Question(task, 0, views_of(task, settings, 0))
    options = Options(side=5, width=settings.width)
    found = propose(STRATEGIES["dfs"], Reader(learner.model), asked, Deadline.after(600), options)
    assert any(candidate.scores for candidate in found)
