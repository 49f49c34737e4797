"""The ladder of memory: what errors mean, and what a job that met one gets next."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from solver.config import Config, Stage
from solver.data.arcio import Source
from solver.data.journal import JobRecord
from solver.ladder import FULL, LADDER, Rung, is_out_of_memory, rung_of, says_out_of_memory
from solver.runtime.run import Result, solve
from tests.fakes import BAD_TASK, toy_tasks
from tests.runs import ROOT, journal_of

TASKS = toy_tasks(6)
ALL_RUNGS = tuple(LADDER)


class OutOfMemoryError(RuntimeError):
    """An error with the name of torch's own."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 8 bytes"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("could not create a primitive"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_memory_that_ran_out_is_known_by_class_or_text(error: Exception) -> None:
    assert is_out_of_memory(error)
    wrapped = ValueError("a compiler failed")
    wrapped.__cause__ = error
    assert is_out_of_memory(wrapped)


@pytest.mark.parametrize(
    "error", [None, RuntimeError("CUDA error: device-side assert"), KeyError()]
)
def test_other_errors_are_not_about_memory(error: Exception | None) -> None:
    assert not is_out_of_memory(error)


def test_a_dying_process_says_it_too() -> None:
    assert says_out_of_memory("terminate called after throwing an instance of 'std::bad_alloc'")
    assert not says_out_of_memory("Segmentation fault")


def test_each_rung_gives_up_one_thing_more() -> None:
    assert rung_of(()) == FULL == Rung()
    assert rung_of(("batch",)) == Rung(batch=0.25)
    lowest = rung_of(ALL_RUNGS)
    assert lowest == Rung(0.25, 0.5, 0.5, checkpointing=True, four_bit=True, training=False)


def test_the_documentation_tells_the_ladder() -> None:
    page = (ROOT / "docs/run.md").read_text()
    told = re.findall(r"^\| `(\w+)` \| (?:three|half|kept|weights|learning)", page, re.MULTILINE)
    assert told == list(LADDER)


# --- in real workers ----------------------------------------------------------------------


def run_here(
    folder: Path, engine: str, ladder: tuple[str, ...], budget_s: float = 60
) -> tuple[Result, list[JobRecord]]:
    """A run of one engine, and the jobs of the bad task."""
    stage = Stage(f"tests.fakes:{engine}", max_slice_s=30, ladder=ladder)
    config = Config(budget_s, (stage,), memory_mb=200, grace_s=0.5)
    result = solve(Source("toys", TASKS), config, folder)
    return result, [job for job in journal_of(folder).jobs if job.task == BAD_TASK]


@pytest.mark.parametrize(
    ("engine", "reason"),
    [
        ("out_of_memory_unless_thrifty", "ran out of memory: tests.fakes.OutOfMemoryError"),
        ("huge_unless_thrifty", "MemoryError"),  # refused by the limit on addresses
        ("grows_unless_thrifty", "MB, over 200 MB"),  # killed by who watches it
        ("killed_unless_thrifty", "signal SIGKILL"),  # by the system
        ("aborts_unless_thrifty", "SIGABRT"),  # in a library
    ],
)
def test_a_job_without_memory_walks_down_until_it_fits(
    tmp_path: Path, engine: str, reason: str
) -> None:
    result, jobs = run_here(tmp_path, engine, ALL_RUNGS[:3])
    assert [(job.outcome, job.rung, job.pass_) for job in jobs] == [
        ("memory", 0, 0),
        ("memory", 1, 0),
        ("finished", 2, 0),
    ]
    for job, then in zip(jobs, ("batch", "batch, views"), strict=False):
        assert reason in str(job.error)
        assert str(job.error).splitlines()[0].endswith(f"; next without {then}")
    assert {answer.state for answer in result.answers.values()} == {"program"}
    others = [job for job in journal_of(tmp_path).jobs if job.task != BAD_TASK]
    assert {job.outcome for job in others} == {"finished"}


def test_what_is_too_large_to_load_is_loaded_as_the_rung_says(tmp_path: Path) -> None:
    stage = Stage("tests.lm.loads_much:answer", ladder=("batch", "four_bit"))
    result = solve(Source("toys", TASKS[:1]), Config(60, (stage,), memory_mb=200), tmp_path)
    jobs = journal_of(tmp_path).jobs
    assert [(job.outcome, job.rung) for job in jobs] == [
        ("memory", 0),
        ("memory", 1),
        ("finished", 2),
    ]
    assert {answer.state for answer in result.answers.values()} == {"program"}


def test_who_fits_on_no_rung_costs_one_try_on_each(tmp_path: Path) -> None:
    _, jobs = run_here(tmp_path, "out_of_memory_unless_thrifty", ("batch",))
    assert [(job.outcome, job.rung) for job in jobs] == [("memory", 0), ("memory", 1)]
    terminal = journal_of(tmp_path).terminal[BAD_TASK]
    assert terminal["state"] == "fallback"
    assert len(terminal["errors"]) == 2
    assert terminal["errors"][1].endswith("; no rung is left")


def test_memory_is_no_special_case_for_a_stage_without_a_ladder(tmp_path: Path) -> None:
    _, jobs = run_here(tmp_path, "out_of_memory_unless_thrifty", ())
    assert [(job.outcome, job.rung) for job in jobs] == [("error", 0)]
    _, jobs = run_here(tmp_path / "killed", "killed_unless_thrifty", ())
    assert [(job.outcome, job.rung) for job in jobs] == [("died", 0)] * 3


def test_a_resumed_run_goes_on_from_the_rung_it_had_come_to(tmp_path: Path) -> None:
    run_here(tmp_path, "out_of_memory_unless_thrifty", ALL_RUNGS[:3])
    path = tmp_path / "candidates.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    kept = [line for line in lines if line.get("task") != BAD_TASK or line.get("rung") == 0]
    path.write_text("".join(json.dumps(line) + "\n" for line in kept))
    stage = Stage("tests.fakes:out_of_memory_unless_thrifty", ladder=ALL_RUNGS[:3])
    config = Config(60, (stage,), memory_mb=200)
    solve(Source("toys", TASKS), config, tmp_path, resume=True)
    jobs = [job for job in journal_of(tmp_path).jobs if job.task == BAD_TASK]
    assert [job.rung for job in jobs] == [0, 1, 2]


def test_a_job_that_the_end_of_the_run_stopped_is_no_pass(tmp_path: Path) -> None:
    stage = Stage("tests.fakes:slow", max_slice_s=60)
    config = Config(60, (stage,))

    def stop() -> bool:
        return (tmp_path / "candidates.jsonl").exists() and bool(journal_of(tmp_path).candidates)

    solve(Source("toys", TASKS[:1]), config, tmp_path, stop=stop)
    solve(Source("toys", TASKS[:1]), config, tmp_path, stop=stop, resume=True)
    jobs = journal_of(tmp_path).jobs
    assert {(job.outcome, job.pass_) for job in jobs} == {("stopped", 0)}
