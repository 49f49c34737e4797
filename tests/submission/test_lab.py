"""The lab: it comes to the run's own submission, and counts right what other choices are worth."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest

from solver.answers.ensemble import RULES
from solver.answers.select import SELECTORS
from solver.config import Stage
from solver.data.journal import FORMAT, JOURNAL_FILE
from solver.data.submissions import check_submission
from solver.grid import DataError, Grid, Task
from solver.runtime.board import by_task
from submission.lab.command import reproduction, run_lab
from submission.lab.lab import Lab, by_engine, by_seed, by_view
from submission.runs.history import read_history
from submission.runs.reselect import answer_run, as_submission
from tests.control import paced
from tests.fakes import toy_tasks
from tests.recordings import (
    CONFIG,
    Heard,
    Script,
    guess,
    job,
    noisy,
    program,
    whole_job,
    write_run,
    wrong,
)
from tests.runs import ROOT, command, finish, start, write_challenges

AGAIN = "its submission comes out again, bit for bit"
PAIRS = list(zip(SELECTORS, cycle(RULES), strict=False))
OLD = ROOT / "tests" / "files" / "run-format-1"


def lab_of(folder: Path) -> Lab:
    run = read_history(str(folder))
    return Lab(run, run.truth())


def percent(scores: np.ndarray) -> float:
    return round(100 * float(scores.mean()), 1)


# --- the run's own submission ---------------------------------------------------------


@pytest.mark.parametrize(("engine", "seconds"), [("raises", 300), ("slow", 5)])
def test_a_real_run_comes_out_again_bit_for_bit(
    tmp_path: Path, engine: str, seconds: float
) -> None:
    challenges = write_challenges(tmp_path / "challenges.json", toy_tasks(6))
    code, _, _ = finish(start(command(challenges, tmp_path / "run", engine, paced(seconds))))
    assert code == 0
    run = read_history(str(tmp_path / "run"))
    assert run.ended
    left = (run.folder / "submission.json").read_text()
    assert as_submission(run.tasks, answer_run(run)) == left
    assert reproduction(run) == AGAIN


@pytest.mark.parametrize(("selector", "rule"), PAIRS)
def test_every_selector_and_rule_comes_out_again(tmp_path: Path, selector: str, rule: str) -> None:
    config = replace(CONFIG, selector=selector, ensemble=rule)
    run = read_history(str(write_run(tmp_path / "run", noisy(3), toy_tasks(6), config)))
    assert reproduction(run) == AGAIN


def test_other_settings_come_to_another_submission(tmp_path: Path) -> None:
    run = read_history(str(write_run(tmp_path / "run", noisy(3), toy_tasks(20))))
    others = {as_submission(run.tasks, answer_run(run, name)) for name in SELECTORS}
    assert len(others) > 3


def test_an_edited_submission_is_noticed(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", noisy(0))
    path = folder / "submission.json"
    text = json.loads(path.read_text())
    text["t001"][0]["attempt_1"][0][0] = 9 - text["t001"][0]["attempt_1"][0][0]
    path.write_text(json.dumps(text))
    assert reproduction(read_history(str(folder))) == "its submission differs in 1 of 8 tasks"


# --- journals of all kinds ------------------------------------------------------------


def test_the_journal_of_a_killed_run_opens(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", noisy(0), finished=False)
    journal = folder / JOURNAL_FILE
    whole = journal.read_bytes()
    journal.write_bytes(whole[: int(0.8 * len(whole))])
    run = read_history(str(folder))
    assert not run.ended
    assert "cut off before its last write" in reproduction(run)
    assert Lab(run, run.truth()).own.covered.any()


def test_a_candidate_belongs_to_the_next_job_of_its_task_and_engine_to_end(tmp_path: Path) -> None:
    run = read_history(str(write_run(tmp_path / "run", noisy(0))))
    for jobs in run.jobs:
        for each in jobs:
            record = each.record
            assert {c.engine for c in each.found} <= {record.engine}
            if record.engine == "model":
                assert {(c.view or "")[-1] for c in each.found} == {str(record.pass_)}
    assert run.pool() == by_task(run.tasks, run.replay.candidates)


def test_what_a_killed_run_had_not_booked_counts_as_a_job(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", noisy(0), toy_tasks(2), finished=False)
    lines = (folder / JOURNAL_FILE).read_text().splitlines(keepends=True)
    assert '"kind":"job"' in lines[-1]
    (folder / JOURNAL_FILE).write_text("".join(lines[:-1]))
    run = read_history(str(folder))
    last = run.jobs[-1][-1]
    assert (last.record.outcome, last.record.pass_, len(last.found)) == ("cut off", 1, 4)
    assert last.record.cost_s == 0.5


def test_an_older_journal_opens_and_comes_out_again(tmp_path: Path) -> None:
    """The journal is of a version whose settings had no ensemble rules."""
    shutil.copytree(OLD, tmp_path / "old")
    run = read_history(str(tmp_path / "old"), str(OLD / "challenges.json"))
    assert "ensemble" not in run.replay.runs[0]["config"]
    assert run.config.ensemble == "each"
    assert (len(run.tasks), len(run.replay.jobs), run.replay.broken) == (5, 5, 0)
    assert reproduction(run) == AGAIN


def test_settings_of_a_newer_version_are_read_as_far_as_they_are_known(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", noisy(0))
    edit_header(folder, lambda header: header["config"].update(quantum=1))
    edit_header(folder, lambda header: header["config"]["stages"][0].update(device=True, later=2))
    assert reproduction(read_history(str(folder))) == AGAIN


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (lambda header: header.update(format=FORMAT + 1), "journal format 2"),
        (lambda header: header.update(config=[]), "its settings cannot be read"),
        (lambda header: header["config"].pop("budget_s"), "its settings cannot be read"),
        (lambda header: header.update(config={"stages": 3}), "its settings cannot be read"),
        (lambda header: header["tasks"].append("nowhere"), "has no task 'nowhere'"),
        (lambda header: header["tasks"].reverse(), "not those of the run"),
        (lambda header: header.update(source="gone.json"), "no such file .* --source says"),
    ],
)
def test_a_run_that_cannot_be_read_is_refused_in_one_line(
    tmp_path: Path, edit: object, complaint: str
) -> None:
    folder = write_run(tmp_path / "run", noisy(0))
    edit_header(folder, edit)
    with pytest.raises(DataError, match=complaint):
        read_history(str(folder))


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no run here"):
        read_history(str(tmp_path))
    (tmp_path / JOURNAL_FILE).write_text("{}\n")
    with pytest.raises(DataError, match="holds no run"):
        read_history(str(tmp_path))


def edit_header(folder: Path, edit: object) -> None:
    first, *rest = (folder / JOURNAL_FILE).read_text().splitlines(keepends=True)
    header = json.loads(first)
    assert callable(edit)
    edit(header)
    (folder / JOURNAL_FILE).write_text("".join([json.dumps(header) + "\n", *rest]))


# --- what choices are worth, worked out by hand ---------------------------------------


def four_kinds(task: Task, truth: Grid) -> Iterable[Heard]:
    """t000: a program is right. t001: the model is, by its second measurement. t002: both are.
    t003: the model is, third by votes and by measurement."""
    number = int(task.id[1:]) % 4
    bad = [wrong(truth, i) for i in range(4)]
    programs = [[truth], [], [truth], [bad[0]]][number]
    yield job(task, "synth"), [program(task, grid, "p") for grid in programs]
    if number == 1:
        yield (
            job(task, "model", cost_s=4.0),
            [
                guess(task, bad[0], "d0.a", (-1.0, -30.0), votes=3),
                guess(task, bad[1], "d1.a", (-2.0, -20.0), votes=2),
                guess(task, truth, "d2.a", (-9.0, -1.0), cost_s=3.0),
            ],
        )
    elif number == 2:
        yield job(task, "model", cost_s=4.0), [guess(task, truth, "d0.a", (-1.0, -1.0))]
    elif number == 3:
        yield (
            job(task, "model", cost_s=4.0),
            [
                guess(task, bad[1], "d0.a", (-1.0, -1.0), votes=3),
                guess(task, bad[2], "d1.a", (-2.0, -2.0), votes=2),
            ],
        )
        yield (
            job(task, "model", 1, cost_s=8.0),
            [guess(task, truth, "d1.b", (-3.0, -3.0), cost_s=6.0)],
        )


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return lab_of(write_run(tmp_path / "run", four_kinds, toy_tasks(4)))


def test_the_runs_own_score_by_hand(lab: Lab) -> None:
    assert lab.own.two.tolist() == [1, 1, 1, 0]
    assert lab.own.one.tolist() == [1, 1, 1, 0]
    assert lab.own.covered.tolist() == [1, 1, 1, 1]


def test_every_point_is_won_or_lost_somewhere(lab: Lab) -> None:
    """Three of four are solved at once; of the last, the model's right grid is not chosen."""
    first, second, unchosen, unfound = lab.losses()
    assert (first.count, first.points, first.engines) == (3, 0.75, {"synth": 2, "model": 2})
    assert (second.count, unfound.count) == (0, 0)
    assert (unchosen.count, unchosen.points, unchosen.engines) == (1, 0.25, {"model": 1})


