"""Test-time training: nothing leaks from task to task, slices are kept, adapters are peft's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from solver.deadline import Deadline, StepClock
from solver.grid import DataError, Pair, Task, as_grid, freeze, stable_seed
from solver.lm.pair.adapter import CONFIG_FILE, WEIGHTS_FILE, Lora, LowRank, read_lora
from solver.lm.pair.model import Size, TaskModel, build
from solver.lm.pair.ttt import LAST_STEPS, Adaptation, Learned, Learner
from solver.lm.precision import CPU, fast_dtype
from solver.lm.symbols import Batch, collate, encode
from solver.lm.training.loop import Dense, Recipe, Trainer, batch_loss, measure, tensors
from tests.control import control
from tests.lm.plain import plain, whole
from tests.lm.toys import toy_lessons
from tests.runs import ROOT

LORA = Lora(4, 8)
DTYPE = fast_dtype(CPU)
ADAPTATION = Adaptation(LORA, examples=40, tokens=256)


def model_of(dtype: torch.dtype = DTYPE, seed: int = 0) -> TaskModel:
    torch.set_num_threads(1)
    model: TaskModel = TaskModel(build(Size(64, 2), seed), 1).to(dtype)
    return model


def tasks(n: int = 3) -> list[Task]:
    return [Task(lesson.id, lesson.originals[:3], ()) for lesson in toy_lessons(n)]


def logits(model: TaskModel) -> torch.Tensor:
    pair = Pair(as_grid([[1, 2, 3], [4, 5, 6]]), as_grid([[7, 8], [9, 0]]))
    with torch.no_grad():
        tokens, positions, _, prompts, numbers = tensors(
            model.eval(), collate([encode(pair, 0)], [0])
        )
        result: torch.Tensor = model(tokens, positions, prompts, numbers)
    return result


def steps(n: int) -> Deadline:
    return Deadline.after(float(n), StepClock())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_logits_after_a_reset_are_bit_equal(dtype: torch.dtype) -> None:
    model = model_of(dtype)
    learner = Learner(model, ADAPTATION)
    before = logits(model)
    learned = learner.learn(tasks()[0], steps(20), 0)
    assert learned.steps > 3
    assert not torch.equal(logits(model), before)
    learner.reset()
    assert torch.equal(logits(model), before)


def test_what_a_task_gets_does_not_depend_on_those_before_it() -> None:
    one, two, three = tasks()
    alone = Learner(model_of(), ADAPTATION)
    expected = alone.learn(two, steps(30), 5)
    wanted = logits(alone.model)
    after = Learner(model_of(), ADAPTATION)
    for task, n in ((one, 25), (three, 40), (two, 15)):
        after.learn(task, steps(n), 1)
    assert after.learn(two, steps(30), 5) == expected
    assert torch.equal(logits(after.model), wanted)
    assert after.learn(two, steps(30), 6) != expected


def blank_pairs() -> tuple[Pair, ...]:
    """Whatever is shown, the answer is black: the one rule that a tiny new model learns fast."""
    rng = np.random.default_rng(0)
    grids = [freeze(grid.astype(np.uint8)) for grid in rng.integers(1, 10, (3, 3, 4))]
    return tuple(Pair(grid, as_grid([[0] * 4] * 3)) for grid in grids)


FAST = replace(
    ADAPTATION,
    recipe=replace(ADAPTATION.recipe, matrix_lr=0.005, vector_lr=0.03),
    tokens=128,
    trial=0.5,
)


def test_it_learns_the_task() -> None:
    learner = Learner(model_of(torch.float32), replace(FAST, trial=0.0))
    held = [collate([encode(blank_pairs()[0], 0)], [0])]
    before, _ = measure(learner.model, held)
    learned = learner.learn(Task("blank", blank_pairs(), ()), steps(150), 0)
    assert learned.held_out is None
    assert measure(learner.model, held)[0] < before - 0.5


def test_what_is_left_to_learn_is_what_the_last_steps_lost() -> None:
    assert Learned(3, 0, (9.0, 3.0, 1.0), None).left == pytest.approx(13 / 3)
    assert Learned(9, 0, (9.0,) * 5 + (0.5,) * LAST_STEPS, None).left == 0.5
    assert Learned(0, 0, (), None).left == 0.0


def test_a_task_starts_from_its_own_vectors() -> None:
    learner = Learner(model_of(torch.float32), ADAPTATION)
    before = logits(learner.model)
    learner.reset(0, torch.ones_like(learner.model.tasks[0]))
    assert not torch.equal(logits(learner.model), before)
    learner.reset()
    assert torch.equal(logits(learner.model), before)


def test_a_trial_ends_the_training_where_it_does_harm() -> None:
    """The held-out demonstration agrees with the others, or has another answer altogether."""
    pairs = blank_pairs()
    learner = Learner(model_of(torch.float32), FAST)
    agreed = learner.learn(Task("one", pairs, ()), steps(500), 0)
    out = stable_seed(0, "one", "held out") % 3
    odd = Pair(pairs[out].input, as_grid([[7]]))
    learned = learner.learn(Task("one", (*pairs[:out], odd, *pairs[out + 1 :]), ()), steps(500), 0)
    assert agreed.held_out is not None
    assert learned.held_out is not None
    assert learned.held_out > agreed.held_out + 0.5
    assert learned.steps < 0.7 * agreed.steps


def test_two_demonstrations_are_both_learned() -> None:
    task = tasks()[0]
    learner = Learner(model_of(), ADAPTATION)
    assert learner.learn(replace(task, train=task.train[:2]), steps(500), 0).held_out is None
    assert learner.learn(task, steps(500), 0).held_out is not None


def test_a_trial_too_short_to_end_leaves_its_time_to_learning() -> None:
    learner = Learner(model_of(), ADAPTATION)
    whole = replace(ADAPTATION, trial=0.0)
    learned = learner.learn(tasks()[0], steps(100), 0)
    assert learned.held_out is None
    assert learned.steps > 0.85 * Learner(model_of(), whole).learn(tasks()[0], steps(100), 0).steps


def test_no_time_changes_nothing() -> None:
    model = model_of()
    learner = Learner(model, ADAPTATION)
    before = logits(model)
    learned = learner.learn(tasks()[0], steps(0), 0)
    assert (learned.steps, learned.tokens, learned.losses) == (0, 0, ())
    assert torch.equal(logits(model), before)


def test_a_task_has_no_place_for_test_outputs_and_its_inputs_play_no_part() -> None:
    task = tasks()[0]
    learner = Learner(model_of(), ADAPTATION)
    learned = learner.learn(task, steps(20), 0)
    assert learner.learn(replace(task, tests=(as_grid([[1]]),)), steps(20), 0) == learned


def gradient_pair() -> tuple[TaskModel, LowRank, Batch]:
    model = model_of(torch.float32)
    adapter = LowRank(model, LORA)
    adapter.reset(model.tasks.detach().clone(), 1)
    with torch.no_grad():
        for name, master in adapter.masters.items():
            if name.endswith("lora_B"):
                master.normal_(0, 0.02, generator=torch.Generator().manual_seed(len(name)))
    adapter.publish()
    return model, adapter, collate([encode(p, 0) for p in tasks()[0].train], [0] * 3)


def test_an_adapter_is_peft_s_in_values_gradients_and_files(tmp_path: Path) -> None:
    import peft

    model, adapter, batch = gradient_pair()
    loss = batch_loss(model, batch)
    torch.autograd.backward(loss)
    adapter.collect()
    adapter.save(tmp_path)
    theirs = plain(model_of(torch.float32))
    peft.PeftModel.from_pretrained(whole(theirs), tmp_path, is_trainable=True)
    other = batch_loss(theirs, batch)
    torch.autograd.backward(other)
    torch.testing.assert_close(other, loss)
    theirs_by_name = dict(theirs.lm.named_parameters())
    compared = 0
    for name, master in adapter.masters.items():
        if ".lora_" in name:
            gradient = theirs_by_name[f"{name}.default.weight"].grad
            torch.testing.assert_close(master.grad, gradient, rtol=1e-3, atol=1e-6)
            compared += 1
    assert compared == 2 * 7 * 2
    torch.testing.assert_close(adapter.masters["tasks"].grad, theirs.tasks.grad)


def test_an_adapter_of_peft_loads(tmp_path: Path) -> None:
    import peft

    theirs = plain(model_of(torch.float32))
    config = peft.LoraConfig(r=4, lora_alpha=8, use_rslora=True, target_modules=list(LORA.targets))
    wrapped = peft.get_peft_model(whole(theirs), config)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.05)
    wrapped.save_pretrained(str(tmp_path))
    model = model_of(torch.float32)
    LowRank(model, LORA).load(tmp_path)
    torch.testing.assert_close(logits(model), logits(theirs), rtol=1e-4, atol=1e-4)


def test_foreign_or_broken_adapters_are_named(tmp_path: Path) -> None:
    _, adapter, _ = gradient_pair()
    with pytest.raises(DataError, match=r"adapter_config\.json: cannot be read"):
        adapter.load(tmp_path)
    adapter.save(tmp_path)
    assert read_lora(tmp_path) == LORA
    with pytest.raises(DataError, match="other settings"):
        LowRank(model_of(), Lora(8)).load(tmp_path)
    larger = TaskModel(build(Size(128, 2), 0), 1)
    with pytest.raises(DataError, match=r"adapter_model\.safetensors: no .*lora_A of shape"):
        LowRank(larger, LORA).load(tmp_path)
    (tmp_path / WEIGHTS_FILE).write_bytes(b"\0" * 50)
    with pytest.raises(DataError, match=r"adapter_model\.safetensors: cannot be read"):
        adapter.load(tmp_path)
    config = json.loads((tmp_path / CONFIG_FILE).read_text())
    del config["r"]
    (tmp_path / CONFIG_FILE).write_text(json.dumps(config))
    with pytest.raises(DataError, match="no settings of an adapter"):
        adapter.load(tmp_path)
    with pytest.raises(ValueError, match="no linear layer is called nothing"):
        LowRank(model_of(), Lora(targets=("nothing",)))


def test_only_what_is_trained_has_masters() -> None:
    model = model_of()
    adapter = LowRank(model, Lora(4, targets=("q_proj", "lm_head")))
    names = set(Trainer(model, Recipe(), adapter).masters)
    layers = ["lm_head", *(f"model.layers.{i}.self_attn.q_proj" for i in range(2))]
    assert names == {f"{x}.lora_{s}" for x in layers for s in "AB"} | {"tasks"}
    model.lm.requires_grad_(False)
    assert set(Trainer(model, Recipe(muon=False)).masters) == {"tasks"}
    assert set(Dense({}).masters) == set()


@pytest.mark.parametrize("seconds", [2.0])
def test_a_slice_is_kept(seconds: float) -> None:
    learner = Learner(model_of(), ADAPTATION)
    with control() as measured:
        deadline = Deadline.after(seconds)
        learned = learner.learn(tasks()[0], deadline, 0)
        left_s = deadline.left()
    assert learned.steps > 3
    assert -measured.allows(0.5) < left_s < 0.5 * seconds


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_below_two_gigabytes() -> None:
    """The largest pair there can be, on the bundled model's size."""
    code = """
import numpy as np, torch
from solver.deadline import Deadline, StepClock
from solver.grid import Pair, Task, freeze
from solver.lm.precision import CPU, fast_dtype
from solver.lm.pair.model import Size, TaskModel, build
from solver.lm.pair.ttt import Adaptation, Learner
torch.set_num_threads(1)
grid = freeze(np.ones((30, 30), np.uint8))
learner = Learner(TaskModel(build(Size(), 0), 1).to(fast_dtype(CPU)), Adaptation())
learned = learner.learn(Task("large", (Pair(grid, grid),), ()), Deadline.after(4, StepClock()), 0)
status = open("/proc/self/status").read()  # getrusage would count the process that forked
print(learned.steps, int(status.split("VmHWM:")[1].split()[0]) // 1024)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    count, megabytes = map(int, done.stdout.split())
    assert count > 0
    assert megabytes < 2000
