"""What the cells of the notebook call: a run goes on after deaths, every fault has an answer."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from solver.grid import as_grid, same
from solver.mounts import CHALLENGES
from solver.plan import Plan
from solver.session import PLAN, Session, install_wheels, run, summary
from solver.submissions import check_submission, read_submission
from tests.control import paced
from tests.fakes import toy_tasks
from tests.runs import journal_of, write_challenges

TASKS = toy_tasks(6)
COMPETITION = "competitions/some-competition"


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """A session whose competition is mounted, with twenty seconds for everything."""
    for name in (f"input/{COMPETITION}", "working", "scratch"):
        (tmp_path / name).mkdir(parents=True)
    write_challenges(tmp_path / "input" / COMPETITION / CHALLENGES, TASKS)
    return Session(
        competition="some-competition",
        profile="cpu",
        engines="",
        budget="12h",
        short_budget="60s",
        seed=0,
        wheels="",
        model="",
        digest="",
        started=time.monotonic(),
        working=tmp_path / "working",
        input=tmp_path / "input",
        scratch=tmp_path / "scratch",
    )


def plan(session: Session, **values: object) -> None:
    """What a preflight would have left."""
    Plan(**values).write(session.scratch / PLAN)  # type: ignore[arg-type]


def right(session: Session) -> int:
    """How many tasks are answered rightly; the submission is valid and complete."""
    path = session.working / "submission.json"
    check_submission(path, TASKS)
    answers = read_submission(path)
    return sum(same(answers[t.id][0][0], as_grid(t.tests[0][::-1])) for t in TASKS)


def test_a_run_to_its_end_and_its_summary(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    plan(session, engines=("tests.fakes:steady",), workers=1)
    run(session)
    assert right(session) == len(TASKS)
    assert not (session.working / "shared").exists()
    pictures = summary(session)
    said = capsys.readouterr().out
    assert "is valid: 6 tasks, 6 test inputs" in said
    assert "answered by: program 6" in said
    assert "steady 6 jobs" in said
    assert len(pictures) == 4
    assert all(picture.startswith("<svg") for picture in pictures)
    assert "attempt 2" in pictures[0]


def test_a_run_whose_parent_is_killed_goes_on(session: Session) -> None:
    said: list[str] = []
    plan(session, engines=("tests.fakes:parricide",), workers=1)
    run(session, said.append)
    assert right(session) == len(TASKS)
    assert any("The run ended with -9" in line for line in said)
    assert len(journal_of(session.working).runs) == 2


def test_a_run_is_begun_anew_when_its_cell_is(session: Session) -> None:
    plan(session, engines=("tests.fakes:instant",), workers=1)
    run(session)
    run(session)
    assert right(session) == len(TASKS)
    assert len(journal_of(session.working).runs) == 1


def test_engines_that_are_refused_leave_the_synthesizer(session: Session) -> None:
    said: list[str] = []
    plan(session, engines=("no-such-engine",), workers=1)
    run(Session(**{**vars(session), "short_budget": paced(8)}), said.append)
    assert any("no such engine" in line for line in said)
    check_submission(session.working / "submission.json", TASKS)
    (begun,) = journal_of(session.working).runs
    assert [stage["engine"] for stage in begun["config"]["stages"]] == ["synth"]


def test_a_run_has_the_devices_that_work(session: Session, tmp_path: Path) -> None:
    profile = tmp_path / "two.toml"
    profile.write_text(
        "devices = 2\n[[stages]]\nengine = 'tests.fakes:says_where'\ndevice = true\n"
    )
    plan(session, visible=("1",), devices=1)
    run(replace(session, profile=str(profile)))
    assert right(session) == len(TASKS)
    found = journal_of(session.working).candidates
    assert {str(candidate.program).split()[0] for candidate in found} == {"1"}


def test_without_a_preflight_too_few_devices_leave_the_synthesizer(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    said: list[str] = []
    profile = tmp_path / "two.toml"
    profile.write_text("devices = 2\n[[stages]]\nengine = 'tests.fakes:instant'\ndevice = true\n")
    run(replace(session, profile=str(profile), short_budget=paced(8)), said.append)
    assert any("2 devices are asked for" in line for line in said)
    check_submission(session.working / "submission.json", TASKS)
    (begun,) = journal_of(session.working).runs
    assert (begun["config"]["profile"], begun["config"]["devices"]) == ("cpu", 0)


@pytest.mark.parametrize("left", ["nothing", "no JSON", '{"unknown": 1}'])
def test_without_a_plan_the_run_does_what_the_notebook_says(session: Session, left: str) -> None:
    if left != "nothing":
        (session.scratch / PLAN).write_text(left)
    run(Session(**{**vars(session), "engines": "tests.fakes:instant"}))
    assert right(session) == len(TASKS)


def test_without_a_competition_there_is_nothing_to_do(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    (session.input / COMPETITION / CHALLENGES).unlink()
    run(session)
    assert summary(session) == ()
    assert "no challenges file" in capsys.readouterr().out
    assert list(session.working.iterdir()) == []


def test_the_whole_budget_is_for_the_run_that_is_scored(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("KAGGLE_IS_COMPETITION_RERUN", "ARC_KIT_BUDGET"):
        monkeypatch.delenv(name, raising=False)
    assert session.deadline().at == session.started + 60
    monkeypatch.setenv("KAGGLE_IS_COMPETITION_RERUN", "1")
    assert session.deadline().at == session.started + 12 * 3600
    monkeypatch.setenv("ARC_KIT_BUDGET", "45s")
    assert session.deadline().at == session.started + 45


def test_no_time_left_leaves_what_stands(session: Session) -> None:
    plan(session, engines=("tests.fakes:instant",))
    (session.working / "submission.json").write_text("{}")
    run(Session(**{**vars(session), "started": session.started - 58}))
    assert (session.working / "submission.json").read_text() == "{}"


def test_no_wheels_are_needed_or_none_are_there(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    install_wheels(session)
    assert "nothing to install" in capsys.readouterr().out
    install_wheels(Session(**{**vars(session), "wheels": "datasets/a/wheels"}))
    assert "no wheels: datasets/a/wheels is not mounted" in capsys.readouterr().out


@pytest.mark.parametrize("cell", [[[1]] * 31, [[1, 2], [3]], None])
def test_one_hidden_task_that_breaks_the_format_costs_itself_alone(
    session: Session, cell: object, capsys: pytest.CaptureFixture[str]
) -> None:
    challenges = session.input / COMPETITION / CHALLENGES
    raw = json.loads(challenges.read_text())
    raw["broken"] = {"train": raw["t000"]["train"], "test": [{"input": cell}] * 2}
    challenges.write_text(json.dumps(raw))
    plan(session, engines=("tests.fakes:steady",), workers=1)
    said: list[str] = []
    run(session, said.append)
    answers = read_submission(session.working / "submission.json")  # no side is over 30
    assert set(answers) == {*(task.id for task in TASKS), "broken"}
    assert len(answers["broken"]) == 2
    for task in TASKS:
        assert same(answers[task.id][0][0], as_grid(task.tests[0][::-1]))
    assert any("salvaged  1 tasks that break the format" in line for line in said)
    assert len(summary(session)) == 4
    assert "is valid: 7 tasks" in capsys.readouterr().out
