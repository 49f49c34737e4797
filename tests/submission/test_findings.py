"""The fates of a run's tasks: worked cases, small enough to check by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from solver.data.arcio import Solutions, Source
from solver.data.journal import JOURNAL_FILE, JobRecord, LoadRecord, Replay
from solver.grid import Candidate, DataError, Grid, as_grid, same
from submission.report import charts
from submission.report.findings import Failure, engines, failures, findings, outputs_of, retries
from submission.runs.recorded import Recorded, read_run
from tests.fakes import toy_tasks
from tests.journals import made_up_run
from tests.runs import write_challenges

TASKS = toy_tasks(4)
TRUTH: Solutions = {task.id: (as_grid(task.tests[0][::-1]),) for task in TASKS}


def guess(task: int, grid: Grid, engine: str = "model", votes: int = 1) -> Candidate:
    return Candidate(TASKS[task].id, 0, grid, engine, f"d{votes}", -1.0, votes=votes)


def wrong(task: int, cells: int) -> Grid:
    """The truth with so many cells changed."""
    grid = TRUTH[TASKS[task].id][0].copy()
    grid.flat[:cells] = (grid.flat[:cells] + 1) % 10
    return as_grid(grid)


def recorded(
    *candidates: Candidate, jobs: tuple[JobRecord, ...] = (), **changes: object
) -> Recorded:
    """A run over the toy tasks that found these candidates, answered by majority."""
    header = {"config": {"selector": "majority"}}
    found = Replay([header], list(candidates), list(jobs), processes=[0] * len(jobs))
    run = Recorded(Path("run"), "toys", TASKS, TRUTH, found, None)
    return replace(run, **changes)  # type: ignore[arg-type]


def test_who_only_measured_the_truth_did_not_propose_it() -> None:
    truth = TRUTH[TASKS[0].id][0]
    run = recorded(guess(0, truth, "synth"), replace(guess(0, truth, "model"), votes=0))
    told = {engine.engine: engine for engine in engines(run, findings(run))}
    assert (told["synth"].covered, told["synth"].alone) == (1, 1)
    assert "model" not in told


def test_every_fate_of_a_test_input() -> None:
    right = [task_truth[0] for task_truth in TRUTH.values()]
    run = recorded(
        guess(0, right[0]),
        *(guess(1, wrong(1, 2), votes=5), guess(1, right[1])),
        *(guess(2, wrong(2, n), votes=9 - n) for n in (1, 2)),
        guess(2, right[2]),
        guess(3, wrong(3, 1)),
    )
    found = findings(run)
    assert [o.fate for o in outputs_of(found)] == ["first", "second", "unchosen", "unfound"]
    assert [o.rank for o in outputs_of(found)] == [0, 1, 2, None]
    assert [f.score for f in found] == [1.0, 1.0, 0.0, 0.0]
    assert found[3].outputs[0].wrong_cells == pytest.approx(1 / right[3].size)
    assert found[2].outputs[0].sources == ("model", "model")
    rows = {row.name: row.mean for row in charts.scores(run, found)}
    assert rows == {
        "mean over tasks": 0.5,
        "mean over outputs": 0.5,
        "first attempts only": 0.25,
        "any candidate": 0.75,
    }


def test_attempts_are_those_that_were_handed_in() -> None:
    right = TRUTH[TASKS[0].id][0]
    handed_in = {t.id: [(as_grid([[1]]), as_grid([[2]]))] for t in TASKS}
    (output,) = findings(recorded(guess(0, right), submission=handed_in))[0].outputs
    assert [grid.tolist() for grid in output.attempts] == [[[1]], [[2]]]
    assert output.sources == ("template", "template")
    assert (output.fate, output.rank) == ("unchosen", 0)


def test_a_ballot_counts_each_piece_of_evidence_once_and_programs_with_the_rest() -> None:
    right = TRUTH[TASKS[0].id][0]
    program = replace(guess(0, right, "synth"), program="turn(input, 2)")
    run = recorded(program, program, guess(0, right, votes=3), guess(0, wrong(0, 1), votes=2))
    first, second = findings(run)[0].outputs[0].ballots
    assert same(first.grid, right)
    assert (first.votes, second.votes) == (4, 2)
    assert first.program == "turn(input, 2)"
    assert [(e.engine, e.covered, e.alone) for e in engines(run, findings(run))] == [
        ("synth", 1, 0),
        ("model", 1, 0),
    ]


def test_without_solutions_nothing_is_scored() -> None:
    run = recorded(guess(0, wrong(0, 1)), solutions=None)
    found = findings(run)
    assert charts.scores(run, found) == []
    assert charts.calibration(found) == []
    assert {o.fate for o in outputs_of(found)} == {"unknown"}
    assert found[0].score is None


def job(
    task: int, outcome: str, start: float, error: str | None = None, given: float | None = None
) -> JobRecord:
    record = JobRecord(TASKS[task].id, "synth", 0, outcome, 2.0, 4.0, 0, start, error)
    return replace(record, given_s=given)


def test_retries_and_failures() -> None:
    jobs = (
        *(job(0, "died", 0, "x"), job(1, "finished", 2), job(0, "error", 4, "y")),
        *(job(0, "sliced", 6), job(0, "sliced", 8), job(2, "died", 10, "x")),
    )
    run = recorded(jobs=jobs)
    assert retries(run.replay) == {2, 3}
    assert failures(run.replay) == [Failure("x", "x", (0, 5)), Failure("y", "y", (2,))]
    assert [finding.trouble for finding in findings(run)] == [2, 0, 1, 0]


def test_a_lane_shows_work_loading_and_the_budget() -> None:
    run = recorded(jobs=(job(0, "finished", 2.0, given=1.0), job(1, "died", 4.0, "x")))
    run.replay.runs[0]["config"]["budget_s"] = 10
    (timeline,) = charts.timelines(run)
    (lane,) = timeline.lanes
    assert (lane.busy, lane.loading, timeline.seconds, timeline.ended) == (0.4, 0.1, 10, 6)
    first, second = lane.bars
    assert (first.x, first.width, first.wait, first.kind) == (200, 200, 100, "finished")
    assert (second.x, second.wait, second.kind, second.task) == (400, 0, "died", 1)
    assert timeline.ticks[1] == (200.0, "2s")


def test_engines_loaded_ahead_are_loading_on_a_lane_and_no_work() -> None:
    run = recorded(jobs=(job(0, "finished", 2.0, given=2.0),))
    run.replay.runs[0]["config"]["budget_s"] = 10
    run.replay.loads += [LoadRecord("model", "finished", 1.0, 0, 5.0)]
    run.replay.loads += [LoadRecord("model", "stopped", 2.0, 1, 8.0)]
    run.replay.load_processes += [0, 0]
    (timeline,) = charts.timelines(run)
    first, second = timeline.lanes
    assert (first.busy, first.loading, second.busy, second.loading) == (0.2, 0.1, 0, 0.2)
    (wait,) = first.waits
    assert (wait.x, wait.width) == (500, 100)
    assert wait.title.startswith("loading model\n")
    assert second.waits[0].title.startswith("loading model · stopped")


def test_calibration_holds_confidence_against_correctness() -> None:
    sure = [guess(0, TRUTH[TASKS[0].id][0], votes=n) for n in range(1, 9)]  # 9 / 10 sure, right
    unsure = [guess(1, wrong(1, n), votes=9 - n) for n in range(1, 5)]  # 2 / 6 sure, wrong
    found = findings(recorded(*sure, *unsure))[:2]
    bins = charts.calibration(found)
    assert [(b.right.mean, b.right.count) for b in bins] == [(0, 1), (1, 1)]
    confidences = [found[1].confidence, found[0].confidence]
    assert [b.confidence for b in bins] == confidences
    distances = (confidences[0] + 1 - confidences[1]) / 2
    assert charts.calibration_error(bins) == pytest.approx(distances)


# --- reading a run's folder -----------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A made-up run over a challenges file without solutions."""
    challenges = write_challenges(tmp_path / "c.json", TASKS)
    return made_up_run(tmp_path / "run", Source(str(challenges), TASKS))


