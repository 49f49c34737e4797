"""A run played again: the same settings come to the same, others to what the journal allows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from solver.config import Stage
from solver.grid import DataError, Grid, Task
from submission.lab.playback import ALL_ENGINES, MOMENTS, Machine, play
from submission.lab.simulate_command import run_simulate
from submission.runs.history import History, read_history
from submission.runs.reselect import answer_run, judge
from tests.fakes import toy_tasks
from tests.recordings import (
    CONFIG,
    Heard,
    guess,
    job,
    noisy,
    program,
    whole_job,
    write_run,
    wrong,
)
from tests.runs import command, finish, start, write_challenges

ONE = (Stage("synth", max_slice_s=1e6),)


def slow_half(task: Task, truth: Grid) -> Iterable[Heard]:
    """Every other task is solved within 1 s, the others take 9 s."""
    late = int(task.id[1:]) % 2
    found = replace(program(task, truth, "p"), cost_s=8.0 if late else 0.5)
    yield job(task, "synth", cost_s=9.0 if late else 1.0), [found]


def recorded(folder: Path, config: object = replace(CONFIG, stages=ONE), tasks: int = 8) -> History:
    return read_history(str(write_run(folder, slow_half, toy_tasks(tasks), config)))  # type: ignore[arg-type]


def final(run: History, budget_s: float, workers: int, speed: float = 1.0) -> float:
    machine = Machine(budget_s, workers, {ALL_ENGINES: speed})
    return float(play(run, machine).scores[-1].mean())


def test_with_time_enough_the_run_comes_to_its_own_score(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", noisy(1), toy_tasks(12), replace(CONFIG, budget_s=600))
    run = read_history(str(folder))
    played = play(run, Machine(600, 1))
    own = judge(answer_run(run), run.pool(), run.truth())
    assert played.scores[-1].tolist() == own.two.tolist()
    assert 0 < own.two.mean() < 1


def test_a_real_run_played_with_its_own_settings(tmp_path: Path) -> None:
    challenges = write_challenges(tmp_path / "challenges.json", toy_tasks(5))
    finish(start(command(challenges, tmp_path / "run", "steady", "90s", "--workers", "1")))
    run = read_history(str(tmp_path / "run"))
    played = play(run, Machine(run.config.budget_s, 1))
    assert played.simulation.attempts == tuple(len(jobs) for jobs in run.jobs)
    confidence = [answer.confidence for answer in answer_run(run)]
    assert played.scores[-1].tolist() == confidence  # the challenges hold no outputs


def test_half_the_tasks_need_more_than_a_short_budget_gives(tmp_path: Path) -> None:
    """8 tasks in 16 s: 2 s each, which solves the quick ones; what they leave over is not
    enough for four times 8 s."""
    run = recorded(tmp_path / "run")
    assert final(run, 16, 1) == 0.5
    assert final(run, 60, 1) == 1.0


def test_more_workers_and_faster_machines_solve_more(tmp_path: Path) -> None:
    run = recorded(tmp_path / "run")
    assert final(run, 16, 1) < final(run, 16, 4)
    assert final(run, 16, 1) < final(run, 16, 1, speed=10) == 1.0
    assert final(run, 6, 1, speed=0.01) == 0.0


def test_one_engine_alone_can_be_faster(tmp_path: Path) -> None:
    run = recorded(tmp_path / "run")
    quick = play(run, Machine(16, 1, {"synth": 10.0})).scores[-1]
    other = play(run, Machine(16, 1, {"model": 10.0})).scores[-1]
    assert quick.mean() == 1.0
    assert other.mean() == 0.5


def test_the_score_never_comes_before_the_job_has_ended(tmp_path: Path) -> None:
    """Two tasks on two workers: 1 s and 9 s of 40 s."""
    run = recorded(tmp_path / "run", tasks=2)
    played = play(run, Machine(40, 2))
    means = [float(scores.mean()) for scores in played.scores]
    assert dict(zip(MOMENTS, means, strict=True)) == {
        0.1: 0.5, 0.25: 1.0, 0.5: 1.0, 0.75: 1.0, 1.0: 1.0,
    }  # fmt: skip


def test_a_task_that_was_never_tried_takes_its_slice_and_stays_unsolved(tmp_path: Path) -> None:
    def script(task: Task, truth: Grid) -> Iterable[Heard]:
        if task.id != "t000":
            yield job(task, "synth"), [program(task, truth, "p")]

    folder = write_run(tmp_path / "run", script, toy_tasks(4), replace(CONFIG, stages=ONE))
    played = play(read_history(str(folder)), Machine(40, 1))
    assert played.scores[-1].tolist() == [0, 1, 1, 1]
    assert played.simulation.busy == pytest.approx(1.0, abs=0.02)


def test_an_engine_that_draws_nothing_is_played_from_its_longest_pass(tmp_path: Path) -> None:
    def script(task: Task, truth: Grid) -> Iterable[Heard]:
        yield replace(job(task, "synth", 0, 1.0), outcome="sliced"), []
        found = replace(program(task, truth, "p"), cost_s=2.5)
        yield replace(job(task, "synth", 1, 3.0), outcome="finished"), [found]

    config = replace(CONFIG, stages=ONE)
    run = read_history(str(write_run(tmp_path / "run", script, toy_tasks(2), config)))
    played = play(run, Machine(60, 1))
    assert played.simulation.attempts == (1, 1)
    assert played.scores[-1].mean() == 1


def test_the_passes_of_an_engine_that_draws_are_played_one_by_one(tmp_path: Path) -> None:
    def script(task: Task, truth: Grid) -> Iterable[Heard]:
        yield job(task, "model", 0), [guess(task, wrong(truth, i), f"d{i}") for i in range(2)]
        yield job(task, "model", 1), [guess(task, truth, f"e{i}", votes=9) for i in range(2)]

    stages = (Stage("model", repeats=True),)
    config = replace(CONFIG, stages=stages, selector="majority")
    run = read_history(str(write_run(tmp_path / "run", script, toy_tasks(1), config)))
    ends = {budget: float(play(run, Machine(budget, 1)).scores[-1][0]) for budget in (1.5, 10)}
    assert ends == {1.5: 0.0, 10: 1.0}


def test_a_job_over_all_tasks_is_played_with_its_time(tmp_path: Path) -> None:
    stages = (Stage("joint", whole=True), Stage("synth", needs="joint"))
    config = replace(CONFIG, stages=stages)
    folder = write_run(
        tmp_path / "run", slow_half, toy_tasks(2), config, whole=[whole_job("joint", 10.0)]
    )
    played = play(read_history(str(folder)), Machine(100, 1))
    assert played.simulation.jobs[0] == (0, 0.0, 10.0)
    assert played.scores[0].mean() == 0.0  # at 10 s
    assert played.scores[-1].mean() == 1.0


def test_every_combination_gets_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = recorded(tmp_path / "run")
    run_simulate(str(run.folder), budget="16s,1m", workers="1,4", speed="synth=2")
    scores, _, shares = capsys.readouterr().out.partition("Time by stage")
    lines = scores.splitlines()
    assert [line.split()[:2] for line in lines if line.strip().startswith(("16.0s", "1m00s"))] == [
        ["16.0s", "1"], ["16.0s", "4"], ["1m00s", "1"], ["1m00s", "4"],
    ]  # fmt: skip
    assert "100.0 % when simulated with its own settings" in scores
    assert len([line for line in shares.splitlines() if " synth " in line]) == 4


def test_the_share_and_the_used_share_of_every_stage_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In 60 s, one stage uses its whole quarter; the other loads, and works for a second."""

    def script(task: Task, truth: Grid) -> Iterable[Heard]:
        yield replace(job(task, "synth", cost_s=60.0), outcome="sliced"), []
        yield job(task, "model", cost_s=1.0), [guess(task, truth, "d0")]

    stages = (Stage("synth", share=1.0), Stage("model", share=3.0))
    config = replace(CONFIG, budget_s=60, stages=stages)
    folder = write_run(tmp_path / "run", script, toy_tasks(1), config, loads=[("model", 6.0)])
    run_simulate(str(folder))
    shown = capsys.readouterr().out.partition("Time by stage")[2]
    found = {words[3]: list(map(float, words[4:])) for words in map(str.split, shown.splitlines())
             if words[:1] == ["1m00s"]}  # fmt: skip
    assert found["synth"][:1] + found["synth"][2:3] == [25.0, 25.0]
    share, used, first, further, loading = found["model"]
    assert (share, further) == (75.0, 0.0)
    assert first == pytest.approx(100 * 1 / 59.5, abs=0.2)
    assert loading == pytest.approx(100 * 6 / 59.5, abs=0.2)
    assert used == pytest.approx(first + loading, abs=0.11)


