"""Real workers load engines ahead of their jobs: seen, booked, in time, and rarely twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from solver.config import Config, Stage
from solver.data.arcio import Source
from solver.runtime.board import Snapshot
from solver.runtime.run import Result, solve
from submission.report.charts import timelines
from submission.runs.recorded import read_run
from tests.control import control, paced
from tests.fakes import toy_tasks
from tests.runs import command, finish, journal_of, start, write_challenges

TASKS = toy_tasks(4)
PROGRAMS = "tests.fakes:steady"
SLOW, LATE, INSTANT = (
    f"tests.schedule.slow_to_load:{name}" for name in ("slow", "late", "instant")
)


def run_here(
    folder: Path, budget_s: float, *stages: Stage, tasks: int = 4, workers: int = 1
) -> tuple[Result, list[Snapshot]]:
    """A run on the toy tasks, and all that it told while it went on."""
    told: list[Snapshot] = []
    config = Config(budget_s, stages, workers)
    return solve(Source("toy", toy_tasks(tasks)), config, folder, watch=told.append), told


def test_loading_comes_before_the_job_and_is_seen_everywhere(tmp_path: Path) -> None:
    challenges = write_challenges(tmp_path / "c.json", TASKS)
    stages = (Stage(PROGRAMS), Stage(INSTANT))
    told: list[Snapshot] = []
    folder = tmp_path / "run"
    solve(Source(str(challenges), TASKS), Config(20, stages), folder, watch=told.append)
    replayed = journal_of(folder)
    loads = {load.engine: load for load in replayed.loads}
    assert loads.keys() == {PROGRAMS, INSTANT}
    assert 1.0 <= loads[INSTANT].cost_s < 3
    first, *_ = [job for job in replayed.jobs if job.engine == INSTANT]
    assert first.given_s is not None
    assert first.given_s >= loads[INSTANT].started_s + loads[INSTANT].cost_s - 0.01
    assert first.started_s - first.given_s < 0.5  # the job itself loads nothing
    assert first.cost_s < 0.5
    assert any(f"loading the {INSTANT}" in at for now in told for at in now.doing)
    assert f"loaded {INSTANT} in " in (folder / "run.log").read_text()
    (timeline,) = timelines(read_run(folder))
    (lane,) = timeline.lanes
    assert len(lane.waits) == 2
    assert lane.loading >= 1 / 20
    assert lane.busy < 1 / 20


def test_a_job_that_is_late_is_not_killed_where_a_replacement_would_take_longer(
    tmp_path: Path,
) -> None:
    """Late by 0.8 s, in slices below 1 s: the grace without that is 0.25 to 0.5 s."""
    for load_s, outcomes in ((1.5, {"sliced"}), (0.0, {"died"})):
        stage = Stage(LATE, max_slice_s=0.5, settings={"load_s": load_s, "late_s": 0.8})
        run_here(tmp_path / str(load_s), 8, stage, tasks=3)
        jobs = journal_of(tmp_path / str(load_s)).jobs
        assert {job.outcome for job in jobs if job.pass_ == 0} == outcomes


def test_the_end_of_the_run_waits_for_nobody(tmp_path: Path) -> None:
    stage = Stage(LATE, settings={"load_s": 1.0, "late_s": 30.0})
    run_here(tmp_path, 4, stage, tasks=1)
    (job,) = journal_of(tmp_path).jobs
    assert job.outcome == "stopped"
    assert job.started_s + job.cost_s < 4


def test_an_engine_that_cannot_be_ready_says_so_at_the_start(tmp_path: Path) -> None:
    result, told = run_here(tmp_path, 4, Stage(PROGRAMS), Stage(SLOW, loading_s=60))
    expected = f"{SLOW} cannot be ready in time: its part of the run is "
    assert any(note.startswith(expected) for note in told[0].notes)
    assert any(note.startswith(expected) for note in result.notes)
    assert f"{SLOW} tried no task" in result.notes
    assert expected in (tmp_path / "run.log").read_text()
    replayed = journal_of(tmp_path)
    assert {load.engine for load in replayed.loads} == {PROGRAMS}
    assert {answer.state for answer in result.answers.values()} == {"program"}


def test_an_engine_that_was_still_loading_at_the_end_is_named(tmp_path: Path) -> None:
    """Nobody knew how long it takes."""
    result, told = run_here(tmp_path, 3, Stage(SLOW, settings={"load_s": 60.0}))
    (note, silent) = result.notes
    assert note.startswith(f"{SLOW} was still loading after ")
    assert silent == f"{SLOW} tried no task"
    assert told[-1].notes == result.notes
    assert [load.outcome for load in journal_of(tmp_path).loads] == ["stopped"]


def test_the_command_ends_with_what_the_user_should_know(tmp_path: Path) -> None:
    challenges = write_challenges(tmp_path / "c.json", TASKS)
    profile = tmp_path / "own.toml"
    profile.write_text(f"[[stages]]\nengine = '{PROGRAMS}'\n[[stages]]\nengine = '{SLOW}'\n"
                       "loading_s = 60\n")  # fmt: skip
    words = command(challenges, tmp_path / "run", f"{PROGRAMS},{SLOW}", paced(4))
    code, out, _ = finish(start([*words, "--profile", str(profile)]))
    assert code == 0
    assert f"note      {SLOW} cannot be ready in time" in out
    assert out.startswith(f"{SLOW} cannot be ready in time")  # while the run goes on


@pytest.mark.parametrize(
    ("fails", "outcome", "state"),
    [
        ("memory", "memory", "program"),
        ("death", "died", "fallback"),
        ("error", "error", "fallback"),
    ],
)
def test_loading_that_fails_costs_what_a_job_that_fails_does(
    tmp_path: Path, fails: str, outcome: str, state: str
) -> None:
    stage = Stage(INSTANT, ladder=("batch",), settings={"load_s": 0.0, "fails": fails})
    result, _ = run_here(tmp_path, 30, stage, tasks=2)
    replayed = journal_of(tmp_path)
    assert [load.outcome for load in replayed.loads] == [outcome]
    assert {answer.state for answer in result.answers.values()} == {state}
    assert {job.task for job in replayed.jobs} == {"t000", "t001"}


@pytest.mark.budget
def test_shares_are_kept_in_a_real_run(tmp_path: Path) -> None:
    """Worker-seconds with loading: of 30 s on two workers, each stage its share within 3 %."""
    budget_s, workers = 30, 2
    stages = (
        Stage("tests.fakes:slow", share=1, max_slice_s=1e9),
        Stage(SLOW, share=2, max_slice_s=1e9, settings={"load_s": 1.5}),
    )
    with control() as measured:
        run_here(tmp_path, budget_s, *stages, tasks=60, workers=workers)
    replayed = journal_of(tmp_path)
    used = {stage.engine: 0.0 for stage in stages}
    for job in replayed.jobs:
        used[job.engine] += job.cost_s
    for load in replayed.loads:
        used[load.engine] += load.cost_s
    whole_s = sum(used.values())
    assert whole_s >= 0.8 * workers * budget_s - measured.allows(0, steps=2 * workers)
    within = 0.03 + measured.allows(0, steps=workers) / whole_s
    for stage in stages:
        assert used[stage.engine] / whole_s == pytest.approx(stage.share / 3, abs=within)