def test_points_add_up_to_the_score_and_the_coverage(tmp_path: Path) -> None:
    lab = lab_of(write_run(tmp_path / "run", noisy(3), toy_tasks(30)))
    points = [loss.points for loss in lab.losses()]
    assert points[0] == pytest.approx(lab.own.one.mean())
    assert sum(points[:2]) == pytest.approx(lab.own.two.mean())
    assert sum(points[:3]) == pytest.approx(lab.own.covered.mean())
    assert sum(points) == pytest.approx(1)


def test_the_grid_holds_every_selector_and_rule_once(lab: Lab) -> None:
    rows = lab.grid()
    pairs = [(s, r) for row in rows for s in row.selectors for r in row.rules]
    assert sorted(pairs) == sorted((s, r) for s in SELECTORS for r in RULES)
    scores = {(s, r): row.outcome for row in rows for s in row.selectors for r in row.rules}
    assert scores["experts", "each"].two.tolist() == lab.own.two.tolist()
    # By votes t001's right grid is third.
    assert scores["majority", "each"].two.tolist() == [1, 0, 1, 0]
    assert scores["majority", "each"].covered.tolist() == [1, 1, 1, 1]
    means = [row.outcome.two.mean() for row in rows]
    assert means == sorted(means, reverse=True)
    assert not any(row.against.significant for row in rows)  # of four tasks none can be