def test_without_solutions_the_confidence_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = recorded(tmp_path / "run")
    bare = write_challenges(tmp_path / "bare.json", toy_tasks(8))
    run_simulate(str(run.folder), source=str(bare))
    shown = capsys.readouterr().out
    assert "confidence %" in shown
    # A program of 10 nats, 14.4 bits: the odds of one of 30 bits, doubled twice but for a bit.
    assert "79.4 [79, 79]" in shown


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"budget": "soon"}, "--budget 'soon' is no duration"),
        ({"workers": "1,none"}, "--workers none: must be 1 to 256"),
        ({"workers": "0"}, "--workers 0: must be"),
        ({"speed": "joint=2"}, "--speed joint=2: the run's engines are synth"),
        ({"speed": "fast"}, "--speed fast: must be a factor"),
        ({"speed": "0"}, "--speed 0: must be a factor"),
        ({"speed": "nan"}, "--speed nan: must be a factor"),
    ],
)
def test_bad_options_are_refused(tmp_path: Path, options: dict[str, str], complaint: str) -> None:
    run = recorded(tmp_path / "run", tasks=1)
    with pytest.raises(DataError, match=complaint):
        run_simulate(str(run.folder), **options)  # type: ignore[arg-type]


def test_a_12_hour_run_of_400_tasks_is_played_in_seconds(tmp_path: Path) -> None:
    run = recorded(tmp_path / "run", tasks=400)
    played = play(run, Machine(12 * 3600, 4))
    assert np.mean(played.scores[-1]) == 1.0


