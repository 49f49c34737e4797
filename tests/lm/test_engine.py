"""The engine of the language model: from all tasks together to the candidates of one."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from solver.data.journal import candidate_record
from solver.deadline import Deadline, StepClock
from solver.engines import Context
from solver.grid import DataError, Pair, Task, as_grid, is_grid
from solver.ladder import is_out_of_memory, rung_of
from solver.lm.many.engine import together
from solver.lm.pair import engine, joint
from solver.lm.pair.checkpoint import VECTORS, export
from solver.lm.pair.engine import views_of
from solver.lm.pair.joint import ADAPTED
from solver.lm.pair.model import BUNDLE, Size, TaskModel, build, load
from solver.lm.pair.settings import TURNS, PairSettings, check, read
from solver.lm.precision import CPU, own_device
from solver.lm.symbols import WRITABLE
from solver.views import View
from tests.fakes import toy_tasks

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")

RED_TO_BLUE = Task(
    "r", tuple(Pair(as_grid([[2, i]]), as_grid([[1, i]])) for i in (3, 4, 5)), (as_grid([[2, 6]]),)
)


def test_all_tasks_are_learned_together_then_one_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(tmp_path / "bundle", TaskModel(build(Size(64, 2), 0), 1))
    monkeypatch.setattr(joint, "BUNDLE", tmp_path / "bundle")
    tasks = toy_tasks(2)
    context = Context(0, 7, tmp_path / "shared")
    joint.joint(tasks, Deadline.after(12), context)
    assert (context.folder / ADAPTED / VECTORS).exists()
    engine.prepare(context)
    found = list(engine.model(tasks[0], Deadline.after(20), context))
    assert found
    assert {candidate.engine for candidate in found} == {"model"}
    assert all(is_grid(candidate.grid) for candidate in found)
    assert any(len(candidate.scores) >= engine.PROBE_VIEWS for candidate in found)
    (unlearned,) = {candidate.unlearned for candidate in found}
    assert 0 < unlearned < 3


def test_the_first_pass_keeps_colours_and_later_ones_change_those_that_may_change() -> None:
    first, second = (views_of(RED_TO_BLUE, Context(n, 3), TURNS) for n in (0, 1))
    assert [view.d8 for view in first] == list(range(TURNS))
    assert [view.d8 for view in second] == 2 * list(range(TURNS))
    assert {view.colors for view in first} == {tuple(range(10))}
    assert len({view.colors for view in second}) == 2
    assert tuple(range(10)) not in {view.colors for view in second}
    assert {(view.colors[0], view.colors[1]) for view in second} == {(0, 1)}
    assert second == views_of(RED_TO_BLUE, Context(1, 3), TURNS)


def test_a_job_that_has_to_spare_memory_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(tmp_path / "bundle", TaskModel(build(Size(64, 2), 0), 1))
    monkeypatch.setattr(engine, "BUNDLE", tmp_path / "bundle")
    task, folder = toy_tasks(1)[0], tmp_path / "shared"
    learner = engine.worker_of(Context(0, 7, folder), PairSettings()).learner
    learned = {}
    for without in ((), ("batch",), ("batch", "views", "training")):
        context = Context(0, 7, folder, rung_of(without))
        found = list(engine.model(task, Deadline.after(200, StepClock()), context))
        (unlearned,) = {candidate.unlearned for candidate in found}
        assert (unlearned == math.log(WRITABLE)) == ("training" in without)
        masters = learner.adapter.masters.items()
        changed = any(m.abs().sum() > 0 for name, m in masters if name.endswith("lora_B"))
        learned[without] = (changed, learner.adaptation.tokens)
        views = views_of(task, context, TURNS)
        assert len(views) == TURNS * context.rung.views
        assert {candidate.view for candidate in found} <= {view.name for view in views}
    usual = engine.ADAPTATION.tokens
    assert list(learned.values()) == [(True, usual), (True, usual // 4), (False, usual // 4)]


def test_the_same_steps_give_the_same_candidates_in_another_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(tmp_path / "bundle", TaskModel(build(Size(64, 2), 0), 1))
    monkeypatch.setattr(engine, "BUNDLE", tmp_path / "bundle")
    (other, task), context = toy_tasks(2), Context(0, 7, tmp_path / "shared")
    runs = []
    for before in ((), (other,)):
        engine.HELD.drop()
        for first in before:
            list(engine.model(first, Deadline.after(30, StepClock()), context))
        found = engine.model(task, Deadline.after(200, StepClock()), context)
        runs.append([candidate_record(candidate) for candidate in found])
    assert runs[0] == runs[1]
    assert runs[0]


def test_guesses_without_a_step_of_learning_are_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(tmp_path / "bundle", TaskModel(build(Size(64, 2), 0), 1))
    monkeypatch.setattr(engine, "BUNDLE", tmp_path / "bundle")
    task, context = toy_tasks(1)[0], Context(0, 7, tmp_path / "shared")
    settings = PairSettings()
    worker = engine.worker_of(context, settings)
    soon = Deadline.after(40, StepClock())
    assert worker.learn(task, Deadline(-1.0), context, settings) == math.log(WRITABLE)
    assert worker.learn(task, soon, context, settings) != math.log(WRITABLE)


def test_the_real_error_of_the_library_is_known() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("Tried to allocate 20 GiB"))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_settings_decide_learning_views_and_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(tmp_path / "own", TaskModel(build(Size(64, 2), 0), 1))
    monkeypatch.setattr(engine, "BUNDLE", tmp_path / "not there")
    given = {"folder": str(tmp_path / "own"), "learning": 0.0, "views": 2, "strategy": "greedy"}
    check(given, 1000)
    task, context = toy_tasks(1)[0], Context(0, 7, tmp_path / "shared", settings=given)
    found = list(engine.model(task, Deadline.after(200, StepClock()), context))
    masters = engine.worker_of(context, read(given)).learner.adapter.masters.items()
    assert not any(m.abs().sum() > 0 for name, m in masters if name.endswith("lora_B"))
    assert {candidate.view for candidate in found} <= {View(0).name, View(1).name}
    assert not any(candidate.scores for candidate in found)  # greedy answers are not measured


def test_settings_that_mean_nothing_are_named() -> None:
    assert read({}) == PairSettings()
    for given, message in (
        ({"views": 9}, "views: must be at most 8, is 9"),
        ({"learning": 1.0}, "learning: must be below 1, is 1.0"),
        ({"strategy": "guess"}, "strategy: there is no 'guess'; there are greedy, "),
        ({"turns": 3}, "turns: no such setting; there are folder, learning"),
    ):
        with pytest.raises(DataError, match=message):
            read(given)
    with pytest.raises(DataError, match=r"nowhere/config.json: no such file"):
        check({"folder": "nowhere"}, 1000)


def test_only_a_worker_on_a_device_asks_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def is_available() -> bool:
        asked.append(True)
        return True

    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    assert own_device(Context(0, 0)) == CPU
    assert not asked
    assert own_device(Context(0, 0, device=True)).type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert own_device(Context(0, 0, device=True)) == CPU


@pytest.mark.parametrize("quantized", [True, False])
def test_weights_go_where_they_are_asked_for(tmp_path: Path, *, quantized: bool) -> None:
    """The device `meta` has no memory, but otherwise is a device like any other."""
    export(tmp_path, TaskModel(build(Size(64, 2), 0), 1))
    folder = BUNDLE if quantized else tmp_path
    for device in (torch.device("meta"), CPU):
        lm = load(folder, torch.float32, device)
        assert {weight.device for weight in lm.parameters()} == {device}


@pytest.mark.parametrize("without", [(), ("batch", "views", "training")])
def test_several_tasks_in_one_job_are_each_learned_and_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without: tuple[str, ...]
) -> None:
    export(tmp_path / "bundle", TaskModel(build(Size(64, 2), 0), 1))
    monkeypatch.setattr(engine, "BUNDLE", tmp_path / "bundle")
    tasks = toy_tasks(3)
    rung = rung_of(without)
    contexts = [Context(0, seed, tmp_path / "shared", rung) for seed in (7, 8, 9)]
    found = list(together(tasks, Deadline.after(400, StepClock()), contexts))
    assert {candidate.task for candidate in found} == {task.id for task in tasks}
    assert all(is_grid(candidate.grid) for candidate in found)
    learned = {candidate.task: candidate.unlearned for candidate in found}
    assert (set(learned.values()) == {math.log(WRITABLE)}) == bool(without)
    if not without:  # a task's own losses
        assert len(set(learned.values())) == 3
    for task, context in zip(tasks, contexts, strict=True):
        views = {view.name for view in views_of(task, context, TURNS)}
        assert {candidate.view for candidate in found if candidate.task == task.id} <= views
