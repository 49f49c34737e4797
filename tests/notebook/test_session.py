"""The notebook's cells: a run continues after deaths, and every fault has an answer."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from solver.data.journal import JOURNAL_FILE
from solver.data.submissions import check_submission, read_submission
from solver.deadline import parse_duration
from solver.grid import Pair, Task, as_grid, same
from solver.notebook.mounts import CHALLENGES
from solver.notebook.session import (
    LOCK_FILE,
    PLAN_FILE,
    Session,
    check,
    install_wheels,
    run,
    summary,
)
from solver.notebook.usable import Usable
from tests.control import paced
from tests.fakes import toy_tasks
from tests.runs import (
    journal_of,
    language_profile,
    torn_model,
    torn_wheel,
    write_challenges,
)

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
    """Write the plan that a preflight would have left."""
    Usable(**values).write(session.scratch / PLAN_FILE)  # type: ignore[arg-type]


def right(session: Session) -> int:
    """The number of right answers; the submission is valid and complete."""
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
    assert not any("It got no further" in line for line in said)
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
        (session.scratch / PLAN_FILE).write_text(left)
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


def hard_tasks() -> tuple[Task, ...]:
    """One task that a step solves, and four of noise, so that work remains while time does.

    All are of one size: each gets the same slice, and the first is the one that can be solved.
    """
    rng = np.random.default_rng(5)
    grids = iter([as_grid(rng.integers(0, 10, (12, 12))) for _ in range(4 + 4 * 7)])
    easy = [next(grids) for _ in range(4)]
    flipped = Task("flipped", tuple(Pair(g, as_grid(g[::-1])) for g in easy[:3]), (easy[3],))
    noise = [
        Task(f"noise{i}", tuple(Pair(next(grids), next(grids)) for _ in range(3)), (next(grids),))
        for i in range(4)
    ]
    return flipped, *noise


def with_torn_wheel(session: Session, profile: Path) -> Session:
    """A profile with a typo, and wheels that are not what they were when they were locked."""
    profile.write_text("[[stages]]\nengine = 'synth'\nmax_slice = 20\n")
    plan(session, workers=1)
    torn_wheel(session.input / "datasets/a/wheels", session.scratch / LOCK_FILE)
    return replace(session, wheels="datasets/a/wheels", profile=str(profile))


def with_torn_model(session: Session, profile: Path) -> Session:
    """A language model whose weights are cut off, which no preflight saw."""
    language_profile(profile, "synth")
    model = session.input / "model"
    torn_model(model)
    plan(session, engines=("synth", "llm"), model=str(model), workers=1)
    return replace(session, profile=str(profile))


@pytest.mark.parametrize("spoil", [with_torn_wheel, with_torn_model])
def test_what_is_broken_leaves_the_synthesizer_the_whole_budget(
    session: Session,
    spoil: Callable[[Session, Path], Session],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tasks, said = hard_tasks(), list[str]()
    write_challenges(session.input / COMPETITION / CHALLENGES, tasks)
    budget = paced(15)
    spoiled = spoil(session, tmp_path / "own.toml")
    broken = replace(spoiled, short_budget=budget, started=time.monotonic())
    install_wheels(broken)
    run(broken, said.append)
    assert time.monotonic() > broken.started + 0.9 * parse_duration(budget)
    assert "The run got no further: it continues with only the synthesizer." in said
    path = session.working / "submission.json"
    check_submission(path, tasks)
    assert same(read_submission(path)["flipped"][0][0], as_grid(tasks[0].tests[0][::-1]))
    (begun,) = journal_of(session.working).runs
    assert [stage["engine"] for stage in begun["config"]["stages"]] == ["synth"]
    assert len(summary(broken)) == 4
    assert "is valid: 5 tasks" in capsys.readouterr().out


def test_a_run_goes_on_from_what_a_torn_journal_still_holds(session: Session) -> None:
    plan(session, engines=("tests.fakes:parricide",), workers=1)
    journal = session.working / JOURNAL_FILE

    def hear(line: str) -> None:
        if line.startswith("The run ended with -9"):
            lines = journal.read_bytes().splitlines(keepends=True)
            journal.write_bytes(b"\xff\xfe torn\n" + b"".join(lines[1:]) + b'{"kind":"cand')

    run(session, hear)
    assert right(session) == len(TASKS)
    assert journal_of(session.working).broken == 2
    assert {job.engine for job in journal_of(session.working).jobs} == {"tests.fakes:parricide"}


def test_a_resume_that_is_refused_goes_on_with_less(session: Session, tmp_path: Path) -> None:
    profile, said = tmp_path / "own.toml", list[str]()
    stage = "[[stages]]\nengine = 'tests.fakes:parricide'\n"
    profile.write_text(f"workers = 1\n{stage}")

    def hear(line: str) -> None:
        said.append(line)
        if line.startswith("The run ended with -9"):
            profile.write_text(f"workers = 'one'\n{stage}")

    own = replace(session, profile=str(profile), short_budget=paced(7), started=time.monotonic())
    run(own, hear)
    assert any("workers: must be a whole number" in line for line in said)
    check_submission(session.working / "submission.json", TASKS)
    journal = journal_of(session.working)
    engines = [[stage["engine"] for stage in run["config"]["stages"]] for run in journal.runs]
    assert engines == [["tests.fakes:parricide"], ["synth"]]
    assert journal.jobs[0].engine == "tests.fakes:parricide"


def test_a_journal_of_other_tasks_is_set_aside(session: Session) -> None:
    plan(session, engines=("tests.fakes:parricide",), workers=1)
    journal, said = session.working / JOURNAL_FILE, list[str]()

    def hear(line: str) -> None:
        said.append(line)
        if line.startswith("The run ended with -9"):
            journal.write_text('{"kind":"run","format":1,"digest":"of others"}\n')

    run(session, hear)
    assert right(session) == len(TASKS)
    assert any("is of other tasks: it is set aside" in line for line in said)
    assert journal.with_name(f"{JOURNAL_FILE}.old").read_text().endswith('"of others"}\n')
    assert len(journal_of(session.working).runs) == 1


def test_a_folder_in_place_of_the_journal_is_set_aside(session: Session) -> None:
    plan(session, engines=("tests.fakes:instant",), workers=1)
    (session.working / JOURNAL_FILE).mkdir()
    run(session)
    assert right(session) == len(TASKS)


def test_cells_that_cannot_start_anything_leave_the_others_their_turn(
    session: Session, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    budget = paced(4)
    monkeypatch.setattr(sys, "executable", str(session.scratch / "gone"))
    wheels = session.input / "datasets/a/wheels"
    wheels.mkdir(parents=True)
    (wheels / "a-1-py3-none-any.whl").touch()
    late = replace(
        session, wheels="datasets/a/wheels", short_budget=budget, started=time.monotonic()
    )
    install_wheels(late)
    check(late)
    run(late)
    said = capsys.readouterr().out
    assert "the wheels cannot be installed: " in said
    assert "The preflight cannot be started: " in said
    assert "The run cannot be started: " in said
    assert "it continues with only the synthesizer, on one worker." in said