def test_an_engine_on_devices_runs_there_alone(tmp_path: Path) -> None:
    """Two engines of 1 and 4 s a task: beside each other, the cores are idle half of the time."""
    folder = write_run(tmp_path / "run", noisy(0), toy_tasks(12), replace(CONFIG, budget_s=600))
    run = read_history(str(folder))
    together = play(run, Machine(60, 1))
    beside = play(run, Machine(60, 1, {"model": 4.0}, 1, frozenset({"model"})))
    assert {worker for worker, _, _ in together.simulation.jobs} == {0}
    for (worker, _, _), slot in zip(beside.simulation.jobs, beside.simulation.slots, strict=True):
        assert worker == slot.stage
    assert beside.scores[-1].mean() >= together.scores[-1].mean()


def test_gpus_are_a_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_run(tmp_path / "run", noisy(0), toy_tasks(4))
    run_simulate(str(folder), devices="1,4", on_devices="model", speed="model=20")
    scores = capsys.readouterr().out.partition("Time by stage")[0]
    lines = [line.split() for line in scores.splitlines()]
    assert [words[1:3] for words in lines if words[:1] == ["1m00s"]] == [["1", "1"], ["1", "4"]]
    with pytest.raises(DataError, match="--devices 0: model would run nowhere"):
        run_simulate(str(folder), devices="0,4", on_devices="model")
    with pytest.raises(DataError, match="--on-devices gpt: the run's engines are synth, model"):
        run_simulate(str(folder), devices="1", on_devices="gpt")
