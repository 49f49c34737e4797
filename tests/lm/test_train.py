"""The training loop: same seed same losses, resume, deadlines, several processes."""

from __future__ import annotations

import ctypes
import itertools
import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from solver.deadline import Deadline, FakeClock
from solver.grid import DataError, Pair, freeze
from solver.kit import sha256
from solver.lm.pair.checkpoint import (
    CHECKPOINT,
    VECTORS,
    Position,
    export,
    read_position,
    read_tasks,
    restore,
    save,
    save_tasks,
)
from solver.lm.pair.model import BUNDLE, WEIGHTS_FILE, Size, TaskModel, build
from solver.lm.precision import CPU, fast_dtype
from solver.lm.symbols import collate, encode
from solver.lm.training.corpus import read_corpus
from solver.lm.training.loop import (
    Pace,
    Recipe,
    Step,
    Trainer,
    agree,
    measure,
    schedule,
    train,
)
from solver.lm.training.stream import Mixture, Stream
from solver.machine import give_back_memory
from solver.runtime.worker_process import SPARING
from submission.training import provenance
from submission.training.run import CURVE, Before
from submission.training.train import Training, prepare, run_training
from tests.lm.toys import run_together, toy_lessons
from tests.runs import finish, start

RECIPE = Recipe(warmup=5)
DTYPE = fast_dtype(CPU)
MIXTURE = Mixture(tokens=512, longest=100, chunk=64)


def trainer(seed: int = 0, dtype: torch.dtype = DTYPE) -> tuple[Trainer, Stream]:
    torch.set_num_threads(1)
    model = TaskModel(build(Size(64, 2), seed), 4).to(dtype)
    return Trainer(model, RECIPE), Stream(toy_lessons(), MIXTURE, seed)


def losses(of: Trainer, stream: Stream, n: int) -> list[float]:
    return [of.step(next(stream), 1.0).loss for _ in range(n)]


def test_the_same_seed_gives_the_same_losses() -> None:
    first, again = losses(*trainer(), 20), losses(*trainer(), 20)
    assert first == again
    assert first != losses(*trainer(1), 20)


def test_it_learns() -> None:
    some, stream = trainer()
    held = list(itertools.islice(Stream(toy_lessons(), MIXTURE, 9), 2))
    before, exact = measure(some.model, held)
    losses(some, stream, 60)
    after, _ = measure(some.model, held)
    assert after < before - 0.5
    assert exact == 0.0


def test_a_model_that_has_learned_is_exact() -> None:
    some, _ = trainer()
    lessons = toy_lessons(1, pairs=1)
    stream = Stream(lessons, MIXTURE, 0)
    losses(some, stream, 150)
    loss, exact = measure(some.model, [next(stream)])
    assert (loss < 0.1, exact) == (True, 1.0)


def test_resume_is_bit_equal(tmp_path: Path) -> None:
    path = tmp_path / CHECKPOINT
    some, stream = trainer()
    losses(some, stream, 7)
    about = {"seed": 0}
    place = Position(about, some.steps, some.tokens, stream.chunk, stream.place, 1, 1.5, 2.5)
    save(path, some, place)
    expected = losses(some, stream, 5)
    other, elsewhere = trainer()
    losses(other, elsewhere, 2)
    assert read_position(path, about) == place
    restore(path, other, elsewhere, place)
    assert losses(other, elsewhere, 5) == expected
    assert (other.steps, other.tokens) == (some.steps, some.tokens)
    wider = Stream(toy_lessons(), MIXTURE, 0, 0, 2)
    restore(path, other, wider, place)
    assert (wider.chunk, wider.place) == (place.chunk + 1, 0)


def test_checkpoints_that_do_not_fit_are_named(tmp_path: Path) -> None:
    path = tmp_path / CHECKPOINT
    with pytest.raises(DataError, match=r"checkpoint\.safetensors: cannot be read"):
        read_position(path, {})
    some, stream = trainer()
    place = Position({"seed": 0}, 0, 0, 0, 0, 1, 0.0, 0.0)
    save(path, some, place)
    with pytest.raises(DataError, match="another run: seed differs"):
        read_position(path, {"seed": 1})
    larger = Trainer(TaskModel(build(Size(64, 3), 0), 4), RECIPE)
    with pytest.raises(DataError, match="holds no"):
        restore(path, larger, stream, place)
    wider = Trainer(TaskModel(build(Size(128, 2), 0), 4), RECIPE)
    with pytest.raises(DataError, match="has another shape"):
        restore(path, wider, stream, place)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"checkpoint\.safetensors: corrupt"):
        read_position(path, {})


def test_rates_warm_up_stay_and_decay() -> None:
    recipe = Recipe(warmup=10, decay=0.2)
    scales = [schedule(recipe, step, 1 - step / 100) for step in range(100)]
    assert scales[:3] == pytest.approx([0.1, 0.2, 0.3])
    assert scales[9:81] == pytest.approx([1.0] * 72)
    assert scales[90] == pytest.approx(0.5)
    assert schedule(recipe, 1000, -0.1) == 0.0


