"""The journal: round trips, torn and corrupt lines."""

from __future__ import annotations

import json
import resource
import signal
from collections.abc import Sized
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solver.data.journal import (
    FORMAT,
    JobRecord,
    Journal,
    LoadRecord,
    Replay,
    candidate_of,
    candidate_record,
    job_of,
    load_of,
    pack_grid,
    replay,
    unpack_grid,
)
from solver.grid import Candidate, DataError, Grid, as_grid, same
from tests.strategies import candidates, complaint, grids, ids

JOB = JobRecord("t", "synth", 0, "finished", 0.5, 2.0, 1, 3.25)
NUMBERS = st.floats(-1e6, 1e6)


def guess(color: int) -> Candidate:
    return Candidate("t", 0, as_grid([[color, color]]), "synth", None, -1.5, "input", 0.25)


def four_lines() -> list[dict[str, Any]]:
    run = {"kind": "run", "format": FORMAT, "tasks": ["t"]}
    job = {"kind": "job", **asdict(JOB)}
    task = {"kind": "task", "task": "t", "state": "program"}
    return [run, candidate_record(guess(1)), job, candidate_record(guess(2)), task]


def written(path: Path, lines: list[dict[str, Any]]) -> bytes:
    path.unlink(missing_ok=True)
    journal = Journal(path)
    for line in lines:
        journal.append(line)
    journal.sync()
    journal.close()
    return path.read_bytes()


def records(found: Replay) -> list[int]:
    """Numbers of records of each kind, and of broken lines."""
    kinds: list[Sized] = [found.runs, found.candidates, found.jobs, found.terminal]
    return [*map(len, kinds), found.broken]


@given(grids())
def test_packed_grids_unpack(grid: Grid) -> None:
    assert same(unpack_grid(json.loads(json.dumps(pack_grid(grid)))), grid)