def test_engines_alone_by_hand(lab: Lab) -> None:
    parts = {part.label: part for part in lab.engines()}
    assert list(parts) == ["synth", "model", "all"]
    assert [part.count for part in parts.values()] == [3, 7, 10]
    assert parts["synth"].outcome.two.tolist() == [1, 0, 1, 0]
    assert parts["model"].outcome.two.tolist() == [0, 1, 1, 0]
    assert parts["model"].outcome.covered.tolist() == [0, 1, 1, 1]
    assert parts["all"].outcome.two.tolist() == [1, 1, 1, 0]


def measured_program(task: Task, truth: Grid) -> Iterable[Heard]:
    """A program is right; the model guesses wrong and measures the program's grid."""
    found = program(task, truth, "p")
    yield job(task, "synth"), [found]
    told = replace(found, engine="model", scores=(-0.5,), votes=0)
    yield job(task, "model"), [guess(task, wrong(truth, 0), "d0", (-1.0,)), told]


def test_what_an_engine_only_measured_is_no_finding_of_its(tmp_path: Path) -> None:
    lab = lab_of(write_run(tmp_path / "run", measured_program, toy_tasks(2)))
    parts = {part.label: part for part in lab.engines()}
    assert [part.count for part in parts.values()] == [2, 2, 4]
    assert parts["model"].outcome.covered.tolist() == [0, 0]
    assert parts["all"].outcome.two.tolist() == [1, 1]
    assert [share.label for share in lab.shares(by_view)] == ["synth grids", "model d0"]


def test_the_worth_of_engines_views_and_seeds_by_hand(lab: Lab) -> None:
    def worth(shares: Iterable[object]) -> dict[str, tuple[float, float]]:
        return {s.label: (s.worth.mean, s.covered) for s in shares}  # type: ignore[attr-defined]

    assert worth(lab.shares(by_engine)) == {"synth": (0.25, 0.25), "model": (0.25, 0.5)}
    assert worth(lab.shares(by_view)) == {
        "synth grids": (0.25, 0.25),
        "model d2": (0.25, 0.25),
        "model d0": (0.0, 0.0),
        "model d1": (0.0, 0.25),
    }
    assert worth(lab.shares(by_seed)) == {
        "model pass 1": (0.0, 0.25),
        "model pass 2": (0.0, 0.25),
        "synth pass 1": (0.25, 0.25),
    }


def test_the_worth_of_measurements_by_hand(lab: Lab) -> None:
    """Without the second the right grid of t001 is third, without the first it stays first."""
    first, second = lab.judges()
    assert (first.worth.mean, second.worth.mean) == (0.0, 0.25)
    assert (percent(first.alone.two), percent(second.alone.two)) == (50.0, 75.0)
    assert first.count == 7