@pytest.mark.parametrize("step_s", [0.7, 3.0, 11.0])
def test_no_step_is_begun_that_would_not_end_in_time(step_s: float) -> None:
    some, stream = trainer()
    clock, deadline, seen = FakeClock(), 10.0, []

    def watch(step: Step) -> None:
        seen.append(step)
        clock.sleep(step_s)

    train(some, stream, Deadline.after(deadline, clock), watch)
    assert len(seen) == max(1, int(deadline / step_s - 1e-9))
    train(some, stream, Deadline.after(-1.0, clock), watch)
    assert len(seen) == some.steps == seen[-1].number


def test_what_a_step_will_take_is_told_by_the_largest_ones() -> None:
    rng = np.random.default_rng(0)
    grids = [freeze(rng.integers(0, 9, (side, side)).astype(np.uint8)) for side in (2, 9, 12)]
    small, medium, large = (collate([encode(Pair(g, g), 0)], [0]) for g in grids)
    pace = Pace()
    assert pace.predict(large) == 0.0
    pace.note(medium, 40.0)  # it compiled
    assert pace.predict(large) > 40.0
    pace.note(small, 12.0)  # and once more, for this shape
    pace.note(medium, 0.5)
    pace.note(medium, 0.4)
    assert pace.predict(medium) == 0.5
    assert 0.5 < pace.predict(large) < 1.0
    assert pace.predict(small) == 12.0


def test_a_gradient_that_is_no_number_changes_nothing() -> None:
    some, stream = trainer(dtype=torch.bfloat16)  # float32 weights would be the masters themselves
    losses(some, stream, 2)
    before = {name: master.clone() for name, master in some.masters.items()}
    with torch.no_grad():
        some.model.tasks[:] = float("nan")
    assert losses(some, stream, 1) != losses(some, stream, 1)
    assert all(torch.equal(before[name], master) for name, master in some.masters.items())
    some.weights.publish()
    assert losses(some, stream, 1)[0] > 0


def arcsub(out: Path, budget: str, *more: str, processes: int = 1) -> subprocess.Popen[str]:
    """Start `arcsub train` on a tiny model, uncompiled: compiling takes longer than the test."""
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    options = ["--out", str(out), "--budget", budget, "--width", "64", "--layers", "1", *more]
    return start(
        [
            *(sys.executable, *(launcher if processes > 1 else [])),
            *("-m", "submission.cli", "train", *options),
        ],
        OMP_NUM_THREADS="1",
    )


def curve(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / CURVE).read_text().splitlines()]


def end_when(
    process: subprocess.Popen[str], ready: Callable[[], bool], number: int = signal.SIGKILL
) -> None:
    while not ready():
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.send_signal(number)
    process.communicate()


def test_a_killed_training_goes_on(tmp_path: Path) -> None:
    checkpoint = tmp_path / CHECKPOINT
    end_when(arcsub(tmp_path, "80s"), checkpoint.exists)
    (first, *_) = curve(tmp_path)
    assert first["steps"] == 0
    with pytest.raises(DataError, match="continue it with --resume"):
        run_training(Training(str(tmp_path), "5s"), time.monotonic(), print)
    place = read_position(checkpoint, {"seed": 0, "width": 64})
    assert place.steps > 0
    resumed = len(curve(tmp_path))
    again = arcsub(tmp_path, "80s", "--resume")
    end_when(again, lambda: len(curve(tmp_path)) > resumed + 1)
    assert curve(tmp_path)[resumed]["steps"] == place.steps
    assert curve(tmp_path)[-1]["steps"] > place.steps


