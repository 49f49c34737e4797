"""Runs that repeat: by seed if engines end by themselves, to the byte if a run is in steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from solver.config import Config, Stage, load_config
from solver.data.arcio import Source
from solver.data.journal import JOURNAL_FILE, candidate_record
from solver.deadline import STEP_S, RealClock
from solver.grid import DataError
from solver.runtime.command import SolveRequest, run_solve
from solver.runtime.run import solve
from tests.fakes import toy_tasks
from tests.runs import command, finish, journal_of, start, write_challenges

TASKS = toy_tasks(6)
EASY = ("007bbfb7", "3c9b0459", "a85d4709", "d511f180")  # for the synthesizer
SHORT, LONG = 300, 2000  # not all first passes, and further ones
MIN_STEPS = 30  # steps of a job
STAGES = (
    Stage(
        "tests.fakes:draws_on", 1, MIN_STEPS * STEP_S, MIN_STEPS * STEP_S, repeats=True, settled=0.5
    ),
    Stage("tests.fakes:draws", min_slice_s=2 * MIN_STEPS * STEP_S, step_s=2 * STEP_S),
)


def in_steps(folder: Path, steps: int, *, resume: bool = False) -> Path:
    """A run of toy tasks in this process, its workers apart."""
    config = Config(steps * STEP_S, STAGES, steps=steps)
    solve(Source("toys", TASKS), config, folder, resume=resume)
    return folder


def submission(folder: Path) -> bytes:
    return (folder / "submission.json").read_bytes()


def records(folder: Path) -> list[dict[str, Any]]:
    """The journal's records without its headers, which say when and how a run began."""
    lines = map(json.loads, (folder / JOURNAL_FILE).read_text().splitlines())
    return [line for line in lines if line["kind"] != "run"]


def found(folder: Path) -> list[dict[str, Any]]:
    """The candidates of jobs that came to their own end, in order."""
    return list(map(candidate_record, journal_of(folder).by_ended_jobs().candidates))


@pytest.fixture(scope="module", params=[SHORT, LONG])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing cut off; its folder is named after its steps."""
    return in_steps(tmp_path_factory.mktemp("steps") / str(request.param), request.param)


def test_a_run_of_the_synthesizer_in_steps_is_the_same_whatever_hashes_are(tmp_path: Path) -> None:
    runs = []
    for salt, tasks, steps in (("1", EASY, 2000), ("2", EASY, 2000), ("3", EASY[2:], 1500)):
        line = command(Path("arc-agi-1:training"), tmp_path / salt, "synth", "10m")
        more = ["--tasks", ",".join(tasks), "--steps", str(steps)]
        runs.append((start([*line, *more], PYTHONHASHSEED=salt), steps))
    for process, steps in runs:
        code, out, err = finish(process)
        assert (code, err) == (0, "")
        assert f"budget {steps} steps, 1 workers" in out
    assert submission(tmp_path / "1") == submission(tmp_path / "2")
    assert records(tmp_path / "1") == records(tmp_path / "2")
    assert {record["task"] for record in found(tmp_path / "1")} == set(EASY)
    answers, others = (json.loads(submission(tmp_path / run)) for run in "13")
    assert others == {name: answers[name] for name in EASY[2:]}


def test_a_run_in_steps_uses_its_steps_and_no_more(whole: Path) -> None:
    jobs, steps = journal_of(whole).jobs, int(whole.name)
    assert (max(job.pass_ for job in jobs) > 0) == (steps == LONG)
    used = sum(job.cost_s for job in jobs) / STEP_S
    assert steps - MIN_STEPS < used < steps + 20  # with fewer left no stage begins another job
    ends = [round(job.started_s + job.cost_s, 4) for job in jobs]
    assert ends[:-1] == [job.started_s for job in jobs[1:]]


def test_a_run_in_steps_is_the_same_again(whole: Path, tmp_path: Path) -> None:
    again = in_steps(tmp_path / "again", int(whole.name))
    assert submission(again) == submission(whole)
    assert records(again) == records(whole)


@pytest.mark.parametrize("part", [0.1, 0.4, 0.6, 0.9])
def test_a_run_in_steps_that_was_cut_off_ends_as_any_other(
    part: float, whole: Path, tmp_path: Path
) -> None:
    lines = (whole / JOURNAL_FILE).read_bytes().splitlines(keepends=True)
    (tmp_path / JOURNAL_FILE).write_bytes(
        b"".join(lines[: round(part * len(lines))]) + b'{"kind":"cand'
    )
    assert submission(in_steps(tmp_path, int(whole.name), resume=True)) == submission(whole)
    assert found(tmp_path) == found(whole)


def test_a_run_in_steps_that_was_stopped_ends_as_any_other(whole: Path, tmp_path: Path) -> None:
    def stop() -> bool:
        return len(journal_of(tmp_path).candidates) > 20

    steps = int(whole.name)
    config = Config(steps * STEP_S, STAGES, steps=steps)
    solve(Source("toys", TASKS), config, tmp_path, stop=stop)
    in_steps(tmp_path, int(whole.name), resume=True)
    assert submission(tmp_path) == submission(whole)
    assert found(tmp_path) == found(whole)


def test_a_run_in_steps_can_go_on_with_more_of_them(tmp_path: Path) -> None:
    in_steps(tmp_path, SHORT)
    in_steps(tmp_path, LONG, resume=True)
    assert (
        LONG - MIN_STEPS < sum(job.cost_s for job in journal_of(tmp_path).jobs) / STEP_S < LONG + 20
    )


def test_other_tasks_change_no_answer_of_an_engine_that_ends_by_itself(tmp_path: Path) -> None:
    answers = []
    for tasks, workers in ((TASKS, 2), (TASKS[1::2], 1)):
        config = Config(30, STAGES[1:], workers, seed=3)
        folder = tmp_path / str(workers)
        solve(Source("toys", tasks), config, folder)
        answers.append(json.loads(submission(folder)))
    assert answers[1].items() < answers[0].items()


def test_the_time_of_a_run_in_steps_can_be_limited_too(tmp_path: Path) -> None:
    source = str(write_challenges(tmp_path / "toys.json", TASKS))
    request = SolveRequest(
        source,
        budget="1s",
        engines=STAGES[0].engine,
        run=str(tmp_path / "run"),
        steps=10**9,
    )
    report = run_solve(request, RealClock().now(), lambda snapshot: None)
    assert set(report.result.answers) == {task.id for task in TASKS}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"steps": 0}, "--steps 0: must be 1 to"),
        ({"steps": 5, "workers": 2}, "--steps: a run in steps has one worker, not 2"),
        ({"steps": 5, "profile": "marc", "model": "m"}, "one worker, not 5"),
    ],
)
def test_what_no_run_in_steps_can_have_is_refused(
    more: dict[str, Any], message: str, tmp_path: Path
) -> None:
    source = str(write_challenges(tmp_path / "toys.json", TASKS))
    request = SolveRequest(source, run=str(tmp_path / "run"), **more)
    with pytest.raises(DataError, match=message):
        run_solve(request, RealClock().now(), lambda snapshot: None)


def test_settings_in_seconds_are_of_steps() -> None:
    short, long = (load_config("cpu", 60, steps=steps) for steps in (500, 600_000))
    assert (short.budget_s, long.budget_s) == (0.5, 600)
    assert (long.workers, long.steps) == (1, 600_000)
    synth, model = long.stages  # which is for runs of ten minutes and more
    assert model.step_s == 100 * synth.step_s
    assert model.loading_s == 0  # that takes no steps