@pytest.mark.parametrize(
    "rows", [None, [], [""], "12", ["1", "12"], ["1a"], ["-1"], [1], ["1" * 31], ["1"] * 31, ["²"]]
)
def test_what_is_no_packed_grid_is_refused(rows: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        unpack_grid(rows)


@given(
    candidates()
    | st.builds(
        Candidate,
        ids(),
        st.integers(0, 9),
        grids(),
        ids(),
        logprob=NUMBERS,
        unlearned=st.floats(0, 9),
    )
)
def test_candidates_come_back(candidate: Candidate) -> None:
    again = candidate_of(json.loads(json.dumps(candidate_record(candidate))))
    assert again.identity == candidate.identity
    assert (again.logprob, again.cost_s) == (candidate.logprob, candidate.cost_s)
    assert (again.scores, again.votes) == (candidate.scores, candidate.votes)
    assert again.unlearned == pytest.approx(candidate.unlearned, abs=1e-6)


@pytest.mark.parametrize("unlearned", [-0.1, "0", None, float("nan")])
def test_what_is_no_loss_is_refused(unlearned: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        candidate_of(candidate_record(guess(1)) | {"unlearned": unlearned})
    older = candidate_record(guess(1))
    del older["unlearned"]
    assert candidate_of(older).unlearned == 0.0


@given(st.builds(JobRecord, ids(), ids(), st.integers(0, 9), ids(), NUMBERS, NUMBERS,
                 st.integers(0, 99), NUMBERS, st.none() | st.text(),
                 st.none() | NUMBERS))  # fmt: skip
def test_job_records_come_back(job: JobRecord) -> None:
    assert job_of(json.loads(json.dumps(asdict(job)))) == job


@given(st.builds(LoadRecord, ids(), ids(), NUMBERS, st.integers(0, 99), NUMBERS,
                 st.integers(0, 9), st.none() | st.text()))  # fmt: skip
def test_load_records_come_back(load: LoadRecord) -> None:
    assert load_of(json.loads(json.dumps(asdict(load)))) == load


def test_loads_are_read_with_their_process_and_broken_ones_cost_themselves(tmp_path: Path) -> None:
    load = LoadRecord("model", "finished", 5.5, 1, 30.0)
    line: dict[str, Any] = {"kind": "load", **asdict(load)}
    run, *rest = four_lines()
    path = tmp_path / "journal"
    written(path, [run, line, {**line, "cost_s": "long"}, run, line, *rest])
    found = replay(path)
    assert found.loads == [load, load]
    assert found.load_processes == [0, 1]
    assert found.broken == 1


def test_a_journal_replays_in_order(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    written(path, four_lines())
    found = replay(path)
    assert [int(c.grid[0, 0]) for c in found.candidates] == [1, 2]
    assert found.jobs == [JOB]
    assert found.runs[0]["tasks"] == ["t"]
    assert found.terminal["t"]["state"] == "program"
    assert found.broken == 0


def test_jobs_know_their_process_and_only_the_last_one_has_booked_ends(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    run, _, job, _, task = four_lines()
    written(path, [run, job, task, run, job, job])
    found = replay(path)
    assert found.processes == [0, 1, 1]
    assert found.terminal == {}


def test_reopening_appends(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    before = written(path, four_lines())
    journal = Journal(path)
    journal.append(candidate_record(guess(3)))
    journal.close()
    assert path.read_bytes().startswith(before)
    assert records(replay(path)) == [1, 3, 1, 1, 0]


def test_a_journal_cut_anywhere_loses_the_cut_line_alone_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    whole = written(path, four_lines())
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(ends[0], len(whole) + 1):
        path.write_bytes(whole[:cut])
        journal = Journal(path)
        journal.append(candidate_record(guess(7)))
        journal.close()
        found = replay(path)
        kept = sum(end <= cut or end == cut + 1 for end in ends)  # the newline is put back
        torn = cut not in ends and cut + 1 not in ends
        assert sum(records(found)) == kept + torn + 1
        assert found.broken == torn
        assert int(found.candidates[-1].grid[0, 0]) == 7


@given(st.data())
def test_a_flipped_byte_costs_at_most_its_line_and_never_another_error(
    tmp_path: Path, data: st.DataObject
) -> None:
    path = tmp_path / "journal"
    whole = bytearray(written(path, four_lines()))
    first = whole.index(b"\n") + 1  # a change in the run's own line may refuse the format
    whole[data.draw(st.integers(first, len(whole) - 2))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(whole)
    found = replay(path)
    # A byte that turns into a newline breaks its line in two; one that was a newline joins two.
    assert found.broken <= 2
    assert sum(records(found)[:4]) >= 3


@given(st.data())
def test_many_flipped_bytes_raise_nothing_but_a_data_error(
    tmp_path: Path, data: st.DataObject
) -> None:
    path = tmp_path / "journal"
    whole = np.frombuffer(written(path, four_lines()), dtype=np.uint8).copy()
    places = data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=20))
    for place in places:
        whole[place] = data.draw(st.integers(0, 255))
    path.write_bytes(whole.tobytes())
    said = complaint(DataError, replay, path)
    assert said is None or "journal format" in said


@pytest.mark.parametrize(
    "line",
    [
        "",
        "null",
        "[]",
        '"run"',
        "{}",
        '{"kind":"strange"}',
        '{"kind":"run"}',
        '{"kind":"job","task":"t"}',
        '{"kind":"task","task":[1]}',
        '{"kind":"candidate"}',
        "[" * 100_000,
        "9" * 10_000,
        json.dumps({**asdict(JOB), "kind": "job", "task": ["t"]}),
        json.dumps({**asdict(JOB), "kind": "job", "cost_s": "1"}),
        json.dumps({**asdict(JOB), "kind": "job", "cost_s": float("nan")}),
        json.dumps({**asdict(JOB), "kind": "job", "pass_": True}),
        json.dumps({**asdict(JOB), "kind": "job", "more": 1}),
        json.dumps({**candidate_record(guess(1)), "cost_s": 10**400}),
        json.dumps({**candidate_record(guess(1)), "logprob": float("nan")}),
        json.dumps({**candidate_record(guess(1)), "logprob": float("inf")}),
        json.dumps({**candidate_record(guess(1)), "test": -1}),
        json.dumps({**candidate_record(guess(1)), "test": True}),
        json.dumps({**candidate_record(guess(1)), "task": None}),
        json.dumps({**candidate_record(guess(1)), "grid": ["19", "1"]}),
    ],
)
def test_a_line_that_is_no_record_costs_itself_alone(tmp_path: Path, line: str) -> None:
    path = tmp_path / "journal"
    whole = written(path, four_lines())
    path.write_bytes(whole + line.encode() + b"\n" + whole)
    assert records(replay(path)) == [2, 4, 2, 1, 1 if line else 0]


def test_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    written(path, [{"kind": "run", "format": FORMAT + 1}])
    with pytest.raises(DataError, match="journal format 2, this version reads up to 1"):
        replay(path)


def test_a_journal_that_cannot_be_read_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        replay(tmp_path)


def test_a_record_that_does_not_fit_on_the_disk_costs_itself_alone(tmp_path: Path) -> None:
    """A limit on the file's size stands for the full disk: a write then ends halfway."""
    path = tmp_path / "journal"
    size = len(written(path, four_lines()))
    journal = Journal(path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 40, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            journal.append(candidate_record(guess(8)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    journal.append(candidate_record(guess(9)))
    journal.close()
    found = replay(path)
    assert [int(c.grid[0, 0]) for c in found.candidates] == [1, 2, 9]
    assert found.broken == 1


def test_lines_from_before_scores_and_votes_are_read() -> None:
    old = candidate_record(guess(1))
    del old["scores"], old["votes"]
    found = candidate_of(old)
    assert (found.scores, found.votes) == ((), 1)


@pytest.mark.parametrize(
    "change", [{"votes": -1}, {"votes": True}, {"scores": [None]}, {"scores": 3}]
)
def test_a_candidate_with_senseless_scores_is_broken(change: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        candidate_of({**candidate_record(guess(1)), **change})


def test_a_journal_of_before_there_were_rungs_is_read(tmp_path: Path) -> None:
    old = {name: value for name, value in asdict(JOB).items() if name != "rung"}
    written(tmp_path / "j", [{"kind": "job", **old}])
    assert replay(tmp_path / "j").jobs == [JOB]


def test_cost_models_are_kept(tmp_path: Path) -> None:
    cost = {"engine": "synth", "fixed": 0.5, "token": 1e-3, "cell": 0.0, "jobs": 4, "first_s": 9.5}
    written(tmp_path / "j", [{"kind": "cost", **cost}])
    found = replay(tmp_path / "j")
    assert (found.costs, found.broken) == ([cost], 0)