@pytest.mark.parametrize("name", ["/proc/out", "/dev/full", "file", "file/out", "others"])
def test_a_folder_that_cannot_be_written_is_refused_before_the_work(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "others" / "model").mkdir(parents=True)
    said: list[str] = []
    with pytest.raises(DataError, match=r"cannot be written|no training of the kit made"):
        run_training(Training(str(tmp_path / name), "1h"), time.monotonic(), said.append)
    assert not said


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_no_time_does_no_harm(tmp_path: Path) -> None:
    request = Training(str(tmp_path), "0.1s", width=64, layers=1)
    said: list[str] = []
    with pytest.raises(DataError, match=r"--budget 0\.1s: too short for a step"):
        run_training(request, time.monotonic() - 1, said.append)
    assert not said, "it worked before it looked at the time"
    assert not (tmp_path / CHECKPOINT).exists()
    with pytest.raises(DataError, match="no such file"):
        run_training(replace(request, resume=True), time.monotonic(), print)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_training_goes_on_from_a_trained_model(tmp_path: Path) -> None:
    """Its weights, its size and its tasks' vectors; what it took so far is counted in."""
    folder = tmp_path / "model"
    lm = build(Size(64, 1), 5)
    model = TaskModel(lm, 1).bfloat16()
    export(folder, model)
    first = read_corpus(None, 0).lessons[3].id
    with torch.no_grad():
        model.tasks.fill_(0.25)
    save_tasks(folder / VECTORS, model, [first])
    old = Before(100, 20_000, 50.0)
    some = provenance.read(BUNDLE)
    told = replace(some, sha256=sha256(folder / WEIGHTS_FILE), **asdict(old))
    provenance.write(folder, told)
    request = Training(str(tmp_path / "out"), "100s", start=str(folder), originals=0.6)
    run = prepare(request, tmp_path / "out", Deadline.after(100, FakeClock()), print)
    name = "model.layers.0.mlp.up_proj.weight"
    assert torch.equal(run.trainer.model.lm.get_parameter(name), lm.get_parameter(name))
    vectors = run.trainer.model.tasks
    assert [bool((row == 0.25).all()) for row in vectors[:5]] == [False, False, False, True, False]
    run.measure()
    batch = next(run.stream)
    run.watch(run.trainer.step(batch, 1.0))
    run.save(0.0)
    begun = json.loads((tmp_path / "out" / CURVE).read_text().splitlines()[0])
    assert (begun["steps"], begun["tokens"], begun["seconds"]) == (100, 20_000, 50.0)
    place = read_position(tmp_path / "out" / CHECKPOINT, {"width": 64, "originals": 0.6})
    assert (place.steps, place.about["before"]) == (1, asdict(old))
    again = prepare(replace(request, resume=True), tmp_path / "out", run.deadline, print)
    assert (again.trainer.steps, again.earlier) == (1, old)
    again.measure()
    rows = read_tasks(tmp_path / "out" / "model" / VECTORS, vectors[0])
    assert len(rows) == len(vectors)
    assert torch.equal(rows[first], again.trainer.model.tasks[3])
    save_file({"other": torch.zeros(3)}, folder / VECTORS)
    with pytest.raises(DataError, match=f"{VECTORS}: vectors of another model"):
        prepare(request, tmp_path / "another", run.deadline, print)
    (folder / VECTORS).write_bytes(b"torn")
    with pytest.raises(DataError, match=f"{VECTORS}: cannot be read"):
        prepare(request, tmp_path / "another", run.deadline, print)


def test_processes_average_their_gradients(tmp_path: Path) -> None:
    files = [tmp_path / f"masters{rank}" for rank in range(2)]
    run_together(_one_step, [(rank, tmp_path / "meet", file) for rank, file in enumerate(files)])
    left, right = (load_file(file) for file in files)
    alone = [gradients(rank, 2) for rank in range(2)]
    for name, both in left.items():
        assert torch.equal(both, right[name])
        torch.testing.assert_close(both, (alone[0][name] + alone[1][name]) / 2)


def gradients(rank: int, ranks: int) -> dict[str, torch.Tensor]:
    """The unclipped gradients of the first batch, as the optimisers see them."""
    some, _ = trainer()
    some.recipe = replace(RECIPE, clip=1e9)
    some.step(next(Stream(toy_lessons(), MIXTURE, 0, rank, ranks)), 1.0)
    return {name: m.grad for name, m in some.masters.items() if m.grad is not None}


def _one_step(rank: int, meet: Path, file: Path) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{meet}", rank=rank, world_size=2
    )
    assert agree(float(rank), torch.device("cpu")) == 0.0
    save_file(gradients(rank, 2), file)
    torch.distributed.destroy_process_group()


def test_a_launcher_starts_several_processes(tmp_path: Path) -> None:
    process = arcsub(tmp_path, "80s", processes=2)
    end_when(process, (tmp_path / CHECKPOINT).exists, signal.SIGTERM)
    place = read_position(tmp_path / CHECKPOINT, {"seed": 0, "width": 64})
    assert place.steps > 0
    assert place.ranks == 2


_PRODUCTS = """
import ctypes, torch
fields = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in fields]
told = ctypes.CDLL(None).mallinfo2
told.restype = Info
torch.set_num_threads(1)
from solver.lm.precision import CPU, fast_dtype
weight = torch.randn(256, 256, dtype=fast_dtype(CPU))
for rows in range(1, 601):
    torch.randn(rows, 256, dtype=weight.dtype) @ weight
    if rows == 100:
        begun = told().uordblks
print((told().uordblks - begun) / 2**20)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="glibc 2.33 tells")
def test_a_worker_keeps_few_of_the_products_it_compiled() -> None:
    """Each new shape takes 0.3 to 0.6 MB where the processor has products in bfloat16."""
    code, out, err = finish(start([sys.executable, "-c", _PRODUCTS], **SPARING))
    assert code == 0, err
    assert float(out) < 30


def test_memory_of_many_sizes_is_given_back() -> None:
    """Memory of tensors of many sizes is given back: 300 MB were touched."""
    kept = [torch.ones(n) for n in range(1000, 12_000, 1)]
    wall = torch.ones(1000)  # lies behind them, so that the heap cannot simply shrink
    full = resident_mb()
    del kept
    give_back_memory()
    assert resident_mb() < full - 150
    assert wall.sum() == 1000


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20
