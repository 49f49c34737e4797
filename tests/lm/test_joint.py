"""Joint test-time training: it ends in time, goes on after a kill, and its result loads."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from solver.deadline import Deadline, FakeClock, StepClock
from solver.grid import DataError, Task, as_grid
from solver.lm.pair.checkpoint import CHECKPOINT, VECTORS, export, read_position
from solver.lm.pair.joint import (
    MODEL,
    Joint,
    adapt_jointly,
    load_adapted,
    task_vectors,
)
from solver.lm.pair.model import WEIGHTS_FILE, Size, TaskModel, build
from solver.lm.pair.ttt import Adaptation, Learner
from solver.lm.training.loop import Recipe, Step
from solver.lm.training.stream import Mixture
from tests.lm.toys import run_together, toy_lessons
from tests.runs import start

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")

JOINT = Joint(Recipe(warmup=2, decay=0.5), Mixture(tokens=512, longest=2048, chunk=32), 3.0)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    torch.set_num_threads(1)
    export(tmp_path / "base", TaskModel(build(Size(64, 1), 0), 1))
    return tmp_path / "base"


def tasks(n: int = 3) -> list[Task]:
    return [Task(lesson.id, lesson.originals[:3], ()) for lesson in toy_lessons(n)]


class KilledError(Exception):
    """Stands for a signal that ends the process."""


def run(base: Path, folder: Path, clock: FakeClock, until: float, kill: float = 1e9) -> list[float]:
    """Train with steps of one second each; the losses."""
    losses: list[float] = []

    def watch(step: Step) -> None:
        clock.sleep(1.0)
        losses.append(step.loss)
        if clock.now() >= kill:
            raise KilledError

    adapt_jointly(base, tasks(), folder, Deadline(until, clock), 0, JOINT, watch)
    return losses


def same_results(a: Path, b: Path) -> bool:
    files = [(a / name, b / name) for name in (VECTORS, f"{MODEL}/{WEIGHTS_FILE}")]
    pairs = [(load_file(x), load_file(y)) for x, y in files]
    return all(x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x) for x, y in pairs)


def test_a_killed_training_ends_as_if_it_had_never_stopped(base: Path, tmp_path: Path) -> None:
    whole = run(base, tmp_path / "whole", FakeClock(), 16.0)
    assert len(whole) == 14  # a second is left for writing, and no step would end with it
    with pytest.raises(KilledError):
        run(base, tmp_path / "parts", FakeClock(), 16.0, kill=11.0)
    place = read_position(tmp_path / "parts" / CHECKPOINT, {"seed": 0})
    rest = run(base, tmp_path / "parts", FakeClock(place.seconds), 16.0)
    assert 0 < place.steps < 11
    assert rest == whole[place.steps :]
    assert same_results(tmp_path / "whole", tmp_path / "parts")
    assert not (tmp_path / "parts" / CHECKPOINT).exists()


def test_the_result_is_loaded_task_by_task(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(base, folder, FakeClock(), 10.0)
    before = load_file(base / WEIGHTS_FILE)["model.layers.0.mlp.up_proj.weight"]
    model = load_adapted(folder, "toy1")
    after = model.lm.get_parameter("model.layers.0.mlp.up_proj.weight")
    assert not torch.equal(after.float(), before.float())
    vectors = task_vectors(folder, "toy1")
    assert vectors is not None
    assert torch.equal(model.tasks[0], vectors)
    other = task_vectors(folder, "toy2")
    assert other is not None
    assert not torch.equal(other, vectors)
    assert task_vectors(folder, "unknown") is None
    mean = torch.stack([v.float() for v in load_file(folder / VECTORS).values()]).mean(0)
    torch.testing.assert_close(
        load_adapted(folder, "unknown").tasks[0].float(), mean, rtol=0.01, atol=0.01
    )
    learner = Learner(model, Adaptation(tokens=256))
    assert learner.learn(tasks()[2], Deadline.after(20.0, StepClock()), 0, other).steps > 2


def test_what_is_done_is_not_done_again(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert run(base, folder, FakeClock(), 5.0)
    assert run(base, folder, FakeClock(), 50.0) == []


def test_no_time_leaves_the_model_as_it_was(base: Path, tmp_path: Path) -> None:
    assert run(base, tmp_path / "run", FakeClock(), 0.5) == []
    name = "model.layers.0.mlp.up_proj.weight"
    kept = load_adapted(tmp_path / "run", "toy0").lm.state_dict()[name]
    assert torch.equal(kept, load_file(base / WEIGHTS_FILE)[name].to(kept.dtype))


def test_another_run_s_folder_is_refused(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(KilledError):
        run(base, folder, FakeClock(), 16.0, kill=8.0)
    later = Deadline.after(9.0, FakeClock())
    with pytest.raises(DataError, match="another run: seed differs"):
        adapt_jointly(base, tasks(), folder, later, 1, JOINT)
    with pytest.raises(DataError, match="another run: tasks differs"):
        adapt_jointly(base, tasks(2), folder, later, 0, JOINT)
    slow = replace(JOINT, recipe=replace(JOINT.recipe, matrix_lr=0.001))
    with pytest.raises(DataError, match="another run: matrix_lr differs"):
        adapt_jointly(base, tasks(), folder, later, 0, slow)
    with pytest.raises(DataError, match=r"tasks\.safetensors: cannot be read"):
        task_vectors(folder, "toy0")


def test_test_inputs_play_no_part(base: Path, tmp_path: Path) -> None:
    run(base, tmp_path / "without", FakeClock(), 6.0)
    some = [replace(task, tests=(as_grid([[7]]),)) for task in tasks()]
    clock = FakeClock()

    def watch(step: Step) -> None:
        clock.sleep(1.0)

    adapt_jointly(base, some, tmp_path / "with", Deadline(6.0, clock), 0, JOINT, watch)
    assert same_results(tmp_path / "without", tmp_path / "with")


def test_a_process_that_was_killed_is_followed_by_another(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code = (
        "import sys; from pathlib import Path; from solver.deadline import Deadline\n"
        "from tests.lm.test_joint import JOINT, adapt_jointly, replace, tasks\n"
        "joint = replace(JOINT, save_s=0.2)\n"
        "base, folder = map(Path, sys.argv[1:])\n"
        "adapt_jointly(base, tasks(), folder, Deadline.after(100.0), 0, joint)\n"
    )
    process = start([sys.executable, "-c", code, str(base), str(folder)], OMP_NUM_THREADS="1")
    while not (folder / CHECKPOINT).exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.kill()
    process.communicate()
    place = read_position(folder / CHECKPOINT, {"seed": 0})
    seen: list[Step] = []
    adapt_jointly(base, tasks(), folder, Deadline.after(4.0), 0, JOINT, seen.append)
    assert seen[0].number == place.steps + 1
    assert (folder / VECTORS).exists()


def test_two_processes_train_together(base: Path, tmp_path: Path) -> None:
    steps = [tmp_path / f"steps{rank}" for rank in range(2)]
    run_together(_join, [(rank, base, tmp_path / "run", file) for rank, file in enumerate(steps)])
    first, second = (file.read_text() for file in steps)
    assert first == second  # the same losses and tokens, step by step
    assert len(first.splitlines()) > 2
    assert load_adapted(tmp_path / "run", "toy0").tasks.isfinite().all()


def _join(rank: int, base: Path, folder: Path, file: Path) -> None:
    meet = f"file://{folder.with_name('meet')}"
    torch.distributed.init_process_group("gloo", init_method=meet, rank=rank, world_size=2)
    seen: list[Step] = []
    deadline = Deadline.after(20.0 + rank, StepClock())
    adapt_jointly(base, tasks(), folder, deadline, 0, JOINT, seen.append)
    assert (folder / VECTORS).exists()
    file.write_text("\n".join(f"{s.number} {s.tokens} {s.loss}" for s in seen))
    torch.distributed.destroy_process_group()
    sys.stdout.flush()
    os._exit(0)
