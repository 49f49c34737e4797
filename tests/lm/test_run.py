"""Whole runs of the command with a language model: on devices, short of memory, and refused.

Everything is real: the small model with its tokenizer, worker processes, their limits and kills.
The devices are names, which a worker finds in its environment; torch computes on the CPU there.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from solver.data.submissions import check_submission, read_submission
from solver.grid import Pair, Task, as_grid, freeze
from solver.kit import CONFIG_FILE, WEIGHTS_FILE
from solver.lm.files import INDEX
from submission.report.report import run_report
from tests.lm.small import blank, copies, make_tokenizer
from tests.runs import command, finish, journal_of, start, workers_of, write_challenges

PROFILES = ("nvarc", "poe", "marc")
STAGE = """
grace_s = 60
selector = "kgmon"

[[stages]]
engine = "llm"
max_slice_s = 200
{stage}

[stages.settings]
max_seq_length = 2048
rank = 8
rate = 5e-3
train_colors = "none"
views = 2
view_colors = "none"
{settings}
"""


def arguments(
    to: Path, tasks: tuple[Task, ...], model: Path, places: str, stage: str, settings: str
) -> list[str]:
    """The command for a run of `llm` alone in `to / "run"`, by a profile of its own."""
    profile = to / "own.toml"
    profile.write_text(places + STAGE.format(stage=stage, settings=settings))
    given = command(write_challenges(to / "c.json", tasks), to / "run", "synth", "10m")
    given[given.index("synth")] = "llm"
    return [*given, "--profile", str(profile), "--model", str(model)]


# --- on devices -----------------------------------------------------------------------


def seen_devices(run: subprocess.Popen[str]) -> tuple[dict[int, str], set[int]]:
    """While a run lasts: what `CUDA_VISIBLE_DEVICES` was for each worker when its process began,
    before it could import anything, and which of them came to map torch into their memory."""
    began: dict[int, str] = {}
    with_torch: set[int] = set()
    end = time.monotonic() + 900
    while run.poll() is None and time.monotonic() < end:
        for pid in workers_of(run.pid):
            try:
                words = Path(f"/proc/{pid}/environ").read_text().split("\0")
                if "libtorch" in Path(f"/proc/{pid}/maps").read_text():
                    with_torch.add(pid)
            except OSError:
                continue
            environment = dict(word.partition("=")[::2] for word in words if word)
            began[pid] = environment["CUDA_VISIBLE_DEVICES"]
        time.sleep(0.2)
    return began, with_torch


def test_two_devices_make_a_valid_submission(small_llm: Path, tmp_path: Path) -> None:
    """The whole way: two processes, each on a device of its own, load the model in four bits,
    learn by LoRA, search depth-first, measure and vote."""
    tasks = tuple(blank(number) for number in range(200, 204))
    settings = 'quantization = "nf4"\nsequences = 32\nbatch = 4\nstrategy = "dfs"'
    places = "devices = 2\ndevice_memory_mb = 3000\n"
    given = arguments(tmp_path, tasks, small_llm, places, "device = true", settings)
    run = start(given, CUDA_VISIBLE_DEVICES="left,right")
    began, with_torch = seen_devices(run)
    code, out, err = finish(run)
    assert (code, err) == (0, ""), out

    assert sorted(began.values()) == ["left", "right"]
    assert with_torch == set(began)
    log = (tmp_path / "run" / "run.log").read_text()
    for number, device in enumerate(("left", "right")):
        loaded = f"worker {number} (device {device}): {small_llm}: loaded as transformers, nf4"
        assert log.count(loaded) == 1

    replayed = journal_of(tmp_path / "run")
    assert {job.outcome for job in replayed.jobs} <= {"finished", "sliced"}
    assert {job.worker for job in replayed.jobs} == {0, 1}
    passes = Counter((job.task, job.pass_) for job in replayed.jobs)
    assert {task for task, _ in passes} == {task.id for task in tasks}
    assert set(passes.values()) == {1}
    assert {candidate.engine for candidate in replayed.candidates} == {"llm"}
    assert any(len(candidate.scores) == 2 for candidate in replayed.candidates)
    submission = read_submission(tmp_path / "run" / "submission.json")
    check_submission(tmp_path / "run" / "submission.json", tasks)
    right = [any(not grid.any() for grid in submission[task.id][0]) for task in tasks]
    assert sum(right) >= 2


# --- short of memory ------------------------------------------------------------------


def large(number: int) -> Task:
    """A task of long sequences: large grids, of which only the size of the output is asked."""
    rng = np.random.default_rng(number)
    grids = [as_grid(rng.integers(0, 10, (20, 20))) for _ in range(4)]
    dot = freeze(np.zeros((2, 2), dtype=np.uint8))
    return Task(f"large{number}", tuple(Pair(g, dot) for g in grids[:3]), (grids[3],))


def test_a_task_too_large_for_memory_is_answered_one_rung_down(
    small_llm: Path, tmp_path: Path
) -> None:
    """Steps of 64 sequences take 1 GB above what the libraries do, steps of 16 a quarter.

    The system refuses the memory, to torch or to a library below.
    """
    tasks = (large(0), blank(1))
    stage = 'device = true\nladder = ["batch", "training"]'
    settings = "sequences = 64\nbatch = 64"
    given = arguments(tmp_path, tasks, small_llm, "devices = 1\n", stage, settings)
    given = ["sh", "-c", f'ulimit -v {1024 * 1700}; exec "$@"', "sh", *given]
    code, out, err = finish(start(given), timeout=900)
    assert (code, err) == (0, ""), out

    replayed = journal_of(tmp_path / "run")
    first, second, *_ = [job for job in replayed.jobs if job.task == "large0"]
    assert (first.outcome, first.rung) == ("memory", 0)
    assert "ran out of memory: RuntimeError: " in str(first.error)
    assert "next without batch" in str(first.error).splitlines()[0]
    assert second.outcome in ("finished", "sliced")
    assert second.rung == 1
    assert {candidate.task for candidate in replayed.candidates} == {task.id for task in tasks}
    check_submission(tmp_path / "run" / "submission.json", tasks)

    assert "next without batch" in (tmp_path / "run" / "run.log").read_text()
    page = run_report(str(tmp_path / "run"), None, None, None).read_text()
    assert "next without batch" in page
    assert f"{second.outcome}, rung 1" in page


# --- refused --------------------------------------------------------------------------


def edit(folder: Path, **values: object) -> None:
    """Let a checkpoint's configuration say something else."""
    path = folder / CONFIG_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def of_other_digits(folder: Path) -> None:
    """A tokenizer that writes several cells as one token."""
    make_tokenizer(folder, digits=False)