def test_a_run_is_read_with_its_tasks_and_what_it_handed_in(folder: Path) -> None:
    run = read_run(folder)
    assert run.tasks == TASKS
    assert run.ended
    assert run.solutions is None
    assert run.submission is not None
    assert len(findings(run)) == 4


def test_a_killed_run_is_read_as_not_ended(tmp_path: Path) -> None:
    challenges = write_challenges(tmp_path / "c.json", TASKS)
    folder = made_up_run(tmp_path / "run", Source(str(challenges), TASKS), cut=True)
    (folder / "submission.json").unlink()
    with open(folder / JOURNAL_FILE, "ab") as journal:
        journal.write(b'{"kind":"candidate","task":"t0')
    run = read_run(folder)
    assert not run.ended
    assert run.submission is None
    assert run.replay.broken == 1
    assert not any(finding.ended for finding in findings(run))


def test_tasks_that_moved_are_found_with_source(folder: Path) -> None:
    moved = folder.parent / "moved.json"
    (folder.parent / "c.json").rename(moved)
    with pytest.raises(DataError, match="--source"):
        read_run(folder)
    assert read_run(folder, str(moved)).tasks == TASKS


def test_other_tasks_are_refused(folder: Path) -> None:
    write_challenges(folder.parent / "c.json", toy_tasks(4, seed=1))
    with pytest.raises(DataError, match="are not those of the run"):
        read_run(folder)
    write_challenges(folder.parent / "c.json", TASKS[:2])
    with pytest.raises(DataError, match="has no task 't002'"):
        read_run(folder)


@pytest.mark.parametrize("change", [{"tasks": 3}, {"tasks": []}, {"tasks": [1]}, {"source": None}])
def test_a_damaged_header_is_bad_input(folder: Path, change: dict[str, object]) -> None:
    head, *rest = (folder / JOURNAL_FILE).read_text().splitlines()
    (folder / JOURNAL_FILE).write_text(
        "\n".join([json.dumps(json.loads(head) | change), *rest]) + "\n"
    )
    with pytest.raises(DataError, match=JOURNAL_FILE):
        read_run(folder)


def test_no_run_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no run here"):
        read_run(tmp_path)
    (tmp_path / JOURNAL_FILE).write_text("{}\n")
    with pytest.raises(DataError, match="holds no run"):
        read_run(tmp_path)
