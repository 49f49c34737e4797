"""The bundled model, with its real weights, learns and answers tasks within so many steps.

A step is a look at the clock: of learning, one optimizer step or two. The tasks are small ones of
the training set, which the model has been trained on; even so it answers none of them without
learning it again. Arithmetic differs a little between processors, so the steps leave room, and the
precision is the same on all of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from solver.answers.ensemble import answer
from solver.data.arcio import Source, read_source
from solver.data.template import template
from solver.deadline import Deadline, StepClock
from solver.engines import Context
from solver.grid import key
from solver.lm.pair.engine import model
from solver.lm.pair.fused import speed_up
from solver.lm.pair.model import BUNDLE, TaskModel, load
from solver.lm.symbols import IGNORED, collate, encode
from solver.lm.training.loop import tensors

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")

# Tasks, and the steps the model gets. It had the first two right with 50 to 100 steps and two
# seeds, the last one with 75 to 100.
ANSWERED = (("6150a2bd", 65), ("5582e5ca", 65), ("25d8a9c8", 85))


@pytest.fixture(scope="module")
def training() -> Source:
    torch.set_num_threads(1)
    return read_source("arc-agi-1:training")


@pytest.mark.parametrize(("name", "steps"), ANSWERED)
def test_the_bundled_model_learns_and_answers_a_task(
    name: str, steps: int, training: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")  # so that bfloat16 is slow
    task = next(task for task in training.tasks if task.id == name)
    found = list(model(task, Deadline.after(steps, StepClock()), Context(0, 0, tmp_path)))
    assert training.solutions
    (right,) = training.solutions[name]
    (two,) = answer(task, found, template(task)).attempts
    assert key(right) in [key(attempt.grid) for attempt in two]


def test_fused_layers_give_the_logits_of_the_bundled_model(training: Source) -> None:
    bundled = TaskModel(load(BUNDLE, torch.float32), 1)
    pair = training.tasks[0].train[0]
    batch = collate([encode(pair, 0)], [0])
    tokens, positions, targets, prompts, tasks = tensors(bundled, batch)
    asked = targets != IGNORED
    assert int(asked.sum()) > pair.output.size  # every cell, and where the rows end
    with torch.no_grad():
        plain = bundled(tokens, positions, prompts, tasks)[asked]
        speed_up(bundled)
        fused = bundled(tokens, positions, prompts, tasks)[asked]
    assert plain.std() > 1
    torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-4)