def test_the_cost_curve_by_hand(lab: Lab) -> None:
    """Programs come after 0.5 s of a job of 1 s, t001's answer 3 s into the next job."""
    points = lab.cost_curve(lab.run.engines)
    assert [points[0].limit_s, points[-1].limit_s] == [0.5, 13.0]
    for point in points:
        assert point.outcome.two.tolist() == [1, point.limit_s >= 4, 1, 0]
        assert point.outcome.covered[3] == (point.limit_s >= 11)
    assert points[0].spent_s == 0.5
    assert points[-1].spent_s == np.mean([1, 5, 5, 13])


def test_the_cost_curve_of_an_engine_counts_the_job_that_it_waits_for(tmp_path: Path) -> None:
    stages = (Stage("synth"), Stage("joint", whole=True), Stage("model", needs="joint"))
    folder = write_run(
        tmp_path / "run",
        four_kinds,
        toy_tasks(4),
        replace(CONFIG, stages=stages),
        whole=[whole_job("joint", 8.0)],
    )
    lab = lab_of(folder)
    assert [p.spent_s for p in lab.cost_curve(("synth",))][-1] == 1.0
    model = lab.cost_curve(("model",))
    for point in model:  # 8 s over four tasks, then 0.5 s
        assert point.outcome.covered.any() == (point.limit_s >= 2.5)
    assert model[0].limit_s < 2.5
    assert model[-1].spent_s == np.mean([0, 2 + 4, 2 + 4, 2 + 12])


@pytest.mark.parametrize("seed", range(4))
def test_all_work_comes_to_the_runs_own_score(tmp_path: Path, seed: int) -> None:
    lab = lab_of(write_run(tmp_path / "run", noisy(seed, 0.2 + 0.2 * seed), toy_tasks(6)))
    last = lab.cost_curve(lab.run.engines)[-1]
    assert last.outcome.two.tolist() == lab.own.two.tolist()
    for row in lab.grid():
        assert (row.outcome.one <= row.outcome.two).all()
        assert (row.outcome.two <= row.outcome.covered).all()


# --- the command ----------------------------------------------------------------------


def test_the_tables_say_what_was_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_run(tmp_path / "run", four_kinds, toy_tasks(4))
    run_lab(str(folder))
    shown = capsys.readouterr().out
    assert AGAIN in shown
    assert "75.0 [25, 100]" in shown
    assert "None of" in shown
    for title in ("Candidates of only one engine", "A view's measurements left out"):
        assert title in shown


def nothing(task: Task, truth: Grid) -> Iterable[Heard]:
    return []


def idle(task: Task, truth: Grid) -> Iterable[Heard]:
    yield job(task, "synth"), []


@pytest.mark.parametrize("script", [nothing, idle])
def test_a_run_that_found_nothing_is_no_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], script: Script
) -> None:
    run_lab(str(write_run(tmp_path / "run", script, toy_tasks(2))))
    shown = capsys.readouterr().out
    assert AGAIN in shown
    assert "0.0 [0, 0]" in shown


def test_a_new_submission_is_written_and_scored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(tmp_path / "run", four_kinds, toy_tasks(4))
    out = tmp_path / "new.json"
    run_lab(str(folder), selector="majority", out=str(out))
    assert "50.0% of 4 tasks" in capsys.readouterr().out
    check_submission(out, toy_tasks(4))
    run = read_history(str(folder))
    assert out.read_text() == as_submission(run.tasks, answer_run(run, "majority"))
    run_lab(str(folder), out=str(out))
    assert out.read_bytes() == (folder / "submission.json").read_bytes()


def test_without_solutions_the_submission_is_still_rebuilt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(tmp_path / "run", four_kinds, toy_tasks(4))
    bare = write_challenges(tmp_path / "bare.json", toy_tasks(4))
    run_lab(str(folder), source=str(bare))
    shown = capsys.readouterr().out
    assert AGAIN in shown
    assert "add --solutions" in shown


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"selector": "best"}, "--selector best: there are majority"),
        ({"ensemble": "best"}, "--ensemble best: there are each"),
        ({"out": "/proc/all.json"}, "/proc/all.json: cannot be written"),
    ],
)
def test_bad_options_are_refused(tmp_path: Path, options: dict[str, str], complaint: str) -> None:
    folder = write_run(tmp_path / "run", four_kinds, toy_tasks(4))
    with pytest.raises(DataError, match=complaint):
        run_lab(str(folder), **options)  # type: ignore[arg-type]