def of_another_model(folder: Path) -> None:
    """A tokenizer with more tokens than the model has rows."""
    edit(folder, vocab_size=200)


def without_a_shard(folder: Path) -> None:
    """Two shards, of which one was not copied."""
    shards = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    (folder / WEIGHTS_FILE).rename(folder / shards[0])
    names = {"model.embed_tokens.weight": shards[0], "model.norm.weight": shards[1]}
    (folder / INDEX).write_text(json.dumps({"weight_map": names}))


def quantized_by_what_is_not_here(folder: Path) -> None:
    edit(folder, quantization_config={"quant_method": "awq"})


def nothing_but_its_name(folder: Path) -> None:
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("profile", "broken", "complaint"),
    [
        ("nvarc", of_other_digits, "writes '00' where one token a cell is needed"),
        ("nvarc", of_another_model, "one of them belongs to another checkpoint"),
        ("poe", without_a_shard, "model-00002-of-00002.safetensors: cannot be read: No such file"),
        ("marc", quantized_by_what_is_not_here, "quantized by awq, and gptqmodel is not installed"),
        ("marc", nothing_but_its_name, "no such folder; --model names that of the language model"),
        ("memory_mb = 600\n", copies, "MB at least, and a worker (memory_mb) has 600"),
    ],
)
def test_what_cannot_run_ends_the_command_before_the_first_task(
    small_llm: Path, tmp_path: Path, profile: str, broken: Callable[[Path], object], complaint: str
) -> None:
    model = shutil.copytree(small_llm, tmp_path / "model")
    edit(model, max_position_embeddings=8192)
    broken(model)
    given = arguments(tmp_path, (copies(0),), model, profile, "", "")
    if profile in PROFILES:
        given[given.index("--profile") + 1] = profile
    code, out, err = finish(start(given))
    assert (code, out) == (2, "")
    assert complaint in err
    assert err.startswith("solver: ")
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "run" / "submission.json").exists()
